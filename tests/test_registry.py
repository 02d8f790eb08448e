"""The registry: last error, exact counts, the ring, statistics per operation, and one consistent picture of it all."""

from __future__ import annotations

import asyncio
import copy
import json
import os
import pickle
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hurry import HAS_GLOBAL_LOCK
from hypothesis import given
from hypothesis import strategies as st
from test_locks import forked, running

import retrywrap
from retrywrap import (
    ErrorCode,
    ErrorRecord,
    Registry,
    StopReason,
    configure,
    registry,
    retry_scope,
    subscribe,
    with_retry,
)
from retrywrap.decide.events import RetryEvent
from retrywrap.record.registry import Snapshot, Stats
from retrywrap.testing import VirtualClock


def counts(**given: Any) -> Stats:
    """Return the statistics of decorated functions; what succeeds at once, only the fast path counts."""
    return Stats(**{"succeeded_at_once": 0 if retrywrap.__build__ == "C" else None, **given})


@pytest.fixture
def silence() -> None:
    """No event is logged: the tests that record much would else spend their time on it."""
    configure(events=False)


@pytest.fixture
def eager_switching(silence: None) -> Iterator[None]:
    """Threads take turns as often as the interpreter can make them."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def event(**changes: Any) -> RetryEvent:
    """Return an event, such as the machine makes."""
    fields: dict[str, Any] = {
        "name": "retry.scheduled",
        "operation": "op",
        "reason": None,
        "code": ErrorCode.NETWORK,
        "message": "down",
        "error_type": "builtins.ConnectionError",
        "attempt": 1,
        "max": 3,
        "wait": 2.5,
        "elapsed": 0.0,
        "time": 1_000.25,
        "rule": "a.rule",
        "retry_after": None,
        "scope": None,
        "detail": "",
        "is_error": True,
        "is_retry": False,
    }
    return RetryEvent(**{**fields, **changes})


def fail(error: Exception, **settings: Any) -> None:
    """Run an operation that raises the same error at each attempt, to its end."""

    def operation() -> None:
        raise error

    with VirtualClock(), pytest.raises(type(error)):
        with_retry(**{"max": 2, "interval": 5, "name": "op", **settings})(operation)()


# --- the last error


def test_without_an_error_there_is_success() -> None:
    """The record that stands for no error is falsy and says what the plugin says."""
    fresh = Registry()
    assert not fresh.last_error
    assert str(fresh.last_error) == "Success"
    assert fresh.last_error.code is ErrorCode.SUCCESS
    assert set(fresh.last_error) == {0, "Success", ""}
    assert (fresh.error_count, fresh.retry_count, fresh.errors) == (0, 0, ())
    assert set(fresh.stats()) == {0, None}


def test_a_failed_attempt_becomes_the_last_error(clock: VirtualClock) -> None:
    """With all that is to be known of it: text and codes, who, where, when, and whether it was the end."""
    mine = Registry()
    fail(ConnectionRefusedError(111, "Connection refused"), registry=mine, max=1)
    assert mine.last_error
    assert str(mine.last_error) == "[Errno 111] Connection refused"
    first, last = mine.errors
    assert last == mine.last_error
    assert last == ErrorRecord(
        code=ErrorCode.NETWORK,
        message="[Errno 111] Connection refused",
        operation="op",
        attempt=2,
        time=1_000_000_005.0,
        error_type="builtins.ConnectionRefusedError",
        thread="MainThread",
        rule="stdlib.errno.ECONNREFUSED",
        final=True,
    )
    assert first == last._replace(attempt=1, time=1_000_000_000.0, final=False)


def test_the_record_names_its_thread() -> None:
    """Which thread failed is recorded by its name."""
    mine = Registry()
    thread = threading.Thread(target=mine.record_error, args=(-6,), name="the uploader")
    thread.start()
    thread.join(10)
    assert mine.last_error.thread == "the uploader"


def test_records_do_not_change(clock: VirtualClock) -> None:
    """A record is an immutable value, which nobody can free or alter while somebody reads it."""
    record = Registry().record_error(-6)
    with pytest.raises(AttributeError):
        record.message = "changed"  # type: ignore[misc]  # that this fails is the point
    assert pickle.loads(pickle.dumps(record)) == record


def test_an_error_recorded_by_hand_needs_no_operation(clock: VirtualClock) -> None:
    """It then belongs to none, which the counts have under the empty name."""
    mine = Registry()
    assert mine.record_error(-6).operation == ""
    assert mine.stats("").errors == 1


def test_messages_are_redacted(clock: VirtualClock) -> None:
    """No secret that an exception's text shows gets as far as the registry, nor one that is recorded by hand."""
    mine = Registry()
    fail(ConnectionError("cannot reach https://me:hunter2@host/"), registry=mine)
    mine.record_error(-6, "password=hunter2\nand a second line")
    assert "hunter2" not in json.dumps(mine.snapshot())
    assert "\n" not in str(mine.last_error)


