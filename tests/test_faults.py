"""Faults on purpose: what becomes of which call, in every kind of function, and nothing once it is over."""

from __future__ import annotations

import asyncio
import functools
import gc
import itertools
import threading
import time
import weakref
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import wrapt

from retrywrap import Registry, with_retry
from retrywrap.testing import EVERYTHING, VirtualClock, always, at_rate, inject, latency, observe

retried = with_retry(max=3, interval=1, registry=Registry())


@retried
def double(value: int) -> int:
    """Return twice the value."""
    return value * 2


class Service:
    """Has methods of all kinds."""

    @retried
    def method(self, value: int) -> tuple[Any, int]:
        """Return both."""
        return self, value

    @classmethod
    @retried
    def of_class(cls, value: int) -> tuple[Any, int]:
        """Return both."""
        return cls, value

    @retried
    @staticmethod
    def static(value: int) -> int:
        """Return it."""
        return value

    @retried
    async def later(self, value: int) -> tuple[Any, int]:
        """Return both."""
        return self, value


def test_each_call_has_its_fault(clock: VirtualClock) -> None:
    """Types and objects are raised, None and the end of the list let calls through; attempts are calls."""
    mine = TimeoutError("of mine")
    with inject(double, [ConnectionResetError, None, mine, ConnectionResetError]) as injection, observe() as events:
        assert [double(1), double(2), double(3)] == [2, 4, 6]
    assert injection.calls == {"test_faults.double": 6}
    assert injection.raised == {"test_faults.double": 3}
    assert injection.count == 3
    assert repr(injection) == "<3 errors and 0 delays injected into 6 calls>"
    assert [each.messages for each in events.of(double)] == [
        ["injected by retrywrap.testing"],
        ["of mine", "injected by retrywrap.testing"],
    ]
    assert clock.waits == [1.0, 1.0, 1.0]


@pytest.mark.usefixtures("clock")
def test_a_single_error_stands_for_the_first_call() -> None:
    """The type, or the object."""
    for error in (ConnectionResetError, ConnectionResetError("x")):
        with inject(double, error) as injection:
            assert double(1) == 2
            assert double(1) == 2
        assert injection.count == 1


@pytest.mark.usefixtures("clock")
def test_all_kinds_of_functions() -> None:
    """Methods, classmethods, staticmethods, coroutines; by the class, by an object, by name."""
    service = Service()
    for target, call, result in [
        (service.method, lambda: service.method(1), (service, 1)),
        (Service.method, lambda: service.method(1), (service, 1)),
        (Service.of_class, lambda: Service.of_class(1), (Service, 1)),
        (vars(Service)["of_class"], lambda: Service.of_class(1), (Service, 1)),
        (Service.static, lambda: Service.static(1), 1),
        (service.later, lambda: asyncio.run(service.later(1)), (service, 1)),
        ("test_faults.Service.later", lambda: asyncio.run(service.later(1)), (service, 1)),
    ]:
        with inject(target, [ConnectionResetError] * 2) as injection:
            assert call() == result
        assert injection.count == 2, target


def test_nothing_stays() -> None:
    """After it, calls go where they went before, as fast as before, and what was injected is gone."""
    error = type("Weak", (ConnectionResetError,), {})("x")
    gone = weakref.ref(error)
    with VirtualClock(), inject(double, error):
        double(1)
    del error
    gc.collect()
    assert gone() is None
    with observe() as events:
        assert double(1) == 2
    assert events == []


def test_a_plan_for_every_call(clock: VirtualClock) -> None:
    """It is raised until the retries are used up."""
    with inject(double, always(ConnectionResetError)) as injection, pytest.raises(ConnectionResetError):
        double(1)
    assert injection.count == 4
    assert clock.waits == [1.0, 1.0, 1.0]


def test_chance_is_the_same_with_the_same_seed() -> None:
    """And in the part of the calls that was asked for; each error is drawn."""
    plan = at_rate(0.25, ConnectionResetError, TimeoutError, seed=7)

    def drawn(plan: Any) -> list[Any]:
        each = iter(plan)
        return [next(each) for _ in range(1000)]

    assert drawn(plan) == drawn(plan) == drawn(at_rate(0.25, ConnectionResetError, TimeoutError, seed=7))
    assert drawn(plan) != drawn(at_rate(0.25, ConnectionResetError, TimeoutError, seed=8))
    assert 200 < sum(fault is not None for fault in drawn(plan)) < 300
    assert {ConnectionResetError, TimeoutError, None} == set(drawn(plan))
    assert set(drawn(at_rate(0, ConnectionResetError))) == {None}
    assert set(drawn(at_rate(1, ConnectionResetError))) == {ConnectionResetError}


