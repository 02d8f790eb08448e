"""What operations did: gathered by operation, and expectations that say what came instead."""

from __future__ import annotations

import asyncio
import copy
import inspect
import pickle
import re
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from hurry import run_hurried

from retrywrap import ErrorCode, Registry, RetryEvent, StopReason, registry, with_retry
from retrywrap.run import inventory
from retrywrap.testing import Events, Observed, VirtualClock, isolated_registry, observe

retried = with_retry(max=2, interval=3, registry=Registry(), name="op")


def fails(times: int) -> Callable[[], int]:
    """Return a decorated function that fails so many times, and then succeeds."""
    left = [times]

    @retried
    def operation() -> int:
        if left[0]:
            left[0] -= 1
            raise ConnectionResetError(f"{left[0]} to come")
        return 1

    return operation


@pytest.mark.usefixtures("clock")
def test_an_operation_is_told_whole() -> None:
    """Attempts, waits, codes, texts, and how it ended."""
    with observe() as events:
        fails(2)()
        with pytest.raises(ConnectionResetError):
            fails(3)()
        fails(0)()
    lost = ErrorCode.CONNECTION_LOST
    assert events.of("op") == [
        Observed("op", 3, [3.0, 3.0], [lost, lost], ["1 to come", "0 to come"], StopReason.RECOVERED),
        Observed("op", 3, [3.0, 3.0], [lost] * 3, ["2 to come", "1 to come", "0 to come"], StopReason.EXHAUSTED),
    ]
    assert events.operations == events.of("op")
    assert [event.name for event in events[:3]] == ["retry.scheduled", "retry.scheduled", "retry.recovered"]


@pytest.mark.usefixtures("clock")
def test_an_operation_that_goes_on_has_no_outcome() -> None:
    """As seen from inside it."""
    seen = []
    left = [1]
    with observe() as events:

        @retried
        def operation() -> None:
            if left:
                raise ConnectionResetError(left.pop())
            seen.append(events.operation("op"))

        operation()
    assert seen[0].outcome is None
    events.expect("op", outcome="recovered")


@pytest.mark.usefixtures("clock")
def test_an_error_that_nobody_knows_is_one_attempt() -> None:
    """Its two events are of one operation, and what is recorded by hand is of none."""

    @with_retry(name="odd")
    def operation() -> None:
        raise LookupError("odd")

    with observe() as events, pytest.raises(LookupError):
        operation()
    events.expect("odd", attempts=1, waits=[], codes=["UNKNOWN"], outcome="rejected")
    with observe() as events:
        registry.record_error(-6)
    assert len(events) == 1
    assert events.operations == []


@pytest.mark.usefixtures("clock")
def test_operations_of_one_name_are_kept_apart() -> None:
    """Those of threads and tasks that run at the same time."""
    barrier = threading.Barrier(2)

    def work() -> None:
        barrier.wait()
        fails(2)()

    async def tasks() -> None:
        @with_retry(max=2, interval=3, name="async")
        async def operation(left: list[int]) -> None:
            await asyncio.sleep(0)
            if left:
                raise ConnectionResetError(left.pop())

        await asyncio.gather(*(operation([1] * 2) for _ in range(3)))

    with observe() as events:
        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        asyncio.run(tasks())
    assert [each.attempts for each in events.of("op")] == [3, 3]
    assert [(each.attempts, each.outcome) for each in events.of("async")] == [(3, StopReason.RECOVERED)] * 3


@pytest.mark.usefixtures("clock")
def test_an_operation_without_an_end_is_not_mixed_with_the_next() -> None:
    """One that is still going on in this thread, a generator's say, is told from the next by its numbers."""
    with observe() as events:
        outer = fails(1)

        @with_retry(max=2, interval=3, name="op")
        def nested(left: list[int]) -> int:
            if left:
                left.pop()
                raise ConnectionResetError("outer")
            return outer()

        nested([1])
    assert len(events.of("op")) == 2


