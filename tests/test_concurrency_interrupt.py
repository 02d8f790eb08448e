"""Ctrl-C at every place where it may fall: it comes out, locks are free, one end is told, and the next call works.

Each form of an operation is run anew for each place, with a KeyboardInterrupt there: before one bytecode after the
other of those before which the interpreter looks at signals. A usual run takes the first time that each place in the
driving and the recording code comes, and of all others one in fifty; with ``CONCURRENCY_ROUNDS=50``, all are taken.
"""

from __future__ import annotations

import contextvars
import gc
import inspect
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from hurry import ROUNDS
from interrupts import Place, free_locks, interrupt_at, places_of, release_locks

from retrywrap import Registry, RetryBudget, RetryEvent, configure, locks, retry_scope, subscribe, with_retry
from retrywrap.decide.allowance import PROCESS
from retrywrap.run.ambient import ambient
from retrywrap.testing import VirtualClock

STRIDE = max(1, 50 // ROUNDS)
CAPACITY = 1000.0

Form = Callable[[Registry, RetryBudget], Callable[[], Any]]


class Flaky:
    """Fails so many times, then returns."""

    def __init__(self, failures: int = 2) -> None:
        self.left = failures

    def __call__(self, *_: object) -> str:
        if self.left > 0:
            self.left -= 1
            raise ConnectionResetError("gone")
        return "done"


def decorated(registry: Registry, budget: RetryBudget) -> Callable[[], Any]:
    """What is retried at once: the beaten track."""
    return with_retry(max=3, interval=0, registry=registry, name="op")(Flaky())


def waiting(registry: Registry, budget: RetryBudget) -> Callable[[], Any]:
    """What waits."""
    return with_retry(max=3, interval=1, registry=registry, name="op")(Flaky())


def exhausted(registry: Registry, budget: RetryBudget) -> Callable[[], Any]:
    """What gives up."""
    retried = with_retry(max=1, interval=1, registry=registry, name="op")(Flaky(9))

    def run() -> None:
        with pytest.raises(ConnectionResetError):
            retried()

    return run


def paid(registry: Registry, budget: RetryBudget) -> Callable[[], Any]:
    """What asks for all that a policy may ask for."""
    asked: Any = {"timeout": 60, "budget": budget, "results": lambda _: None, "before_retry": lambda _: None}
    return with_retry(max=3, interval=1, registry=registry, name="op", **asked)(Flaky())


def scope(registry: Registry, budget: RetryBudget) -> Callable[[], Any]:
    """Calls in a scope, and a decorated function there."""
    operation = with_retry(max=1, interval=1, registry=registry, name="op")(Flaky(1))

    def run() -> Any:
        with retry_scope(max=5, interval=1, timeout=60, budget=budget, name="scope") as around:
            around.call(str)
            return operation()

    return run


def block(registry: Registry, budget: RetryBudget) -> Callable[[], Any]:
    """A block that runs again."""
    flaky = Flaky()

    def run() -> str:
        answer = ""
        for attempt in retry_scope(max=5, interval=1, timeout=60, budget=budget, registry=registry, name="op"):
            with attempt:
                answer = flaky()
        return answer

    return run


def by_hand(registry: Registry, budget: RetryBudget) -> Callable[[], Any]:
    """Everything that takes the registry's lock."""

    def run() -> None:
        registry.record_error(-6, operation="by hand")
        registry.count_some()
        registry.snapshot()
        registry.declare("another")
        registry.resize(7)
        assert "another" in registry
        assert registry.stats("by hand").errors == len(registry.errors) == 1

    return run


FORMS: list[Form] = [decorated, waiting, exhausted, paid, scope, block, by_hand]

# Where these begin, they have nothing of the operation in their hands yet; or the end is about to be told.
WITHOUT_END = {
    ("run/drive.py", "pause"),
    ("run/drive.py", "retry"),
    ("record/hooks.py", "publish"),
    ("record/registry.py", "Registry.handle"),
    ("run/block.py", "Block.__exit__"),
}
# Where these begin, the end of a `with` block does: no context manager that is written in Python is safe there.
WITHOUT_LEAVING = {
    ("run/block.py", "Block.__exit__"),
    ("run/scope.py", "RetryScope.__exit__"),
    ("run/scope.py", "RetryScope._close"),
}


def line_of(function: Callable[..., object], text: str) -> int:
    """Return the line of a function that has a text."""
    lines, first = inspect.getsourcelines(function)
    (found,) = (number for number, line in enumerate(lines, first) if text in line)
    return found


# It looks at what it was given, and has not kept it yet.
LOOKING = ("record/registry.py", "Registry.handle", line_of(Registry.handle, "if not isinstance(event, RetryEvent)"))


class Ran:
    """What a form came to, with an interrupt at one of its places, or without one."""

    def __init__(self, form: Form, number: int | None = None, *, anywhere: bool = False) -> None:
        self.registry, budget = Registry(), RetryBudget(capacity=CAPACITY)
        self.heard: list[RetryEvent] = []
        self.error: BaseException | None = None
        self.places: list[Place] = []
        self.place: Place | None = None
        work = form(self.registry, budget)
        end = subscribe(self.heard.append)
        with nullcontext() if form is decorated else VirtualClock():  # the track is for real time alone
            if number is None:
                self.places = places_of(work, anywhere=anywhere)
            else:
                self.place, self.error = interrupt_at(number, work, anywhere=anywhere)
        end()
        stats = self.registry.stats()
        self.ends = stats.failed + stats.recovered
        assert 0 <= budget.available <= CAPACITY
        assert sum(event.final for event in self.heard) <= 1
        assert self.ends <= 1


def chosen(form: Form, stride: int = STRIDE, *, anywhere: bool = False) -> Iterator[int]:
    """Yield which places of a form are tried: all of a long run, else some."""
    Ran(form)  # what is only done the first time is done
    seen: set[object] = set()
    for number, place in enumerate(Ran(form, anywhere=anywhere).places):
        ours = place.file.startswith(("run/", "record/")) and not anywhere
        if number % stride == 0 or (ours and place[:3] not in seen):
            yield number
        seen.add(place[:3])


def check_next() -> None:
    """Whatever was interrupted: the next operation of this thread is retried, recorded and told of."""
    ran = Ran(waiting)
    assert [event.name for event in ran.heard] == ["retry.scheduled", "retry.scheduled", "retry.recovered"]
    assert (ran.registry.stats().errors, ran.registry.stats().recovered) == (2, 1)


follows = pytest.mark.skipif(sys.version_info >= (3, 12), reason="tracing loses bytecodes here; 3.11 has them all")


@follows
@pytest.mark.parametrize("form", FORMS)
def test_where_signals_are_looked_at(form: Form) -> None:
    """Nothing stays taken or set, counts belong together, and there is one end where anything was told."""
    configure(events=False)
    tried = 0
    for number in chosen(form):
        ran = Ran(form, number)
        place = ran.place
        assert place is not None
        assert type(ran.error) is KeyboardInterrupt, place
        assert free_locks(), place
        where = place[:2]
        if not (place.begins and where in WITHOUT_LEAVING):
            assert list(ambient.get().links()) == [PROCESS], place
        ambient.set(PROCESS)
        registry = ran.registry
        errors = registry.stats().errors
        assert errors == sum(registry.by_code.values()) == len(registry.errors), place
        kept = not (place.begins and where in WITHOUT_END) and place[:3] != LOOKING
        if form is not by_hand and kept:
            assert ran.ends == 1 or not errors, place
        tried += 1
        if tried % 5 == 0:
            check_next()
    assert tried >= 20


class Garbage:
    """A cycle, which only the collector frees, and which calls this package then."""

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        Registry().stats()


@follows
def test_what_others_left_has_no_places() -> None:
    """What the collector would free meanwhile stays: it is no part of the call, and would swallow the interrupt."""

    def work() -> list[list[object]]:
        Registry().stats()
        return [[] for _ in range(10 * gc.get_threshold()[0])]

    gc.collect()
    alone = places_of(work)
    for _ in range(5):
        Garbage()
    beside_others = places_of(work)
    gc.collect()
    assert beside_others == alone
    with pytest.raises(AssertionError, match=f"no place {len(alone)}: this time the call had {len(alone)}"):
        interrupt_at(len(alone), work)


@follows
def test_where_all_locks_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a fork: those that were taken when Ctrl-C came are free after it."""
    monkeypatch.setattr(locks, "_locks", [threading.RLock() for _ in range(3)])
    places = places_of(locks._before_fork)
    locks._after_fork()
    for number in range(len(places)):
        place, error = interrupt_at(number, locks._before_fork)
        locks._after_fork()
        assert type(error) is KeyboardInterrupt, place
        assert locks._held == [], place
        assert free_locks(), place


@follows
@pytest.mark.parametrize("form", [waiting, block])
def test_at_any_bytecode(form: Form) -> None:
    """Even where no signal can fall, an interrupt comes out, and brings no second end.

    In a context of its own each time, and with the locks released, because what is restored in the last bytecodes of a
    call, and of a ``with`` statement, may stay then.
    """
    configure(events=False)
    for number in chosen(form, 5 * STRIDE, anywhere=True):
        ran = contextvars.copy_context().run(Ran, form, number, anywhere=True)
        release_locks()
        assert type(ran.error) is KeyboardInterrupt, ran.place
