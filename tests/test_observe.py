"""What operations did: gathered by operation, and expectations that say what came instead."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from retrywrap import ErrorCode, Registry, StopReason, registry, with_retry
from retrywrap.run import inventory
from retrywrap.testing import Observed, VirtualClock, isolated_registry, observe

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
    assert [(each.attempts, each.outcome) for each in events.of("op")] == [
        (3, StopReason.RECOVERED),
        (2, StopReason.RECOVERED),
        (2, StopReason.RECOVERED),
    ]


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
