"""`retry_scope` in all its forms: an allowance, a recorder, calls, blocks, async twins, threads."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import trio

import retrywrap
from retrywrap import (
    ErrorCode,
    RetryBudget,
    RetryExhausted,
    RetryPolicy,
    StopReason,
    configure,
    registry,
    remaining,
    retry_scope,
    return_codes,
    subscribe,
    with_retry,
)
from retrywrap.errors import ConfigurationError, DeadlineExceeded, RetryUsageError
from retrywrap.reports import forget
from retrywrap.run import spec
from retrywrap.testing import VirtualClock


def failing(times: int) -> Callable[[], str]:
    """Return a function that fails so many times, and counts its calls in ``calls``."""

    def function() -> str:
        function.calls += 1
        if function.calls <= times:
            raise ConnectionResetError("gone")
        return "ok"

    function.calls = 0
    return function


def afailing(times: int) -> Any:
    """The same as a coroutine function."""
    inner = failing(times)

    async def function() -> str:
        return inner()

    return function


# --- the allowance


def test_all_retries_inside_draw_from_one_allowance(clock: VirtualClock) -> None:
    """Two operations with retries of their own share what the scope allows."""
    with pytest.raises(ConnectionResetError) as caught, retry_scope(max=3, name="job") as scope:
        assert with_retry(max=5)(failing(2))() == "ok"
        with_retry(max=5)(failing(9))()
    assert "the scope job has no retries left of max=3" in caught.value.__notes__[0]
    assert scope.retry_count == 3
    assert clock.waits == [5.0] * 3


def test_a_scope_only_ever_limits(clock: VirtualClock) -> None:
    """A generous scope does not give a function more retries than its own policy has."""
    function = failing(9)
    with pytest.raises(ConnectionResetError), retry_scope(max=100):
        with_retry(max=1)(function)()
    assert function.calls == 2


def test_nested_scopes_limit_by_minimum(clock: VirtualClock) -> None:
    """The inner scope cannot give what the outer one has not, nor the other way round."""
    for outer, inner in ((2, 9), (9, 2)):
        function = failing(99)
        with pytest.raises(ConnectionResetError), retry_scope(max=outer), retry_scope(max=inner):
            with_retry(function)()
        assert function.calls == 3


def test_a_scopes_deadline_ends_what_runs_inside(clock: VirtualClock) -> None:
    """No wait inside is begun that ends after the scope's time."""
    with pytest.raises(ConnectionResetError) as caught, retry_scope(timeout=12) as scope:
        assert scope.remaining() == 12.0
        assert remaining() == 12.0
        with_retry(failing(99))()
    assert clock.waits == [5.0, 5.0]
    assert "timed out" in caught.value.__notes__[0]
    assert scope.remaining() is None


def test_a_scopes_budget_is_drawn_from(clock: VirtualClock) -> None:
    """The scope's budget pays for retries inside, beside the operation's own."""
    budget = RetryBudget(capacity=30)
    with pytest.raises(ConnectionResetError), retry_scope(budget=budget):
        with_retry(failing(99))()
    assert len(clock.waits) == 2


def test_a_scope_records_what_happens_inside_and_only_that(clock: VirtualClock) -> None:
    """Errors, retries and the last error of the scope; the registry has them as well."""
    with_retry(failing(1))()
    with retry_scope() as scope:
        assert not scope.last_error
        with_retry(name="inside")(failing(2))()
    with_retry(failing(1))()
    assert (scope.error_count, scope.retry_count) == (2, 2)
    assert scope.by_code == {ErrorCode.CONNECTION_LOST: 2}
    assert scope.last_error.operation == "inside"
    assert [record.attempt for record in scope.errors] == [1, 2]
    assert scope.stats("inside").recovered == scope.stats().recovered == 1
    assert registry.error_count == 4


def test_a_scope_can_be_used_again_with_a_fresh_allowance(clock: VirtualClock) -> None:
    """Each with block begins with all retries and all the time."""
    scope = retry_scope(max=1, timeout=6)
    for _ in range(2):
        with scope:
            assert with_retry(failing(1))() == "ok"
            assert scope.remaining() == 1.0


