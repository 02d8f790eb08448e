"""Blocks that run again, at their edges: who holds the loop, what its limits reach, and what a cut wait lets out."""

from __future__ import annotations

import _thread
import asyncio
import contextvars
import functools
import gc
import operator
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from retrywrap import (
    Registry,
    RetryBudget,
    RetryEvent,
    RetryExhausted,
    registry,
    remaining,
    retry_scope,
    return_codes,
    subscribe,
    with_retry,
)
from retrywrap.errors import DeadlineExceeded, RetryUsageError
from retrywrap.testing import VirtualClock, observe


def left_inside(context: contextvars.Context) -> float | None:
    """Return the seconds that code which was begun inside a block still sees."""
    return context.run(remaining)


class SlowBudget(RetryBudget):
    """Takes a second of the clock when an operation begins."""

    __slots__ = ("clock",)

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self.clock = clock

    def begin(self, now: float) -> None:
        """Let time pass."""
        self.clock.advance(1)


def test_the_deadline_counts_from_the_start_however_slow_the_budget_is(clock: VirtualClock) -> None:
    """What the budget takes is part of the time."""
    for attempt in retry_scope(timeout=60, budget=SlowBudget(clock)):
        with attempt:
            assert attempt.remaining() == 59


def test_a_block_in_another_context_stands_under_the_entered_scope(clock: VirtualClock) -> None:
    """A loop over a scope that was entered elsewhere limits what runs inside, as there."""
    seen: list[float | None] = []

    def work() -> None:
        for attempt in scope:
            with attempt:
                seen.append(remaining())
        seen.append(remaining())

    with retry_scope(timeout=60) as scope:
        contextvars.Context().run(work)
    assert seen == [60.0, None]


def test_a_block_in_another_context_draws_from_the_entered_scope(clock: VirtualClock) -> None:
    """What others have used up there is used up for the loop as well."""
    outcomes: list[Exception] = [ConnectionResetError("first")]
    rounds: list[int] = []

    @with_retry(max=1, interval=0)
    def once() -> None:
        if outcomes:
            raise outcomes.pop()

    def work() -> None:
        for attempt in scope:
            with attempt:
                rounds.append(attempt.number)
                raise ConnectionResetError("gone")

    with retry_scope(max=1, interval=0) as scope:
        once()
        with pytest.raises(ConnectionResetError):
            contextvars.Context().run(work)
    assert rounds == [1]


def test_what_was_begun_in_a_block_is_not_limited_after_it(clock: VirtualClock) -> None:
    """Neither after success nor after the last failure, though somebody holds the loop's iterator."""
    for error in (None, ConnectionResetError("gone")):
        attempts = iter(retry_scope(timeout=60, max=0))
        with suppress(ConnectionResetError), next(attempts):
            context = contextvars.copy_context()
            assert left_inside(context) == 60
            if error is not None:
                raise error
        assert left_inside(context) is None
        del attempts


def test_what_was_begun_in_an_async_block_is_not_limited_after_it(clock: VirtualClock) -> None:
    """The same for its async twin."""

    async def main() -> None:
        for error in (None, ConnectionResetError("gone")):
            attempts = aiter(retry_scope(timeout=60, max=0))
            with suppress(ConnectionResetError):
                async with await anext(attempts):
                    context = contextvars.copy_context()
                    assert left_inside(context) == 60
                    if error is not None:
                        raise error
            assert left_inside(context) is None
            del attempts

    asyncio.run(main())


def test_a_loop_that_is_left_between_attempts_limits_nothing_any_more(clock: VirtualClock) -> None:
    """By break, after a failure that would be retried: the operation ends as cancelled, and its deadline with it."""
    with observe() as events:
        for attempt in retry_scope(timeout=60, name="left"):
            with attempt:
                context = contextvars.copy_context()
                raise ConnectionResetError("gone")
            break
    assert left_inside(context) is None
    assert [event.name for event in events] == ["retry.scheduled", "retry.cancelled"]


def test_an_attempt_of_a_loop_that_is_over_cannot_be_entered() -> None:
    """Its iterator has gone."""
    for attempt in retry_scope():  # noqa: B007 - used when it is over
        break
    with pytest.raises(RetryUsageError, match="entered once, inside its loop"), attempt:
        raise AssertionError("it was entered")