def test_clear_error_forgets_the_last_error_alone(clock: VirtualClock) -> None:
    """As in the plugin, the counters stay; and so do the records."""
    mine = Registry()
    fail(TimeoutError("slow"), registry=mine, max=2)
    mine.clear_error()
    assert not mine.last_error
    assert str(mine.last_error) == "Success"
    assert (mine.error_count, mine.retry_count, len(mine.errors)) == (3, 2, 3)
    assert mine.by_code == {ErrorCode.TIMEOUT: 3}
    assert mine.stats("op").exhausted == 1


def test_reset_forgets_all_but_the_names(clock: VirtualClock) -> None:
    """Counters, records and the last error go; an operation that is declared stays known."""
    mine = Registry()
    fail(TimeoutError("slow"), registry=mine)
    mine.reset()
    assert not mine.last_error
    assert (mine.errors, mine.by_code, mine.stats()) == ((), {}, counts())
    assert mine.operations == {"op": counts()}


# --- counting

ENDS: list[tuple[StopReason, Callable[[Registry], None]]] = []


def ends_with(reason: StopReason) -> Callable[[Callable[[Registry], None]], Callable[[Registry], None]]:
    """Say how an operation comes to its end by some reason."""

    def note(scenario: Callable[[Registry], None]) -> Callable[[Registry], None]:
        ENDS.append((reason, scenario))
        return scenario

    return note


@ends_with(StopReason.RECOVERED)
def _recovered(mine: Registry) -> None:
    errors = [TimeoutError(), TimeoutError()]

    def operation() -> None:
        if errors:
            raise errors.pop()

    with VirtualClock():
        with_retry(max=2, interval=5, name="op", registry=mine)(operation)()


@ends_with(StopReason.EXHAUSTED)
def _exhausted(mine: Registry) -> None:
    fail(TimeoutError(), registry=mine)


@ends_with(StopReason.REJECTED)
def _rejected(mine: Registry) -> None:
    fail(PermissionError(13, "no"), registry=mine)


@ends_with(StopReason.TIMED_OUT)
def _timed_out(mine: Registry) -> None:
    fail(TimeoutError(), registry=mine, timeout=7)


@ends_with(StopReason.BUDGET_DENIED)
def _budget_denied(mine: Registry) -> None:
    from retrywrap import RetryBudget

    fail(TimeoutError(), registry=mine, max=9, budget=RetryBudget(capacity=14))


@ends_with(StopReason.NESTED_REFUSED)
def _nested_refused(mine: Registry) -> None:
    def inner() -> None:
        fail_inside()

    @with_retry(max=1, interval=0, name="inner", registry=Registry())
    def fail_inside() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        with_retry(max=2, interval=5, name="op", registry=mine)(inner)()


@ends_with(StopReason.CANCELLED)
def _cancelled(mine: Registry) -> None:
    with retry_scope() as scope:
        scope.cancel()
        fail(TimeoutError(), registry=mine)


