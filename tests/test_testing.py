"""The test kit: virtual time, retries switched off, and the clean slate."""

from __future__ import annotations

import asyncio
import doctest
import functools
import sys
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio

import retrywrap
from retrywrap import exponential, plugin, registry, remaining, reports, retry_scope, shutdown, with_retry
from retrywrap.config import Settings, configure, settings
from retrywrap.decide.allowance import PROCESS
from retrywrap.decide.budget import RatioBudget, RetryBudget, named_budget
from retrywrap.run import clock as clocks
from retrywrap.run.turns import _Queue
from retrywrap.testing import VirtualClock, disabled, faults, reset
from retrywrap.testing import clock as virtual
from retrywrap.testing.state import kept_budgets


def fails(calls: list[float] | None = None) -> None:
    """An operation that never succeeds."""
    if calls is not None:
        calls.append(clocks.current().now())
    raise ConnectionResetError("peer went away")


def give_up(**settings: Any) -> list[float]:
    """Run that operation to its end; return the virtual times of its attempts."""
    calls: list[float] = []
    with pytest.raises(ConnectionResetError):
        with_retry(**settings)(fails)(calls)
    return calls


# --- VirtualClock


def test_waits_take_no_time_and_are_listed() -> None:
    """The virtual time passes by what is waited; the real one does not."""
    began = time.monotonic()
    with VirtualClock() as clock:
        assert give_up(max=3, interval=1000) == [0.0, 1000.0, 2000.0, 3000.0]
    assert clock.waits == [1000.0] * 3
    assert clock.waited == 3000.0
    assert clock.now() == 3000.0
    assert time.monotonic() - began < 100


def test_async_waits_are_virtual_too() -> None:
    """In asyncio and in trio; other tasks run during each wait."""

    async def operation() -> None:
        fails()

    turns: list[int] = []

    async def retried() -> None:
        with pytest.raises(ConnectionResetError):
            await with_retry(max=3, interval=1000)(operation)()
        turns.append(-1)

    async def in_asyncio() -> None:
        task = asyncio.ensure_future(retried())
        while not task.done():
            turns.append(len(clock.waits))
            await asyncio.sleep(0)

    for run in (lambda: asyncio.run(in_asyncio()), lambda: trio.run(retried)):
        with VirtualClock() as clock:
            run()
        assert clock.waits == [1000.0] * 3
    assert turns[:-2] == sorted(turns[:-2])
    assert {1, 2} <= set(turns)


@pytest.mark.parametrize("run", [asyncio.run, trio.run], ids=["asyncio", "trio"])
def test_time_waits_for_tasks_that_are_about_to_wait(run: Callable[..., object]) -> None:
    """Who takes some turns of the event loop to come to a short wait goes on before whoever began a long one."""
    order: list[str] = []

    async def turn() -> None:
        await (trio.lowlevel.checkpoint() if clocks.under_trio() else asyncio.sleep(0))

    async def wait(name: str, turns: int, seconds: float) -> None:
        for _ in range(turns):
            await turn()
        await clock.asleep(seconds, PROCESS)
        order.append(name)

    async def main() -> None:
        if clocks.under_trio():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait, "long", 0, 10.0)
                nursery.start_soon(wait, "short", 15, 1.0)
        else:
            await asyncio.gather(wait("long", 0, 10.0), wait("short", 15, 1.0))

    with VirtualClock() as clock:
        run(main if run is trio.run else main())
    assert order == ["short", "long"]
    assert clock.now() == 10.0