def test_with_gives_the_attempt(clock: VirtualClock) -> None:
    """``as`` names the same object in each form."""
    for attempt in retry_scope():
        with attempt as entered:
            assert entered is attempt

    async def main() -> None:
        async for attempt in retry_scope():
            async with attempt as entered:
                assert entered is attempt
        async for attempt in retry_scope():
            with attempt as entered:
                assert entered is attempt

    asyncio.run(main())


def test_the_mistake_is_named(clock: VirtualClock) -> None:
    """An attempt that was not entered, and one that was entered at the wrong time, are told apart."""
    with pytest.raises(RetryUsageError, match="the attempt was not entered"):
        for _ in retry_scope():
            pass
    for attempt in retry_scope():
        with attempt, pytest.raises(RetryUsageError, match="an attempt is entered once"), attempt:
            pass


def test_the_way_out_of_a_mistake_is_one(clock: VirtualClock) -> None:
    """What is to be written instead is a loop of the same kind."""

    async def main() -> None:
        async for _ in retry_scope():
            pass

    with pytest.raises(RetryUsageError, match=r"write: async for attempt in retry_scope\(…\): async with attempt: …$"):
        asyncio.run(main())
    with pytest.raises(RetryUsageError, match=r"write: for attempt in retry_scope\(…\): with attempt: …$"):
        for _ in retry_scope():
            pass
    with (
        pytest.raises(RetryUsageError, match=r"write the loop: for attempt in retry_scope\(…\): with attempt: …$"),
        retry_scope() as scope,
        scope,
    ):
        pass


def test_asking_too_early_leaves_the_running_attempt_its_limits(clock: VirtualClock) -> None:
    """The mistake ends no block that is running."""

    async def main() -> None:
        attempts = aiter(retry_scope(timeout=60))
        async with await anext(attempts):
            with pytest.raises(RetryUsageError):
                await anext(attempts)
            assert remaining() == 60

    asyncio.run(main())


@pytest.mark.parametrize("waits", [False, True])
def test_a_loop_that_goes_away_while_a_retry_runs_ends_nothing(clock: VirtualClock, waits: bool) -> None:
    """The retry's own outcome does."""

    async def main() -> None:
        loop: Any = aiter(retry_scope(max=1, interval=0))
        with await anext(loop):
            raise ConnectionResetError("first")
        with await anext(loop):
            del loop
            gc.collect()
            raise ConnectionResetError("second")

    def plain() -> None:
        loop: Any = iter(retry_scope(max=1, interval=0))
        with next(loop):
            raise ConnectionResetError("first")
        with next(loop):
            del loop
            gc.collect()
            raise ConnectionResetError("second")

    with observe() as events, pytest.raises(ConnectionResetError, match="second"):
        asyncio.run(main()) if waits else plain()
    assert [event.name for event in events] == ["retry.scheduled", "retry.exhausted"]


def test_ctrl_c_while_a_result_is_judged_ends_the_block(clock: VirtualClock) -> None:
    """Where a retry was under way, that is told once."""
    answers = [False, KeyboardInterrupt()]

    def judge(_: object) -> bool:
        answer = answers.pop(0)
        if isinstance(answer, KeyboardInterrupt):
            raise answer
        return answer

    with observe() as events, pytest.raises(KeyboardInterrupt):
        for attempt in retry_scope(results=lambda value: return_codes(-6) if judge(value) is False else None):
            with attempt:
                pass
    assert [event.name for event in events] == ["retry.scheduled", "retry.cancelled"]


def run_block(scope: Any, body: Callable[[Any], None], *, waits: bool) -> None:
    """Run a block of a loop over a scope: the async one where it waits, else the sync one."""

    async def main() -> None:
        async for attempt in scope:
            with attempt:
                body(attempt)

    if waits:
        asyncio.run(main())
        return
    for attempt in scope:
        with attempt:
            body(attempt)


def lose_the_connection(_: object) -> None:
    """Fail with what is retried."""
    raise ConnectionResetError("the block's")


