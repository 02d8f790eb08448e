"""Ctrl-C by real signals, from other threads, and where two steps of ours meet: it comes out, with one end told."""

from __future__ import annotations

import asyncio
import ctypes
import functools
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hurry import ROUNDS
from interrupts import free_locks
from test_concurrency_interrupt import Flaky, check_next

from retrywrap import Registry, RetryEvent, configure, retry_scope, subscribe, with_retry
from retrywrap.decide.allowance import PROCESS, Allowance
from retrywrap.run.ambient import ambient
from retrywrap.run.block import Attempt
from retrywrap.testing import VirtualClock


def raise_signal(*_: object) -> bool:
    """Get a real one: what calls this is interrupted as soon as the interpreter looks."""
    signal.raise_signal(signal.SIGINT)
    return True


def _listened(registry: Registry) -> Callable[[], Any]:
    operation = with_retry(max=3, interval=0, registry=registry, name="op")(Flaky())

    def run() -> None:
        end = subscribe(raise_signal)
        try:
            operation()
        finally:
            end()

    return run


SIGNALLED: dict[str, Callable[[Registry], Callable[[], Any]]] = {
    "function": lambda mine: with_retry(max=3, interval=0, registry=mine)(raise_signal),
    "builtin": lambda mine: functools.partial(
        with_retry(max=3, interval=0, registry=mine)(signal.raise_signal), signal.SIGINT
    ),
    "listener": _listened,
    "before_retry": lambda mine: with_retry(max=3, interval=0, registry=mine, before_retry=raise_signal)(Flaky()),
    "on": lambda mine: with_retry(max=3, interval=0, registry=mine, on=raise_signal)(Flaky()),
    "results": lambda mine: with_retry(max=3, interval=0, registry=mine, results=raise_signal)(Flaky()),
    "classifier": lambda mine: with_retry(max=3, interval=0, registry=mine, classifier=raise_signal)(Flaky()),
}


@pytest.mark.parametrize("where", SIGNALLED)
def test_a_signal_in_code_that_is_called(where: str) -> None:
    """In the function, in a builtin one, in a listener, in each callable of the policy: it comes out, with one end."""
    configure(events=False)
    registry = Registry()
    with pytest.raises(KeyboardInterrupt):
        SIGNALLED[where](registry)()
    stats = registry.stats()
    assert (stats.cancelled, stats.recovered, stats.exhausted) == (1 if stats.errors else 0, 0, 0)
    assert free_locks()
    check_next()


class Endless:
    """Operations, one after the other, each of which fails twice and recovers, until Ctrl-C ends them."""

    def __init__(self) -> None:
        self.registry = Registry()
        # Decorated once: what goes away calls back those that refer to it weakly, and what is raised there is lost.
        self.operation = with_retry(max=3, interval=0, registry=self.registry, name="op")(Flaky.__call__)
        self.begun = 0
        self.tell_began = threading.Event()
        self.error: BaseException | None = None

    def __call__(self) -> None:
        try:
            while True:
                flaky = Flaky()
                self.begun += 1
                self.tell_began.set()
                self.operation(flaky)
        except BaseException as error:
            self.error = error

    def check(self) -> None:
        """Nothing was lost or told twice, whichever operation was interrupted."""
        assert type(self.error) is KeyboardInterrupt
        stats = self.registry.stats()
        assert stats.errors == sum(self.registry.by_code.values())
        assert stats.recovered + stats.cancelled in (self.begun - 1, self.begun)
        assert 2 * (self.begun - 1) <= stats.errors <= 2 * self.begun
        assert free_locks()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no setitimer")
