"""The ten promises of the design, each with the tests that would fail without it."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import functools
import gc
import inspect
import os
import pickle
import re
import subprocess
import sys
import threading
import traceback
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hurry import HAS_GLOBAL_LOCK, run_hurried

import retrywrap
from retrywrap import (
    RetryExhausted,
    StopReason,
    exponential,
    registry,
    remaining,
    retry_scope,
    shutdown,
    subscribe,
    with_retry,
)
from retrywrap.decide.events import RetryEvent
from retrywrap.testing import VirtualClock


def gone() -> BaseException:
    """Make the error that most tests fail with."""
    return ConnectionResetError("gone")


class Flaky:
    """Fails so many times with new exceptions, then returns its argument."""

    def __init__(self, failures: int, make: Callable[[], BaseException] = gone) -> None:
        self.failures = failures
        self.make = make
        self.calls = 0

    def step(self) -> None:
        self.calls += 1
        if self.calls <= self.failures:
            raise self.make()

    def __call__(self, value: Any = "ok") -> Any:
        self.step()
        return value


@pytest.fixture
def events() -> Iterator[list[RetryEvent]]:
    """All events of the test."""
    seen: list[RetryEvent] = []
    end = subscribe(seen.append)
    yield seen
    end()


def terminal(events: list[RetryEvent]) -> list[StopReason]:
    return [event.reason for event in events if event.reason is not None]


# 1. the original exception


def test_the_last_exception_comes_out_itself_with_one_note(clock: VirtualClock) -> None:
    """The very object of the last attempt comes out, cause and context untouched, with a single note that says why."""
    made: list[BaseException] = []

    def make() -> BaseException:
        made.append(ConnectionResetError(f"attempt {len(made)}"))
        return made[-1]

    with pytest.raises(ConnectionResetError) as caught:
        with_retry(Flaky(99, make), max=2)()
    assert caught.value is made[-1]
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert len(caught.value.__notes__) == 1
    note = caught.value.__notes__[0]
    assert "exhausted after 3 attempts in 10 s" in note
    assert "max=2" in note


def test_cause_and_context_of_the_user_stay(clock: VirtualClock) -> None:
    """An exception raised from another keeps that cause and context."""
    cause = KeyError("why")

    @with_retry(max=1)
    def fails() -> None:
        try:
            raise cause
        except KeyError as error:
            raise ConnectionResetError("gone") from error

    with pytest.raises(ConnectionResetError) as caught:
        fails()
    assert caught.value.__cause__ is cause
    assert caught.value.__context__ is cause


@pytest.mark.parametrize("failures", [0, 3])
def test_the_traceback_leads_to_the_line_that_raised(clock: VirtualClock, failures: int) -> None:
    """The traceback ends in the user's function; at most two frames of retrywrap stand before it."""

    @with_retry(max=failures)
    def fails() -> None:
        raise ConnectionResetError("here")

    with pytest.raises(ConnectionResetError) as caught:
        fails()
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert frames[-1].name == "fails"
    assert len([f for f in frames if "retrywrap" in f.filename and "tests" not in f.filename]) <= 2


async def _fails_async() -> None:
    raise ConnectionResetError("here")


def test_an_async_traceback_is_as_short(clock: VirtualClock) -> None:
    """The same for coroutine functions."""
    with pytest.raises(ConnectionResetError) as caught:
        asyncio.run(with_retry(max=2)(_fails_async)())
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert frames[-1].name == "_fails_async"
    assert len([f for f in frames if "/retrywrap/run/" in f.filename]) <= 2
    assert caught.value.__context__ is None


def test_the_note_names_the_parameter_that_would_change_it(clock: VirtualClock) -> None:
    """Each way to end says which parameter would have changed it."""

    def note(function: Callable[[], Any]) -> str:
        try:
            function()
        except Exception as error:
            return str(error.__notes__[-1])
        raise AssertionError("it did not fail")

    assert "on=" in note(with_retry(Flaky(1, lambda: ValueError("v"))))
    assert "retrywrap.classifiers.register" in note(with_retry(Flaky(1, lambda: RuntimeError("?"))))
    assert "timeout=7" in note(with_retry(timeout=7)(Flaky(9)))
    assert "idempotent=False" in note(with_retry(idempotent=False)(Flaky(1, lambda: TimeoutError("reply lost"))))
    assert "nested='multiply'" in note(with_retry(name="outer")(with_retry(max=1, name="inner")(Flaky(9))))
    assert "interval=" in note(with_retry(interval=[1.0])(Flaky(9)))


def test_reraise_false_wraps_the_last_exception(clock: VirtualClock) -> None:
    """With reraise=False a RetryExhausted comes out, caused by the last exception, with the facts."""
    with pytest.raises(RetryExhausted) as caught:
        with_retry(max=1, interval=3, reraise=False, name="op")(Flaky(9))()
    error = caught.value
    assert isinstance(error.__cause__, ConnectionResetError)
    assert (error.operation, error.reason, error.attempts, error.elapsed, error.code) == (
        "op",
        "exhausted",
        2,
        3.0,
        -11,
    )


