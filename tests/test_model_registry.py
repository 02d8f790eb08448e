"""The registry under any order of events, readings, clearing and resizing, against lists; and while threads write."""

from __future__ import annotations

import contextlib
import json
import threading
from collections import Counter
from typing import Any

from hurry import run_hurried
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from modelling.rounds import examples

from retrywrap import (
    ErrorCode,
    Registry,
    RetryBudget,
    RetryEvent,
    StopReason,
    retry_scope,
    subscribe,
    with_retry,
)
from retrywrap.testing import VirtualClock, isolated_registry
from retrywrap.testing import reset as reset_all

NAMES = ("upload", "fetch", "", "a b")
CODES = (-1, -6, -11, -99, -42, 7)
FIELDS = ("errors", "retries", "waited", "unknown", *(reason.value for reason in StopReason), "failed_at_once")


def event(
    name: str, operation: str, code: int, attempt: int, wait: float | None, counts: tuple[bool, bool]
) -> RetryEvent:
    """Return an event as the machine makes them."""
    reason = StopReason(name) if name in list(StopReason) else None
    error, retry = counts
    return RetryEvent(
        name={"scheduled": "retry.scheduled", "unknown": "retry.unknown_error"}.get(name, f"retry.{name}"),
        operation=operation,
        reason=reason,
        code=ErrorCode(code),
        message=f"{name} {attempt}",
        error_type="builtins.ConnectionResetError",
        attempt=attempt,
        max=None,
        wait=wait,
        elapsed=0.0,
        time=float(attempt),
        rule="rule",
        retry_after=None,
        scope=None,
        detail="",
        is_error=error,
        is_retry=retry,
    )


events = st.builds(
    event,
    st.sampled_from(["scheduled", "unknown", *StopReason]),
    st.sampled_from(NAMES),
    st.sampled_from(CODES),
    st.integers(1, 4),
    st.sampled_from([None, 0.0, 0.25, 5.0]),
    st.tuples(st.booleans(), st.booleans()),
)


def counted(heard: list[RetryEvent]) -> dict[str, Any]:
    """Return the statistics of some events."""
    reasons = Counter(e.reason for e in heard)
    return {
        "errors": sum(e.is_error for e in heard),
        "retries": sum(e.is_retry for e in heard),
        "waited": sum(e.wait or 0 for e in heard),
        "unknown": sum(e.name == "retry.unknown_error" for e in heard),
        **{reason.value: reasons[reason] for reason in StopReason},
        "failed_at_once": sum(e.reason is not None and e.attempt == 1 for e in heard),
    }


def consistent(snapshot: Any, size: int) -> None:
    """Check what holds of every snapshot, whenever it is taken."""
    totals, operations = snapshot["totals"], snapshot["operations"].values()
    for field in FIELDS:
        assert totals[field] == sum(operation[field] for operation in operations), field
    assert totals["errors"] == sum(snapshot["by_code"].values())
    assert len(snapshot["errors"]) <= size


class RegistryMachine(RuleBasedStateMachine):
    """One registry beside a list of all that it heard of."""

    @initialize(size=st.integers(0, 12))
    def make(self, size: int) -> None:
        self.registry = Registry(size)
        self.size = size
        self.heard: list[RetryEvent] = []
        self.ring: list[RetryEvent] = []
        self.last: RetryEvent | None = None
        self.declared: set[str] = set()

    @rule(
        new=st.lists(events, min_size=1, max_size=5),
        times=st.sampled_from([1, 1, 1, 40]),
        then=st.sampled_from([None, None, "clear_error", "reset", "declare"]),
    )
    def hear(self, new: list[RetryEvent], times: int, then: str | None) -> None:
        """What comes next may find that nobody has looked at these yet."""
        for each in new * times:
            self.registry.handle(each)
            self.declared.add(each.operation)
            self.heard.append(each)
            if each.is_error:
                self.ring.append(each)
                self.last = each
        self.trim()
        if then == "declare":
            self.declare("declared")
        elif then is not None:
            getattr(self, then)()

    @rule(code=st.sampled_from(CODES), operation=st.sampled_from(NAMES), text=st.text(max_size=5) | st.none())
    def record_by_hand(self, code: int, operation: str, text: str | None) -> None:
        caught: list[RetryEvent] = []
        end = subscribe(caught.append)
        record = self.registry.record_error(code, text, operation)
        end()
        assert (record.code, record.operation, record.attempt, record.final) == (code, operation, 1, False)
        self.declared.add(operation)
        (told,) = caught
        assert (told.name, told.is_error, told.is_retry, told.reason) == ("error.recorded", True, False, None)
        self.heard.append(told)
        self.ring.append(told)
        self.last = told
        self.trim()

    @rule(operation=st.sampled_from(["declared", *NAMES]))
    def declare(self, operation: str) -> None:
        self.registry.declare(operation)
        self.declared.add(operation)

    @rule()
    def clear_error(self) -> None:
        self.registry.clear_error()
        self.last = None

    @rule()
    def reset(self) -> None:
        self.registry.reset()
        self.heard, self.ring, self.last = [], [], None

    @rule(size=st.integers(0, 12))
    def resize(self, size: int) -> None:
        self.registry.resize(size)
        self.size = size
        self.trim()

    def trim(self) -> None:
        self.ring = self.ring[max(0, len(self.ring) - self.size) :]

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "registry"):
            return
        snapshot = self.registry.snapshot()
        consistent(snapshot, self.size)
        assert {name: snapshot["totals"][name] for name in FIELDS} == counted(self.heard)
        assert set(snapshot["operations"]) == self.declared == set(self.registry.operations)
        for operation in self.declared:
            own = counted([e for e in self.heard if e.operation == operation])
            assert {name: snapshot["operations"][operation][name] for name in FIELDS} == own
            assert {name: getattr(self.registry.stats(operation), name) for name in FIELDS} == own
        codes = Counter(e.code for e in self.heard if e.is_error)
        assert snapshot["by_code"] == {str(code): count for code, count in codes.items()}
        assert self.registry.by_code == dict(codes)
        ring = [(e.code, e.message, e.operation, e.attempt, e.time, e.reason is not None) for e in self.ring]
        assert [(r.code, r.message, r.operation, r.attempt, r.time, r.final) for r in self.registry.errors] == ring
        assert [e["message"] for e in snapshot["errors"]] == [e.message for e in self.ring]
        assert json.loads(json.dumps(snapshot)) == {**snapshot, "errors": list(snapshot["errors"])}
        last = self.registry.last_error
        assert bool(last) == (self.last is not None)
        assert str(last) == (self.last.message if self.last else "Success")
        assert self.registry.error_buffer_size == self.size