def test_threads_see_the_same_clock() -> None:
    """Every wait of every thread is virtual, and none is lost."""
    with VirtualClock() as clock:
        threads = [threading.Thread(target=give_up, kwargs={"max": 10, "interval": 1}) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert clock.waits == [1.0] * 80
    assert clock.now() == 80.0


def test_advancing_lets_time_pass_without_a_wait() -> None:
    """As the code under test would spend it; deadlines see it."""
    with VirtualClock() as clock, retry_scope(timeout=10):
        clock.advance(4)
        assert remaining() == 6.0
        clock.advance(7.5)
        assert remaining() == 0.0
    assert clock.waits == []
    assert clock.now() == 11.5


def test_jitter_is_pinned() -> None:
    """The middle of each range, unless another number is wanted."""
    policy = {"max": 3, "interval": exponential(1)}
    with VirtualClock() as clock:
        give_up(**policy)
    assert clock.waits == [0.5, 1.0, 2.0]
    with VirtualClock(random=0) as clock:
        give_up(**policy)
    assert clock.waited == 0.0
    with VirtualClock(random=0.75) as clock:
        give_up(**policy)
    assert clock.waits == [0.75, 1.5, 3.0]


def test_the_epoch_is_known() -> None:
    """Records and error logs have the times that a test can expect."""
    with VirtualClock(start=5.5) as clock:
        give_up(max=1, interval=2)
        assert (clock.epoch(), clock.random()) == (5.5, 0.5)
    assert [record.time for record in registry.errors] == [5.5, 7.5]
    with VirtualClock():
        give_up(max=0)
    assert registry.last_error.time == 1_000_000_000.0


def test_a_cancelled_wait_takes_no_time() -> None:
    """What was cancelled before its wait ends there, as with the real clock."""
    with VirtualClock() as clock, retry_scope() as scope:
        limits = scope.link()
        scope.cancel()
        clock.sleep(5, limits)
        asyncio.run(clock.asleep(5, limits))
    assert (clock.waits, clock.now()) == ([], 0.0)


def test_outside_of_it_the_clock_is_as_before() -> None:
    """Also where clocks nest, where one is entered twice, and where the block raises."""
    real = clocks.current()
    outer, inner = VirtualClock(), VirtualClock()
    with outer:
        with inner, outer:
            assert clocks.current() is outer
        assert clocks.current() is outer
        with pytest.raises(LookupError), inner:
            assert clocks.current() is inner
            raise LookupError
        assert clocks.current() is outer
    assert clocks.current() is real


def test_clocks_of_overlapping_threads() -> None:
    """Whichever block ends first: one that is still open stays virtual, and in the end the real clock is back."""
    real = clocks.current()
    first, second = VirtualClock(), VirtualClock()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert clocks.current() is second
    second.__exit__(None, None, None)
    assert clocks.current() is real
    assert virtual._clocks == []


def test_a_signal_handler_may_advance_the_clock() -> None:
    """Its lock is re-entrant: a handler that interrupts a wait does not wait for it."""
    clock = VirtualClock()
    with clock._lock:
        clock.advance(3)
    assert clock.now() == 3.0


def test_the_repr_says_where_it_stands() -> None:
    """For whoever looks at a failed test."""
    with VirtualClock() as clock:
        give_up(max=2, interval=1.5)
    assert repr(clock) == "<VirtualClock at 3 s, 2 waits>"


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: VirtualClock(random=1), ValueError, "random must be a number in [0, 1); got 1"),
        (lambda: VirtualClock(random=-0.1), ValueError, "random must be a finite number, 0 or more; got -0.1"),
        (lambda: VirtualClock(random="x"), TypeError, "random must be a finite number, 0 or more; got 'x'"),  # type: ignore[arg-type]  # refusing it is the point
        (lambda: VirtualClock(-1), ValueError, "start must be a finite number of seconds"),
        (lambda: VirtualClock().advance(-1), ValueError, "seconds must be a finite number of seconds"),
        (lambda: VirtualClock().advance(float("nan")), ValueError, "seconds must be a finite number of seconds"),
    ],
)
def test_times_that_cannot_be_are_refused(make: Callable[[], object], error: type[Exception], text: str) -> None:
    """By the parameter's name."""
    with pytest.raises(error) as caught:
        make()
    assert str(caught.value).startswith(text)


def test_the_examples_in_the_docstrings() -> None:
    """They are run as they stand."""
    for module in (virtual, faults, sys.modules["retrywrap.testing.observe"]):
        assert doctest.testmod(module).attempted > 0
        assert doctest.testmod(module).failed == 0


# --- disabled


def test_disabled_operations_run_once(clock: VirtualClock) -> None:
    """Decorated functions, calls and blocks; the error is recorded and comes out as ever."""
    with disabled():
        assert len(give_up(max=5)) == 1
        with pytest.raises(ConnectionResetError) as caught:
            retry_scope(max=5).call(fails)
        with pytest.raises(ConnectionResetError):
            for attempt in retry_scope(max=5):
                with attempt:
                    fails()
    assert "exhausted after 1 attempt in 0 s: retries are switched off here" in caught.value.__notes__[0]
    assert clock.waits == []
    assert (registry.error_count, registry.retry_count) == (3, 0)