def test_a_scope_is_entered_once_at_a_time() -> None:
    """Entering it inside itself is refused."""
    scope = retry_scope()
    with scope, pytest.raises(RetryUsageError, match="entered already"), scope:
        pass


def test_cancel_before_use_holds(clock: VirtualClock) -> None:
    """A scope that was cancelled lets nothing be retried, whenever it is entered."""
    scope = retry_scope()
    scope.cancel()
    assert scope.cancelled
    function = failing(9)
    with pytest.raises(ConnectionResetError), scope:
        with_retry(function)()
    assert function.calls == 1


def test_an_error_of_a_plain_block_says_how_to_retry_it(clock: VirtualClock) -> None:
    """Where an error that another form would have retried leaves it, a note says what to write instead."""
    for parameters in ({}, {"on": ConnectionError}, {"before_retry": failing(0), "budget": RetryBudget()}):
        with pytest.raises(ConnectionResetError, match="plain") as caught, retry_scope(**parameters):
            raise ConnectionResetError("plain")
        assert "for attempt in retry_scope" in caught.value.__notes__[0]
    for error in (ValueError("mine"), RetryUsageError("misused")):
        with pytest.raises(type(error)) as not_retryable, retry_scope(on=RetryUsageError):
            raise error
        assert not hasattr(not_retryable.value, "__notes__")
    with pytest.raises(ConnectionResetError) as lost, retry_scope(max=1):
        with_retry(failing(9))()
    assert len(lost.value.__notes__) == 1
    with pytest.raises(ConnectionResetError, match="call") as called, retry_scope() as scope:
        scope.call(lambda: None)
        raise ConnectionResetError("call")
    assert not hasattr(called.value, "__notes__")


def test_a_scope_is_no_decorator() -> None:
    """Who writes @retry_scope(…) hears what to write instead."""
    with pytest.raises(TypeError, match="write @with_retry"):
        retry_scope(max=2)(failing(1))


def run_asyncio(function: Any) -> None:
    asyncio.run(function())


@pytest.mark.parametrize("run", [run_asyncio, trio.run], ids=["asyncio", "trio"])
def test_an_async_block_has_its_attempts_limited(clock: VirtualClock, run: Any) -> None:
    """attempt_timeout= cancels what the block awaits; that attempt failed, and the next one follows."""

    async def recovers() -> None:
        async for attempt in retry_scope(max=3, interval=1, attempt_timeout=0.02):
            async with attempt:
                if attempt.number < 3:
                    await (trio.sleep_forever() if run is trio.run else asyncio.Event().wait())

    async def gives_up() -> None:
        async for attempt in retry_scope(max=1, interval=1, timeout=50, attempt_timeout=0.02):
            async with attempt:
                await (trio.sleep_forever() if run is trio.run else asyncio.Event().wait())

    async def fails() -> None:
        async for attempt in retry_scope(max=1, interval=1, attempt_timeout=20):
            async with attempt:
                raise TimeoutError("the block's own")

    run(recovers)
    assert clock.waits == [1.0, 1.0]
    assert registry.stats().recovered == 1
    with pytest.raises(TimeoutError, match=r"the attempt took longer than 0\.02 s") as caught:
        run(gives_up)
    assert "exhausted after 2 attempts" in caught.value.__notes__[0]
    with pytest.raises(TimeoutError, match="the block's own"):
        run(fails)


def test_a_block_that_cannot_be_limited_is_refused() -> None:
    """attempt_timeout= is never ignored: a sync block, and a plain ``with`` in an async loop, are refused."""
    with pytest.raises(RetryUsageError, match="attempt_timeout needs async for"):
        for _ in retry_scope(attempt_timeout=1):
            pass

    async def main() -> None:
        async for attempt in retry_scope(attempt_timeout=1):
            with attempt:
                pass

    with pytest.raises(RetryUsageError, match="attempt_timeout needs async with attempt"):
        asyncio.run(main())


def test_a_wait_that_blocks_an_event_loop_is_said_once(clock: VirtualClock, caplog: pytest.LogCaptureFixture) -> None:
    """A sync function in a coroutine waits in the loop's thread; outside of one, nothing is said."""
    with_retry(failing(1))()
    assert "event loop" not in caplog.text

    async def main() -> None:
        for _ in range(2):
            with_retry(name="sync")(failing(1))()
        with retry_scope() as scope:
            scope.call(failing(1))

    asyncio.run(main())
    assert caplog.text.count("sync is no coroutine function, and waits 5 s in the thread of a running event loop") == 1
    assert caplog.text.count("event loop") == 1
    forget()
    trio.run(main)
    assert caplog.text.count("event loop") == 2