# 2. the happy path


def test_a_success_at_once_touches_nothing(events: list[RetryEvent], monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that succeeds at once makes no machine, reads no clock and tells nobody."""
    from retrywrap.run import clock as clocks
    from retrywrap.run import drive

    def forbidden(*_: Any, **__: Any) -> None:
        raise AssertionError("touched on the happy path")

    monkeypatch.setattr(drive, "Operation", forbidden)
    monkeypatch.setattr(clocks.Clock, "now", forbidden)
    monkeypatch.setattr(clocks.Clock, "epoch", forbidden)
    assert with_retry(lambda: 5)() == 5
    for attempt in retry_scope(max=2):
        with attempt:
            pass
    assert events == []
    assert registry.stats().errors == 0


def _kept(function: Callable[[], Any], times: int = 200) -> tuple[int, int]:
    """Return what so many calls leave: garbage-collector objects, and objects that only the collector frees."""
    for _ in range(20):
        function()
    gc.collect()
    gc.disable()
    try:
        registry.stats()  # which counts what came in, and was kept for that
        before = len(gc.get_objects())
        for _ in range(times):
            function()
        registry.stats()
        kept = len(gc.get_objects()) - before
    finally:
        gc.enable()
    return kept, gc.collect()


@pytest.fixture
def quiet() -> None:
    """No structlog lines, and a registry that keeps no records: what the library keeps on purpose is not a leak."""
    retrywrap.configure(events=False, error_buffer_size=0)


def test_nothing_is_kept_and_no_cycle_is_made_by_success(quiet: None) -> None:
    """Successful calls of all forms leave neither objects nor work for the garbage collector."""
    decorated = with_retry(lambda: None)

    def block() -> None:
        for attempt in retry_scope(max=2, interval=1):
            with attempt:
                pass

    for form in (decorated, block, with_retry(timeout=5)(lambda: None)):
        assert _kept(form) == (0, 0)


def test_nothing_is_kept_and_no_cycle_is_made_by_failure(clock: VirtualClock, quiet: None) -> None:
    """Failing calls of all forms leave neither objects nor work for the garbage collector."""

    def caught(function: Callable[[], Any]) -> Callable[[], None]:
        def call() -> None:
            with contextlib.suppress(Exception):
                function()
            clock.waits.clear()

        return call

    def fails() -> None:
        raise ConnectionResetError("gone")

    def block() -> None:
        for attempt in retry_scope(max=2, interval=1, name="block"):
            with attempt:
                fails()

    def scope() -> None:
        with retry_scope(max=2, timeout=20, name="scope") as around:
            around.call(fails)

    async def aloop() -> None:
        async for attempt in retry_scope(max=2, interval=1, name="ablock"):
            with attempt:
                fails()

    async def cancelled() -> None:
        scope = retry_scope(name="cancelled")
        async for attempt in scope:
            with attempt:
                scope.cancel()
                fails()

    def drive(coroutine: Any) -> None:
        try:
            while True:
                coroutine.send(None)
        except StopIteration:
            return

    async def afails() -> None:
        raise ConnectionResetError("gone")

    adecorated = with_retry(max=2, interval=0)(afails)
    forms: list[Callable[[], Any]] = [
        with_retry(max=2)(fails),
        with_retry(max=2, reraise=False)(fails),
        with_retry(max=2, timeout=20)(fails),
        with_retry(max=2, results=retrywrap.return_codes)(lambda: -6),
        block,
        scope,
        lambda: drive(adecorated()),
        lambda: drive(aloop()),
        lambda: drive(cancelled()),
    ]
    for form in forms:
        assert _kept(caught(form)) == (0, 0)


def test_the_failed_attempts_locals_die_without_the_collector(clock: VirtualClock) -> None:
    """What a failed attempt held is freed before the next attempt begins."""

    class Buffer:
        pass

    alive: list[int] = []
    buffers: list[weakref.ref[Buffer]] = []

    @with_retry(max=3, interval=1)
    def fails() -> None:
        alive.append(sum(ref() is not None for ref in buffers))
        buffer = Buffer()
        buffers.append(weakref.ref(buffer))
        raise ConnectionResetError("gone")

    gc.disable()
    try:
        with pytest.raises(ConnectionResetError):
            fails()
    finally:
        gc.enable()
    assert alive == [0, 0, 0, 0]


# 3. one terminal event


@pytest.mark.parametrize(
    ("reason", "call"),
    [
        (StopReason.RECOVERED, lambda: with_retry(max=3)(Flaky(2))()),
        (StopReason.EXHAUSTED, lambda: with_retry(max=1)(Flaky(9))()),
        (StopReason.REJECTED, lambda: with_retry(Flaky(9, lambda: ValueError("v")))()),
        (StopReason.TIMED_OUT, lambda: with_retry(timeout=8)(Flaky(9))()),
        (StopReason.BUDGET_DENIED, lambda: with_retry(budget=retrywrap.RetryBudget(capacity=20))(Flaky(9))()),
        (StopReason.CANCELLED, lambda: with_retry(Flaky(2, KeyboardInterruptAfter()))()),
    ],
)
def test_each_failing_operation_ends_in_one_terminal_event(
    clock: VirtualClock, events: list[RetryEvent], reason: StopReason, call: Callable[[], Any]
) -> None:
    """Whatever ends it, an operation that failed at least once has exactly one terminal event, the last of all."""
    with contextlib.suppress(Exception, KeyboardInterrupt):
        call()
    assert terminal(events) == [reason]
    assert events[-1].reason is reason


class KeyboardInterruptAfter:
    """Makes a connection error, then a KeyboardInterrupt."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self) -> BaseException:
        self.made += 1
        return ConnectionResetError("gone") if self.made == 1 else KeyboardInterrupt()


def test_nested_layers_have_one_terminal_event_each(clock: VirtualClock, events: list[RetryEvent]) -> None:
    """An exhausted inner operation and the outer one that refuses to repeat it each end once."""
    with pytest.raises(ConnectionResetError):
        with_retry(name="outer")(with_retry(max=2, name="inner")(Flaky(99)))()
    ends = [(e.operation, e.reason) for e in events if e.reason is not None]
    assert ends == [("inner", StopReason.EXHAUSTED), ("outer", StopReason.NESTED_REFUSED)]


def test_a_listener_that_raises_changes_nothing_and_is_reported_once(
    clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The operation succeeds, the other listeners hear of it, and the culprit is reported a single time."""
    heard: list[RetryEvent] = []

    def broken(event: RetryEvent) -> None:
        raise RuntimeError("listener bug")

    ends = [subscribe(broken), subscribe(heard.append)]
    try:
        assert with_retry(max=3)(Flaky(2))(7) == 7
    finally:
        for end in ends:
            end()
    assert len(heard) == 3
    assert sum("the listener" in record.message for record in caplog.records) == 1


# 4. never retried


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError])
def test_what_is_no_exception_is_never_retried(clock: VirtualClock, kind: type[BaseException]) -> None:
    """Cancellation, Ctrl-C and exit come out of the first attempt, even where on=Exception."""
    flaky = Flaky(9, kind)
    with pytest.raises(kind):
        with_retry(on=Exception)(flaky)()
    assert flaky.calls == 1
    assert clock.waits == []


def test_an_unknown_error_is_loud_and_not_retried(clock: VirtualClock, events: list[RetryEvent]) -> None:
    """What no rule knows is not retried, has an event of its own, and is counted."""

    class Strange(Exception):
        pass

    flaky = Flaky(9, Strange)
    with pytest.raises(Strange):
        with_retry(flaky)()
    assert flaky.calls == 1
    assert [event.name for event in events] == ["retry.unknown_error", "retry.rejected"]
    assert registry.stats().unknown == 1
    assert registry.stats().errors == 1


def test_on_adds_to_what_the_classifier_says(clock: VirtualClock) -> None:
    """on= retries an error that the chain would not; what the chain retries stays retried."""
    assert with_retry(on=ValueError)(Flaky(1, lambda: ValueError("v")))() == "ok"
    assert with_retry(on=(KeyError, ValueError))(Flaky(1, ConnectionResetError))() == "ok"
    assert with_retry(on=lambda error: "again" in str(error))(Flaky(1, lambda: ValueError("again")))() == "ok"
    with pytest.raises(ValueError, match="no"):
        with_retry(on=lambda error: "again" in str(error))(Flaky(1, lambda: ValueError("no")))()


def test_a_predicate_may_name_the_wait(clock: VirtualClock) -> None:
    """on= may return seconds or a timedelta: waited exactly, in place of the interval."""
    from datetime import timedelta

    answers = iter([2.5, timedelta(seconds=4), True])
    assert with_retry(on=lambda _: next(answers))(Flaky(3, lambda: ValueError("v")))() == "ok"
    assert clock.waits == [2.5, 4.0, 5.0]


@pytest.mark.parametrize("answer", [-1, float("nan"), RuntimeError("bug")])
def test_a_broken_predicate_counts_as_no(clock: VirtualClock, caplog: pytest.LogCaptureFixture, answer: Any) -> None:
    """A predicate that raises or answers nonsense is reported, and the operation's own error comes out."""

    def predicate(error: Exception) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    with pytest.raises(ValueError, match="mine") as caught:
        with_retry(on=predicate)(Flaky(1, lambda: ValueError("mine")))()
    assert "predicate" in caplog.text
    assert "the predicate on= failed: " in caught.value.__notes__[0]


@pytest.mark.parametrize(
    ("on", "reason"),
    [
        (None, "on= would retry it"),
        (KeyError, "on= does not name it"),
        (lambda error: False, "the predicate on= says no"),
        (lambda error: re.search("other", str(error)), "the predicate on= says no"),
    ],
)
def test_the_note_knows_what_on_said(clock: VirtualClock, on: Any, reason: str) -> None:
    """It does not advise what was done already."""
    with pytest.raises(ValueError, match="mine") as caught:
        with_retry(on=on)(Flaky(1, lambda: ValueError("mine")))()
    assert caught.value.__notes__[0].endswith(f"; {reason}")


def test_a_predicate_may_answer_with_anything_true(clock: VirtualClock) -> None:
    """A match of a regular expression is a yes; only numbers and timedeltas are waits."""
    assert (
        with_retry(on=lambda error: re.search("mine", str(error)))(Flaky(1, lambda: ValueError("mine")))("ok") == "ok"
    )
    assert clock.waits == [5.0]


# 5. deadlines


def test_no_wait_is_begun_that_cannot_end_in_time(clock: VirtualClock) -> None:
    """timeout= ends the operation before a wait that would pass it, never after."""
    flaky = Flaky(99)
    with pytest.raises(ConnectionResetError):
        with_retry(interval=4, timeout=10)(flaky)()
    assert clock.waits == [4.0, 4.0]
    assert flaky.calls == 3


def test_a_wait_that_ends_on_the_deadline_is_made(clock: VirtualClock) -> None:
    """A wait may end exactly at the deadline."""
    with pytest.raises(ConnectionResetError):
        with_retry(interval=5, timeout=10)(Flaky(99))()
    assert clock.waits == [5.0, 5.0]


def test_no_attempt_starts_after_the_deadline(events: list[RetryEvent]) -> None:
    """If the clock passed the deadline during the wait, the next attempt does not start."""

    class Oversleeping(VirtualClock):
        def sleep(self, seconds: float, limits: Any) -> None:
            super().sleep(seconds + 100, limits)

    flaky = Flaky(99)
    with Oversleeping(), pytest.raises(ConnectionResetError):
        with_retry(interval=1, timeout=10)(flaky)()
    assert flaky.calls == 1
    assert terminal(events) == [StopReason.TIMED_OUT]
    assert registry.stats().errors == 1
    assert registry.stats().retries == 0


def test_timeout_zero_means_one_attempt(clock: VirtualClock) -> None:
    """timeout=0 is no synonym of for ever."""
    flaky = Flaky(99)
    with pytest.raises(ConnectionResetError):
        with_retry(timeout=0)(flaky)()
    assert flaky.calls == 1


def test_max_none_with_a_timeout_goes_on_until_the_timeout(clock: VirtualClock) -> None:
    """max=None is limited by time alone."""
    flaky = Flaky(999)
    with pytest.raises(ConnectionResetError):
        with_retry(max=None, interval=1, timeout=100)(flaky)()
    assert flaky.calls == 101


def test_deadlines_nest_by_minimum(clock: VirtualClock) -> None:
    """An inner operation sees, and obeys, the least of all deadlines around it."""
    seen: list[float | None] = []

    @with_retry(timeout=50, interval=4)
    def inner() -> None:
        seen.append(remaining())
        raise ConnectionResetError("gone")

    @with_retry(timeout=10, nested="multiply")
    def outer() -> None:
        inner()

    assert remaining() is None
    with pytest.raises(ConnectionResetError), retry_scope(timeout=100):
        outer()
    assert seen == [10.0, 6.0, 2.0]
    assert remaining() is None


def test_remaining_is_seen_in_the_first_attempt_and_never_negative(clock: VirtualClock) -> None:
    """A function with a timeout sees what is left from the start, down to zero."""
    seen: list[float | None] = []

    @with_retry(timeout=3)
    def slow() -> None:
        seen.append(remaining())
        clock.advance(10)
        seen.append(remaining())

    slow()
    assert seen == [3.0, 0.0]


# 6. waits end early


def test_shutdown_lets_the_last_error_out_of_a_wait_at_once() -> None:
    """shutdown() wakes a sleeping thread; the error that it waited on comes out with its note."""
    flaky = Flaky(99)
    caught: list[BaseException] = []
    waiting = threading.Event()

    def work() -> None:
        try:
            with_retry(interval=3600)(flaky)()
        except ConnectionResetError as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    with contextlib.ExitStack() as later:
        later.callback(subscribe(lambda event: waiting.set() if event.wait else None))
        thread.start()
        assert waiting.wait(10)
        shutdown()
        thread.join(10)
    assert not thread.is_alive()
    assert "cancelled after 1 attempt" in caught[0].__notes__[0]
    assert flaky.calls == 1


def test_after_shutdown_operations_run_once(clock: VirtualClock) -> None:
    """Nothing is retried after shutdown(); calls still work."""
    shutdown()
    assert with_retry(lambda: 1)() == 1
    flaky = Flaky(9)
    with pytest.raises(ConnectionResetError):
        with_retry(flaky)()
    assert flaky.calls == 1


def test_cancelling_a_scope_ends_an_async_wait_from_another_thread(events: list[RetryEvent]) -> None:
    """scope.cancel() from any thread wakes a task that waits inside the scope."""

    async def main() -> None:
        async with retry_scope(interval=3600) as scope:
            subscribe_end = subscribe(
                lambda event: threading.Thread(target=scope.cancel).start() if event.wait else None
            )
            try:
                with pytest.raises(ConnectionResetError):
                    await scope.acall(_fails_async)
            finally:
                subscribe_end()

    asyncio.run(asyncio.wait_for(main(), 10))
    assert terminal(events) == [StopReason.CANCELLED]


def test_a_zero_wait_does_not_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """interval=0 goes on without a call of sleep."""
    from retrywrap.run import clock as clocks

    def forbidden(*_: Any) -> None:
        raise AssertionError("slept")

    monkeypatch.setattr(clocks.Clock, "sleep", forbidden)
    monkeypatch.setattr(clocks.Clock, "asleep", forbidden)
    assert with_retry(interval=0)(Flaky(3))() == "ok"
    flaky = Flaky(3)

    @with_retry(interval=0)
    async def afunction() -> str:
        flaky.step()
        return "ok"

    assert asyncio.run(afunction()) == "ok"


def test_cancelling_a_task_in_its_wait_is_a_cancellation(events: list[RetryEvent]) -> None:
    """A task that is cancelled while retrywrap waits ends as cancelled, with one terminal event."""

    async def main() -> None:
        task = asyncio.create_task(with_retry(interval=3600)(_fails_async)())
        while not events:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert terminal(events) == [StopReason.CANCELLED]


def test_ctrl_c_in_a_wait_comes_out(events: list[RetryEvent]) -> None:
    """KeyboardInterrupt in a sync wait comes out at once, and the operation ends as cancelled."""

    class Interrupted(VirtualClock):
        def sleep(self, seconds: float, limits: Any) -> None:
            raise KeyboardInterrupt

    with Interrupted(), pytest.raises(KeyboardInterrupt):
        with_retry(Flaky(9))()
    assert terminal(events) == [StopReason.CANCELLED]


def test_a_retry_that_was_not_made_is_given_back(clock: VirtualClock) -> None:
    """A wait that is cut short returns its price to the budget and its retry to the scope."""

    class Cut(VirtualClock):
        def sleep(self, seconds: float, limits: Any) -> None:
            limits.cancel()

    budget = retrywrap.RetryBudget()
    with Cut(), pytest.raises(ConnectionResetError), retry_scope(max=3, budget=budget) as scope:
        with_retry(Flaky(9))()
    assert budget.available == 500
    assert scope.retry_count == 0


# 7. nothing leaks


def test_the_registry_keeps_no_exception(clock: VirtualClock) -> None:
    """After the error is dropped, nothing of it lives on but text."""

    class Payload(ConnectionResetError):
        pass

    refs: list[weakref.ref[BaseException]] = []

    def make() -> BaseException:
        error = Payload("gone")
        refs.append(weakref.ref(error))
        return error

    gc.disable()
    try:
        with contextlib.suppress(Payload):
            with_retry(max=2)(Flaky(9, make))()
        assert [ref() for ref in refs] == [None, None, None]
    finally:
        gc.enable()
    assert str(registry.last_error) == "gone"


def test_arguments_are_never_logged(clock: VirtualClock, caplog: pytest.LogCaptureFixture) -> None:
    """Neither events nor records hold what the function was called with."""

    @with_retry(max=1)
    def login(password: str) -> None:
        raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError) as caught:
        login(password="hunter2")
    assert "retry.exhausted" in caplog.text
    assert "hunter2" not in caplog.text + repr(registry.snapshot()) + str(caught.value.__notes__)


def test_messages_are_redacted_and_one_line(clock: VirtualClock) -> None:
    """Credentials in a URL and newlines do not reach the registry."""
    with pytest.raises(ConnectionResetError):
        with_retry(max=0)(
            Flaky(1, lambda: ConnectionResetError("http://me:secret@host/\nforged line " + "x" * 10_000))
        )()
    text = str(registry.last_error)
    assert "secret" not in text
    assert "\n" not in text
    assert len(text) <= 600


# 8. threads, tasks, fork


def test_one_function_in_many_threads_shares_no_state(clock: VirtualClock) -> None:
    """Each call has its own attempts; counts are exact."""
    state = threading.local()

    @with_retry(max=5, interval=1)
    def work(failures: int) -> int:
        state.calls = getattr(state, "calls", 0) + 1
        if state.calls <= failures:
            raise ConnectionResetError("gone")
        calls, state.calls = state.calls, 0
        return calls

    wrong: list[Any] = []

    def many(failures: int) -> None:
        for _ in range(100):
            calls = work(failures)
            if calls != failures + 1:
                wrong.append(calls)

    run_hurried(functools.partial(many, n % 4) for n in range(8))
    assert wrong == []
    assert registry.stats().errors == registry.stats().retries == 2 * (0 + 1 + 2 + 3) * 100
    assert registry.stats().recovered == 6 * 100


def test_tasks_share_no_state(clock: VirtualClock) -> None:
    """Concurrent calls of one coroutine function do not see each other's attempts."""
    calls: dict[int, int] = {}

    @with_retry(max=5, interval=1)
    async def work(me: int) -> int:
        calls[me] = calls.get(me, 0) + 1
        await asyncio.sleep(0)
        if calls[me] <= me % 4:
            raise ConnectionResetError("gone")
        return calls[me]

    async def main() -> list[int]:
        return await asyncio.gather(*(work(n) for n in range(40)))

    assert asyncio.run(main()) == [n % 4 + 1 for n in range(40)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.skipif(not HAS_GLOBAL_LOCK, reason="a child may inherit any dict locked")
def test_a_forked_child_can_retry_and_record() -> None:
    """A child forked while other threads fail and record goes on without a deadlock, with consistent counts."""
    program = """
import os, threading, warnings
warnings.simplefilter("ignore")
import retrywrap
retrywrap.configure(events=False)
stop = threading.Event()
@retrywrap.with_retry(max=1, interval=0)
def fails():
    raise ConnectionResetError
def noise():
    while not stop.is_set():
        try: fails()
        except ConnectionResetError: pass
threads = [threading.Thread(target=noise) for _ in range(3)]
for t in threads: t.start()
for _ in range(30):
    pid = os.fork()
    if pid == 0:
        try: fails()
        except ConnectionResetError: pass
        s = retrywrap.registry.stats()
        os._exit(0 if s.errors >= 2 else 1)
    assert os.waitpid(pid, 0)[1] == 0
stop.set()
for t in threads: t.join()
print("done")
"""
    # Not measured: a lock of coverage's own, which a thread holds at the fork, would stop the child.
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=plain)
    assert (done.stdout.strip(), done.returncode) == ("done", 0), done.stderr


# 9. refused loudly


def _generator() -> Iterator[int]:
    yield 1


async def _asyncgen() -> Any:
    yield 1


class _GeneratorMethod:
    def __call__(self) -> Iterator[int]:
        yield 1


@pytest.mark.parametrize(
    "function", [_generator, _asyncgen, functools.partial(_generator), functools.partial(_asyncgen), _GeneratorMethod()]
)
def test_generator_functions_are_refused_at_decoration(function: Any) -> None:
    """The message says what to do instead."""
    with pytest.raises(TypeError, match=r"generator function.*retry_scope"):
        with_retry(function)
    with pytest.raises(TypeError, match="generator function"):
        retry_scope().call(function)


@pytest.mark.parametrize("max", [True, -1, 2.0, "3", float("nan"), float("inf")])
def test_max_that_is_no_count_is_refused(max: Any) -> None:
    """Booleans, negatives, floats and text are no count of retries."""
    for form in (with_retry, retry_scope, retrywrap.RetryPolicy):
        with pytest.raises((TypeError, ValueError), match="max must be"):
            form(max=max)


def test_a_bool_is_refused_even_after_an_equal_number() -> None:
    """True == 1, and yet True is no number of retries: the cache of checked arguments knows the difference."""
    retry_scope(max=1)
    with pytest.raises(TypeError, match="max must be"):
        retry_scope(max=True)


def test_unknown_parameters_are_refused() -> None:
    """A typing error is an error."""
    with pytest.raises(TypeError, match="intervall"):
        with_retry(intervall=3)
    with pytest.raises(TypeError, match=r"'intervall': did you mean interval="):
        retry_scope(intervall=3)


@pytest.mark.parametrize("make", [lambda: iter([1, 2]), lambda: map(str, [1, 2])])
def test_a_one_shot_argument_is_not_retried(clock: VirtualClock, make: Callable[[], Iterator[Any]]) -> None:
    """Where the failed attempt may have used an argument up, the error comes out, saying so."""
    calls = 0

    @with_retry
    def upload(rows: Iterator[Any]) -> None:
        nonlocal calls
        calls += 1
        next(rows)
        raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError) as caught:
        upload(make())
    assert calls == 1
    assert "one-shot" in caught.value.__notes__[0]
    assert "before_retry=" in caught.value.__notes__[0]
    with pytest.raises(ConnectionResetError):
        upload(rows=make())
    assert calls == 2


