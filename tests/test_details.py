"""Why an operation goes on or ends, word for word: the text that notes, events and logs repeat."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from retrywrap import (
    RetryBudget,
    RetryContext,
    RetryPolicy,
    StopReason,
    Verdict,
    return_codes,
)
from retrywrap.decide.allowance import PROCESS, Allowance
from retrywrap.decide.checks import shown
from retrywrap.decide.context import explain_end
from retrywrap.decide.events import RetryEvent
from retrywrap.decide.notes import Note, attach

LOST = ConnectionResetError("gone")


class Odd(Exception):
    """An error that no table knows."""


def begun(limits: Allowance = PROCESS, now: float = 0.0, **parameters: Any) -> RetryContext:
    """A context that has begun at `now`."""
    context = RetryContext(RetryPolicy(**parameters), operation="op", limits=limits, epoch=1000.0)
    context.begin(now)
    return context


def failed(verdict: Verdict | None = None, error: Exception = LOST, **parameters: Any) -> RetryEvent:
    """What follows a first failure."""
    if verdict is not None:
        parameters["classifier"] = lambda _: verdict
    return begun(**parameters).failed(error, 0.0)


def broken(_: Exception) -> bool:
    """A predicate that fails."""
    raise ZeroDivisionError("a bug")


def after_inner(**parameters: Any) -> RetryEvent:
    """What follows a failure on which an operation inside gave up."""
    context = begun(**parameters)
    error = ConnectionResetError("gone")
    attach(error, Note.make("gave up", "inner", (1, "inner"), StopReason.EXHAUSTED, 3))
    return context.failed(error, 0.0)


def cancelled(link: Allowance) -> RetryEvent:
    """What follows a failure under a link that was cancelled."""
    link.cancel()
    try:
        return begun(link).failed(LOST, 0.0)
    finally:
        link.reopen()


def twice(**parameters: Any) -> RetryEvent:
    """What follows a second failure."""
    context = begun(**parameters)
    context.failed(LOST, 0.0)
    return context.failed(LOST, 5.0)


def switched_off() -> RetryEvent:
    """What follows a failure where nothing is retried."""
    context = begun()
    context.end_retries()
    return context.failed(LOST, 0.0)


def woken_late() -> RetryEvent | None:
    """What follows a wait that took longer than it was to."""
    context = begun(timeout=10)
    context.failed(LOST, 0.0)
    return context.resumed(10.5)


def penniless() -> RetryEvent:
    """What follows a failure where the budget paid for another one."""
    budget = RetryBudget(capacity=20, cost=14)
    budget.withdraw(0.0, False)
    return failed(budget=budget)


def recovered() -> RetryEvent | None:
    """What follows two failures and a success."""
    context = begun()
    context.failed(LOST, 0.0)
    context.failed(LOST, 5.0)
    return context.returned(None, 10.0)


class Fails:
    """A user's own iterable that fails."""

    def __iter__(self) -> Iterator[Any]:
        yield int("soon")


ENDS = {
    StopReason.RECOVERED: ("retry.recovered", "recovered"),
    StopReason.EXHAUSTED: ("retry.exhausted", "exhausted"),
    StopReason.REJECTED: ("retry.rejected", "rejected"),
    StopReason.TIMED_OUT: ("retry.timed_out", "timed out"),
    StopReason.BUDGET_DENIED: ("retry.budget_denied", "budget denied"),
    StopReason.NESTED_REFUSED: ("retry.nested_refused", "nested refused"),
    StopReason.CANCELLED: ("retry.cancelled", "cancelled"),
}
"""Of each end: its event's name, and the word in its note."""