@pytest.mark.parametrize("waits", [False, True])
def test_ctrl_c_in_before_retry_is_an_attempts(clock: VirtualClock, waits: bool) -> None:
    """The retry that it was to prepare counts as ended."""

    def hook(_: object) -> None:
        raise KeyboardInterrupt

    with observe() as events, pytest.raises(KeyboardInterrupt):
        run_block(retry_scope(interval=0, before_retry=hook), lose_the_connection, waits=waits)
    assert [(event.name, event.attempt) for event in events] == [("retry.scheduled", 1), ("retry.cancelled", 2)]
    assert registry.retry_count == 1


def cancelling(scope: Any, after: int) -> Callable[[], None]:
    """Cancel a scope when so many retries were scheduled; return what ends that."""
    told: list[RetryEvent] = []

    def listen(event: RetryEvent) -> None:
        told.append(event)
        if event.wait is not None and len(told) == after:
            scope.cancel()

    return subscribe(listen)


@pytest.mark.parametrize("waits", [False, True])
def test_the_error_of_before_retry_comes_out_of_a_cut_wait(clock: VirtualClock, waits: bool) -> None:
    """It is the last error, and itself."""

    def hook(_: object) -> None:
        raise TimeoutError("the hook's")

    scope = retry_scope(before_retry=hook)
    end = cancelling(scope, after=2)
    try:
        with pytest.raises(TimeoutError, match="the hook's"):
            run_block(scope, lose_the_connection, waits=waits)
    finally:
        end()


@pytest.mark.parametrize("waits", [False, True])
def test_the_result_comes_out_of_a_cut_wait(clock: VirtualClock, waits: bool) -> None:
    """As that of the error that says so."""
    scope = retry_scope(results=return_codes)
    end = cancelling(scope, after=1)
    try:
        with pytest.raises(RetryExhausted) as caught:
            run_block(scope, lambda attempt: attempt.set_result(-6), waits=waits)
    finally:
        end()
    assert caught.value.result == -6


def test_each_async_attempt_has_its_own_result(clock: VirtualClock) -> None:
    """One that sets none is not judged by that of the attempt before."""
    numbers = []

    async def main() -> None:
        async for attempt in retry_scope(results=return_codes):
            with attempt:
                numbers.append(attempt.number)
                if attempt.number == 1:
                    attempt.set_result(-6)

    asyncio.run(main())
    assert numbers == [1, 2]


def test_nothing_after_an_async_block_runs_when_it_has_failed_for_good(clock: VirtualClock) -> None:
    """The last error comes out of the block itself."""
    after = []

    async def main() -> None:
        async for attempt in retry_scope(max=1):
            with attempt:
                raise ConnectionResetError("gone")
            after.append(attempt.number)

    with pytest.raises(ConnectionResetError):
        asyncio.run(main())
    assert after == [1]


class Mine(ConnectionResetError):
    """An error that can be referred to weakly."""


@pytest.mark.parametrize("cut", [False, True])
def test_an_error_that_came_out_of_an_async_block_is_in_no_cycle(clock: VirtualClock, cut: bool) -> None:
    """It goes with its last reference."""
    scope = retry_scope(max=1)
    references: list[weakref.ref[Mine]] = []

    async def main() -> None:
        async for attempt in scope:
            with attempt:
                error = Mine("gone")
                references.append(weakref.ref(error))
                try:
                    raise error
                finally:
                    del error

    async def look() -> list[object]:
        with suppress(Mine):
            await main()
        return [reference() for reference in references]

    end = cancelling(scope, after=1) if cut else lambda: None
    gc.collect()
    gc.disable()
    try:
        assert asyncio.run(look()) == [None] * (1 if cut else 2)
    finally:
        gc.enable()
        end()


# --- what left a plain with block


def test_an_error_that_was_given_up_before_the_scope_is_news_to_it(clock: VirtualClock) -> None:
    """Raised again inside, it would have been retried, and is told how."""
    error = ConnectionResetError("again")

    def old() -> None:
        raise error

    with pytest.raises(ConnectionResetError):
        with_retry(max=1)(old)()
    with pytest.raises(ConnectionResetError) as caught, retry_scope():
        raise error
    assert ["exhausted" in caught.value.__notes__[0], "with block" in caught.value.__notes__[1]] == [True, True]