def test_the_name_is_the_users_function_or_the_given_one(clock: VirtualClock) -> None:
    """A scope is recorded as name=, else as the function that wrote it."""
    assert retry_scope(name="mine").name == "mine"
    assert "test_the_name_is_the_users_function_or_the_given_one" in retry_scope().name
    with pytest.raises(TypeError, match="name must be a str"):
        retry_scope(name=3)


def test_a_scope_is_shown_with_its_policy() -> None:
    """repr() tells name and policy."""
    assert repr(retry_scope(max=3, name="s")) == "<retry_scope s: RetryPolicy(max=3)>"


def test_a_named_policy_serves_a_scope(clock: VirtualClock) -> None:
    """policy= by name is looked up where the scope is used; an unknown name is refused before anything runs."""
    configure(policies={"quick": {"max": 1, "interval": 2}})
    with pytest.raises(ConnectionResetError):
        retry_scope(policy="quick").call(failing(9))
    assert clock.waits == [2.0]
    with pytest.raises(ConfigurationError, match=r"policy 'quik' is not defined \(defined: .*quick"):
        retry_scope(policy="quik").call(failing(9))


def test_a_policy_object_serves_a_scope(clock: VirtualClock) -> None:
    """policy= takes a RetryPolicy; arguments beside it win."""
    policy = RetryPolicy(max=2, interval=3)
    with pytest.raises(ConnectionResetError):
        retry_scope(policy=policy, max=1).call(failing(9))
    assert clock.waits == [3.0]


# --- call and acall


def test_call_retries_a_plain_function_with_its_arguments(clock: VirtualClock) -> None:
    """Inside and outside of with, by the scope's own policy."""
    function = failing(2)

    def work(a: int, *, b: int) -> int:
        function()
        return a + b

    assert retry_scope(max=2, interval=1).call(work, 1, b=2) == 3
    function.calls = 0
    with retry_scope(max=2, interval=1) as scope:
        assert scope.call(work, 3, b=4) == 7
    assert scope.retry_count == 2
    assert clock.waits == [1.0] * 4
    assert "work" in scope.last_error.operation


def test_call_refuses_a_coroutine_function() -> None:
    """The message names acall."""
    with pytest.raises(TypeError, match=r"await scope\.acall"):
        retry_scope().call(afailing(0))


def test_calls_share_the_scopes_retries(clock: VirtualClock) -> None:
    """Inside with, several calls draw from one allowance; outside, each has its own."""
    scope = retry_scope(max=2, interval=0)
    for _ in range(3):
        scope.call(failing(2))
    with pytest.raises(ConnectionResetError), scope:
        scope.call(failing(2))
        scope.call(failing(1))


def test_a_call_after_the_scopes_time_is_not_made(clock: VirtualClock) -> None:
    """No attempt starts after the deadline; there is no error to let out, so one says so."""
    function = failing(0)
    with pytest.raises(DeadlineExceeded, match="was over before") as caught, retry_scope(timeout=5) as scope:
        clock.advance(6)
        scope.call(function)
    assert isinstance(caught.value, TimeoutError)
    assert function.calls == 0


def test_acall_retries_a_coroutine_function(clock: VirtualClock) -> None:
    """await scope.acall, and functions that return awaitables."""

    work = afailing(2)

    async def main() -> list[str]:
        async with retry_scope(max=4, interval=1) as scope:
            return [await scope.acall(afailing(2)), await scope.acall(lambda: work())]

    assert asyncio.run(main()) == ["ok", "ok"]
    assert clock.waits == [1.0] * 4


def test_a_bad_result_is_raised_in_the_end(clock: VirtualClock) -> None:
    """results= retries returned values; what is still bad at the end comes as RetryExhausted with the value."""
    with pytest.raises(RetryExhausted) as caught:
        retry_scope(max=2, results=return_codes).call(lambda: -6)
    assert caught.value.result == -6
    assert caught.value.attempts == 3
    values = iter([-6, -7, 0])
    assert retry_scope(results=return_codes).call(lambda: next(values)) == 0
    avalues = iter([-6, 0])

    async def work() -> int:
        return next(avalues)

    assert asyncio.run(retry_scope(results=return_codes).acall(work)) == 0