@pytest.mark.usefixtures("clock")
def test_an_operation_that_another_task_takes_on_stays_one() -> None:
    """Its function fails where it is called, and what it returns where it is awaited; others of its name stay apart."""

    @with_retry(max=4, interval=3, name="op")
    def begun(left: list[int]) -> Awaitable[str]:
        if left.pop() == 1:
            raise ConnectionResetError("at the call")
        return awaited(left)

    async def awaited(left: list[int]) -> str:
        await asyncio.sleep(0)
        if left:
            raise ConnectionResetError("at the await")
        return "done"

    async def main() -> None:
        first, second = begun([3, 2, 1]), begun([3, 1])
        third = asyncio.ensure_future(begun([2, 2]))
        assert await asyncio.gather(asyncio.ensure_future(first), second, third) == ["done"] * 3

    with observe() as events:
        asyncio.run(main())
    assert [(each.attempts, each.messages) for each in events.of("op")] == [
        (3, ["at the call", "at the await"]),
        (2, ["at the call"]),
        (2, ["at the await"]),
    ]
    assert {each.outcome for each in events.of("op")} == {StopReason.RECOVERED}


def event_of(attempt: int, message: str, *, elapsed: float, time: float) -> RetryEvent:
    """Return the event of a failed attempt that is retried."""
    nothing: Any = dict.fromkeys(RetryEvent._fields)
    known = {"name": "retry.scheduled", "operation": "op", "code": ErrorCode.TIMEOUT, "is_error": True}
    return RetryEvent(**{**nothing, **known, "attempt": attempt, "message": message, "elapsed": elapsed, "time": time})


def test_an_operation_that_nobody_saw_begin_takes_no_other_ones_place() -> None:
    """It began at another time than the one that another thread or task goes on with; or as two others did."""

    def elsewhere(event: RetryEvent) -> None:
        thread = threading.Thread(target=events.add, args=(event,))
        thread.start()
        thread.join()

    events = Events()
    events.add(event_of(1, "mine", elapsed=0.0, time=100.0))
    elsewhere(event_of(2, "unseen", elapsed=5.0, time=101.0))
    elsewhere(event_of(2, "taken on", elapsed=2.0, time=102.0))
    assert [each.messages for each in events.operations] == [["mine", "taken on"], ["unseen"]]

    events = Events()
    events.add(event_of(1, "one", elapsed=0.0, time=100.0))
    elsewhere(event_of(1, "two", elapsed=0.0, time=100.0))
    elsewhere(event_of(2, "either", elapsed=2.0, time=102.0))
    assert len(events.operations) in (2, 3)
    assert ["one"] in [each.messages for each in events.operations]


def test_events_can_be_copied() -> None:
    """And pickled, to be looked at elsewhere."""
    events = Events()
    events.add(event_of(1, "mine", elapsed=0.0, time=100.0))
    for again in (copy.deepcopy(events), pickle.loads(pickle.dumps(events))):
        assert again == events
        assert again.operations == events.operations
        again.add(event_of(2, "more", elapsed=1.0, time=101.0))
        assert [each.messages for each in again.operations] == [["mine", "more"]]
    assert len(events) == 1


def test_threads_that_take_over_from_one_another_lose_no_event() -> None:
    """At a switch interval of a microsecond, each with an event loop."""
    work = with_retry(max=1, interval=0, registry=Registry(), name="handed")

    async def awaited() -> None:
        pass

    def begun(left: list[int]) -> Awaitable[None]:
        if left.pop():
            raise ConnectionResetError("at the call")
        return awaited()

    def operate() -> None:
        async def main() -> None:
            for _ in range(40):
                await asyncio.ensure_future(work(begun)([0, 1]))

        asyncio.run(main())

    with observe() as events:
        run_hurried([operate] * 4)
    assert len(events) == 4 * 40 * 2
    assert sum(len(run) for run in events._runs) == 4 * 40 * 2


