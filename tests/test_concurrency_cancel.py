"""Cancellation at every await: it comes out, one end is told, nothing is left behind, and the next call works.

Each form of an asynchronous operation is driven by hand, from one suspension to the next, and cancelled at each.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import types
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from retrywrap import Registry, RetryBudget, RetryEvent, configure, retry_scope, subscribe, with_retry
from retrywrap.decide.allowance import PROCESS
from retrywrap.run.ambient import ambient

CAPACITY = 1000.0


async def pause() -> None:
    """Suspend oneself once, in a task of asyncio or of trio."""
    if asyncio._get_running_loop() is not None:
        await asyncio.sleep(0)
    else:
        trio: Any = sys.modules["trio"]
        await trio.lowlevel.checkpoint()


class Flaky:
    """A coroutine function that suspends itself before and after what it does, and fails so many times."""

    def __init__(self, failures: int = 2) -> None:
        self.left = failures

    async def __call__(self) -> str:
        await pause()
        if self.left > 0:
            self.left -= 1
            raise ConnectionResetError("gone")
        await pause()
        return "done"


Form = Callable[[Registry, RetryBudget], Awaitable[Any]]


async def prepare(_: object) -> None:
    """Be a ``before_retry`` that suspends itself."""
    await pause()


def decorated(registry: Registry, budget: RetryBudget) -> Awaitable[Any]:
    """What the fast path knows."""
    return with_retry(max=3, interval=0.001, registry=registry, name="op")(Flaky())()


def paid(registry: Registry, budget: RetryBudget) -> Awaitable[Any]:
    """What asks for all that a policy may ask for."""
    asked: Any = {"timeout": 60, "budget": budget, "before_retry": prepare, "attempt_timeout": 30}
    return with_retry(max=3, interval=0.001, registry=registry, name="op", **asked)(Flaky())()


def returned(registry: Registry, budget: RetryBudget) -> Awaitable[Any]:
    """A sync function that fails, then returns an awaitable, which fails."""
    flaky, calls = Flaky(1), []

    def function() -> Awaitable[str]:
        calls.append(1)
        if len(calls) == 1:
            raise ConnectionResetError("gone")
        return flaky()

    result: Awaitable[Any] = with_retry(max=3, interval=0, budget=budget, registry=registry, name="op")(function)()
    return result


async def scope(registry: Registry, budget: RetryBudget) -> str:
    """A call in a scope."""
    async with retry_scope(max=5, interval=0.001, timeout=60, budget=budget, registry=registry) as around:
        return await around.acall(Flaky())


async def block(registry: Registry, budget: RetryBudget) -> str:
    """A block that runs again."""
    flaky, asked = Flaky(), {"budget": budget, "registry": registry, "before_retry": prepare, "attempt_timeout": 30}
    policy: Any = {"max": 5, "interval": 0.001, "timeout": 60, **asked}
    answer = ""
    async for attempt in retry_scope(**policy):
        async with attempt:
            answer = await flaky()
    return answer


async def plain_block(registry: Registry, budget: RetryBudget) -> str:
    """A block of attempts that are entered by a plain ``with``."""
    flaky, answer = Flaky(), ""
    async for attempt in retry_scope(max=5, interval=0.001, registry=registry):
        with attempt:
            answer = await flaky()
    return answer


FORMS: list[Form] = [decorated, paid, returned, scope, block, plain_block]


class Driven:
    """A form, driven through a number of suspensions, then cancelled."""

    def __init__(self, form: Form, suspensions: int | None) -> None:
        self.registry, self.budget = Registry(), RetryBudget(capacity=CAPACITY)
        self.heard: list[RetryEvent] = []
        self.result: Any = None
        self.error: BaseException | None = None
        self.suspended = 0
        end = subscribe(self.heard.append)
        try:
            self.result = asyncio.run(self._main(form, suspensions))
        except asyncio.CancelledError as error:
            self.error = error
        finally:
            end()

    async def _main(self, form: Form, suspensions: int | None) -> Any:
        try:
            return await self._drive(form(self.registry, self.budget), suspensions)
        finally:
            assert list(ambient.get().links()) == [PROCESS]

    @types.coroutine
    def _drive(self, awaited: Awaitable[Any], suspensions: int | None) -> Any:
        steps, given = awaited.__await__(), None
        while True:
            try:
                if self.suspended == suspensions:
                    cancelled = asyncio.CancelledError()
                    if isinstance(given, asyncio.Future):
                        given._asyncio_future_blocking = False
                    given = steps.throw(cancelled)  # type: ignore[attr-defined]  # a coroutine has it
                    raise AssertionError("it went on")
                given = next(steps)  # type: ignore[call-overload]  # of any awaitable
            except StopIteration as stop:
                return stop.value
            self.suspended += 1
            if self.suspended != suspensions:
                yield given


def interruptible(form: Form) -> int:
    """Return how often a form suspends itself."""
    whole = Driven(form, None)
    assert (whole.result, whole.error) == ("done", None)
    return whole.suspended


@pytest.mark.parametrize("form", FORMS)
def test_at_every_await(form: Form) -> None:
    """Of attempts, waits, hooks, and what limits an attempt's time."""
    configure(events=False)
    awaits = interruptible(form)
    assert awaits >= 3
    for number in range(1, awaits + 1):
        driven = Driven(form, number)
        assert type(driven.error) is asyncio.CancelledError, number
        stats = driven.registry.stats()
        ends = [event.name for event in driven.heard if event.final]
        assert ends == (["retry.cancelled"] if stats.errors or driven.heard else []), number
        assert stats.failed == stats.cancelled == len(ends)
        assert 0 <= driven.budget.available <= CAPACITY
    assert interruptible(form) == awaits