def test_the_way_to_retry_is_told_once(clock: VirtualClock) -> None:
    """However many scopes the error leaves; in async blocks, too; where the scope's time is long enough."""
    with pytest.raises(ConnectionResetError) as caught, retry_scope(name="a"), retry_scope(max=3):
        raise ConnectionResetError("gone")
    assert len(caught.value.__notes__) == 1

    async def main() -> None:
        async with retry_scope(timeout=0.5, interval=0):
            raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError) as acaught:
        asyncio.run(main())
    assert "for attempt in retry_scope" in acaught.value.__notes__[0]


def test_whoever_retried_inside_needs_no_advice(clock: VirtualClock) -> None:
    """Something inside the scope failed and was retried: the author knows how."""
    failures = [ConnectionResetError("first")]

    @with_retry
    def work() -> None:
        if failures:
            raise failures.pop()

    with pytest.raises(ConnectionResetError) as caught, retry_scope():
        work()
        raise ConnectionResetError("plain")
    assert not hasattr(caught.value, "__notes__")


def test_the_advice_costs_no_budget(clock: VirtualClock) -> None:
    """To find out whether it would have been retried draws nothing."""
    budget = RetryBudget()
    with pytest.raises(ConnectionResetError), retry_scope(budget=budget):
        raise ConnectionResetError("plain")
    assert budget.available == 500


def test_a_scopes_budget_that_fails_is_named(clock: VirtualClock, caplog: pytest.LogCaptureFixture) -> None:
    """When the scope is entered."""

    class Broken(RetryBudget):
        """Cannot begin."""

        def begin(self, now: float) -> None:
            """Fail."""
            raise RuntimeError("broken")

    with retry_scope(budget=Broken(capacity=99)):
        pass
    assert "capacity=99" in caplog.text


def test_a_function_that_must_be_awaited_is_named() -> None:
    """In the message of the call that cannot await it."""

    async def fetch() -> None:
        """Do nothing."""

    with pytest.raises(TypeError, match=r"fetch.* is a coroutine function; write: await scope\.acall"):
        retry_scope().call(fetch)


def test_what_was_begun_in_a_call_is_not_limited_after_it(clock: VirtualClock) -> None:
    """Neither by call nor by acall."""

    async def here() -> contextvars.Context:
        return contextvars.copy_context()

    contexts = [
        retry_scope(timeout=60).call(contextvars.copy_context),
        asyncio.run(retry_scope(timeout=60).acall(here)),
    ]
    assert [left_inside(context) for context in contexts] == [None, None]


def test_a_scope_awaits_whatever_can_be_awaited(clock: VirtualClock) -> None:
    """And names what cannot be, as well as the function that returned it."""

    async def fetch(page: int) -> str:
        return f"page {page} of {remaining()} s"

    def plain(page: int) -> Any:
        return fetch(page)

    def wrong(page: int) -> Any:
        return page

    async def main() -> None:
        scope = retry_scope(timeout=60)
        assert [await scope.acall(each, 1) for each in (fetch, plain)] == ["page 1 of 60.0 s"] * 2
        assert remaining() is None
        with pytest.raises(TypeError, match=r"wrong returned 1\b"):
            await scope.acall(wrong, 1)  # type: ignore[arg-type]  # the mistake that is tried
        assert remaining() is None

    asyncio.run(main())


def test_a_call_at_the_very_end_of_the_time_is_made(clock: VirtualClock) -> None:
    """One that comes later is not, and the message says why."""
    with retry_scope(timeout=60, name="job") as scope:
        clock.advance(60)
        assert scope.call(len, [1]) == 1
        clock.advance(0.5)
        with pytest.raises(DeadlineExceeded) as caught:
            scope.call(len, [1])
    assert str(caught.value) == "the time of the scope job was over before <built-in function len> was called"


def test_a_scope_knows_fractions_of_a_second(clock: VirtualClock) -> None:
    """What is left is neither rounded nor negative."""
    with retry_scope(timeout=1) as scope:
        clock.advance(0.75)
        assert scope.remaining() == 0.25
        clock.advance(1)
        assert scope.remaining() == 0


