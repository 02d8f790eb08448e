"""Each defect that was seen in a peer, and the proof of its absence here; the table of them is in the documentation."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import pickle
import threading
import time
import traceback
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import structlog
from hurry import run_hurried

import retrywrap
from retrywrap import RetryBudget, RetryExhausted, exponential, registry, retry_scope, return_codes, with_retry
from retrywrap.decide.backoff import Backoff, decorrelated, fibonacci, linear
from retrywrap.testing import VirtualClock, disabled


def fails(error: type[Exception] = ConnectionResetError) -> Callable[..., Any]:
    """Return a function that always fails, and counts its calls in ``calls``."""

    def function(*_: Any, **__: Any) -> Any:
        function.calls += 1
        raise error("gone")

    function.calls = 0
    return function


def recovers(times: int) -> Callable[[], str]:
    """Return a function that fails so many times, then succeeds."""

    def function() -> str:
        function.calls += 1
        if function.calls <= times:
            raise ConnectionResetError("gone")
        return "ok"

    function.calls = 0
    return function


def test_statistics_are_exact_under_threads_and_raise_nothing(clock: VirtualClock) -> None:
    """At the shortest switch interval, counts are exact and no call dies of the bookkeeping."""
    foreign: list[BaseException] = []
    work = with_retry(max=2, interval=0, name="work")(fails())

    def run() -> None:
        for _ in range(100):
            try:
                work()
            except ConnectionResetError:
                pass
            except BaseException as error:
                foreign.append(error)

    run_hurried([run] * 6)
    assert foreign == []
    stats = registry.stats("work")
    assert (stats.errors, stats.retries, stats.exhausted) == (1800, 1200, 600)


def test_concurrent_async_calls_share_no_attempt_state(clock: VirtualClock) -> None:
    """Two interleaved calls of one coroutine function have all their retries each."""
    calls = {"a": 0, "b": 0}

    @with_retry(max=3, interval=1)
    async def work(name: str) -> int:
        calls[name] += 1
        await asyncio.sleep(0)
        if calls[name] <= 3:
            raise ConnectionResetError("gone")
        return calls[name]

    async def main() -> list[int]:
        return await asyncio.gather(work("a"), work("b"))

    assert asyncio.run(main()) == [4, 4]


def test_cancellation_and_ctrl_c_are_never_swallowed(clock: VirtualClock) -> None:
    """Even a predicate that says yes to everything retries neither."""
    for kind in (asyncio.CancelledError, KeyboardInterrupt):
        calls = 0

        def interrupted(kind: type[BaseException] = kind) -> None:
            nonlocal calls
            calls += 1
            raise kind

        with pytest.raises(kind):
            with_retry(on=lambda _: True)(interrupted)()
        assert calls == 1


def test_the_real_error_is_not_hidden(clock: VirtualClock) -> None:
    """What comes out is the operation's own exception, by type and identity."""
    error = ConnectionResetError("mine")

    def work() -> None:
        raise error

    with pytest.raises(ConnectionResetError) as caught:
        with_retry(max=2)(work)()
    assert caught.value is error


def test_retry_exhausted_pickles(clock: VirtualClock) -> None:
    """The one exception that wraps survives the way between processes, with its facts."""
    with pytest.raises(RetryExhausted) as caught:
        with_retry(max=1, reraise=False, name="op")(fails())()
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.operation, again.attempts, str(again)) == ("op", 2, str(caught.value))


def test_noted_exceptions_pickle(clock: VirtualClock) -> None:
    """An exception that carries a note still pickles, note and all."""
    with pytest.raises(ConnectionResetError) as caught:
        with_retry(max=1)(fails())()
    again = pickle.loads(pickle.dumps(caught.value))
    assert again.__notes__ == caught.value.__notes__
    assert again.__notes__[0].attempts == 2


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    """An exception that refuses attributes."""

    reason: str


def test_frozen_dataclass_exceptions_work(clock: VirtualClock) -> None:
    """Such an exception is retried, noted, and comes out as itself."""

    def work() -> None:
        raise Frozen("why")

    with pytest.raises(Frozen) as caught:
        with_retry(max=1, on=Frozen)(work)()
    assert "exhausted after 2 attempts" in caught.value.__notes__[0]