@pytest.mark.parametrize(
    ("event", "reason", "detail"),
    [
        (
            lambda: failed(Verdict.of(-6, rule="row", forbid=True), on=ConnectionError),
            StopReason.REJECTED,
            "the rule row forbids a retry of ConnectionResetError",
        ),
        (
            lambda: failed(error=Odd()),
            StopReason.REJECTED,
            f"no rule knows {__name__}.Odd; on= or retrywrap.classifiers.register would retry it",
        ),
        (
            lambda: failed(error=Odd(), on=KeyError),
            StopReason.REJECTED,
            f"no rule knows {__name__}.Odd; on= does not name it",
        ),
        (
            lambda: failed(error=Odd(), on=lambda _: False),
            StopReason.REJECTED,
            f"no rule knows {__name__}.Odd; the predicate on= says no",
        ),
        (
            lambda: failed(error=Odd(), on=broken),
            StopReason.REJECTED,
            f"no rule knows {__name__}.Odd; the predicate on= failed: ZeroDivisionError('a bug')",
        ),
        (
            lambda: failed(Verdict.of(-1, rule="row")),
            StopReason.REJECTED,
            "INVALID_PARAM is not retryable (rule row); on= would retry it",
        ),
        (
            lambda: failed(Verdict.of(-1, rule="row"), on=KeyError),
            StopReason.REJECTED,
            "INVALID_PARAM is not retryable (rule row); on= does not name it",
        ),
        (
            lambda: begun(results=return_codes).returned(Verdict.of(-1, rule="row"), 0.0),
            StopReason.REJECTED,
            "INVALID_PARAM is not retryable (rule row); results= decides that",
        ),
        (
            lambda: failed(Verdict.of(-6), idempotent=False),
            StopReason.REJECTED,
            "the attempt may have had an effect, and idempotent=False",
        ),
        (
            lambda: begun().failed(LOST, 0.0, spent="argument 1 is an iterator"),
            StopReason.REJECTED,
            "argument 1 is an iterator, which a retry would see used up; pass a list, or reset it in before_retry=",
        ),
        (
            lambda: begun(results=return_codes).returned(Verdict.of(-6), 0.0, spent="argument 1 is an iterator"),
            StopReason.REJECTED,
            "argument 1 is an iterator, which a retry would see used up; pass a list, or reset it in before_retry=",
        ),
        (
            after_inner,
            StopReason.NESTED_REFUSED,
            "inner inside made 3 attempts already; nested='multiply' would retry here too",
        ),
        (lambda: after_inner(nested="multiply"), None, "retry 1 follows in 5 s"),
        (lambda: cancelled(Allowance(PROCESS, name="upload")), StopReason.CANCELLED, "the scope upload was cancelled"),
        (lambda: cancelled(Allowance(PROCESS)), StopReason.CANCELLED, "the scope was cancelled"),
        (lambda: cancelled(PROCESS), StopReason.CANCELLED, "retrywrap was shut down"),
        (lambda: failed(max=0), StopReason.EXHAUSTED, "max=0 is the limit of retries"),
        (lambda: twice(max=1), StopReason.EXHAUSTED, "max=1 is the limit of retries"),
        (switched_off, StopReason.EXHAUSTED, "retries are switched off here"),
        (lambda: failed(interval=[]), StopReason.EXHAUSTED, "its interval= has no further wait"),
        (
            lambda: failed(interval=Fails()),
            StopReason.EXHAUSTED,
            """its interval= failed: ValueError("invalid literal for int() with base 10: 'soon'")""",
        ),
        (
            lambda: begun(timeout=3).failed(LOST, 3.0),
            StopReason.TIMED_OUT,
            "no time is left for another attempt; timeout=3 is the limit",
        ),
        (
            lambda: begun(timeout=5, interval=2).failed(LOST, 3.5),
            StopReason.TIMED_OUT,
            "a wait of 2 s would not end in time; timeout=5 is the limit",
        ),
        (
            lambda: begun(Allowance(PROCESS, deadline=4.0), timeout=5).failed(LOST, 3.5),
            StopReason.TIMED_OUT,
            "a wait of 5 s would not end in time; the timeout of what is around it is the limit",
        ),
        (
            lambda: begun(Allowance(PROCESS, deadline=4.0)).failed(LOST, 4.0),
            StopReason.TIMED_OUT,
            "no time is left for another attempt; the timeout of what is around it is the limit",
        ),
        (
            woken_late,
            StopReason.TIMED_OUT,
            "the time was over after the wait; timeout=10 is the limit",
        ),
        (
            penniless,
            StopReason.BUDGET_DENIED,
            "RetryBudget(capacity=20, cost=14, throttling_cost=5) has nothing left for a retry",
        ),
        (lambda: begun().interrupted(1.0, during_attempt=True), StopReason.CANCELLED, "it was interrupted"),
        (lambda: failed(interval=0.25), None, "retry 1 follows in 0.25 s"),
        (lambda: failed(Verdict.of(-6, retry_after=7)), None, "retry 1 follows in 7 s"),
        (lambda: failed(on=lambda _: 12, error=Odd()), None, "retry 1 follows in 12 s"),
        (recovered, StopReason.RECOVERED, "attempt 3 succeeded"),
    ],
)
def test_every_decision_says_why(
    event: Callable[[], RetryEvent | None], reason: StopReason | None, detail: str
) -> None:
    """Each law names itself, who is to blame, and what would change it."""
    found = event()
    assert found is not None
    assert (found.reason, found.detail) == (reason, detail)
    name, words = ("retry.scheduled", "") if reason is None else ENDS[reason]
    assert found.name == name
    if reason is not None:
        assert f"retrywrap: op {words} after " in explain_end(found)


