"""What earlier attempts left on the traceback of an error that is raised again and again: cut, and nothing else."""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from types import FrameType, TracebackType
from typing import Any

import pytest

from retrywrap import with_retry
from retrywrap.run.drive import forget_stale_traceback
from retrywrap.testing import VirtualClock

OURS: dict[str, Any] = {"sys": sys, "__package__": "retrywrap.run"}
exec("def loop():\n    return sys._getframe()", OURS)
loop: Callable[[], FrameType] = OURS["loop"]


def frame() -> FrameType:
    """Return a frame that this test's called."""
    return sys._getframe()


def left(*entries: tuple[FrameType, int], caller: FrameType | None = None) -> int:
    """Return how many entries, outermost first, are left of a traceback; the instruction's place is in each."""
    chain = None
    for each, place in reversed(entries):
        chain = TracebackType(chain, each, place, 1)
    error = ConnectionResetError().with_traceback(chain)
    forget_stale_traceback(error, caller)
    return len(list(traceback.walk_tb(error.__traceback__)))


def test_an_error_without_a_traceback() -> None:
    """It comes out of a builtin function, and has nothing to forget."""
    forget_stale_traceback(ConnectionResetError())


def test_the_first_frame_a_second_time() -> None:
    """At the same instruction an earlier attempt begins; at another one it is the same attempt, which goes on."""
    first, other = frame(), frame()
    assert left((first, 2), (other, 4), (first, 2), (other, 4)) == 2
    assert left((first, 2), (first, 4), (other, 2), (other, 4)) == 4


def test_what_another_caller_called() -> None:
    """The fast path has no frame: what its caller calls a second time, in another frame, began an earlier attempt."""
    me, first, other = sys._getframe(), frame(), frame()
    inner = (lambda: frame())()
    assert left((first, 2), (inner, 4), (other, 2), (inner, 4), caller=me) == 2
    assert left((first, 2), (first, 4), (inner, 2), caller=me) == 3
    assert left((first, 2), (inner, 4), (me, 2), (other, 4), caller=me) == 2


def test_frames_that_nobody_called() -> None:
    """Those of generators, and of a thread's begin: that they share no caller says nothing."""
    generators: list[Iterator[None]] = [(None for _ in ()) for _ in range(2)]
    first, second = (each.gi_frame for each in generators)  # type: ignore[attr-defined]  # generators
    assert left((frame(), 2), (first, 4), (second, 4)) == 3


def test_our_loop_is_passed_over_to_its_caller() -> None:
    """What called the loop made the first attempt; of a frame that is not ours, the caller may well come later."""
    me, ours, first = sys._getframe(), loop(), frame()
    inner = (lambda: frame())()
    assert left((ours, 2), (inner, 4), (me, 6), (inner, 4)) == 2
    assert left((ours, 2), (inner, 4), (first, 6), (inner, 4)) == 2
    assert left((inner, 2), (frame(), 4), (inner.f_back or me, 6)) == 3


def test_a_caller_that_is_known_counts() -> None:
    """Also where the first frame is one of ours, as for an operation within another."""
    me, ours, other = sys._getframe(), (lambda: (lambda: loop())())(), (lambda: (lambda: frame())())()
    assert left((ours, 2), (other, 4), (ours.f_back or me, 6), caller=me) == 3


def test_what_is_cut_off_stays_as_it_was() -> None:
    """Somebody may have kept it."""
    first, other = frame(), frame()
    old = TracebackType(TracebackType(None, first, 2, 1), first, 2, 1)
    error = ConnectionResetError().with_traceback(TracebackType(TracebackType(old, other, 4, 1), first, 2, 1))
    forget_stale_traceback(error)
    assert len(list(traceback.walk_tb(error.__traceback__))) == 2
    assert len(list(traceback.walk_tb(old))) == 2


@pytest.mark.parametrize("form", ["sync", "async"])
@pytest.mark.parametrize("most", [0, 3])
@pytest.mark.parametrize("interval", [0, 1])
def test_what_was_there_before_the_first_attempt_stays(form: str, most: int, interval: int) -> None:
    """An error that came through the caller's own frame already, and is raised again by the first attempt.

    What later attempts add is as much as that of one.
    """
    error = ConnectionResetError("reset")

    def fails() -> None:
        raise error

    async def fails_later() -> None:
        raise error

    def through() -> list[str]:
        with suppress(ConnectionResetError):
            fails()
        with suppress(ConnectionResetError):
            if form == "sync":
                with_retry(max=most, interval=interval)(fails)()
            else:
                asyncio.run(with_retry(max=most, interval=interval)(fails_later)())
        return [each.name for each in traceback.extract_tb(error.__traceback__)]

    with VirtualClock() if interval else nullcontext():  # the beaten track is for those that do not wait
        names = through()
    assert names[-1] in ("fails", "fails_later")
    assert names.count("through") == 1 + (most == 0)