def test_no_locals_stay_alive_after_the_last_attempt(clock: VirtualClock) -> None:
    """When the caller has dealt with the error, the attempt's locals are gone without a run of the collector."""

    class Big:
        pass

    held: list[weakref.ref[Big]] = []

    def work() -> None:
        big = Big()
        held.append(weakref.ref(big))
        raise ConnectionResetError("gone")

    gc.disable()
    try:
        with contextlib.suppress(ConnectionResetError):
            with_retry(max=2)(work)()
        assert [ref() for ref in held] == [None] * 3
    finally:
        gc.enable()


def test_the_users_cause_is_not_overwritten(clock: VirtualClock) -> None:
    """``raise … from`` keeps its cause through all retries."""
    cause = KeyError("root")

    def work() -> None:
        raise ConnectionResetError("gone") from cause

    with pytest.raises(ConnectionResetError) as caught:
        with_retry(max=2)(work)()
    assert caught.value.__cause__ is cause


@pytest.mark.parametrize("asynchronous", [False, True])
def test_one_exception_object_does_not_grow(clock: VirtualClock, asynchronous: bool) -> None:
    """An exception object that is raised 50 times ends with the traceback and the note of the last time alone."""
    error = ConnectionResetError("shared")

    def work() -> None:
        raise error

    async def awork() -> None:
        work()

    def call() -> None:
        if asynchronous:
            asyncio.run(with_retry(max=49, interval=1)(awork)())
        else:
            with_retry(max=49, interval=1)(work)()

    with pytest.raises(ConnectionResetError):
        call()
    assert len(traceback.extract_tb(error.__traceback__)) <= 12
    assert len(error.__notes__) == 1


def test_a_leftover_note_does_not_refuse_the_next_call(clock: VirtualClock) -> None:
    """An exception object that was given up on before is retried anew by a later call of the same function."""
    error = ConnectionResetError("shared")
    calls = 0

    @with_retry(max=2)
    def work() -> None:
        nonlocal calls
        calls += 1
        raise error

    for _ in range(2):
        calls = 0
        with pytest.raises(ConnectionResetError):
            work()
        assert calls == 3


def test_decorator_above_classmethod_and_staticmethod(clock: VirtualClock) -> None:
    """Both orders work; the class and the value arrive."""

    class Service:
        failures = recovers(2)

        @with_retry
        @classmethod
        def create(cls) -> type:
            cls.failures()
            return cls

        @with_retry
        @staticmethod
        def helper(value: int) -> int:
            return value

        failures = staticmethod(failures)

    assert Service.create() is Service
    assert Service().create() is Service
    assert Service().helper(3) == 3


def test_what_returns_a_coroutine_is_retried(clock: VirtualClock) -> None:
    """Async callable objects, nested partials, and sync functions that return a coroutine."""
    import functools

    def make() -> tuple[Any, Callable[[], str]]:
        inner = recovers(2)

        async def work() -> str:
            return inner()

        return work, inner

    class Callable_:
        def __init__(self, work: Any) -> None:
            self.work = work

        async def __call__(self) -> str:
            return await self.work()

    for wrap in (Callable_, lambda w: functools.partial(functools.partial(w)), lambda w: lambda: w()):
        work, inner = make()

        async def main(decorated: Any) -> str:
            return await decorated()

        assert asyncio.run(main(with_retry(wrap(work)))) == "ok"
        assert inner.calls == 3


def test_generators_are_refused() -> None:
    """Neither silently unretried, nor replayed, nor buffered: refused when decorated."""

    def numbers() -> Any:
        yield 1

    with pytest.raises(TypeError, match="generator"):
        with_retry(numbers)


def test_total_time_does_not_overshoot() -> None:
    """With 0.25 s allowed, no wait is begun that ends later; real time, and hardly any of it passes."""
    began = time.monotonic()
    with pytest.raises(ConnectionResetError):
        with_retry(interval=0.2, timeout=0.05)(fails())()
    assert time.monotonic() - began < 0.15


def test_there_is_no_hidden_default_timeout(clock: VirtualClock) -> None:
    """Ten retries of an hour each are all made."""
    function = fails()
    with pytest.raises(ConnectionResetError):
        with_retry(interval=3600)(function)()
    assert function.calls == 11