@pytest.mark.parametrize(
    ("expected", "said"),
    [
        ({"attempts": 2}, "attempts: 3 instead of 2"),
        ({"waits": [3]}, "waits: [3.0, 3.0] instead of [3.0]"),
        ({"codes": [-6, ErrorCode.NETWORK]}, "codes: ['CONNECTION_LOST', 'CONNECTION_LOST'] instead of ['NETWORK', "),
        ({"outcome": "exhausted"}, "outcome: recovered instead of exhausted"),
        ({"outcome": None}, "outcome: recovered instead of None"),
        ({"attempts": 1, "outcome": "exhausted"}, "attempts: 3 instead of 1; outcome: recovered instead of exhausted"),
    ],
)
@pytest.mark.usefixtures("clock")
def test_an_expectation_says_what_came_instead(expected: dict[str, Any], said: str) -> None:
    """All that is wrong, and then the events."""
    with observe() as events:
        fails(2)()
    with pytest.raises(AssertionError) as caught:
        events.expect("op", **expected)
    first, *lines = str(caught.value).splitlines()
    assert first.startswith(f"op did other than was expected: {said}")
    assert lines == [
        "  retry.scheduled attempt=1 CONNECTION_LOST: retry 1 follows in 3 s",
        "  retry.scheduled attempt=2 CONNECTION_LOST: retry 2 follows in 3 s",
        "  retry.recovered attempt=3 CONNECTION_LOST: attempt 3 succeeded",
    ]


@pytest.mark.usefixtures("clock")
def test_an_expectation_of_what_was_gives_it() -> None:
    """By the function, or by its name; nothing needs to be said."""
    operation = fails(1)
    with observe() as events:
        operation()
    wanted = {"attempts": 2, "waits": [3], "codes": ["CONNECTION_LOST"], "outcome": StopReason.RECOVERED}
    assert events.expect(operation, **wanted) == events.expect("op") == events.operation(operation)


@pytest.mark.usefixtures("clock")
def test_one_operation_is_expected() -> None:
    """None, or several, is an assertion that names them."""
    with observe() as events:
        with pytest.raises(AssertionError, match=r"no attempt of op failed.*; nor did any other operation"):
            events.operation("op")
        fails(1)()
        with pytest.raises(AssertionError, match=r"no attempt of other failed, and .*; those that did: op"):
            events.operation("other")
        fails(2)()
    with pytest.raises(
        AssertionError, match=r"failed in 2 operations: 2 attempts, recovered; 3 attempts, recovered; of"
    ):
        events.operation("op")