def test_a_begun_generator_is_not_retried_and_a_fresh_one_is(clock: VirtualClock) -> None:
    """A generator that the attempt never touched is as good as new."""
    flaky = Flaky(2)

    @with_retry
    def late(rows: Iterator[int]) -> list[int]:
        flaky.step()
        return list(rows)

    @with_retry
    def early(rows: Iterator[int]) -> None:
        next(rows)
        raise ConnectionResetError("gone")

    assert late(_generator()) == [1]
    with pytest.raises(ConnectionResetError) as caught:
        early(_generator())
    assert "one-shot generator" in caught.value.__notes__[0]


def test_a_file_that_was_read_is_not_retried(clock: VirtualClock, tmp_path: Any) -> None:
    """A file that stands anywhere but at its beginning would be sent short; before_retry can rewind it."""
    path = tmp_path / "data"
    path.write_text("0123456789")
    sent: list[str] = []

    def send(file: Any) -> str:
        sent.append(file.read())
        if len(sent) == 1:
            raise ConnectionResetError("gone")
        return sent[-1]

    with path.open() as file, pytest.raises(ConnectionResetError):
        with_retry(send)(file)
    sent.clear()
    with path.open() as file:
        assert with_retry(before_retry=lambda _: file.seek(0))(send)(file) == "0123456789"
    with path.open("w") as file:
        assert with_retry(Flaky(1))(file) is file