def test_a_timer_interrupts_operations() -> None:
    """Wherever its signal falls in a stream of operations, in C or in Python."""
    configure(events=False)
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        for number in range(20 * ROUNDS):
            endless = Endless()
            # Again, if need be: what comes while a finalizer runs is lost, as Python itself loses it.
            signal.setitimer(signal.ITIMER_REAL, 0.001 + 0.00137 * (number % 7), 1)
            endless()
            signal.setitimer(signal.ITIMER_REAL, 0)
            endless.check()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    check_next()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_thread_is_interrupted_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """By `PyThreadState_SetAsyncExc`, as debuggers do it: again and again, since what comes in a finalizer is lost."""
    configure(events=False)
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)  # as pytest's own may be interrupted, and fails
    for _ in range(20 * ROUNDS):
        endless = Endless()
        thread = threading.Thread(target=endless, daemon=True)
        thread.start()
        assert endless.tell_began.wait(10)
        ident, error = ctypes.c_ulong(thread.ident or 0), ctypes.py_object(KeyboardInterrupt)
        for _ in range(1000):
            thread.join(0.001)
            if not thread.is_alive():
                break
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, error)
        endless.check()


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="this system has no pthread_kill")
def test_a_real_wait_is_interrupted() -> None:
    """The main thread waits for an hour; Ctrl-C ends that, and nothing is left behind that would wake it."""
    configure(events=False)
    registry = Registry()
    kill = functools.partial(signal.pthread_kill, threading.main_thread().ident or 0, signal.SIGINT)
    end = subscribe(lambda event: threading.Timer(0.01, kill).start() if event.wait else None)
    try:
        with pytest.raises(KeyboardInterrupt):
            with_retry(interval=3600, registry=registry)(Flaky())()
    finally:
        end()
    assert (registry.stats().errors, registry.stats().cancelled) == (1, 1)
    assert PROCESS._wakers == set()
    check_next()


class Interrupting:
    """A context variable that is set, and then Ctrl-C comes."""

    def get(self) -> Allowance:
        return ambient.get()

    def set(self, value: Allowance) -> None:
        ambient.set(value)
        raise KeyboardInterrupt


def test_an_entry_that_is_interrupted(monkeypatch: pytest.MonkeyPatch, clock: VirtualClock) -> None:
    """A scope, and an attempt of a block: what was set is set back, and the block's operation ends."""
    heard: list[str] = []
    end = subscribe(lambda event: heard.append(event.name))
    monkeypatch.setattr("retrywrap.run.scope.ambient", Interrupting())
    with pytest.raises(KeyboardInterrupt), retry_scope(timeout=60):
        pass
    monkeypatch.undo()
    assert ambient.get() is PROCESS
    flaky = Flaky()
    with pytest.raises(KeyboardInterrupt):
        for attempt in retry_scope(max=3, timeout=60):
            if attempt.number == 2:
                monkeypatch.setattr("retrywrap.run.block.ambient", Interrupting())
            with attempt:
                flaky()
    end()
    assert ambient.get() is PROCESS
    assert heard == ["retry.scheduled", "retry.cancelled"]


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("is_async", [False, True])
def test_an_exit_that_is_interrupted(monkeypatch: pytest.MonkeyPatch, number: int, is_async: bool) -> None:
    """Between the end of an attempt and the decision on it: an operation of which something was told ends."""
    heard: list[str] = []
    end = subscribe(lambda event: heard.append(event.name))
    decide, flaky = Attempt._decide, Flaky()

    def interrupted(self: Attempt, error: BaseException | None) -> RetryEvent | None:
        if self.number == number:
            raise KeyboardInterrupt
        return decide(self, error)

    monkeypatch.setattr(Attempt, "number", property(lambda self: len(heard) + 1))
    monkeypatch.setattr(Attempt, "_decide", interrupted)

    async def main() -> None:
        async for attempt in retry_scope(max=3, interval=0, timeout=60):
            async with attempt:
                flaky()

    with pytest.raises(KeyboardInterrupt):
        if is_async:
            asyncio.run(main())
        for attempt in retry_scope(max=3, interval=0, timeout=60):
            with attempt:
                flaky()
    end()
    assert heard == ["retry.scheduled", "retry.cancelled"][: 2 * number - 2]
    assert list(ambient.get().links()) == [PROCESS]


@pytest.mark.parametrize("is_async", [False, True])
def test_a_listener_of_a_late_success(is_async: bool, clock: VirtualClock) -> None:
    """Ctrl-C there comes out in the place of the result; no second end follows."""
    heard: list[str] = []

    def listen(event: RetryEvent) -> None:
        heard.append(event.name)
        if event.final:
            raise KeyboardInterrupt

    flaky = Flaky()

    @with_retry(max=3, interval=1)
    async def operation() -> str:
        return flaky()

    end = subscribe(listen)
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(operation()) if is_async else with_retry(max=3, interval=1)(flaky)()
    end()
    assert heard == ["retry.scheduled", "retry.scheduled", "retry.recovered"]