def test_a_bad_result_that_is_not_retryable_is_raised_at_once(clock: VirtualClock) -> None:
    """A failure is never returned as if it were a result."""
    with pytest.raises(RetryExhausted, match="INVALID_PARAM is not retryable"):
        with_retry(results=return_codes)(lambda: -1)()
    assert clock.waits == []


def test_an_unknown_verdict_on_a_result_is_a_failure(clock: VirtualClock) -> None:
    """What results= calls UNKNOWN is a failure, too, even where a chain's own "unknown" verdict says so."""
    unknown = retrywrap.classify(RuntimeError("?"))
    assert unknown.rule == "unknown"
    for answer in (unknown, retrywrap.ErrorCode.UNKNOWN, retrywrap.Verdict.of(-42)):
        with pytest.raises(RetryExhausted, match=r"UNKNOWN is not retryable .*; results= decides that"):
            with_retry(results=lambda _, answer=answer: answer)(lambda: 1)()


def test_a_wait_for_a_result_that_is_cut_short_raises(clock: VirtualClock) -> None:
    """Where there is no exception to let out, RetryExhausted carries the last value."""
    scope = retry_scope(results=return_codes)
    end = subscribe(lambda event: scope.cancel())
    try:
        with pytest.raises(RetryExhausted) as caught:
            scope.call(lambda: -6)
    finally:
        end()
    assert (caught.value.reason, caught.value.result) == ("cancelled", -6)


# --- blocks


def test_a_block_runs_again_until_it_succeeds(clock: VirtualClock) -> None:
    """for attempt in …: with attempt: the block runs until it raises nothing."""
    numbers = []
    function = failing(2)
    for attempt in retry_scope(max=3, interval=1):
        with attempt:
            numbers.append(attempt.number)
            function()
    assert numbers == [1, 2, 3]
    assert clock.waits == [1.0, 1.0]


def test_a_block_lets_the_last_error_out(clock: VirtualClock) -> None:
    """After the last retry the block's own exception comes out, with its note, straight from its line."""
    with pytest.raises(ConnectionResetError) as caught:
        for attempt in retry_scope(max=1):
            with attempt:
                raise ConnectionResetError("mine")
    assert "exhausted after 2 attempts" in caught.value.__notes__[0]
    assert caught.value.__context__ is None


def test_leaving_a_block_early_is_success(clock: VirtualClock) -> None:
    """return, break and continue inside the block leave it like any with block."""

    def early() -> str:
        for attempt in retry_scope():
            with attempt:
                return "returned"
        raise AssertionError("unreachable")

    assert early() == "returned"
    for attempt in retry_scope():
        with attempt:
            break
    rounds = 0
    for attempt in retry_scope():
        rounds += 1
        with attempt:
            continue
    assert rounds == 1


def test_a_forgotten_with_is_an_error_and_no_endless_loop() -> None:
    """The second round of a loop whose attempt was never entered raises."""
    rounds = 0
    with pytest.raises(RetryUsageError, match="with attempt:"):
        for _ in retry_scope():
            rounds += 1
    assert rounds == 1

    async def main() -> None:
        async for _ in retry_scope():
            pass

    with pytest.raises(RetryUsageError, match="with attempt:"):
        asyncio.run(main())


def test_an_attempt_is_entered_once() -> None:
    """Entering it twice, inside itself or after its end, is refused."""
    for attempt in retry_scope():
        with attempt, pytest.raises(RetryUsageError, match="entered once"), attempt:
            pass
    with pytest.raises(RetryUsageError), attempt:
        pass

    async def main() -> None:
        async for one in retry_scope():
            async with one:
                with pytest.raises(RetryUsageError), one:
                    pass

    asyncio.run(main())


def test_asking_for_the_next_attempt_inside_the_block_is_refused() -> None:
    """next() on the loop's iterator while the block runs is a mistake."""
    attempts = iter(retry_scope())
    with next(attempts), pytest.raises(RetryUsageError):
        next(attempts)