# 10. every callable


def test_functions_keep_their_face() -> None:
    """Name, documentation, signature and annotations are the function's own."""

    def function(a: int, *, b: str = "x") -> bytes:
        """Documented."""
        return b""

    decorated = with_retry(function)
    assert decorated.__name__ == "function"
    assert decorated.__doc__ == "Documented."
    assert inspect.signature(decorated) == inspect.signature(function)
    assert decorated.__annotations__ == function.__annotations__
    assert inspect.isfunction(decorated)
    assert decorated.__wrapped__ is function


class Service:
    """Methods of all kinds, each failing twice."""

    def __init__(self) -> None:
        self.flaky = Flaky(2)

    shared = Flaky(0)

    @with_retry
    def method(self, value: int) -> int:
        self.flaky.step()
        return value

    @with_retry
    async def amethod(self, value: int) -> int:
        self.flaky.step()
        return value

    @with_retry
    @classmethod
    def above_class(cls, value: int) -> tuple[type, int]:
        cls.shared.step()
        return cls, value

    @classmethod
    @with_retry
    def below_class(cls, value: int) -> tuple[type, int]:
        cls.shared.step()
        return cls, value

    @with_retry
    @staticmethod
    def above_static(value: int) -> int:
        Service.shared.step()
        return value

    @staticmethod
    @with_retry
    def below_static(value: int) -> int:
        Service.shared.step()
        return value

    @with_retry
    async def __call__(self, value: int) -> int:
        self.flaky.step()
        return value