def test_after_it_operations_are_retried_again(clock: VirtualClock) -> None:
    """Also where such blocks nest, and where one raises."""
    with disabled():
        with disabled():
            pass
        assert len(give_up(max=2)) == 1
        with pytest.raises(LookupError), disabled():
            raise LookupError
        assert len(give_up(max=2)) == 1
    assert len(give_up(max=2)) == 3


def test_blocks_of_overlapping_threads(clock: VirtualClock) -> None:
    """Whichever ends first: as long as one is open nothing is retried, and after the last everything is."""
    first, second = disabled(), disabled()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert len(give_up(max=2)) == 1
    second.__exit__(None, None, None)
    assert len(give_up(max=2)) == 3


def test_other_threads_are_disabled_too(clock: VirtualClock) -> None:
    """A thread that the code under test starts runs its operations once as well."""
    calls: list[float] = []
    with disabled():
        thread = threading.Thread(target=lambda: calls.extend(give_up(max=2)))
        thread.start()
        thread.join(10)
    assert len(calls) == 1


# --- reset


def test_reset_is_a_clean_slate(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Registry, configuration, the plugin's instance, named budgets, reports and shutdown are as at import."""
    configure(error_retry_max=1, error_store_path=tmp_path, error_buffer_size=3, events=False, policies={"x": {}})
    registry.record_error(-6)
    plugin.backup_plugin_init()
    used = named_budget("shared")
    reports.report_once(tmp_path, "once")
    shutdown()
    reset()
    assert (registry.error_count, registry.last_error.code, registry.errors) == (0, 0, ())
    assert settings() == Settings()
    assert registry.error_buffer_size == 1000
    assert plugin.backup_plugin_get_last_error() == "Plugin not initialized"
    assert named_budget("shared") is not used
    caplog.clear()
    reports.report_once(tmp_path, "once more")
    assert [record.getMessage() for record in caplog.records] == ["once more"]
    with VirtualClock():
        assert len(give_up(max=2)) == 3


def test_reset_does_not_load_the_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was never imported needs no cleaning."""
    monkeypatch.delitem(sys.modules, "retrywrap.plugin")
    reset()
    assert "retrywrap.plugin" not in sys.modules


def test_reset_leaves_subscriptions_and_classifiers(clock: VirtualClock) -> None:
    """They are part of the application, as its functions are."""
    from retrywrap.classifiers import register, unregister

    class Flaky(Exception):
        pass

    heard: list[str] = []
    end = retrywrap.subscribe(lambda event: heard.append(event.name))
    register(Flaky, retrywrap.ErrorCode.NETWORK)
    try:
        reset()
        with pytest.raises(Flaky):
            retry_scope(max=1, interval=1).call(_raise, Flaky())
    finally:
        end()
        unregister(Flaky)
    assert heard == ["retry.scheduled", "retry.exhausted"]


def _raise(error: Exception) -> None:
    raise error


# --- tasks


async def _fails() -> None:
    raise ConnectionResetError("gone")


@pytest.mark.parametrize("run", [asyncio.run, trio.run], ids=["asyncio", "trio"])
def test_waits_of_tasks_overlap(run: Any) -> None:
    """Each task's time is its own, as in reality: who waits long takes nothing from who waits shortly."""
    ends: dict[str, str] = {}

    async def work(name: str, **parameters: Any) -> None:
        try:
            await with_retry(**parameters)(_fails)()
        except ConnectionResetError as error:
            ends[name] = error.__notes__[0].partition(" after ")[2]

    async def main() -> None:
        short: dict[str, Any] = {"max": 2, "interval": 10, "timeout": 25}
        long: dict[str, Any] = {"max": 5, "interval": 30}
        if run is asyncio.run:
            await asyncio.gather(work("short", **short), work("long", **long))
            return
        async with trio.open_nursery() as nursery:
            for name, parameters in (("short", short), ("long", long)):
                nursery.start_soon(functools.partial(work, name, **parameters))

    with VirtualClock() as clock:
        run(main if run is trio.run else main())
    assert ends == {
        "short": "3 attempts in 20 s: max=2 is the limit of retries",
        "long": "6 attempts in 150 s: max=5 is the limit of retries",
    }
    assert clock.now() == 150
    assert clock.waits == [10, 10, 30, 30, 30, 30, 30]


def test_a_deadline_of_several_tasks_holds_for_each() -> None:
    """Three tasks that wait for a second each at the same time have waited for one second."""
    notes: list[str] = []

    async def work() -> None:
        try:
            await with_retry(max=10, interval=1)(_fails)()
        except ConnectionResetError as error:
            notes.append(error.__notes__[0])

    async def main() -> None:
        async with retry_scope(max=None, timeout=2.5):
            await asyncio.gather(work(), work(), work())

    with VirtualClock() as clock:
        asyncio.run(main())
    assert clock.waits == [1.0] * 6
    assert all("timed out after 3 attempts in 2 s" in note for note in notes)


def test_a_task_that_is_cancelled_in_its_wait_holds_nobody_up() -> None:
    """Its wait is forgotten, and no time has passed for it."""

    async def main() -> None:
        waiting = asyncio.create_task(with_retry(max=1, interval=5)(_fails)())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        with pytest.raises(ConnectionResetError):
            await with_retry(max=1, interval=7)(_fails)()

    with VirtualClock() as clock:
        asyncio.run(main())
    assert clock.waits == [7.0]


def test_many_tasks_and_long_waits_are_no_burden() -> None:
    """A thousand tasks, and one that waits an hour beside one that polls each second: each has its own time."""

    async def main() -> None:
        once = with_retry(max=1, interval=5)(_fails)
        await asyncio.gather(*(once() for _ in range(1000)), return_exceptions=True)
        polls = 0

        async def poll() -> None:
            nonlocal polls
            polls += 1
            if polls <= 700:
                raise ConnectionResetError("not yet")

        slow = with_retry(max=1, interval=3600)(_fails)
        began = clock.now()
        await asyncio.gather(slow(), with_retry(max=None, interval=1, timeout=1000)(poll)(), return_exceptions=True)
        assert polls == 701
        assert clock.now() == began + 3600

    with VirtualClock() as clock:
        asyncio.run(main())


def test_a_clock_serves_one_loop_after_the_other() -> None:
    """What was abandoned in a loop that is gone holds nobody up."""

    async def abandon() -> None:
        task = asyncio.create_task(with_retry(max=1, interval=1)(_fails)())
        await asyncio.sleep(0)
        task.cancel()

    with VirtualClock() as clock:
        for _ in range(3):
            asyncio.run(abandon())
            with pytest.raises(ConnectionResetError):
                asyncio.run(with_retry(max=1, interval=5)(_fails)())
    assert clock.waits == [5.0] * 3


def test_a_turn_that_comes_when_everybody_has_left() -> None:
    """Whoever was to go on was cancelled a moment before: nobody goes on, and the turns end."""
    assert _Queue().next() is False


# --- the campaign's budgets


@dataclass(slots=True, weakref_slot=True)
class Described(RetryBudget):
    """As a dataclass of a user's may be."""

    label: str = ""

    def __post_init__(self) -> None:
        super(Described, self).__init__(30, 10, 10)


class Named(RatioBudget):
    """With a slot that ``__slots__`` tells in two unusual ways."""

    __slots__ = "__count"

    def count(self, number: int) -> int:
        """Set it; return what it was."""
        was: int = getattr(self, "_Named__count", 0)
        self.__count = number
        return was


class Open(Described):
    """With attributes of any name."""


def test_all_budgets_that_are_alive_are_kept() -> None:
    """Whoever made them, of whatever class, and whatever else they have."""
    described, named, opened = Described(), Named(), Open()
    named.count(1)
    opened.note = "before"  # type: ignore[attr-defined]  # the test's point
    before = named.available
    with kept_budgets():
        for budget in (described, named, opened):
            assert budget.withdraw(0.0, False)
        described.label = "changed"
        named.count(2)
        opened.note = "after"  # type: ignore[attr-defined]  # the test's point
    assert (described.available, described.label, named.available, opened.available) == (30, "", before, 30)
    assert (named.count(3), vars(opened)) == (1, {"note": "before"})


def test_a_budget_that_is_just_being_made_is_left_alone() -> None:
    """By another thread: it has nothing yet that could be kept."""
    budget = RetryBudget.__new__(RetryBudget)
    with kept_budgets():
        RetryBudget.__init__(budget)
        assert budget.withdraw(0.0, False)
    assert budget.available == 486


def test_to_keep_budgets_holds_none_of_them() -> None:
    """Nothing that is made is held for that, and nothing is when it is over."""
    budget = Described()
    with kept_budgets():
        pass
    alive = weakref.ref(budget)
    del budget
    assert alive() is None
