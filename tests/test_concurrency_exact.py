"""Many threads and many tasks on one decorated function and one registry: nothing is lost, mixed up, or told twice."""

from __future__ import annotations

import asyncio
import functools
import threading
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
from hurry import ROUNDS, run_hurried

from retrywrap import (
    ErrorCode,
    RatioBudget,
    Registry,
    RetryBudget,
    RetryEvent,
    configure,
    retry_scope,
    subscribe,
    with_retry,
)
from retrywrap.testing import VirtualClock

THREADS = 8
TASKS = 25
RUNS = 20 * ROUNDS
MAX = 3

KINDS: list[tuple[Callable[[str], Exception], ErrorCode]] = [
    (ConnectionResetError, ErrorCode.CONNECTION_LOST),
    (TimeoutError, ErrorCode.TIMEOUT),
]


def raises(kind: Callable[[str], Exception], who: str) -> None:
    """Raise an error that names its thread or task."""
    mark = kind(who)
    raise mark


class Ledger:
    """What callers of one decorated function saw, to be compared with what was recorded and told."""

    def __init__(self, **policy: Any) -> None:
        self.registry = Registry(10)
        self.calls: Counter[str] = Counter()
        self.wrong: list[object] = []
        self.heard: list[RetryEvent] = []
        self.function = with_retry(max=MAX, registry=self.registry, name="op", **policy)(self._step)
        self.coroutine = with_retry(max=MAX, registry=self.registry, name="op", **policy)(self._astep)

    def _step(self, who: str, fails: int, made: list[Exception]) -> str:
        if len(made) < fails:
            try:
                raises(KINDS[fails % 2][0], who)
            except Exception as error:
                made.append(error)
                raise
        return who

    async def _astep(self, who: str, fails: int, made: list[Exception]) -> str:
        await asyncio.sleep(0)
        return self._step(who, fails, made)

    def _expect(self, who: str, fails: int, made: list[Exception], outcome: object) -> None:
        if fails <= MAX:
            fine = outcome == who and len(made) == fails
        else:
            fine = outcome is made[-1] and len(made) == MAX + 1 and self._is_own(made[-1], who)
        if not fine:
            self.wrong.append((who, fails, made, outcome))

    @staticmethod
    def _is_own(error: Exception, who: str) -> bool:
        """Whether an error is its caller's: its text, one note, and the frames of this call alone."""
        names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
        notes = error.__notes__
        return error.args == (who,) and len(notes) == 1 and names.count("raises") == 1 and error.__context__ is None

    def work(self, number: int) -> None:
        """Call the function in this thread, each time with another number of failures."""
        for run in range(RUNS):
            who, fails, made = f"{number}.{run}", (number + run) % (MAX + 2), []  # type: tuple[str, int, list[Exception]]
            outcome: object
            try:
                outcome = self.function(who, fails, made)
            except Exception as error:
                outcome = error
            self._expect(who, fails, made, outcome)

    async def task(self, number: int, run: int) -> None:
        """Await the coroutine function once."""
        who, fails, made = f"{number}.{run}", (number + run) % (MAX + 2), []  # type: tuple[str, int, list[Exception]]
        outcome: object
        try:
            outcome = await self.coroutine(who, fails, made)
        except Exception as error:
            outcome = error
        self._expect(who, fails, made, outcome)

    def check(self, ways: list[int], *, heard: bool) -> None:
        """Compare: `ways` has for each call how often it fails, `heard` whether events are there to be compared."""
        assert self.wrong == []
        errors = sum(min(fails, MAX + 1) for fails in ways)
        retries = sum(min(fails, MAX) for fails in ways)
        stats = self.registry.stats("op")
        assert stats == self.registry.stats()
        assert (stats.errors, stats.retries, stats.unknown) == (errors, retries, 0)
        assert stats.recovered == sum(0 < fails <= MAX for fails in ways)
        assert stats.exhausted == stats.failed == sum(fails > MAX for fails in ways)
        assert self.registry.by_code == {
            code: count
            for index, (_, code) in enumerate(KINDS)
            if (count := sum(min(fails, MAX + 1) for fails in ways if fails % 2 == index))
        }
        told = {"retry.scheduled": retries, "retry.recovered": stats.recovered, "retry.exhausted": stats.exhausted}
        assert Counter(event.name for event in self.heard) == (told if heard else {})


def told(ledger: Ledger, work: Callable[[], object]) -> None:
    """Have a ledger hear of everything that a function does."""
    end = subscribe(ledger.heard.append)
    try:
        work()
    finally:
        end()


POLICIES = [{"interval": 0}, {"interval": 1}, {"interval": 1, "timeout": 10**9, "budget": "large"}]