@pytest.mark.parametrize(("reason", "scenario"), ENDS, ids=[reason.value for reason, _ in ENDS])
def test_each_end_has_its_counter(
    caplog: pytest.LogCaptureFixture, reason: StopReason, scenario: Callable[[Registry], None]
) -> None:
    """An operation that failed counts under the one reason for which it ended, in total and by name."""
    mine = Registry()
    scenario(mine)
    assert [record for record in caplog.records if "Traceback" in record.getMessage()] == []
    stats = mine.stats("op")
    assert stats == mine.stats()
    counted = {reason: getattr(stats, reason.value) for reason in StopReason}
    assert counted == {**dict.fromkeys(StopReason, 0), reason: 1}
    assert stats.failed == (0 if reason is StopReason.RECOVERED else 1)
    assert stats.errors >= 1
    assert mine.error_count == stats.errors == len(mine.errors)


def test_no_end_is_without_a_scenario() -> None:
    """Every reason for which an operation can end is tried above."""
    assert {reason for reason, _ in ENDS} == set(StopReason)


def test_attempts_and_waits_are_counted(clock: VirtualClock) -> None:
    """Each failed attempt is an error, each attempt after the first a retry, each wait counts in seconds."""
    mine = Registry()
    fail(TimeoutError(), registry=mine, max=3, interval=5)
    _recovered(mine)
    assert mine.stats() == counts(errors=4 + 2, retries=3 + 2, waited=25.0, exhausted=1, recovered=1)
    assert (mine.error_count, mine.retry_count) == (6, 5)


def test_an_unknown_error_has_a_counter_of_its_own(clock: VirtualClock) -> None:
    """What no rule knows is loud: it counts as unknown as well as rejected, and as one error only."""
    mine = Registry()
    fail(LookupError("what is this"), registry=mine)
    assert mine.stats() == counts(errors=1, unknown=1, rejected=1, failed_at_once=1)


def test_a_success_at_once_leaves_no_trace_but_a_count() -> None:
    """The happy path takes no lock, and is counted where that costs nothing."""
    mine = Registry()
    with_retry(registry=mine, name="op")(len)([])
    assert (
        mine.stats() == mine.stats("op") == counts(**({"succeeded_at_once": 1} if retrywrap.__build__ == "C" else {}))
    )


def _awaiting(function: Any) -> Any:
    return lambda *arguments: asyncio.run(function(*arguments))


async def _answer(value: object) -> object:
    return value


def _promise(value: object) -> Any:
    return _answer(value)


@pytest.mark.skipif(retrywrap.__build__ != "C", reason="pure Python does not count what succeeds at once")
@pytest.mark.parametrize(
    ("function", "settings", "make"),
    [
        (len, {}, lambda call: call),
        (len, {"timeout": 60}, lambda call: call),
        (len, {"results": lambda result: None}, lambda call: call),
        (_answer, {}, _awaiting),
        (_answer, {"timeout": 60}, _awaiting),
        (_promise, {}, _awaiting),
    ],
)
def test_what_succeeds_at_once_is_counted(function: Any, settings: dict[str, Any], make: Any) -> None:
    """In every form of a decorated function, by its name; functions of one name share a count, and reset forgets it."""
    mine = Registry()
    call = make(with_retry(registry=mine, name="op", **settings)(function))
    other = make(with_retry(registry=mine, name="op", **settings)(function))
    for _ in range(3):
        call([])
    other([])
    assert mine.stats("op").succeeded_at_once == mine.stats("op").calls == 4
    mine.reset()
    assert mine.stats().calls == 0
    call([])
    assert mine.stats().calls == 1


@pytest.mark.skipif(retrywrap.__build__ != "C", reason="pure Python does not count what succeeds at once")
def test_the_four_kinds_of_calls(clock: VirtualClock) -> None:
    """Succeeded and failed, with a retry and without, add up to all calls; what is interrupted at once is none."""
    mine = Registry()

    @with_retry(registry=mine, name="op", max=1, interval=0)
    def run(errors: list[BaseException]) -> None:
        if errors:
            raise errors.pop(0)

    run([])
    run([TimeoutError()])
    for errors in ([TimeoutError(), TimeoutError()], [KeyError()]):
        with pytest.raises((TimeoutError, KeyError)):
            run(list(errors))
    with pytest.raises(KeyboardInterrupt):
        run([KeyboardInterrupt()])
    stats = mine.stats()
    assert (stats.succeeded_at_once, stats.recovered, stats.failed_at_once, stats.failed) == (1, 1, 1, 2)
    assert stats.calls == 4