def test_a_plain_for_in_a_running_loop_is_refused() -> None:
    """It would block the event loop: asyncio's and trio's."""

    async def main() -> None:
        with pytest.raises(RetryUsageError, match="async for"):
            for _ in retry_scope():
                pass

    asyncio.run(main())
    trio.run(main)


def test_set_result_is_judged_at_the_end_of_the_block(clock: VirtualClock) -> None:
    """attempt.set_result() lets results= judge a block."""
    values = iter([-6, -7, 0])
    for attempt in retry_scope(results=return_codes):
        with attempt:
            attempt.set_result(next(values))
    assert len(clock.waits) == 2
    with pytest.raises(RetryExhausted) as caught:
        for attempt in retry_scope(max=1, results=return_codes):
            with attempt:
                attempt.set_result(-6)
    assert caught.value.result == -6


def test_a_blocks_deadline_is_seen_inside(clock: VirtualClock) -> None:
    """attempt.remaining() and remaining() count down the block's timeout, which ends its retries."""
    seen = []
    with pytest.raises(ConnectionResetError):
        for attempt in retry_scope(timeout=12):
            with attempt:
                seen.append((attempt.remaining(), remaining()))
                raise ConnectionResetError("gone")
    assert seen == [(12.0, 12.0), (7.0, 7.0), (2.0, 2.0)]
    assert remaining() is None


def test_a_block_draws_from_its_budget(clock: VirtualClock) -> None:
    """Budget: a first success refunds one, a retry pays its price."""
    budget = RetryBudget()
    function = failing(1)
    for attempt in retry_scope(budget=budget):
        with attempt:
            function()
            raise_twice = function.calls < 2
            assert not raise_twice
    assert budget.available == 500
    budget.withdraw(0.0, False)
    for attempt in retry_scope(budget=budget):
        with attempt:
            pass
    assert budget.available == 487


def test_a_block_inside_a_scope_draws_from_it(clock: VirtualClock) -> None:
    """A block is an operation like any other to the scope around it; so is a loop over the entered scope itself."""
    with pytest.raises(ConnectionResetError), retry_scope(max=2, name="around") as scope:
        for attempt in retry_scope(max=9):
            with attempt:
                raise ConnectionResetError("gone")
    assert scope.retry_count == 2
    with pytest.raises(ConnectionResetError), retry_scope(max=2) as scope:
        for attempt in scope:
            with attempt:
                raise ConnectionResetError("gone")
    assert scope.retry_count == 2


def test_a_block_of_an_entered_scope_heeds_what_is_nearer(clock: VirtualClock) -> None:
    """A loop over the scope stands under all that was entered inside it: deadlines, scopes, and what they cancel."""

    @with_retry(max=0, timeout=3)
    def within(scope: Any) -> None:
        for attempt in scope:
            with attempt:
                raise ConnectionResetError("gone")

    for timeout in (None, 60):
        with retry_scope(max=9, interval=1, timeout=timeout) as outer:
            with pytest.raises(ConnectionResetError):
                within(outer)
            with pytest.raises(ConnectionResetError), retry_scope(max=2) as inner:
                for attempt in outer:
                    with attempt:
                        raise ConnectionResetError("gone")
        assert clock.waits == [1, 1, 1, 1, 1]
        assert inner.retry_count == 2
        clock.waits.clear()


@pytest.mark.parametrize("more", [{}, {"timeout": 60}, {"results": return_codes}, {"budget": "of the block"}])
def test_what_runs_inside_a_block_is_not_the_scopes_business(clock: VirtualClock, more: dict[str, Any]) -> None:
    """Unless the scope is entered, it neither records nor cancels that; whatever its policy asks for."""
    scope = retry_scope(max=3, interval=1, **more)
    for attempt in scope:
        with attempt:
            scope.cancel()
            assert with_retry(max=3, interval=1)(failing(2))() == "ok"
            assert attempt.remaining() == (58 if "timeout" in more else None)
    assert clock.waits == [1, 1]
    assert (scope.error_count, scope.retry_count) == (0, 0)