@pytest.mark.parametrize(
    ("policy", "timed"), [*((policy, VirtualClock) for policy in POLICIES), (POLICIES[0], nullcontext)], ids=str
)
@pytest.mark.parametrize("heard", [False, True])
def test_threads(policy: dict[str, Any], timed: Callable[[], AbstractContextManager[object]], heard: bool) -> None:
    """Each caller gets its own result or its own exception, with its own traceback; counts and events are exact.

    In real time, too, because the fast path is for that alone.
    """
    configure(events=False)
    policy = {**policy, "budget": RetryBudget(10**9)} if "budget" in policy else policy
    ledger = Ledger(**policy)
    hurried = functools.partial(run_hurried, [functools.partial(ledger.work, number) for number in range(THREADS)])
    with timed():
        told(ledger, hurried) if heard else hurried()
    ledger.check([(number + run) % (MAX + 2) for number in range(THREADS) for run in range(RUNS)], heard=heard)


@pytest.mark.parametrize("policy", POLICIES[:2], ids=str)
def test_tasks_in_several_threads(policy: dict[str, Any], clock: VirtualClock) -> None:
    """The same for tasks that run at once, in event loops that run at once."""
    configure(events=False)
    ledger = Ledger(**policy)
    rounds = max(1, RUNS // 20)

    async def main(thread: int) -> None:
        for run in range(rounds):
            await asyncio.gather(*(ledger.task(thread + number, run) for number in range(TASKS)))

    def run() -> None:
        run_hurried([lambda thread=thread: asyncio.run(main(thread)) for thread in range(4)])

    told(ledger, run)
    ledger.check(
        [
            (thread + number + run) % (MAX + 2)
            for thread in range(4)
            for number in range(TASKS)
            for run in range(rounds)
        ],
        heard=True,
    )


@pytest.mark.parametrize("interval", [0, 1])
def test_a_budget_pays_exactly_what_it_has(interval: int, clock: VirtualClock) -> None:
    """However many threads draw from it at once: as many retries as it has tokens, no more, no less."""
    configure(events=False)
    registry, paid = Registry(), 100 * ROUNDS
    budget = RetryBudget(capacity=10 * paid, cost=10)
    function = with_retry(max=None, timeout=10**9, interval=interval, budget=budget, registry=registry)(
        functools.partial(raises, ConnectionResetError)
    )

    def work() -> None:
        for _ in range(10):
            with pytest.raises(ConnectionResetError):
                function("x")

    run_hurried([work] * THREADS)
    assert (registry.retry_count, budget.available) == (paid, 0)
    assert registry.stats().budget_denied == 10 * THREADS


def test_a_ratio_pays_what_operations_earned(clock: VirtualClock) -> None:
    """Each operation that begins pays for a tenth of a retry, whichever thread begins it."""
    configure(events=False)
    registry = Registry()
    budget = RatioBudget(ratio=0.1, reserve=0)
    function = with_retry(max=1, interval=0, budget=budget, registry=registry)(
        functools.partial(raises, ConnectionResetError)
    )

    def work() -> None:
        for _ in range(25):
            with pytest.raises(ConnectionResetError):
                function("x")

    run_hurried([work] * THREADS)
    assert registry.retry_count == 25 * THREADS // 10


def test_a_scope_allows_exactly_what_it_has(clock: VirtualClock) -> None:
    """Threads that were carried into one scope draw its retries, each one once; it counts all of them."""
    configure(events=False)
    function = with_retry(max=None, timeout=10**9, interval=1)(functools.partial(raises, ConnectionResetError))

    def work() -> None:
        with pytest.raises(ConnectionResetError):
            function("x")

    most = 200 * ROUNDS
    with retry_scope(max=most) as scope:
        carried = scope.carry(work)
        run_hurried([carried] * THREADS)
        assert (scope.retry_count, scope.error_count) == (most, most + THREADS)
        assert scope.stats().exhausted == THREADS


def test_two_threads_never_wait_for_each_other(clock: VirtualClock) -> None:
    """One that is stopped in a listener, in the midst of its operation, stops no other one."""
    entered, leave = threading.Event(), threading.Event()

    def listen(event: RetryEvent) -> None:
        if threading.current_thread().name == "stopped":
            entered.set()
            leave.wait(30)

    configure(events=False)
    registry = Registry()
    function = with_retry(max=1, interval=1, registry=registry)(functools.partial(raises, ConnectionResetError))

    def work() -> None:
        with pytest.raises(ConnectionResetError):
            function("x")

    end = subscribe(listen)
    stopped = threading.Thread(target=work, name="stopped")
    try:
        stopped.start()
        assert entered.wait(30)
        run_hurried([work] * THREADS)
        assert registry.stats().exhausted == THREADS
    finally:
        leave.set()
        stopped.join(30)
        end()
    assert registry.stats().exhausted == THREADS + 1
