"""How a registry counts: when, under which lock, and what others count for it; its contents taken out and put back."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any

import pytest
from test_registry import event
from watched import WatchedLock

from retrywrap import ErrorCode, Registry, StopReason, subscribe
from retrywrap.decide.events import RetryEvent
from retrywrap.record import registry as module
from retrywrap.record.registry import MOST_NEWS, Stats

EXHAUSTED = {"name": "retry.exhausted", "reason": StopReason.EXHAUSTED, "wait": None}
RECOVERED = {"name": "retry.recovered", "reason": StopReason.RECOVERED, "wait": None, "is_error": False}
UNKNOWN = {"name": "retry.unknown_error", "wait": None, "is_error": False}


class Tally:
    """Counts what succeeds at once, as the fast path does."""

    def __init__(self) -> None:
        self.count = 0


@pytest.fixture
def python_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is counted in C."""
    monkeypatch.setattr(module, "count_fast", None)


def filled() -> Registry:
    """Two operations that failed, each with a tally, and three errors."""
    mine = Registry(50)
    for name, successes in (("a", 3), ("b", 4)):
        mine._declare(name, Tally).count = successes
        mine.handle(event(operation=name))
        mine.handle(event(operation=name, is_retry=True, attempt=2, **RECOVERED))
    mine.handle(event(operation="b", code=ErrorCode.TIMEOUT, **EXHAUSTED))
    return mine


def test_what_others_count_is_told_with_each_operation_and_in_all() -> None:
    """Successes at once come from the tally of the operation's name, made once; all operations' are summed."""
    mine = filled()
    assert mine._declare("a", Tally) is mine._declare("a", Tally)
    assert mine._declare("a", Tally).count == 3
    mine.handle(event(operation="c"))
    stats = {"a": 3, "b": 4, "c": None}
    assert {name: each.succeeded_at_once for name, each in mine.operations.items()} == stats
    assert {name: mine.stats(name).succeeded_at_once for name in stats} == stats
    picture = mine.snapshot()
    assert {name: picture["operations"][name]["succeeded_at_once"] for name in stats} == stats
    assert mine.stats().succeeded_at_once == picture["totals"]["succeeded_at_once"] == 7
    assert mine.stats("b").calls == 4 + 1 + 1
    assert mine.stats("c").calls is None


def test_calls_are_what_succeeded_late_or_at_once_and_what_failed() -> None:
    """However an operation ended, it is one call."""
    ends = {"recovered": 1, "exhausted": 2, "rejected": 4, "timed_out": 8, "budget_denied": 16, "nested_refused": 32}
    assert Stats(**ends, cancelled=64, succeeded_at_once=128).calls == 255
    assert Stats(**ends, cancelled=64).failed == 126


def test_all_operations_are_summed() -> None:
    """Each count of all operations is the sum of those of each, also where one has them more than once."""
    mine = Registry()
    for name in ("a", "b", "b"):
        mine.handle(event(operation=name))
        mine.handle(event(operation=name, is_retry=True))
        mine.handle(event(operation=name, **UNKNOWN))
        mine.handle(event(operation=name, **EXHAUSTED))
    assert mine.stats("b") == Stats(6, 2, 10.0, 2, exhausted=2, failed_at_once=2)
    assert mine.stats() == Stats(9, 3, 15.0, 3, exhausted=3, failed_at_once=3)


def test_what_is_no_error_has_no_code() -> None:
    """A late success leaves nothing among the codes."""
    mine = Registry()
    mine.handle(event(**RECOVERED))
    assert mine.by_code == {}
    assert mine.stats().recovered == 1


def test_operations_beyond_the_most_share_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Known ones go on counting under their own, and what others count for the rest comes together as well."""
    monkeypatch.setattr(module, "_MOST_OPERATIONS", 2)
    monkeypatch.setattr(module, "count_fast", None)
    mine = Registry()
    for name in ("a", "b", "c", "d", "a", "b"):
        mine.handle(event(operation=name))
    assert {name: each.errors for name, each in mine.operations.items()} == {"a": 2, "b": 2, "(others)": 2}
    assert mine._declare("c", Tally) is mine._declare("d", Tally) is not mine._declare("a", Tally)
    mine._declare("c", Tally).count = 5
    assert mine.stats("(others)").succeeded_at_once == 5


def test_what_is_declared_is_known() -> None:
    """An operation that has never failed has counts, all zero, and no tally."""
    mine = Registry()
    mine.declare("op")
    assert mine.operations == {"op": Stats()}
    assert "op" in mine
    assert "other" not in mine
    assert 3 not in mine


def test_news_are_counted_when_there_are_many() -> None:
    """Nobody needs to ask: what came in does not grow without end."""
    mine = Registry()
    for n in range(MOST_NEWS - 1):
        mine.handle(event())
        assert len(mine._news) == n + 1
    mine.handle(event())
    assert len(mine._news) == 0
    assert mine.error_count == MOST_NEWS


@pytest.mark.usefixtures("python_counts")
@pytest.mark.parametrize("fails", [False, True])
def test_counting_leaves_no_lock_taken(monkeypatch: pytest.MonkeyPatch, fails: bool) -> None:
    """Not even where it fails."""
    mine = Registry()
    mine.handle(event())
    if fails:
        monkeypatch.setattr(mine, "_count", lambda news: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            mine.count_some()
    else:
        mine.count_some()
    free: list[bool] = []
    thread = threading.Thread(target=lambda: free.append(mine._lock.acquire(blocking=False)))
    thread.start()
    thread.join()
    assert free == [True]


def test_what_counts_fast_is_given_the_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where something else counts, nothing is counted here."""
    counted: list[Registry] = []
    monkeypatch.setattr(module, "count_fast", counted.append)
    mine = Registry()
    mine.handle(event())
    mine.count_some()
    assert counted == [mine]
    assert len(mine._news) == 1