class Child(Service):
    """Inherits all of it."""


def test_methods_are_retried_on_their_instance(clock: VirtualClock) -> None:
    """A decorated method binds, retries, and is a bound method to inspect."""
    service = Service()
    assert service.method(3) == 3
    assert service.flaky.calls == 3
    assert Service.method(service, 4) == 4
    assert inspect.ismethod(service.method)
    assert service.method.__self__ is service
    assert list(inspect.signature(service.method).parameters) == ["value"]
    service = Service()
    assert asyncio.run(service.amethod(5)) == 5
    assert inspect.iscoroutinefunction(service.amethod)


@pytest.mark.parametrize("name", ["above_class", "below_class", "above_static", "below_static"])
def test_class_and_static_methods_above_and_below(clock: VirtualClock, name: str) -> None:
    """The order of the decorators does not matter, nor does the way of access."""
    for owner in (Child, Child()):
        Service.shared = Child.shared = Flaky(2)
        result = getattr(owner, name)(7)
        assert result == ((Child, 7) if "class" in name else 7)
        assert Service.shared.calls == 3


def test_partials_are_retried(clock: VirtualClock) -> None:
    """Nested partials, of functions and of coroutine functions."""
    flaky = Flaky(2)
    assert with_retry(functools.partial(functools.partial(flaky), "x"))() == "x"
    assert flaky.calls == 3
    again = Flaky(2)

    async def work(value: str) -> str:
        again.step()
        return value

    assert asyncio.run(with_retry(functools.partial(functools.partial(work), "y"))()) == "y"
    assert again.calls == 3