def test_zero_means_zero(clock: VirtualClock) -> None:
    """max=0 is one call, timeout=0 leaves no time for a retry."""
    for parameters in ({"max": 0}, {"timeout": 0}):
        function = fails()
        with pytest.raises(ConnectionResetError):
            with_retry(**parameters)(function)()
        assert function.calls == 1


def test_the_bare_decorator_is_bounded_and_waits(clock: VirtualClock) -> None:
    """Bare @with_retry: ten retries, five seconds apart."""
    function = fails()
    with pytest.raises(ConnectionResetError):
        with_retry(function)()
    assert clock.waits == [5.0] * 10


@pytest.mark.parametrize(
    "backoff", [exponential(0.1), exponential(0.1, jitter=None), decorrelated(0.1), fibonacci(1), linear(1)]
)
def test_backoffs_neither_overflow_nor_give_nan(backoff: Backoff) -> None:
    """The wait at retry 5000 is a finite number within the cap."""
    waits = backoff.waits(lambda: 0.999)
    for _ in range(5000):
        wait = next(waits)
    assert 0 <= wait <= 60


def test_a_hook_that_raises_does_not_mask_the_outcome(clock: VirtualClock) -> None:
    """The operation's own result or error comes out, whatever listeners and classifiers do."""

    def broken(_: Any) -> Any:
        raise RuntimeError("bug in a hook")

    end = retrywrap.subscribe(broken)
    try:
        assert with_retry(classifier=broken)(recovers(2))() == "ok"
        with pytest.raises(ConnectionResetError):
            with_retry(max=1, classifier=broken)(fails())()
    finally:
        end()


def test_success_and_giving_up_have_events(clock: VirtualClock) -> None:
    """Recovered and exhausted are told, not only the retries between."""
    with structlog.testing.capture_logs() as logs:
        with_retry(recovers(1))()
        with contextlib.suppress(ConnectionResetError):
            with_retry(max=0)(fails())()
    assert [entry["event"] for entry in logs] == ["retry.scheduled", "retry.recovered", "retry.exhausted"]


def test_arguments_are_not_logged(clock: VirtualClock) -> None:
    """No event holds what the function was called with."""
    with structlog.testing.capture_logs() as logs, contextlib.suppress(ConnectionResetError):
        with_retry(max=1)(fails())("s3cret", password="s3cret")
    assert logs
    assert "s3cret" not in repr(logs)


def test_a_plain_for_does_not_block_the_event_loop() -> None:
    """It is refused where a loop is running."""

    async def main() -> None:
        for _ in retry_scope():
            pass

    with pytest.raises(retrywrap.RetryWrapError, match="async for"):
        asyncio.run(main())


def test_a_forgotten_with_attempt_is_no_endless_loop() -> None:
    """The second round raises."""
    with pytest.raises(retrywrap.RetryWrapError, match="with attempt"):
        for _ in retry_scope():
            pass


def test_a_blocks_result_can_be_judged(clock: VirtualClock) -> None:
    """attempt.set_result() brings a value to results=."""
    values = iter([-6, 0])
    rounds = 0
    for attempt in retry_scope(results=return_codes):
        with attempt:
            rounds += 1
            attempt.set_result(next(values))
    assert rounds == 2


def test_tests_need_not_sleep() -> None:
    """Under the virtual clock an hour takes no time."""
    began = time.monotonic()
    with VirtualClock() as clock, contextlib.suppress(ConnectionResetError):
        with_retry(interval=3600)(fails())()
    assert clock.waited == 36_000
    assert time.monotonic() - began < 5


def test_switching_off_is_scoped_and_seen_by_threads(clock: VirtualClock) -> None:
    """disabled() holds inside its block, in new threads too, and never adds attempts."""
    function = fails()
    work = with_retry(max=3)(function)

    def run() -> None:
        with contextlib.suppress(ConnectionResetError):
            work()

    with disabled():
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        assert function.calls == 1
    run()
    assert function.calls == 5