READERS: dict[str, Callable[[Registry], object]] = {
    "last_error": lambda it: it.last_error,
    "errors": lambda it: it.errors,
    "by_code": lambda it: it.by_code,
    "operations": lambda it: it.operations,
    "stats": lambda it: it.stats(),
    "snapshot": lambda it: it.snapshot(),
    "clear_error": lambda it: it.clear_error(),
    "reset": lambda it: it.reset(),
    "resize": lambda it: it.resize(3),
    "declare": lambda it: it.declare("op"),
    "in": lambda it: "op" in it,
}


@pytest.mark.parametrize("step", READERS)
def test_each_picture_is_taken_under_the_lock(step: str) -> None:
    """What came in is counted under it, and what is asked is done under it."""
    mine: Any = Registry()
    mine.handle(event())
    mine._lock = lock = WatchedLock()
    READERS[step](mine)
    assert lock.taken == 2
    assert not lock.held


def test_an_idle_registry_tells_its_last_error_without_waiting() -> None:
    """Where nothing came in, there is nothing to count."""
    mine: Any = Registry()
    mine._lock = lock = WatchedLock()
    assert not mine.last_error
    assert lock.taken == 0


def test_contents_can_be_taken_out_and_put_back() -> None:
    """All that was recorded comes back as it was, tallies included; meanwhile the registry is as new.

    Only the names of decorated functions stay known.
    """
    mine = filled()
    mine.handle(event(operation="before"))
    told = mine.snapshot()
    contents = mine._exchange(None)
    assert (mine.errors, mine.by_code, bool(mine.last_error)) == ((), {}, False)
    assert mine.operations == {"a": Stats(succeeded_at_once=0), "b": Stats(succeeded_at_once=0)}
    mine.handle(event(operation="new"))
    mine.declare("declared")
    meanwhile = mine._exchange(contents)
    assert mine._operations.pop("declared").declared
    assert mine.snapshot()["operations"] == told["operations"]
    assert {**mine.snapshot(), "operations": None} == {**told, "operations": None}
    mine._exchange(meanwhile)
    assert [each.operation for each in mine.errors] == ["new"]


def test_what_is_declared_meanwhile_stays_so() -> None:
    """Also where an operation of that name was known before, without a function."""
    mine = Registry()
    mine.handle(event(operation="job"))
    before = mine._exchange(None)
    mine.declare("job")
    mine._exchange(before)
    mine._exchange(None)
    assert list(mine.operations) == ["job"]


def test_reset_keeps_the_size() -> None:
    """A registry that keeps two errors keeps two after it forgot all."""
    mine = Registry(2)
    mine.reset()
    for _ in range(3):
        mine.handle(event())
    assert len(mine.errors) == mine.error_buffer_size == 2
    assert Registry(0).error_buffer_size == 0


def test_without_decorators_there_is_no_inventory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who decorates finds the functions of a registry; where nobody does, there are none."""
    mine = Registry()
    monkeypatch.setattr(module, "find_sites", None)
    assert mine.inventory() == []
    monkeypatch.setattr(module, "find_sites", lambda asked: [asked])
    assert mine.inventory() == [mine]


def test_what_is_recorded_by_hand_is_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each field of it; and what it needs is imported under the lock that is held over forks."""
    importing = WatchedLock()
    monkeypatch.setattr(module, "importing", importing)
    monkeypatch.setattr(module, "wall_clock", lambda: 1234.5)
    heard: list[RetryEvent] = []
    end = subscribe(heard.append)
    Registry().record_error(-6, "down", "op")
    end()
    assert heard == [
        RetryEvent(
            name="error.recorded",
            operation="op",
            reason=None,
            code=ErrorCode.NETWORK,
            message="down",
            error_type="",
            attempt=1,
            max=None,
            wait=None,
            elapsed=0.0,
            time=1234.5,
            rule="recorded",
            retry_after=None,
            scope=None,
            detail="recorded by hand",
            is_error=True,
            is_retry=False,
        )
    ]
    assert importing.taken == 1


class Liar:
    """Says that it is a str."""

    __class__ = str  # type: ignore[assignment]  # the test's point

    def __repr__(self) -> str:
        return "<a liar>"


SIZE = "error_buffer_size must be a whole number of records from 0 to "


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda it: it.handle("news"), TypeError, "event must be a RetryEvent, as listeners get them; got 'news'"),
        (lambda it: it.declare(3), TypeError, "operation must be a str, the name of an operation; got 3"),
        (lambda it: it.declare(Liar()), TypeError, "operation must be a str; got <a liar>"),
        (lambda it: it.stats("x"), KeyError, "\"no operation 'x' is known; operations has them all\""),
        (
            lambda it: [it.declare("upload"), it.stats("uplod")],
            KeyError,
            "\"no operation 'uplod' is known; did you mean 'upload'?\"",
        ),
        (lambda it: it.resize(-1), ValueError, f"{SIZE}{module._LARGEST_BUFFER}; got -1"),
        (lambda it: it.resize("3"), TypeError, f"{SIZE}{module._LARGEST_BUFFER}; got '3'"),
    ],
)
def test_what_is_refused_is_shown(call: Callable[[Any], object], error: type[Exception], text: str) -> None:
    """The message names the parameter, what it can be, and what it was."""
    with pytest.raises(error, match=f"^{re.escape(text)}$"):
        call(Registry())