def test_callable_objects_are_retried(clock: VirtualClock) -> None:
    """Objects with a sync or an async __call__, and a decorated __call__ in a class."""
    assert with_retry(Flaky(2))("x") == "x"

    class Async:
        def __init__(self) -> None:
            self.flaky = Flaky(2)

        async def __call__(self, value: str) -> str:
            self.flaky.step()
            return value

    decorated = with_retry(Async())
    assert asyncio.run(decorated("z")) == "z"
    assert asyncio.run(Service()(6)) == 6


def test_builtins_and_classes_are_retried(clock: VirtualClock) -> None:
    """A class is called to make an instance; a builtin is a function."""

    class Connection:
        flaky = Flaky(2)

        def __init__(self) -> None:
            self.flaky.step()

    assert isinstance(with_retry(Connection)(), Connection)
    assert with_retry(len)([1, 2]) == 2
    with pytest.raises(FileNotFoundError):
        with_retry(open)("/no/such/file")


def test_a_sync_function_that_returns_an_awaitable_is_retried(clock: VirtualClock) -> None:
    """What fails while it is awaited is retried by a new call."""
    flaky = Flaky(2)

    async def work(value: str) -> str:
        flaky.step()
        return value

    @with_retry
    def start(value: str) -> Any:
        return work(value)

    async def main() -> tuple[str, str]:
        first = await start("a")
        flaky.calls = 0

        @with_retry(timeout=60)
        def task(value: str) -> Any:
            return asyncio.get_running_loop().create_task(work(value))

        made = task("b")
        assert isinstance(made, asyncio.Task)
        return first, await made

    assert asyncio.run(main()) == ("a", "b")
    assert flaky.calls == 3
    assert registry.stats().retries == 4