def test_ctrl_c_in_a_block_is_cancelled(clock: VirtualClock) -> None:
    """KeyboardInterrupt leaves the block at once: without an event at first, as the end of the operation later."""
    reasons: list[StopReason | None] = []
    end = subscribe(lambda event: reasons.append(event.reason))
    try:
        for failures in (0, 1):
            function = failing(failures)
            with pytest.raises(KeyboardInterrupt):
                for attempt in retry_scope():
                    with attempt:
                        function()
                        raise KeyboardInterrupt
    finally:
        end()
    assert reasons == [None, StopReason.CANCELLED]


def test_before_retry_runs_before_each_retry_of_a_block(clock: VirtualClock) -> None:
    """The hook sees the context; where it fails, that counts as the attempt's failure."""
    seen: list[int] = []

    def reconnect(context: Any) -> None:
        seen.append(context.current_retry)
        if len(seen) == 1:
            raise ConnectionRefusedError("still down")

    function = failing(2)
    for attempt in retry_scope(before_retry=reconnect):
        with attempt:
            function()
    assert seen == [1, 2, 3]
    assert registry.stats().errors == 3
    with pytest.raises(ValueError, match="hook"):
        for attempt in retry_scope(before_retry=lambda _: (_ for _ in ()).throw(ValueError("hook"))):
            with attempt:
                raise ConnectionResetError("gone")


def test_reraise_false_in_a_block(clock: VirtualClock) -> None:
    """RetryExhausted from the block's exception."""
    with pytest.raises(RetryExhausted) as caught:
        for attempt in retry_scope(max=0, reraise=False):
            with attempt:
                raise ConnectionResetError("gone")
    assert isinstance(caught.value.__cause__, ConnectionResetError)


# --- async blocks


@pytest.mark.parametrize("run", [asyncio.run, lambda coroutine: trio.run(lambda: coroutine)])
@pytest.mark.parametrize("entered_by", ["with", "async with"])
def test_an_async_block_runs_again(clock: VirtualClock, run: Any, entered_by: str) -> None:
    """async for, with either kind of with, under asyncio and under trio."""
    function = failing(2)

    async def main() -> int:
        async for attempt in retry_scope(max=3, interval=1):
            if entered_by == "with":
                with attempt:
                    function()
            else:
                async with attempt:
                    function()
        return attempt.number

    assert run(main()) == 3
    assert clock.waits == [1.0, 1.0]


def test_an_async_block_lets_the_last_error_out(clock: VirtualClock) -> None:
    """After the last retry; when cancelled in its wait; and for a bad result."""

    async def exhausted() -> None:
        async for attempt in retry_scope(max=1):
            async with attempt:
                raise ConnectionResetError("mine")

    with pytest.raises(ConnectionResetError, match="mine") as caught:
        asyncio.run(exhausted())
    assert "exhausted after 2 attempts" in caught.value.__notes__[0]

    async def cancelled() -> None:
        scope = retry_scope()
        end = subscribe(lambda event: scope.cancel())
        try:
            async for attempt in scope:
                with attempt:
                    raise ConnectionResetError("cut")
        finally:
            end()

    with pytest.raises(ConnectionResetError, match="cut") as cut:
        asyncio.run(cancelled())
    assert "cancelled" in cut.value.__notes__[0]
    assert cut.value.__context__ is None

    async def result() -> None:
        async for attempt in retry_scope(max=1, results=return_codes):
            with attempt:
                attempt.set_result(-6)

    with pytest.raises(RetryExhausted):
        asyncio.run(result())


def test_an_async_block_has_deadline_and_hook(clock: VirtualClock) -> None:
    """timeout=, remaining() and an async before_retry in the async loop."""
    seen: list[Any] = []

    async def reconnect(context: Any) -> None:
        await asyncio.sleep(0)
        seen.append("hook")
        if seen.count("hook") == 1:
            raise ConnectionRefusedError("still down")

    async def main() -> None:
        async for attempt in retry_scope(timeout=12, before_retry=reconnect):
            with attempt:
                seen.append(remaining())
                raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError):
        asyncio.run(main())
    assert seen == [12.0, "hook", "hook", 2.0]

    async def plain_hook() -> None:
        async for attempt in retry_scope(max=1, before_retry=lambda _: seen.append("plain")):
            with attempt:
                raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError):
        asyncio.run(plain_hook())
    assert seen[-1] == "plain"

    async def bad_hook() -> None:
        async for attempt in retry_scope(before_retry=lambda _: int("x")):
            with attempt:
                raise ConnectionResetError("gone")

    with pytest.raises(ValueError, match="invalid literal"):
        asyncio.run(bad_hook())


