"""An operation that has failed: what it stands under, what it knows when it leaves the track, what it lets out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

from retrywrap import RetryExhausted, StopReason, retry_scope, shutdown, subscribe, with_retry
from retrywrap.decide.allowance import PROCESS, Allowance
from retrywrap.decide.context import RetryContext
from retrywrap.decide.events import RetryEvent
from retrywrap.decide.notes import Note
from retrywrap.decide.policy import RetryPolicy
from retrywrap.run.drive import Operation
from retrywrap.testing import VirtualClock, observe


def spec_of(**policy: Any) -> Any:
    """Return what an operation is of."""
    decorated: Any = with_retry(name="work", interval=0, **policy)(len)
    return decorated._self_spec


def fails() -> None:
    """Never succeed."""
    raise ConnectionResetError("lost")


def test_who_is_told_so_leaves_the_beaten_track_at_once() -> None:
    """As the fast path asks, where it is about to decide what it does not itself."""
    assert Operation(spec_of())._track is not None
    operation = Operation(spec_of(), beaten=False)
    assert operation._track is None
    assert operation.failed(ConnectionResetError("lost")).wait == 0.0


def test_a_context_that_is_given_decides() -> None:
    """Though the policy alone would not need one."""
    context = RetryContext(RetryPolicy(max=0), operation="given")
    operation = Operation(spec_of(max=5), context=context)
    assert operation.context is context
    assert operation.failed(ConnectionResetError("lost")).reason is StopReason.EXHAUSTED


def test_limits_that_are_given_count() -> None:
    """And not those that are ambient."""
    limits = Allowance(PROCESS, name="job")
    limits.count(0, None)
    event = Operation(spec_of(max=5), limits=limits).failed(ConnectionResetError("lost"))
    assert (event.reason, event.scope) == (StopReason.EXHAUSTED, "job")
    with retry_scope(max=0, name="ambient"):
        event = Operation(spec_of(max=5), limits=PROCESS).failed(ConnectionResetError("lost"))
    assert (event.reason, event.wait) == (None, 0.0)


def test_after_a_shutdown_no_retry_is_announced() -> None:
    """Not even one without a wait."""
    shutdown()
    with observe() as events, pytest.raises(ConnectionResetError):
        with_retry(max=3, interval=0)(fails)()
    assert [event.name for event in events] == ["retry.cancelled"]


def test_an_operation_that_is_cancelled_between_its_attempts_knows_its_error() -> None:
    """All of it: what is told at its end is of the last failure."""
    with observe() as told:
        operation, error = Operation(spec_of(max=5)), ConnectionResetError("lost")
        scheduled = operation.failed(error)
        shutdown()
        assert not operation.resume(error)
    assert told[0] is scheduled
    assert told[1].reason is StopReason.CANCELLED
    same = ("operation", "code", "message", "error_type", "attempt", "rule")
    assert [getattr(told[1], each) for each in same] == [getattr(scheduled, each) for each in same]
    assert told[1].error_type == "builtins.ConnectionResetError"


def test_an_argument_that_is_used_up_needs_no_names() -> None:
    """It ends the operation as well where none was given by its name."""
    used = iter([1])
    next(used)
    event = Operation(spec_of(max=5)).failed(ConnectionResetError("lost"), (used,))
    assert event.reason is StopReason.REJECTED
    assert "iterator" in event.detail


def test_ctrl_c_while_a_first_bad_result_is_told_ends_the_operation() -> None:
    """Its beginning was heard of, so that its end is."""
    told: list[str] = []

    def listen(event: RetryEvent) -> None:
        told.append(event.name)
        if len(told) == 1:
            raise KeyboardInterrupt

    unsubscribe = subscribe(listen)
    try:
        with VirtualClock(), pytest.raises(KeyboardInterrupt):
            with_retry(max=3, interval=1, results=lambda value: value is None)(lambda: None)()
    finally:
        unsubscribe()
    assert told == ["retry.scheduled", "retry.cancelled"]


def test_the_facts_of_a_note() -> None:
    """What an outer layer asks of it: operation, layer, reason and attempts beside the text."""
    spec = spec_of(max=1)
    operation, error = Operation(spec), ConnectionResetError("lost")
    operation.failed(error)
    operation.failed(error)
    (note,) = error.__notes__
    assert (note.operation, note.layer, note.reason, note.attempts) == ("work", spec.layer, StopReason.EXHAUSTED, 2)
    assert "after 2 attempts" in note


def test_the_facts_of_what_gave_up() -> None:
    """`RetryExhausted` bears the note itself, since it is new each time."""
    spec = spec_of(max=1, reraise=False)
    operation = Operation(spec)
    operation.failed(ConnectionResetError("lost"))
    with pytest.raises(RetryExhausted) as caught:
        operation.failed(ConnectionResetError("lost"))
    note = caught.value.given_up
    assert isinstance(note, Note)
    assert (note.operation, note.layer, note.reason, note.attempts) == ("work", spec.layer, StopReason.EXHAUSTED, 2)
    assert note in str(caught.value)


@pytest.mark.parametrize("how", ["scope", "shutdown"])
def test_what_a_late_awaitable_does_stands_under_what_is_around_it(how: str) -> None:
    """The retries that a scope has left, and the news that everything ends, hold inside of it."""
    calls: list[str] = []

    async def later() -> None:
        if how == "shutdown":
            shutdown()
        inner()

    @with_retry(max=5, interval=1)
    def inner() -> None:
        calls.append("inner")
        raise TimeoutError("slow")

    @with_retry(max=5, interval=1)
    def outer() -> Awaitable[None]:
        calls.append("outer")
        if len(calls) == 1:
            raise ConnectionResetError("lost")
        return later()

    async def main() -> None:
        with retry_scope(max=1 if how == "scope" else 50):
            await outer()

    with VirtualClock() as clock, pytest.raises(TimeoutError):
        asyncio.run(main())
    assert calls == ["outer", "outer", "inner"]
    assert clock.waits == [1.0]