def test_latency_is_of_the_virtual_time(clock: VirtualClock) -> None:
    """It is no wait of the retries."""
    service = Service()
    with (
        inject(service.method, latency(2)) as slow,
        inject(service.later, [timedelta(seconds=3), TimeoutError]) as both,
    ):
        service.method(1)
        asyncio.run(service.later(1))
    assert clock.now() == 5.0
    assert clock.waits == []
    assert slow.delayed == {"test_faults.Service.method": 1}
    assert (slow.raised, slow.count) == ({}, 1)
    asyncio.run(service.later(1))
    assert (both.delayed, both.raised, both.count) == ({"test_faults.Service.later": 1}, {}, 1)


def test_delays_and_errors_are_counted_apart(clock: VirtualClock) -> None:
    """Both are faults."""
    with inject(double, [2, TimeoutError, 3, None]) as injection:
        assert [double(1), double(1), double(1)] == [2, 2, 2]
    name = "test_faults.double"
    assert (injection.delayed, injection.raised, injection.count) == ({name: 2}, {name: 1}, 3)
    assert repr(injection) == "<1 error and 2 delays injected into 4 calls>"
    assert clock.now() == 6.0  # and one second of waiting


def test_latency_is_of_the_real_time_where_there_is_no_other() -> None:
    """Sync and async, under both event loops."""
    trio = pytest.importorskip("trio")
    service = Service()
    with inject(EVERYTHING, latency(0.02)):
        for call in (
            lambda: double(1),
            lambda: asyncio.run(service.later(1)),
            lambda: trio.run(service.later, 1),
        ):
            before = time.monotonic()
            call()
            assert time.monotonic() - before >= 0.02


@pytest.mark.usefixtures("clock")
def test_everything() -> None:
    """Every function, each with its own count, those too that are decorated meanwhile; not those of afterwards."""
    service = Service()
    with inject(EVERYTHING, [ConnectionResetError]) as injection:

        @retried
        def new() -> int:
            return 5

        assert (double(1), service.method(2)[1], new()) == (2, 2, 5)
    name = "test_faults.test_everything.<locals>.new"
    assert injection.raised == {"test_faults.double": 1, "test_faults.Service.method": 1, name: 1}
    with observe() as events:
        assert (double(1), new()) == (2, 5)
    assert events == []


@pytest.mark.usefixtures("clock")
def test_injections_add_up() -> None:
    """The one that came last is asked first, and each can end before the other."""
    first, second = inject(double, [ConnectionResetError]), inject(double, [TimeoutError, None, TimeoutError])
    first.__enter__()
    second.__enter__()
    with observe() as events:
        assert double(1) == 2
        first.__exit__(None, None, None)
        assert double(1) == 2
        second.__exit__(None, None, None)
        assert double(1) == 2
    events.expect(double, codes=["TIMEOUT", "CONNECTION_LOST", "TIMEOUT"], outcome="recovered")


def test_callables_without_a_name(clock: VirtualClock) -> None:
    """Partials and callable objects fail as others do."""
    part = retried(functools.partial(pow, 2))
    with inject(part, ConnectionResetError):
        assert part(3) == 8
    assert clock.waits == [1.0]


def test_an_error_that_wants_no_text() -> None:
    """Its type is called without arguments."""

    class Plain(Exception):
        def __init__(self) -> None:
            super().__init__("plain")

    with inject(double, Plain), pytest.raises(Plain, match="plain"):
        double(1)