# --- waits of asyncio and trio, threads


def test_trio_waits_and_is_woken() -> None:
    """Under trio a wait is trio's own: other tasks run, and cancel() from another thread ends it."""

    async def main() -> None:
        scope = retry_scope(interval=3600)
        end = subscribe(lambda event: threading.Thread(target=scope.cancel).start() if event.wait else None)
        try:
            with trio.fail_after(10), pytest.raises(ConnectionResetError):
                await scope.acall(afailing(9))
        finally:
            end()

    trio.run(main)


def test_trio_limits_an_attempt(clock: VirtualClock) -> None:
    """attempt_timeout works under trio, for attempts in time and out of time."""
    calls = 0

    @with_retry(attempt_timeout=0.01)
    async def slow_at_first() -> str:
        nonlocal calls
        calls += 1
        if calls == 1:
            await trio.sleep_forever()
        return "ok"

    assert trio.run(slow_at_first) == "ok"


@pytest.mark.parametrize("run", [asyncio.run, lambda coroutine: trio.run(lambda: coroutine)])
def test_a_short_real_async_wait_ends(run: Any) -> None:
    """The real clock's async wait comes to its end by itself."""
    assert run(retry_scope(interval=0.001).acall(afailing(1))) == "ok"


def test_a_short_real_wait_ends() -> None:
    """The real clock's wait comes to its end by itself."""
    assert retry_scope(interval=0.001).call(failing(1)) == "ok"


def test_carry_takes_the_scope_into_threads(clock: VirtualClock) -> None:
    """Without carry a worker knows nothing of the scope; with it, it draws from it and is recorded."""
    work = with_retry(interval=0)(failing(4))
    with retry_scope(max=10, timeout=50) as scope, ThreadPoolExecutor(1) as pool:
        assert pool.submit(remaining).result() is None
        assert pool.submit(scope.carry(remaining)).result() == 50.0
        assert pool.submit(scope.carry(work)).result() == "ok"
        assert asyncio.run(scope.carry(afailing(0))()) == "ok"
    assert scope.retry_count == 4
    with pytest.raises(RetryUsageError, match="needs the scope entered"):
        scope.carry(work)


def test_many_threads_draw_exactly_what_there_is(clock: VirtualClock) -> None:
    """However many threads draw at once, a scope of max=50 makes 50 retries."""
    work = with_retry(max=100, interval=0)(failing(10**9))

    def quietly() -> None:
        with pytest.raises(ConnectionResetError):
            work()

    with retry_scope(max=50) as scope, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: scope.carry(quietly)(), range(8)))
    assert scope.retry_count == 50


# --- async calls of the full kind


def test_async_timeout_budget_and_results(clock: VirtualClock) -> None:
    """A coroutine function with everything a policy may ask for."""
    budget = RetryBudget()
    values = iter([-6, 0, 0])

    @with_retry(timeout=20, budget=budget, results=return_codes)
    async def work() -> int:
        return next(values)

    assert asyncio.run(work()) == 0
    assert clock.waits == [5.0]
    assert budget.available == 500
    assert asyncio.run(work()) == 0

    @with_retry(timeout=12)
    async def fails() -> None:
        raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError) as caught:
        asyncio.run(fails())
    assert "timed out after 3 attempts" in caught.value.__notes__[0]


def test_before_retry_of_decorated_functions(clock: VirtualClock) -> None:
    """Sync and async hooks; a hook that fails counts as the attempt."""
    seen: list[str] = []
    assert with_retry(before_retry=lambda context: seen.append(context.error_message))(failing(2))() == "ok"
    assert seen == ["gone", "gone"]

    async def hook(context: Any) -> None:
        seen.append("async")

    assert asyncio.run(with_retry(before_retry=hook)(afailing(1))()) == "ok"
    assert asyncio.run(with_retry(before_retry=lambda _: seen.append("plain"))(afailing(1))()) == "ok"
    assert seen[2:] == ["async", "plain"]
    with pytest.raises(TypeError, match="before_retry of the sync function"):
        with_retry(before_retry=hook)(failing(0))