@types.coroutine
def counted(awaited: Awaitable[Any], suspensions: list[object]) -> Any:
    """Await something, and add to a list what it waits for each time that it suspends itself."""
    steps, error = awaited.__await__(), None
    while True:
        try:
            given = next(steps) if error is None else steps.throw(error)
        except StopIteration as stop:
            return stop.value
        suspensions.append(given)
        error = None
        try:
            yield given
        except BaseException as thrown:
            error = thrown


@pytest.mark.parametrize("form", FORMS)
def test_a_task_is_cancelled_at_every_turn(form: Form) -> None:
    """The same by `asyncio.Task.cancel`, at each turn that finds the task elsewhere; the loop is left clean.

    Elsewhere: suspended once more, or with what it waits for at hand while it did not go on yet. From the first on: an
    awaitable that never began to run has no say in its end.
    """
    configure(events=False)

    async def main(number: int) -> int:
        registry, budget = Registry(), RetryBudget(capacity=CAPACITY)
        suspensions: list[Any] = []
        found: list[object] = []
        loop = asyncio.get_running_loop()

        async def run() -> Any:
            return await counted(form(registry, budget), suspensions)

        def turn() -> None:
            if task.done():
                return
            state = len(suspensions), suspensions[-1] is not None and suspensions[-1].done()
            if state not in found:
                found.append(state)
            if len(found) == number:
                task.cancel()
            else:
                loop.call_soon(turn)

        task = asyncio.ensure_future(run())
        loop.call_soon(turn)
        if not number:
            assert await task == "done"
            assert [count for count, done in found if not done] == [*range(1, awaits + 1)]
            assert any(done for _, done in found) or not any(suspensions)
            return len(found)
        with pytest.raises(asyncio.CancelledError):
            await task
        stats = registry.stats()
        assert stats.cancelled == (1 if stats.errors else 0)
        assert stats.recovered == stats.exhausted == 0
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert await form(registry, budget) == "done"
        return number

    awaits = interruptible(form)
    for number in range(1, asyncio.run(main(0)) + 1):
        asyncio.run(main(number))
    assert PROCESS._wakers == set()


@pytest.mark.parametrize("form", FORMS)
def test_nothing_is_kept_of_what_was_cancelled(form: Form) -> None:
    """Neither the error nor a frame stays alive."""
    configure(events=False)
    awaits = interruptible(form)
    gc.collect()
    before = sum(issubclass(type(thing), ConnectionResetError | asyncio.CancelledError) for thing in gc.get_objects())
    for number in range(1, awaits + 1):
        Driven(form, number)
    gc.collect()
    after = sum(issubclass(type(thing), ConnectionResetError | asyncio.CancelledError) for thing in gc.get_objects())
    assert after <= before  # what other tests left may go away meanwhile


@pytest.mark.parametrize("form", FORMS)
def test_trio_cancels_at_every_checkpoint(form: Form) -> None:
    """A cancel scope that is cancelled where each step of the task in it has ended."""
    trio: Any = pytest.importorskip("trio")
    configure(events=False)

    class Cancelling(trio.abc.Instrument):
        def __init__(self, number: int) -> None:
            self.number, self.steps = number, 0
            self.task: Any = None
            self.scope = trio.CancelScope()

        def after_task_step(self, task: Any) -> None:
            if task is self.task:
                self.steps += 1
                if self.steps == self.number:
                    self.scope.cancel()

    async def main(number: int) -> int:
        registry, budget = Registry(), RetryBudget(capacity=CAPACITY)
        instrument, result = Cancelling(number), None
        trio.lowlevel.add_instrument(instrument)
        instrument.task = trio.lowlevel.current_task()
        with instrument.scope:
            result = await form(registry, budget)
        instrument.task = None
        assert list(ambient.get().links()) == [PROCESS]
        stats = registry.stats()
        if number:
            assert result is None
            assert instrument.scope.cancelled_caught
            assert (stats.cancelled, stats.recovered) == (1 if stats.errors else 0, 0)
            result = await form(registry, budget)
        assert result == "done"
        return instrument.steps

    steps = trio.run(main, 0)
    assert steps >= interruptible(form)
    for number in range(1, steps + 1):
        trio.run(main, number)
    assert PROCESS._wakers == set()