def test_coroutine_functions_are_coroutine_functions() -> None:
    """inspect and asyncio take the decorated function for what it is."""

    @with_retry
    async def work() -> None: ...

    assert inspect.iscoroutinefunction(work)
    coroutine = work()
    assert inspect.iscoroutine(coroutine)
    coroutine.close()


@with_retry(max=4)
def module_level(value: int) -> int:
    """At module level, for pickle."""
    return value


def test_decorated_functions_pickle_and_deep_copy() -> None:
    """At module level by reference, elsewhere by their parts; methods of instances too."""
    assert pickle.loads(pickle.dumps(module_level)) is module_level
    assert copy.deepcopy(module_level) is module_level
    assert copy.copy(module_level) is module_level
    remade = pickle.loads(pickle.dumps(with_retry(max=3)(len)))
    assert remade([1]) == 1
    service = pickle.loads(pickle.dumps(Service().method))
    assert service(3) == 3

    copied = copy.deepcopy(with_retry(Flaky(0)))
    assert copied("x") == "x"


def test_the_exception_type_alone_is_no_parameter() -> None:
    """@with_retry(ConnectionError), as other libraries have it, would retry the making of the exception."""
    with pytest.raises(
        TypeError, match=r"ConnectionError is an exception type: write @with_retry\(on=ConnectionError\)"
    ):
        with_retry(ConnectionError)