class Metaclass(type):
    """A class of classes that cannot say who derives from them."""

    def __subclasscheck__(cls, other: type) -> bool:
        raise ZeroDivisionError("a bug")


class Bad(Exception, metaclass=Metaclass):
    """Is named by on=, and fails when it is asked for."""


class BrokenBudget(RetryBudget):
    """A budget whose every answer fails."""

    def withdraw(self, now: float, throttled: bool) -> float | None:
        raise ZeroDivisionError("a bug")


def another(_: Exception) -> bool:
    """A second predicate that fails."""
    raise ZeroDivisionError("a bug")


@pytest.mark.parametrize(
    ("culprits", "text"),
    [
        ([{"on": broken}, {"on": another}], "the predicate on={} failed; taken as False"),
        (
            [{"on": (Bad,)}, {"on": (Bad, KeyError)}],
            "on={} failed when it was asked for Odd; taken as False",
        ),
        (
            [{"budget": BrokenBudget(), "on": Odd}, {"budget": BrokenBudget(20), "on": Odd}],
            "the budget {} failed; it allows no retry, and operations go on",
        ),
    ],
    ids=["predicate", "types", "budget"],
)
def test_who_failed_is_reported_once(
    culprits: list[dict[str, Any]], text: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What an application gave to decide with, and that fails, is named once each in the log, and refuses the retry."""
    policies = [RetryPolicy(**culprit) for culprit in culprits]
    for policy in policies * 2:
        context = RetryContext(policy)
        assert context.failed(Odd(), 0.0).final
    named = [
        shown(culprit.get("budget", policy.on_predicate or policy.on_types))
        for culprit, policy in zip(culprits, policies, strict=True)
    ]
    assert [record.getMessage().partition("\n")[0] for record in caplog.records] == [
        text.format(name) for name in named
    ]


class Ungrateful(RetryBudget):
    """A budget that pays, and fails when it is told of what came of it."""

    def restore(self, paid: float) -> None:
        raise ZeroDivisionError("a bug")

    def succeeded(self, paid: float | None) -> None:
        raise ZeroDivisionError("a bug")


@pytest.mark.parametrize("end", ["recovered", "interrupted", "at once"])
def test_a_budget_that_fails_afterwards_changes_nothing(end: str, caplog: pytest.LogCaptureFixture) -> None:
    """What came of the operation stands; each budget that cannot be told is named in the log."""
    for budget in (Ungrateful(), Ungrateful(600)):
        caplog.clear()
        context = begun(budget=budget)
        if end == "at once":
            assert context.returned(None, 0.0) is None
        else:
            assert context.failed(LOST, 0.0).wait == 5.0
            last = context.returned(None, 5.0) if end == "recovered" else context.interrupted(1.0, during_attempt=False)
            assert last is not None
            assert last.reason is (StopReason.RECOVERED if end == "recovered" else StopReason.CANCELLED)
        (record,) = caplog.records
        text = f"the budget {shown(budget)} failed; it allows no retry, and operations go on"
        assert record.getMessage().partition("\n")[0] == text