@pytest.mark.parametrize(("nested", "calls"), [("once", 3), ("multiply", 27)])
def test_nested_layers_do_not_multiply(clock: VirtualClock, nested: Any, calls: int) -> None:
    """Three layers of three attempts make three calls, unless multiplication is asked for by name."""
    function = fails()
    inner = with_retry(max=2, name="inner")(function)
    middle = with_retry(max=2, name="middle", nested=nested)(lambda: inner())
    outer = with_retry(max=2, name="outer", nested=nested)(lambda: middle())
    with pytest.raises(ConnectionResetError):
        outer()
    assert function.calls == calls


def test_recursion_does_not_multiply(clock: VirtualClock) -> None:
    """A decorated function that calls itself is retried at its innermost level alone."""
    calls = 0

    @with_retry(max=2)
    def walk(depth: int) -> None:
        nonlocal calls
        if depth:
            walk(depth - 1)
        calls += 1
        raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError):
        walk(3)
    assert calls == 3


def test_nested_exhaustion_is_seen_through_causes_and_groups(clock: VirtualClock) -> None:
    """An error raised from an exhausted one, or a group that holds one, is not retried again either."""
    inner = with_retry(max=2, name="inner")(fails())

    def wraps() -> None:
        try:
            inner()
        except ConnectionResetError as error:
            raise ConnectionAbortedError("wrapped") from error

    def groups() -> None:
        try:
            inner()
        except ConnectionResetError as error:
            raise ExceptionGroup("several", [error]) from None

    for layer in (wraps, groups):
        clock.waits.clear()
        with pytest.raises((ConnectionAbortedError, ExceptionGroup)):
            with_retry(name="outer")(layer)()
        assert len(clock.waits) == 2


def test_a_decorated_method_keeps_self(clock: VirtualClock) -> None:
    """Bound, unbound and inherited access reach the right instance."""

    class Base:
        @with_retry
        def me(self) -> Any:
            return self

    class Child(Base):
        pass

    child = Child()
    assert child.me() is child
    assert Base.me(child) is child


def test_a_reused_decorator_tells_once_each(clock: VirtualClock) -> None:
    """One decorator object on two functions: each failure is told once."""
    decorator = with_retry(max=1)
    first, second = decorator(recovers(1)), decorator(recovers(1))
    with structlog.testing.capture_logs() as logs:
        first()
        second()
    assert [entry["event"] for entry in logs] == ["retry.scheduled", "retry.recovered"] * 2


def test_typing_errors_in_parameters_are_refused() -> None:
    """No catch-all swallows a wrong name."""
    with pytest.raises(TypeError, match="max_retries"):
        with_retry(max_retries=3)
    with pytest.raises(TypeError, match="max_retries"):
        retry_scope(max_retries=3)


def test_no_thread_is_leaked_for_a_timeout() -> None:
    """A per-attempt limit on a sync function is refused rather than kept by a thread that never ends."""
    before = threading.active_count()
    with pytest.raises(TypeError, match="attempt_timeout"):
        with_retry(attempt_timeout=1)(lambda: None)
    assert threading.active_count() == before


def test_a_bad_result_is_never_returned(clock: VirtualClock) -> None:
    """The last bad value comes as an exception that carries it."""
    with pytest.raises(RetryExhausted) as caught:
        with_retry(max=1, results=return_codes)(lambda: -6)()
    assert caught.value.result == -6


def test_a_denied_budget_lets_the_last_error_out(clock: VirtualClock) -> None:
    """The error itself comes out, and its note says that the budget denied."""
    with pytest.raises(ConnectionResetError, match="gone") as caught:
        with_retry(budget=RetryBudget(capacity=14))(fails())()
    assert "budget denied after 2 attempts" in caught.value.__notes__[0]


def test_a_budget_admits_no_more_than_it_has() -> None:
    """Fifty threads that ask at once get the 35 retries that 500 tokens pay for, and not one more."""
    budget = RetryBudget(capacity=500, cost=14)
    admitted: list[float] = []
    gate = threading.Barrier(50)

    def ask() -> None:
        gate.wait()
        admitted.extend(price for _ in range(5) if (price := budget.withdraw(0.0, False)) is not None)

    threads = [threading.Thread(target=ask) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(admitted) == 35