def test_a_coroutine_is_no_function() -> None:
    """Who calls the function for the scope hears to give the function itself."""

    async def work() -> None: ...

    coroutine = work()
    with pytest.raises(TypeError, match=r"got <coroutine object .*: give the function itself"):
        asyncio.run(retrywrap.retry_scope().acall(coroutine))  # type: ignore[arg-type]  # which is the mistake
    coroutine.close()


@pytest.mark.parametrize("make", [contextlib.contextmanager, contextlib.asynccontextmanager])
def test_makers_of_context_managers_are_refused(make: Any) -> None:
    """Making one never fails, so that retrying it would retry nothing."""

    @make
    def connect() -> Any:
        yield

    with pytest.raises(TypeError, match="connect makes a context manager, and making one never fails"):
        with_retry(connect)


def test_a_forgotten_await_names_the_function() -> None:
    """Python's warning says which coroutine was never awaited."""

    @with_retry
    async def fetch() -> None: ...

    class Client:
        @with_retry(timeout=3)
        async def get(self) -> None: ...

        async def __call__(self) -> None: ...

    for coroutine, name in ((fetch(), "fetch"), (Client().get(), "Client.get"), (with_retry(Client())(), "Client")):
        assert coroutine.__qualname__.endswith(name)
        assert coroutine.__name__.endswith(name.rpartition(".")[2])
        coroutine.close()


@pytest.mark.parametrize("descriptor", [property(lambda self: 1), functools.cached_property(lambda self: 1)])
def test_descriptors_that_cannot_be_called_are_refused(descriptor: Any) -> None:
    """The message says where the decorator belongs."""
    with pytest.raises(TypeError, match="put @with_retry below"):
        with_retry(descriptor)


@pytest.mark.parametrize("thing", [3, "text", None, object()])
def test_what_cannot_be_called_is_refused(thing: Any) -> None:
    """with_retry(3) says what it takes."""
    with pytest.raises(TypeError, match="something that can be called; got"):
        with_retry(thing)


def test_attempt_timeout_is_refused_for_sync_functions() -> None:
    """A thread cannot be stopped from outside; the message names remaining()."""
    with pytest.raises(TypeError, match=r"remaining\(\)"):
        with_retry(attempt_timeout=1)(lambda: None)


def test_attempt_timeout_limits_each_attempt(clock: VirtualClock) -> None:
    """An attempt that takes too long is cancelled and counts as a timeout, which is retried."""
    calls = 0

    @with_retry(attempt_timeout=0.01, interval=1)
    async def slow_at_first() -> str:
        nonlocal calls
        calls += 1
        if calls < 3:
            await asyncio.Event().wait()
        return "ok"

    assert asyncio.run(slow_at_first()) == "ok"
    assert clock.waits == [1.0, 1.0]
    assert registry.by_code == {retrywrap.ErrorCode.TIMEOUT: 2}


def test_exponential_backoff_in_a_decorator(clock: VirtualClock) -> None:
    """A backoff's waits are waited in order; each operation starts afresh."""
    decorated = with_retry(interval=exponential(1, cap=5, jitter=None))
    for _ in range(2):
        clock.waits.clear()
        decorated(Flaky(4))()
        assert clock.waits == [1.0, 2.0, 4.0, 5.0]