@pytest.mark.skipif(retrywrap.__build__ == "C", reason="the fast path counts what succeeds at once")
def test_pure_python_does_not_count_calls() -> None:
    """It says so, rather than zero."""
    mine = Registry()
    with_retry(registry=mine)(len)([])
    assert (mine.stats().succeeded_at_once, mine.stats().calls) == (None, None)


def test_codes_are_counted_by_their_number(clock: VirtualClock) -> None:
    """Known ones and those that the plugin has no name for."""
    mine = Registry()
    for code in (-6, -6, -7, -42):
        mine.record_error(code)
    assert mine.by_code == {ErrorCode.NETWORK: 2, ErrorCode.TIMEOUT: 1, ErrorCode(-42): 1}
    assert all(type(code) is ErrorCode for code in mine.by_code)


def test_the_registries_are_separate(clock: VirtualClock) -> None:
    """What goes to a registry of one's own does not count in the global one, and the other way round."""
    mine = Registry()
    fail(TimeoutError(), registry=mine, max=0)
    assert (mine.error_count, registry.error_count) == (1, 0)
    fail(TimeoutError(), max=0)
    assert (mine.error_count, registry.error_count) == (1, 1)


# --- operations


def test_a_decorated_function_is_known_before_it_fails() -> None:
    """The inventory holds what never failed, or never ran, too."""
    mine = Registry()
    with_retry(registry=mine, name="never called")(len)
    assert "never called" in mine
    assert "something else" not in mine
    assert mine.operations == {"never called": counts()}
    assert mine.stats("never called") == counts()


def test_an_operation_that_is_not_known_has_no_statistics() -> None:
    """The message names it, and where to look."""
    with pytest.raises(KeyError, match="'uplaod' is known; operations has them all"):
        Registry().stats("uplaod")


def test_the_number_of_operations_is_bounded(clock: VirtualClock) -> None:
    """Names made up at run time cannot fill the memory: beyond ten thousand they count as others, and none is lost."""
    mine = Registry()
    for n in range(10_002):
        mine.handle(event(operation=f"op {n}"))
    mine.handle(event(operation="op 0"))
    assert len(mine.operations) == 10_001
    assert mine.stats("op 0").errors == mine.stats("(others)").errors == 2
    assert mine.error_count == 10_003


def test_the_number_of_codes_is_bounded() -> None:
    """Beyond a thousand different codes, further ones count as unknown, and none is lost."""
    mine = Registry()
    for n in [*range(1, 1_003), 1]:
        mine.handle(event(code=ErrorCode(n)))
    assert len(mine.by_code) == 1_001
    assert mine.by_code[ErrorCode(1)] == mine.by_code[ErrorCode.UNKNOWN] == 2
    assert sum(mine.by_code.values()) == 1_003
    assert mine.last_error.code == 1


# --- the ring


@given(st.integers(0, 12), st.integers(0, 30), st.integers(0, 12))
def test_the_ring_keeps_the_newest_errors(size: int, count: int, later: int) -> None:
    """As many as it is told, oldest first; when it is resized the newest of them stay, and counts do not change."""
    mine = Registry(size)
    for n in range(count):
        mine.record_error(-6, str(n))
    kept = [str(n) for n in range(count)][count - min(size, count) :]
    assert [str(record) for record in mine.errors] == [str(record) for record in mine] == kept
    mine.resize(later)
    assert mine.error_buffer_size == later
    assert [str(record) for record in mine.errors] == kept[max(0, len(kept) - later) :]
    assert mine.error_count == count


def test_the_ring_holds_a_thousand_unless_told() -> None:
    """The plugin's default; as many as 32 bits can say are possible."""
    assert Registry().error_buffer_size == 1000
    most = min(2**32 - 1, sys.maxsize)
    assert Registry(most).error_buffer_size == most


def test_without_a_ring_the_last_error_is_still_there() -> None:
    """A size of 0 keeps no records but the last error."""
    mine = Registry(0)
    mine.record_error(-6, "down")
    assert (mine.errors, str(mine.last_error)) == ((), "down")