@pytest.mark.usefixtures("clock")
def test_a_name_that_is_mistaken(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was meant is said, of what is decorated or failed; a name that is known just did not fail."""
    operation = with_retry(name="shop.upload")(lambda: None)
    monkeypatch.setattr(inventory, "proxies", lambda: [operation])  # and not those of other tests
    with observe() as events, pytest.raises(AssertionError) as caught:
        events.expect("uplod", attempts=2)
    said = "no attempt of uplod failed, and no decorated function has that name: did you mean 'shop.upload'?"
    assert str(caught.value) == said
    with pytest.raises(
        AssertionError,
        match=r"^no attempt of shop\.upload failed \(assert not events\.of\(upload\) .*\); nor did any other",
    ):
        events.expect(operation, attempts=2)


def test_a_parameter_that_is_mistaken() -> None:
    """What was meant is said."""
    with observe() as events:
        with pytest.raises(
            TypeError, match=r"expect\(\) has no parameter 'attempt': did you mean attempts=, which counts"
        ):
            events.expect("op", attempt=2)  # type: ignore[arg-type]  # the mistake
        with pytest.raises(TypeError, match=r"has no parameter 'outcom': did you mean outcome="):
            events.expect("op", outcom="recovered")  # type: ignore[arg-type]  # the mistake


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"waits": 3}, r"waits must be a list, the seconds of each wait in order, as in waits=\[1, 2\]; got 3"),
        ({"codes": "TIMEOUT"}, r"codes must be a list, the code of each failed attempt in order.*; got 'TIMEOUT'"),
    ],
)
def test_a_single_value_is_no_list(wrong: dict[str, Any], said: str) -> None:
    """The message says of what the list is."""
    with observe() as events:
        fails(1)()
    with pytest.raises(TypeError, match=said):
        events.expect("op", **wrong)


def test_tasks_of_trio_are_told_apart() -> None:
    """Two of one operation that fail at the same time, with different errors."""

    @with_retry(max=3, interval=1, name="two")
    async def work(errors: list[Exception]) -> None:
        if errors:
            raise errors.pop()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(work, [ConnectionResetError(), ConnectionResetError()])
            nursery.start_soon(work, [TimeoutError(), TimeoutError()])

    with VirtualClock(), observe() as events:
        trio.run(main)
    each = [set(operation.codes) for operation in events.of("two")]
    assert sorted(map(len, each)) == [1, 1]
    assert set.union(*each) == {ErrorCode.TIMEOUT, ErrorCode.CONNECTION_LOST}


def test_an_isolated_registry_has_its_size_back() -> None:
    """And all the errors that were in it, whatever was made of it meanwhile."""

    @with_retry(max=4, interval=0)
    def fail() -> None:
        raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError):
        fail()
    with isolated_registry():
        registry.resize(2)
    assert (registry.error_buffer_size, len(registry.errors)) == (1000, 5)


def test_the_signature_shows_what_need_not_be_given() -> None:
    """As help and editors show it, without addresses of objects."""
    signature = str(inspect.signature(Events.expect))
    assert "attempts: 'int' = …, waits:" in signature
    assert " at 0x" not in signature


def test_isolated_registries_that_overlap_lose_nothing() -> None:
    """As blocks of tasks do, whichever ends first: what was there before all of them comes back when all are over."""
    registry.record_error(-6, operation="kept")
    for last in (0, 1):
        blocks = [isolated_registry(), isolated_registry()]
        for each in blocks:
            each.__enter__()
            assert not registry.errors
            registry.record_error(-7, operation="inside")
        blocks[1 - last].__exit__(None, None, None)
        blocks[last].__exit__(None, None, None)
        assert [each.operation for each in registry.errors] == ["kept"]


def test_a_mistaken_name_that_finds_nothing_warns(clock: VirtualClock) -> None:
    """Else `assert not events.of("typo")` would be true for ever; a name like no other may be a block's."""
    operation = fails(1)
    with observe() as events:
        operation()
        with pytest.warns(
            UserWarning, match=r"no operation 'opp' is known, so that of\(\) found nothing: did you mean"
        ):
            assert not events.of("opp")
        assert not events.of("nothing like any")
        assert len(events.of("op")) == 1


@pytest.mark.parametrize(
    ("expected", "said"),
    [
        ({"codes": [12345]}, "codes: ['CONNECTION_LOST'] instead of ['UNKNOWN 12345']"),
        ({"codes": ["CONECTION_LOST"]}, "got 'CONECTION_LOST': did you mean 'CONNECTION_LOST'?"),
        ({"codes": ["timeout"]}, "got 'timeout': did you mean 'TIMEOUT'?"),
        ({"codes": [ConnectionResetError]}, "an error: its code is what classify says of it, CONNECTION_LOST"),
        ({"codes": [TimeoutError()]}, "an error: its code is what classify says of it, TIMEOUT"),
        ({"codes": [UnicodeDecodeError]}, "an error: its code is what classify says of it, in classify(error).code"),
        ({"outcome": "recoverd"}, "got 'recoverd': did you mean 'recovered'?"),
        ({"retries": 2}, "did you mean attempts=, which counts the first call, too?"),
        ({"errors": []}, "did you mean codes=?"),
        ({"delays": []}, "did you mean waits=?"),
        ({"reason": ""}, "did you mean outcome=?"),
    ],
)
def test_what_is_expected_in_other_words_is_answered(clock: VirtualClock, expected: dict[str, Any], said: str) -> None:
    """By the word, code or parameter that it has here."""
    with observe() as events:
        fails(1)()
        with pytest.raises((AssertionError, TypeError, ValueError), match=re.escape(said)):
            events.expect("op", **expected)
