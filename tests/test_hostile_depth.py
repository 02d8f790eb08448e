"""No stack left, no memory, generators closed in the middle, errors in finalizers: the user's own error comes out."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from hostile import raised_by

from retrywrap import RetryExhausted, registry, retry_scope, subscribe, with_retry
from retrywrap.testing import VirtualClock


def _gone(*_: Any) -> None:
    raise ConnectionResetError("gone")


FORMS: dict[str, Callable[[], Any]] = {
    "at once": lambda: with_retry(max=2, interval=0)(_gone),
    "waiting": lambda: with_retry(max=2, interval=1)(_gone),
    "timed": lambda: with_retry(max=2, interval=1, timeout=60)(_gone),
    "unknown": lambda: with_retry(max=2, interval=1)(lambda: _gone()),
    "scope": lambda: lambda: retry_scope(max=2, interval=1).call(_gone),
}


def _at_depth(depth: int, function: Callable[[], Any]) -> Any:
    """Call a function so many frames further down."""
    return function() if depth == 0 else _at_depth(depth - 1, function)


def _frames() -> int:
    frame, count = sys._getframe(), 0
    while frame.f_back is not None:
        frame, count = frame.f_back, count + 1
    return count


@pytest.mark.parametrize("form", FORMS)
def test_near_the_end_of_the_stack_an_error_of_the_users_comes_out(
    clock: VirtualClock, form: str, caplog: pytest.LogCaptureFixture
) -> None:
    """At whatever distance from the limit: the operation's own error, or the RecursionError of who went too deep."""
    function = FORMS[form]()
    raised_by(function)  # nothing is left to be loaded
    seen: set[type] = set()
    room = sys.getrecursionlimit() - _frames()
    for left in range(3, 120):
        error = raised_by(_at_depth, room - left, function)
        seen.add(type(error))
    assert seen <= {ConnectionResetError, RecursionError}
    assert ConnectionResetError in seen
    assert type(raised_by(function)) is ConnectionResetError
    assert not any(record.levelname == "CRITICAL" for record in caplog.records)


def test_a_recursion_of_the_users_is_no_error_of_ours(clock: VirtualClock) -> None:
    """A function that calls itself without end, decorated at every level, lets its RecursionError out."""

    @with_retry(max=3, interval=1)
    def endless(n: int) -> int:
        return endless(n + 1) + 1

    assert type(raised_by(endless, 0)) is RecursionError
    assert clock.waits == []
    assert with_retry(max=1, interval=1)(lambda: 7)() == 7


@pytest.mark.parametrize("interval", [0, 1], ids=["at once", "waiting"])
def test_a_memory_error_of_the_users_comes_out(clock: VirtualClock, interval: int) -> None:
    """It is not retried; it is the object that was raised, and recorded as what it is."""
    error = MemoryError("no room")
    assert raised_by(with_retry(max=3, interval=interval)(_raise), error) is error
    assert registry.stats().rejected == 1
    assert registry.last_error.code.name == "MEMORY_ALLOC"


def _raise(error: BaseException) -> None:
    raise error


def test_a_generator_that_is_closed_in_a_block_ends_it(clock: VirtualClock) -> None:
    """What closes a generator is no failure to retry: the operation has one end, and limits nothing later."""
    entered: list[int] = []

    def pages() -> Iterator[int]:
        for attempt in retry_scope(max=3, interval=1, name="pages"):
            with attempt:
                entered.append(1)
                if len(entered) == 1:
                    raise ConnectionResetError("gone")
                yield 1

    generator = pages()
    next(generator)
    generator.close()
    assert entered == [1, 1]
    assert clock.waits == [1.0]
    assert registry.stats("pages").cancelled == 1
    assert raised_by(with_retry(max=1, interval=1)(_gone)) is not None
    assert clock.waits == [1.0, 1.0]


def test_a_generator_that_is_dropped_in_a_scope_ends_it(clock: VirtualClock) -> None:
    """Also by the garbage collector, in the midst of another operation."""

    def pages() -> Iterator[int]:
        with retry_scope(max=0):
            yield 1

    def operation() -> None:
        next(pages())
        gc.collect()
        raise ConnectionResetError("gone")

    raised_by(with_retry(max=2, interval=1)(operation))
    assert clock.waits == [1.0, 1.0]


def test_an_async_generator_that_is_closed_in_a_block_ends_it(clock: VirtualClock) -> None:
    """The same for asynchronous ones."""
    entered: list[int] = []

    async def pages() -> AsyncIterator[int]:
        async for attempt in retry_scope(max=3, interval=1, name="pages"):
            with attempt:
                entered.append(1)
                if len(entered) == 1:
                    raise ConnectionResetError("gone")
                yield 1

    async def main() -> None:
        generator: Any = pages()
        await anext(generator)
        await generator.aclose()

    asyncio.run(main())
    assert entered == [1, 1]
    assert registry.stats("pages").cancelled == 1


class Finalized:
    """An object whose finalizer fails, in an operation of its own."""

    def __del__(self) -> None:
        with_retry(max=1, interval=0, name="finalizer")(_gone)()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_errors_in_finalizers_reach_nobody_elses_operation(clock: VirtualClock) -> None:
    """A finalizer that fails in the midst of an attempt, of a listener, or of the recording: the outcome stays."""
    unraisable: list[type | None] = []
    hook, sys.unraisablehook = sys.unraisablehook, lambda what: unraisable.append(what.exc_type)
    end = subscribe(lambda event: Finalized() and None)
    try:

        def operation() -> str:
            Finalized()
            if len(unraisable) < 4:
                raise ConnectionResetError("gone")
            return "done"

        assert with_retry(max=9, interval=1, name="outer")(operation)() == "done"
    finally:
        end()
        sys.unraisablehook = hook
    assert set(unraisable) == {ConnectionResetError}
    assert registry.stats("outer").recovered == 1
    assert registry.stats("finalizer").exhausted == len(unraisable)


def test_an_error_whose_finalizer_fails_comes_out(clock: VirtualClock) -> None:
    """An exception object that retries, and fails, when it is freed between two attempts."""
    unraisable: list[type | None] = []

    class Last(ConnectionResetError):
        def __del__(self) -> None:
            raise KeyError("in the finalizer")

    def operation() -> None:
        raise Last("gone")

    hook, sys.unraisablehook = sys.unraisablehook, lambda what: unraisable.append(what.exc_type)
    try:
        assert type(raised_by(with_retry(max=2, interval=1, name="outer")(operation))) is Last
        gc.collect()
    finally:
        sys.unraisablehook = hook
    assert unraisable == [KeyError] * 3
    assert registry.stats("outer").exhausted == 1


def test_a_result_whose_finalizer_fails_is_judged_all_the_same(clock: VirtualClock) -> None:
    """The last one is in the error, and the others are freed with it at the latest."""

    class Result:
        def __del__(self) -> None:
            raise KeyError("in the finalizer")

    unraisable: list[type | None] = []
    hook, sys.unraisablehook = sys.unraisablehook, lambda what: unraisable.append(what.exc_type)
    try:
        error: Any = raised_by(with_retry(max=2, interval=1, results=lambda result: True)(Result))
        assert type(error) is RetryExhausted
        assert type(error.result) is Result
        del error
        gc.collect()
    finally:
        sys.unraisablehook = hook
    assert unraisable == [KeyError] * 3