# --- by hand


def test_recording_by_hand(clock: VirtualClock) -> None:
    """It counts, becomes the last error, is told to the listeners, and comes back as a record."""
    heard: list[RetryEvent] = []
    end = subscribe(heard.append)
    clock.advance(7)
    record = registry.record_error(-6, "Network connection failed", "upload")
    end()
    assert record == registry.last_error
    assert (record.code, str(record), record.operation) == (ErrorCode.NETWORK, "Network connection failed", "upload")
    assert (record.attempt, record.rule, record.final, record.error_type) == (1, "recorded", False, "")
    assert record.time == 1_000_000_007
    assert registry.stats("upload")._replace(succeeded_at_once=None) == Stats(errors=1)
    assert [(e.name, e.code, e.message) for e in heard] == [("error.recorded", -6, "Network connection failed")]


def test_a_code_alone_brings_its_message() -> None:
    """Without a text, and for numbers that the plugin does not know, the message is the plugin's."""
    assert str(Registry().record_error(ErrorCode.DISK_FULL)) == "Disk full"
    assert str(Registry().record_error(-42)) == "Unknown error"
    assert str(Registry().record_error(-42, "")) == ""


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((True,), TypeError, "code must be an ErrorCode or its number; got True"),
        (("-6",), TypeError, "code must be an ErrorCode or its number; got '-6'"),
        ((0,), ValueError, "code must be an error's; 0 is success"),
        ((-6, b"x"), TypeError, "message must be a str, or None for the code's own; got b'x'"),
        ((-6, "x", None), TypeError, "operation must be a str, the name of an operation; got None"),
    ],
)
def test_recording_nonsense_is_refused(arguments: Any, error: type[Exception], text: str) -> None:
    """Nothing is recorded, and the message says what is wrong."""
    mine = Registry()
    with pytest.raises(error) as caught:
        mine.record_error(*arguments)
    assert str(caught.value) == text
    assert mine.error_count == 0


# --- the picture


def test_a_snapshot_is_the_whole_picture(clock: VirtualClock) -> None:
    """It goes through JSON and back unchanged, and says what the registry says."""
    mine = Registry()
    fail(TimeoutError("slow"), registry=mine, max=1, interval=5)
    picture = json.loads(json.dumps(mine.snapshot()))
    record = {
        "code": -7,
        "message": "slow",
        "operation": "op",
        "attempt": 1,
        "time": 1_000_000_000.0,
        "error_type": "builtins.TimeoutError",
        "thread": "MainThread",
        "rule": mine.last_error.rule,
        "final": False,
    }
    last = {**record, "attempt": 2, "time": 1_000_000_005.0, "final": True}
    said = counts(errors=2, retries=1, waited=5.0, exhausted=1)._asdict()
    assert picture == {
        "last_error": last,
        "totals": said,
        "by_code": {"-7": 2},
        "operations": {"op": said},
        "errors": [record, last],
    }


def test_a_snapshot_of_any_code_is_json() -> None:
    """Numbers that no error code can be, as an operation may return them, do not spoil it."""
    mine = Registry()
    mine.record_error(10**5000)
    mine.record_error(-42)
    assert json.loads(json.dumps(mine.snapshot()))["by_code"] == {"-99": 1, "-42": 1}


def test_a_snapshot_stays_as_it_was(clock: VirtualClock) -> None:
    """What happens later is not in it."""
    mine = Registry()
    mine.record_error(-6, operation="op")
    before = mine.snapshot()
    text = json.dumps(before)
    mine.record_error(-7, operation="op")
    mine.reset()
    assert json.dumps(before) == text


