"""What threads share changes only while its lock is held, also where the interpreter would forgive it today."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from watched import WatchedLock, guarded

from retrywrap import Registry, with_retry
from retrywrap.decide.allowance import PROCESS, Allowance
from retrywrap.record.registry import MOST_NEWS
from retrywrap.testing import VirtualClock
from retrywrap.testing.faults import Injection


def test_retries_of_a_scope() -> None:
    """Each is drawn, and given back, in one step; to look whether one is left is a part of it."""
    link = guarded(Allowance, "used")(PROCESS)
    link.count(2, None)
    link._lock = WatchedLock()
    assert [link.draw(), link.draw(), link.draw()] == [True, True, False]
    assert link._lock.taken == 3
    link.restore()
    assert (link.used, link._lock.taken) == (1, 4)
    assert link.changes == [True, True, True]


def test_virtual_time() -> None:
    """It passes under the lock: by waits, by itself, and where somebody looks too often."""
    clock = guarded(VirtualClock, "_elapsed")()
    clock._lock = WatchedLock()
    clock.sleep(1.0, PROCESS)
    clock.advance(2)
    for _ in range(10_001):
        clock.now()
    assert clock.now() == pytest.approx(3.002)
    assert clock.changes == [True] * 4


def test_an_injection() -> None:
    """A call is counted, and its fault taken from the plan, in one step."""
    held: list[bool] = []

    class Plan:
        def __iter__(self) -> Iterator[None]:
            while True:
                held.append(injection._lock.held)
                yield None

    injection: Any = Injection(Plan())
    injection._lock = WatchedLock()
    operation = with_retry(registry=Registry(), name="operation")(lambda: None)
    for _ in range(3):
        injection.next_fault(operation)
    assert injection.calls == {"operation": 3}
    assert held == [True] * 3
    assert injection._lock.taken == 3


@pytest.mark.parametrize(
    "look",
    [
        lambda registry: registry.count_some(),
        lambda registry: registry.snapshot(),
        lambda registry: registry.last_error,
        lambda registry: registry.errors,
        lambda registry: registry.declare("another"),
        lambda registry: [registry.record_error(-1, "lost") for _ in range(MOST_NEWS)],
    ],
    ids=["count_some", "snapshot", "last_error", "errors", "declare", "record_error"],
)
def test_what_a_registry_counts(look: Callable[[Registry], object]) -> None:
    """Nobody counts without the lock: neither who looks, nor who records so much that it is time to."""
    held: list[bool] = []

    class Counted(Registry):
        def _count_news(self) -> None:
            held.append(lock.held)
            super()._count_news()

    registry: Any = Counted()
    registry.record_error(-1, "lost")
    registry._lock = lock = WatchedLock()
    held.clear()
    look(registry)
    assert held
    assert all(held)
    assert not lock.held