def test_ctrl_c_in_a_retry_ends_the_operation(clock: VirtualClock) -> None:
    """KeyboardInterrupt in a later attempt is a retry that ended by cancellation, sync and async."""
    calls = 0

    def work() -> None:
        nonlocal calls
        calls += 1
        raise ConnectionResetError("gone") if calls == 1 else KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        with_retry(work)()
    stats = registry.stats()
    assert (stats.errors, stats.retries, stats.cancelled) == (1, 1, 1)
    calls = 0

    async def awork() -> None:
        work()

    coroutine = with_retry(interval=0)(awork)()
    with pytest.raises(KeyboardInterrupt):
        coroutine.send(None)
    assert registry.stats().cancelled == 2


def test_a_named_policy_is_looked_up_at_each_call(clock: VirtualClock) -> None:
    """A decorated function may be made before its policy is defined, and follows a later change."""
    function = failing(99)

    @with_retry(policy="later", interval=1)
    def work() -> None:
        function()

    with pytest.raises(ConfigurationError, match="'later' is not defined"):
        work()
    for times in (2, 4):
        configure(policies={"later": {"max": times}})
        function.calls = 0
        with pytest.raises(ConnectionResetError):
            work()
        assert function.calls == times + 1
    with pytest.raises(ValueError, match="max must be"):
        with_retry(policy="later", max=-1)
    with_retry(policy="later", max=None)(failing(0))
    assert "'later'" in repr(work._self_spec)
    assert "max=3" in repr(with_retry(max=3)(failing(0))._self_spec)


@pytest.mark.parametrize("ended_by", ["cancel", "before_retry", "task"])
def test_an_async_block_that_ended_in_its_wait_limits_nothing(ended_by: str) -> None:
    """What was begun inside it goes on without its deadline."""
    inside: list[contextvars.Context] = []

    def fail(_: object) -> None:
        raise ValueError("not prepared")

    async def main() -> None:
        hook = fail if ended_by == "before_retry" else None
        scope = retry_scope(max=5, interval=5, timeout=60, before_retry=hook)
        if ended_by == "task":
            asyncio.get_running_loop().call_soon(own.cancel)
        async for attempt in scope:
            with attempt:
                inside.append(contextvars.copy_context())
                if ended_by == "cancel":
                    scope.cancel()
                raise ConnectionResetError("x")

    async def outer() -> None:
        nonlocal own
        own = asyncio.ensure_future(main())
        await own

    own: Any = None
    with VirtualClock(), pytest.raises((ConnectionResetError, ValueError, asyncio.CancelledError)):
        asyncio.run(outer())
    gc.collect()
    assert inside[0].run(remaining) is None


def test_a_loop_that_goes_away_while_its_block_runs_ends_nothing() -> None:
    """The block does, when it is left."""

    async def main() -> int:
        loop: Any = aiter(retry_scope(max=1, interval=0, name="dropped"))
        with await anext(loop) as attempt:
            del loop
            gc.collect()
        return attempt.number

    assert asyncio.run(main()) == 1
    assert "dropped" not in retrywrap.registry.operations


def test_what_binds_to_itself_is_retried() -> None:
    """A callable object whose `__get__` returns the object."""

    class Itself:
        left = 1

        def __get__(self, instance: object, owner: type | None = None) -> Itself:
            return self

        def __call__(self) -> str:
            if self.left:
                self.left -= 1
                raise ConnectionResetError("gone")
            return "done"

    class Service:
        operation = with_retry(max=1, interval=0, name="itself")(Itself())

    assert Service().operation() == "done"


def test_a_policy_that_was_resolved_while_another_was_configured_is_not_kept(
    clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever looks next finds the new one, though the old one is put away last."""
    resolve = spec.resolve

    def slow(*arguments: Any) -> RetryPolicy:
        found = resolve(*arguments)
        monkeypatch.setattr(spec, "resolve", resolve)
        configure(error_retry_max=3)  # as another thread does
        return found

    scope = retry_scope()
    configure(error_retry_max=4)
    monkeypatch.setattr(spec, "resolve", slow)
    assert (scope.policy.max, scope.policy.max) == (4, 3)