CHANGES: list[Callable[[Snapshot], object]] = [
    lambda s: s.__setitem__("last_error", 1),
    lambda s: s.__delitem__("last_error"),
    lambda s: s.update(a=1),
    lambda s: s.pop("last_error"),
    lambda s: s.popitem(),
    lambda s: s.clear(),
    lambda s: s.setdefault("a", 1),
    lambda s: s.__ior__({"a": 1}),
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_snapshot_does_not_change(change: Callable[[Snapshot], object]) -> None:
    """Nor does any table in it; the message says how to get one that does."""
    mine = Registry()
    mine.record_error(-6, operation="op")
    picture = mine.snapshot()
    tables = [
        picture,
        picture["totals"],
        picture["operations"],
        picture["operations"]["op"],
        picture["by_code"],
        picture["last_error"],
        picture["errors"][0],
    ]
    for table in tables:
        with pytest.raises(TypeError, match=r"does not change; dict\(snapshot\) is a copy that can"):
            change(table)
    assert isinstance(picture["errors"], tuple)


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))])
def test_a_snapshot_can_be_copied_and_sent(again: Callable[[Snapshot], Snapshot]) -> None:
    """Copied, deep-copied or pickled, it is an equal snapshot."""
    mine = Registry()
    mine.record_error(-6, operation="op")
    picture = mine.snapshot()
    copied = again(picture)
    assert copied == picture
    assert type(copied) is type(copied["totals"]) is Snapshot
    changeable = dict(picture)
    changeable["mine"] = 1
    assert "mine" not in picture


# --- threads, processes, copies


@pytest.mark.usefixtures("eager_switching")
def test_counts_are_exact_under_threads() -> None:
    """Eight threads that fail and retry at once lose no count, and no picture taken meanwhile is half drawn."""
    mine = Registry(50)
    threads_count, runs, retries = 8, 60, 3

    @with_retry(max=retries, interval=0, registry=mine, name="op")
    def fails(errors: list[Exception]) -> None:
        raise errors[0]

    def work(number: int) -> None:
        for _ in range(runs):
            with pytest.raises(TimeoutError):
                fails([TimeoutError(str(number))])

    wrong: list[Any] = []

    def look() -> None:
        picture = mine.snapshot()
        total = picture["totals"]
        if not (
            total == picture["operations"]["op"]
            and sum(picture["by_code"].values()) == total["errors"]
            and len(picture["errors"]) == min(50, total["errors"])
            and (not picture["errors"] or picture["errors"][-1] == picture["last_error"])
        ):
            wrong.append(picture)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(threads_count)]
    with running(look):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
    operations = threads_count * runs
    assert mine.stats() == counts(
        errors=operations * (retries + 1), retries=operations * retries, exhausted=operations, waited=0.0
    )
    assert mine.by_code == {ErrorCode.TIMEOUT: operations * (retries + 1)}
    assert wrong == []


@pytest.mark.usefixtures("eager_switching")
def test_the_other_changes_are_safe_under_threads() -> None:
    """Recording by hand, resizing, clearing, reading and declaring at once raise nothing and lose no count."""
    mine = Registry(10)
    problems: list[BaseException] = []
    steps: list[Callable[[int], object]] = [
        lambda n: mine.record_error(-6, operation=f"op {n % 7}"),
        lambda n: mine.resize(n % 20),
        lambda n: mine.clear_error(),
        lambda n: (mine.errors, mine.operations, mine.by_code, repr(mine), list(mine)),
        lambda n: mine.declare(f"declared {n}"),
        lambda n: json.dumps(mine.snapshot()),
    ]

    def work(step: Callable[[int], object]) -> None:
        try:
            for n in range(200):
                step(n)
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=work, args=(step,)) for step in [*steps, steps[0], steps[0]]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert problems == []
    assert mine.error_count == sum(mine.by_code.values()) == 600
    assert sum(stats.errors for stats in mine.operations.values()) == 600


def test_a_signal_handler_may_record_in_the_midst_of_a_recording() -> None:
    """The lock is re-entrant: a handler that fails, and so records, does not wait for the code that it interrupted."""
    mine = Registry()
    with mine._lock:
        mine.record_error(-6)
    assert mine.error_count == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.skipif(not HAS_GLOBAL_LOCK, reason="a child may inherit any dict locked")