def test_what_is_carried_is_called_as_it_was_given(clock: VirtualClock) -> None:
    """With its arguments, inside the scope, sync and async; and whatever comes of it, the caller's limits are back."""

    def work(*arguments: Any, **named: Any) -> Any:
        if not arguments:
            raise LookupError("no arguments")
        return arguments, named, remaining()

    async def awork(*arguments: Any, **named: Any) -> Any:
        return work(*arguments, **named)

    async def main(carried: Any) -> Any:
        with pytest.raises(LookupError):
            await carried()
        assert remaining() is None
        result = await carried(1, a=2)
        assert remaining() is None
        return result

    def outside() -> None:
        with pytest.raises(LookupError):
            carried()
        assert remaining() is None
        assert carried(1, a=2) == ((1,), {"a": 2}, 60.0)
        assert remaining() is None
        assert asyncio.run(main(acarried)) == ((1,), {"a": 2}, 60.0)

    with retry_scope(timeout=60) as scope:
        carried, acarried = scope.carry(work), scope.carry(awork)
        contextvars.Context().run(outside)
    assert (carried.__name__, acarried.__name__) == ("work", "awork")


def first_user(scope: Any) -> str:
    """Ask a scope for its name; the first to do so gives it."""
    return scope.name


def second_user(scope: Any) -> str:
    """The same."""
    return scope.name


def test_a_scope_is_named_once_after_its_first_user() -> None:
    """The module and the qualified name of the function; where there is none, a question mark."""
    scope = retry_scope()
    assert first_user(scope) == second_user(scope) == "retry_scope in test_blocks.first_user"
    assert second_user(retry_scope()) == "retry_scope in test_blocks.second_user"


def test_a_scope_that_no_python_code_uses_has_no_users_name() -> None:
    """As in a thread that runs builtin functions alone."""
    scope, ended = retry_scope(), threading.Event()
    steps = [functools.partial(getattr, scope, "name"), ended.set]
    _thread.start_new_thread(list, (map(operator.call, steps),))
    assert ended.wait(10)
    assert scope.name == "retry_scope in ?"


def test_scopes_that_are_written_alike_are_recorded_apart(clock: VirtualClock) -> None:
    """Under the names of the functions that use them."""

    def one() -> None:
        for attempt in retry_scope(max=1, interval=0):
            with attempt:
                raise ConnectionResetError("one")

    def two() -> None:
        for attempt in retry_scope(max=1, interval=0):
            with attempt:
                raise ConnectionResetError("two")

    for each in (one, two, one):
        with pytest.raises(ConnectionResetError):
            each()
    prefix = "retry_scope in test_blocks.test_scopes_that_are_written_alike_are_recorded_apart.<locals>."
    counts = {name: registry.stats(name).errors for name in registry.operations}
    assert {name: count for name, count in counts.items() if count} == {prefix + "one": 4, prefix + "two": 2}


def test_a_scope_has_the_counts_of_each_operation_inside(clock: VirtualClock) -> None:
    """By name, and of all."""

    def fail() -> None:
        raise ConnectionResetError("gone")

    with retry_scope() as scope:
        for name, times in (("a", 1), ("b", 2)):
            with pytest.raises(ConnectionResetError):
                with_retry(max=times, name=name)(fail)()
    assert [scope.stats("a").errors, scope.stats("b").errors, scope.stats().errors] == [2, 3, 5]


def test_a_parameter_that_a_scope_does_not_know_is_named() -> None:
    """With the function that was called."""
    with pytest.raises(TypeError, match=r"^retry_scope\(\) .*'tries'"):
        retry_scope(tries=3)  # type: ignore[call-arg]  # the mistake that is tried


class Halt(BaseException):
    """What is no Exception."""


def test_a_hook_that_is_interrupted_ends_the_limits_at_once(clock: VirtualClock) -> None:
    """Though whoever keeps the error keeps the loop as well."""
    inside: list[contextvars.Context] = []

    def hook(_: object) -> None:
        raise Halt

    async def main() -> None:
        async for attempt in retry_scope(timeout=60, interval=0, before_retry=hook):
            with attempt:
                inside.append(contextvars.copy_context())
                raise ConnectionResetError("gone")

    with pytest.raises(Halt) as kept:
        main().send(None)
    assert left_inside(inside[0]) is None
    assert kept.value.__traceback__ is not None


def test_scopes_keep_nothing_of_the_application_alive() -> None:
    """The specs of scopes that are written alike are shared, but where an object was given."""
    mine = Registry()
    reference = weakref.ref(mine)
    assert retry_scope(registry=mine).policy.max == 10
    del mine
    gc.collect()
    assert reference() is None