TestRegistryMachine = RegistryMachine.TestCase
TestRegistryMachine.settings = examples(20, steps=20)


@given(
    plans=st.lists(
        st.lists(st.tuples(st.sampled_from(["one", "two"]), st.integers(0, 4)), min_size=1, max_size=30),
        min_size=2,
        max_size=4,
    ),
    size=st.integers(0, 20),
    most=st.integers(0, 30) | st.none(),
)
@examples(8)
def test_threads_write_while_others_look(plans: list[list[tuple[str, int]]], size: int, most: int | None) -> None:
    """Every snapshot is consistent and none goes back; a scope and a budget that threads share are never overdrawn."""
    reset_all()
    registry, budget = Registry(size), RetryBudget(capacity=280, cost=14)
    going = threading.Event()
    snapshots: list[Any] = []
    overdrawn: list[float] = []
    calls: Counter[str] = Counter()
    ends: list[RetryEvent] = []

    def flaky(name: str, left: list[int]) -> None:
        calls[threading.current_thread().name] += 1
        if left[0]:
            left[0] -= 1
            raise ConnectionResetError(104, name)

    functions = {
        name: with_retry(max=2, interval=0, name=name, registry=registry, budget=budget if most is None else None)(
            flaky
        )
        for name in ("one", "two")
    }

    def work(plan: list[tuple[str, int]]) -> None:
        for name, failures in plan:
            with contextlib.suppress(ConnectionResetError):
                functions[name](name, [failures])

    def look() -> None:
        while not going.is_set():
            snapshots.append(registry.snapshot())
            overdrawn.append(budget.available)

    def work_all(plan: list[tuple[str, int]]) -> None:
        try:
            work(plan)
        finally:
            done.append(1)
            if len(done) == len(plans):
                going.set()

    done: list[int] = []
    stop = subscribe(lambda event: ends.append(event) if event.final else None)
    try:
        with VirtualClock(), retry_scope(max=most, timeout=None if most is not None else 60) as scope:
            workers = [scope.carry(lambda plan=plan: work_all(plan)) for plan in plans]
            run_hurried([*workers, look])
    finally:
        stop()
    last: Any = {"errors": 0, "retries": 0}
    for snapshot in [*snapshots, registry.snapshot()]:
        consistent(snapshot, size)
        assert len(snapshot["errors"]) == min(size, snapshot["totals"]["errors"])
        assert all(snapshot["totals"][field] >= last[field] for field in ("errors", "retries"))
        last = snapshot["totals"]
    stats = registry.stats()
    operations = sum(map(len, plans))
    assert sum(calls.values()) == operations + stats.retries
    assert stats.errors == stats.retries + stats.failed
    assert len(ends) == stats.failed + stats.recovered
    assert stats.retries == scope.retry_count
    if most is not None:
        assert stats.retries <= most
    assert all(0 <= left <= 280 for left in overdrawn)
    if stats.exhausted == 0 and stats.budget_denied == 0:
        assert stats.errors == sum(failures for plan in plans for _, failures in plan)


@given(st.lists(events, max_size=8), st.lists(events, max_size=8), st.booleans())
@examples(40)
def test_isolation_gives_back_what_was(before: list[RetryEvent], inside: list[RetryEvent], fails: bool) -> None:
    """What is recorded inside is gone afterwards, and what was there is there again, whatever came out of the block."""
    reset_all()

    class Out(Exception):
        """Comes out."""

    with isolated_registry() as registry:
        for each in before:
            registry.handle(each)
        was = registry.snapshot()
        try:
            with isolated_registry():
                for each in inside:
                    registry.handle(each)
                own = {name: registry.snapshot()["totals"][name] for name in FIELDS}
                assert own == counted(inside)
                if fails:
                    raise Out
        except Out:
            pass
        now = registry.snapshot()
        quiet = {name: s for name, s in now["operations"].items() if name in was["operations"]}
        assert quiet == was["operations"]
        assert (now["errors"], now["totals"], now["by_code"], now["last_error"]) == (
            was["errors"],
            was["totals"],
            was["by_code"],
            was["last_error"],
        )