def test_a_fork_inherits_whole_counts_and_free_locks() -> None:
    """In a child that is forked while other threads record, the picture is consistent and recording goes on."""
    printed = forked("""
        import retrywrap
        retrywrap.configure(events=False)
        mine = retrywrap.Registry(5)

        def check():
            picture = mine.snapshot()
            consistent = sum(picture["by_code"].values()) == picture["totals"]["errors"]
            mine.record_error(-6)
            return consistent and mine.error_count == picture["totals"]["errors"] + 1

        threads = [repeat(lambda: mine.record_error(-6)), repeat(lambda: mine.record_error(-7))]
        forking = threading.Thread(target=lambda: print(all(in_child(check) for _ in range(20))))
        forking.start()
        forking.join()
        over.set()
    """)
    assert printed == "True\n"


def test_the_global_registry_pickles_by_reference() -> None:
    """What refers to it arrives in another process, or as a copy, referring to the one there."""
    assert pickle.loads(pickle.dumps(registry)) is registry
    assert copy.copy(registry) is copy.deepcopy(registry) is registry


def test_another_registry_does_not_pickle() -> None:
    """Its copy would count apart from it; in the same process a copy is the same one."""
    mine = Registry()
    with pytest.raises(TypeError, match="belongs to its process"):
        pickle.dumps(mine)
    assert copy.copy(mine) is copy.deepcopy(mine) is mine


def test_the_repr_says_what_there_is(clock: VirtualClock) -> None:
    """Counts and the last error, for whoever looks in a debugger."""
    mine = Registry()
    mine.record_error(-6, "down")
    assert repr(mine) == "<Registry: 1 errors, 0 retries, last error 'down'>"


@pytest.mark.parametrize("size", [True, 1.5, "10", None])
@pytest.mark.parametrize("use", [Registry, Registry().resize])
def test_a_buffer_size_of_the_wrong_type_is_refused(use: Callable[[Any], object], size: Any) -> None:
    """Both when it is made and when it is resized."""
    with pytest.raises(TypeError, match="error_buffer_size must be a whole number of records") as caught:
        use(size)
    assert repr(size) in str(caught.value)


@pytest.mark.parametrize("size", [-1, 2**32, 10**30])
@pytest.mark.parametrize("use", [Registry, Registry().resize])
def test_a_buffer_size_out_of_range_is_refused(use: Callable[[Any], object], size: Any) -> None:
    """Negative, or more than the plugin's 32 bits."""
    with pytest.raises(ValueError, match="from 0 to 4294967295") as caught:
        use(size)
    assert str(size) in str(caught.value)


def test_many_events_are_counted_before_anybody_asks() -> None:
    """What comes in is counted now and then, so that it does not pile up where nobody looks."""
    mine = Registry(10)
    one = event()
    for _ in range(1000):
        mine.handle(one)
    assert len(mine._news) < 100
    assert mine.error_count == 1000
    assert len(mine._news) == 0


def test_recording_waits_for_nobody() -> None:
    """A thread that fails while another one looks at the registry goes on; what it recorded is there afterwards."""
    mine = Registry()
    with mine._lock:
        thread = threading.Thread(target=lambda: [mine.handle(event()) for _ in range(200)])
        thread.start()
        thread.join(60)
        assert not thread.is_alive()
    assert mine.error_count == len(mine.errors) == 200


def test_only_events_are_recorded() -> None:
    """Anything else is refused at once, with what was expected."""
    with pytest.raises(TypeError, match="event must be a RetryEvent"):
        Registry().handle(("retry.scheduled",))  # type: ignore[arg-type]  # to give something else is the point


def test_news_that_somebody_else_has_counted_meanwhile() -> None:
    """A signal handler may count what came in between two steps of whoever counts: then there is nothing left to do."""

    class Emptied(deque[Any]):
        def popleft(self) -> Any:
            super().popleft()
            raise IndexError

    mine = Registry()
    mine._news = Emptied([(event(), "thread")])
    assert mine.error_count == 0


def test_an_event_says_whether_the_error_was_unknown(clock: VirtualClock) -> None:
    """One event of its own tells of an error that no rule knew."""
    told: list[bool] = []
    unsubscribe = subscribe(lambda event: told.append(event.unknown))
    fail(KeyError("x"))
    unsubscribe()
    assert told == [True, False]