def test_what_is_no_exception_comes_out() -> None:
    """Ctrl-C may be injected, too."""
    with inject(double, KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        double(1)


def test_threads_share_one_plan() -> None:
    """Each fault comes once."""
    patient = with_retry(max=50, interval=1, registry=Registry(), name="patient")(lambda: 2)
    with VirtualClock(), inject(patient, [ConnectionResetError] * 50) as injection:
        threads = [threading.Thread(target=lambda: [patient() for _ in range(20)]) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert injection.count == 50
    assert injection.calls == {"patient": 8 * 20 + 50}


def test_a_plan_that_can_be_used_once_serves_one_function() -> None:
    """A generator cannot be iterated for each of several."""

    def plan() -> Iterator[type[Exception]]:
        yield ConnectionResetError

    with VirtualClock(), inject(double, plan()) as injection:
        assert double(1) == 2
    assert injection.count == 1
    with pytest.raises(TypeError, match="iterable anew for each"):
        inject(EVERYTHING, plan())


def test_a_plan_without_an_end(clock: VirtualClock) -> None:
    """Is taken as far as it is needed, and begins anew with each block; a generator that ends lets calls through."""
    without_end = inject(double, itertools.cycle([ConnectionResetError, None, None]))
    for _ in range(2):
        with without_end as injection:
            assert [double(1), double(1), double(1)] == [2, 2, 2]
        assert injection.count == 2
    ended = inject(double, (each for each in [ConnectionResetError]))
    for _ in range(2):
        with ended as injection:
            assert [double(1), double(1)] == [2, 2]
        assert injection.count == 1


def test_a_fault_of_a_plan_that_is_none_is_refused_at_its_call() -> None:
    """A plan of the user's own may yield anything."""

    class Plan:
        def __iter__(self) -> Iterator[Any]:
            yield "no fault"

    with inject(double, Plan()), pytest.raises(TypeError, match="a fault must be"):
        double(1)


@pytest.mark.usefixtures("clock")
def test_the_method_of_an_object_is_its_own() -> None:
    """Other objects' calls go through, and are not counted; the class's stands for all."""
    mine, other = Service(), Service()
    with inject(mine.method, [ConnectionResetError] * 2) as injection, observe() as events:
        assert other.method(1) == (other, 1)
        assert events == []
        assert mine.method(1) == (mine, 1)
    assert injection.calls == {"test_faults.Service.method": 3}
    assert injection.count == 2
    with inject(mine.later, [ConnectionResetError] * 2) as injection:
        asyncio.run(other.later(1))
        assert injection.calls == {}
        asyncio.run(mine.later(1))
    assert injection.count == 2
    with inject(Service.method, [ConnectionResetError] * 2) as injection:
        other.method(1)
    assert injection.count == 2


@wrapt.decorator
def _through(wrapped: Any, _: Any, arguments: Any, keywords: Any) -> Any:
    return wrapped(*arguments, **keywords)


class Decorated:
    """Has a method that binds as another decorator has it."""

    @retried
    @_through
    def method(self) -> Any:
        """Return itself."""
        return self


@pytest.mark.usefixtures("clock")
def test_what_binds_in_its_own_way_fails_too() -> None:
    """By name, by the class, by an object alone, with everything; and nothing stays in what was bound meanwhile."""
    mine, other = Decorated(), Decorated()
    for target in ("test_faults.Decorated.method", Decorated.method, EVERYTHING):
        with inject(target, [ConnectionResetError] * 2) as injection:
            assert mine.method() is mine
        assert injection.raised == {"test_faults.Decorated.method": 2}
    with inject(mine.method, [ConnectionResetError] * 2) as injection:
        assert other.method() is other
        assert injection.calls == {}
        assert mine.method() is mine
        kept = mine.method
    assert injection.count == 2
    with inject(double, [ConnectionResetError]):
        assert mine.method() is mine
    with inject(mine.method, [ConnectionResetError] * 10):
        kept = mine.method
    with observe() as events:
        assert kept() is mine
    assert events == []


def test_everything_prints_as_its_name() -> None:
    """In messages and failed assertions."""
    assert repr(EVERYTHING) == "EVERYTHING"


def test_chance_needs_an_error() -> None:
    """One at least."""
    with pytest.raises(ValueError, match="errors must be one exception, or exception type, at least"):
        at_rate(0.5)


def test_latency_of_tasks_overlaps(clock: VirtualClock) -> None:
    """As the time of tasks that run at once does; it is no wait."""

    @with_retry
    async def fetch() -> None:
        """Do nothing."""

    async def main() -> None:
        await asyncio.gather(*[fetch() for _ in range(10)])

    with inject(fetch, latency(2)):
        asyncio.run(main())
    assert (clock.now(), clock.waits) == (2.0, [])
