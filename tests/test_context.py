"""The machine without I/O: `RetryContext` decides from what it is told, and time is an argument."""

from __future__ import annotations

import copy
import itertools
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrywrap import (
    ErrorCode,
    RetryBudget,
    RetryContext,
    RetryPolicy,
    RetryState,
    StopReason,
    Verdict,
    exponential,
    return_codes,
)
from retrywrap.classifiers.chain import DEFAULT, Chain
from retrywrap.decide.allowance import PROCESS, Allowance
from retrywrap.decide.context import explain_end
from retrywrap.decide.events import RetryEvent
from retrywrap.decide.notes import Note, attach

LOST = ConnectionResetError("gone")


def begun(now: float = 0.0, **parameters: Any) -> RetryContext:
    """A context that has begun at `now`."""
    context = RetryContext(RetryPolicy(**parameters), operation="op", random=lambda: 0.5, epoch=1000.0)
    context.begin(now)
    return context


def test_a_context_needs_a_policy() -> None:
    """Anything else is refused by name."""
    with pytest.raises(TypeError, match="policy must be a RetryPolicy; got 3"):
        RetryContext(3)  # type: ignore[arg-type]  # the test's point


def test_a_context_goes_from_idle_through_retrying_to_success() -> None:
    """The states of an operation that recovers, with the plugin's numbers."""
    context = RetryContext(RetryPolicy())
    assert (context.state, int(context.state)) == (RetryState.IDLE, 0)
    context.begin(0.0)
    assert int(context.state) == 1
    context.failed(LOST, 1.0)
    assert context.state is RetryState.RETRYING
    assert context.resumed(6.0) is None
    event = context.returned(None, 6.5)
    assert event is not None
    assert event.reason is StopReason.RECOVERED
    assert int(context.state) == 2


def test_an_exhausted_context_is_failed() -> None:
    """The state after the last retry failed."""
    context = begun(max=1)
    assert context.failed(LOST, 0.0).wait == 5.0
    assert context.failed(LOST, 5.0).reason is StopReason.EXHAUSTED
    assert int(context.state) == 3
    assert context.current_retry == context.max_retry == 1
    assert context.attempts == 2


def test_a_success_at_once_is_no_event() -> None:
    """Nothing is said of an operation that never failed."""
    context = begun()
    assert context.returned(None, 0.0) is None
    assert context.state is RetryState.SUCCESS


def test_the_scheduled_event_holds_the_facts() -> None:
    """Every field of an event that schedules a retry."""
    context = begun(10.0, max=4, interval=2.5)
    event = context.failed(LOST, 12.0)
    assert event._replace(detail="", message="") == RetryEvent(
        name="retry.scheduled",
        operation="op",
        reason=None,
        code=ErrorCode.CONNECTION_LOST,
        message="",
        error_type="builtins.ConnectionResetError",
        attempt=1,
        max=4,
        wait=2.5,
        elapsed=2.0,
        time=1012.0,
        rule=event.rule,
        retry_after=None,
        scope=None,
        detail="",
        is_error=True,
        is_retry=False,
    )
    assert "ECONNRESET" in event.rule or "ConnectionReset" in event.rule
    assert not event.final
    assert context.last_retry_time == 1012.0


def test_a_new_run_starts_from_zero_and_keeps_the_last_error() -> None:
    """begin() rewinds attempts, retries and backoff; what went wrong last stays known."""
    context = begun(max=3, interval=[1.0, 2.0, 3.0])
    assert [context.failed(LOST, 0.0).wait for _ in range(2)] == [1.0, 2.0]
    context.begin(100.0)
    assert (context.attempts, context.current_retry) == (0, 0)
    assert context.last_error is ErrorCode.CONNECTION_LOST
    assert context.failed(LOST, 100.0).wait == 1.0


def test_clear_forgets_the_last_error() -> None:
    """clear() goes back to IDLE without a last error."""
    context = begun()
    context.failed(LOST, 0.0)
    context.clear()
    assert (context.state, context.last_error, context.error_message, context.verdict) == (RetryState.IDLE, 0, "", None)


def test_should_retry_is_the_plugins_rule() -> None:
    """Retryable by default, and retries left; the policy's other rules do not matter to it."""
    context = begun(max=1)
    assert context.should_retry(-6)
    assert not context.should_retry(-4)
    assert not context.should_retry(-42)
    context.failed(LOST, 0.0)
    assert not context.should_retry(-6)


@pytest.mark.parametrize(
    ("verdict", "parameters", "reason"),
    [
        (Verdict.of(-6), {}, None),
        (Verdict.of(-1), {}, StopReason.REJECTED),
        (Verdict.of(-1), {"on": ConnectionResetError}, None),
        (Verdict.of(-6, forbid=True), {"on": ConnectionResetError}, StopReason.REJECTED),
        (Verdict.of(-6, effect="unknown"), {"idempotent": False}, StopReason.REJECTED),
        (Verdict.of(-6, effect="none"), {"idempotent": False}, None),
        (Verdict.of(-1, retryable=True), {}, None),
        (Verdict.of(-6, retryable=False), {}, StopReason.REJECTED),
    ],
)
def test_the_verdict_decides(verdict: Verdict, parameters: dict[str, Any], reason: StopReason | None) -> None:
    """Retryable, forbidden, with or without effect: the first laws of the machine."""
    context = begun(classifier=lambda _: verdict, **parameters)
    assert context.failed(LOST, 0.0).reason is reason


@pytest.mark.parametrize(("hint", "wait"), [(None, 5.0), (1.0, 5.0), (7.0, 7.0), (10.0, 10.0), (3600.0, 10.0)])
def test_a_servers_hint_is_clamped(hint: float | None, wait: float) -> None:
    """A hint may lengthen a wait by 5 s at most, and never shortens it."""
    context = begun(classifier=lambda _: Verdict.of(-6, retry_after=hint))
    assert context.failed(LOST, 0.0).wait == wait


def test_results_are_judged_like_errors() -> None:
    """A verdict on a returned value schedules, exhausts, or rejects."""
    context = begun(max=1, results=return_codes)
    judge = context.policy.judge
    assert judge(0) is None
    event = context.returned(judge(-6), 0.0)
    assert event is not None
    assert (event.wait, event.error_type) == (5.0, "result")
    event = context.returned(judge(-6), 5.0)
    assert event is not None
    assert event.reason is StopReason.EXHAUSTED
    other = begun(results=return_codes)
    event = other.returned(judge(-1), 0.0)
    assert event is not None
    assert event.reason is StopReason.REJECTED


def test_the_end_of_the_interval_is_the_end() -> None:
    """A finite interval gives up when it ends, before max."""
    context = begun(interval=[1.0])
    assert context.failed(LOST, 0.0).wait == 1.0
    event = context.failed(LOST, 1.0)
    assert event.reason is StopReason.EXHAUSTED
    assert "interval=" in event.detail


class Broken:
    """A re-iterable whose second element is nonsense, or raises."""

    def __init__(self, second: Any) -> None:
        self.second = second

    def __iter__(self) -> Any:
        yield 1.0
        if isinstance(self.second, Exception):
            raise self.second
        yield self.second


@pytest.mark.parametrize("second", [-1.0, float("nan"), "soon", RuntimeError("bug")])
def test_a_broken_interval_gives_up_and_says_so(second: Any) -> None:
    """The user's own iterable never hides the operation's error."""
    context = begun(interval=Broken(second))
    assert context.failed(LOST, 0.0).wait == 1.0
    event = context.failed(LOST, 1.0)
    assert event.reason is StopReason.EXHAUSTED
    assert "interval= failed" in event.detail


def test_scopes_are_drawn_from_innermost_first_and_restored() -> None:
    """Where an outer scope has nothing left, what the inner one gave goes back."""
    outer = Allowance(PROCESS, name="outer")
    outer.count(0, None)
    inner = Allowance(outer, name="inner")
    inner.count(5, None)
    context = RetryContext(RetryPolicy(), limits=inner)
    context.begin(0.0)
    event = context.failed(LOST, 0.0)
    assert event.reason is StopReason.EXHAUSTED
    assert "the scope outer has no retries left of max=0" in event.detail
    assert event.scope == "inner"
    assert inner.used == 0


def test_budgets_are_paid_once_each_and_given_back() -> None:
    """A budget that policy and scope share is paid once; where one refuses, the others get their price back."""
    shared, empty = RetryBudget(), RetryBudget(capacity=14)
    empty.withdraw(0.0, False)
    scope = Allowance(PROCESS, name="scope")
    scope.count(None, shared)
    context = RetryContext(RetryPolicy(budget=shared), limits=scope)
    context.begin(0.0)
    assert context.failed(LOST, 0.0).wait == 5.0
    assert shared.available == 486
    scope.count(None, empty)
    event = context.failed(LOST, 5.0)
    assert event.reason is StopReason.BUDGET_DENIED
    assert shared.available == 486


def test_a_throttled_retry_has_its_own_price() -> None:
    """The verdict's `throttled` chooses the price."""
    budget = RetryBudget(capacity=100)
    context = begun(classifier=lambda _: Verdict.of(-6, throttled=True), budget=budget)
    context.failed(LOST, 0.0)
    assert budget.available == 95


def test_a_success_refunds_the_last_price_only() -> None:
    """Two retries at 14, then success: 14 come back."""
    budget = RetryBudget()
    context = begun(budget=budget)
    context.failed(LOST, 0.0)
    context.failed(LOST, 5.0)
    assert budget.available == 472
    context.returned(None, 10.0)
    assert budget.available == 486


def test_a_first_success_in_the_machine_refunds_one() -> None:
    """A context that never failed tells the budget of a success at once."""
    budget = RetryBudget()
    budget.withdraw(0.0, False)
    begun(budget=budget).returned(None, 0.0)
    assert budget.available == 487


def test_cancellation_is_seen_before_and_after_the_wait() -> None:
    """A cancelled scope refuses a retry, and stops one whose wait is over."""
    scope = Allowance(PROCESS)
    context = RetryContext(RetryPolicy(), limits=scope)
    context.begin(0.0)
    assert context.failed(LOST, 0.0).wait == 5.0
    scope.cancel()
    stopped = context.resumed(1.0)
    assert stopped is not None
    assert (stopped.reason, stopped.is_error, stopped.is_retry) == (StopReason.CANCELLED, False, False)
    context.begin(0.0)
    assert context.failed(LOST, 0.0).reason is StopReason.CANCELLED


def test_interruption_counts_the_attempt_it_interrupted() -> None:
    """Ctrl-C during a retry is the end of that retry; during a wait nothing was attempted."""
    context = begun()
    context.failed(LOST, 0.0)
    event = context.interrupted(5.0, during_attempt=True)
    assert (event.reason, event.attempt, event.is_error, event.is_retry) == (StopReason.CANCELLED, 2, False, True)
    context = begun()
    context.failed(LOST, 0.0)
    event = context.interrupted(3.0, during_attempt=False)
    assert (event.attempt, event.is_error, event.is_retry) == (1, False, False)


def test_remaining_is_the_least_deadline() -> None:
    """remaining() counts to the nearer of the policy's and the scope's deadline."""
    scope = Allowance(PROCESS, deadline=8.0)
    context = RetryContext(RetryPolicy(timeout=20), limits=scope)
    context.begin(1.0)
    assert context.remaining(3.0) == 5.0
    assert context.remaining(9.0) == 0.0
    assert begun().remaining(3.0) is None


def test_the_scopes_deadline_is_named() -> None:
    """Where the scope's time ends the operation, the detail does not blame the policy's timeout."""
    context = RetryContext(RetryPolicy(timeout=100), limits=Allowance(PROCESS, deadline=2.0))
    context.begin(0.0)
    event = context.failed(LOST, 0.0)
    assert event.reason is StopReason.TIMED_OUT
    assert "around it" in event.detail


def test_an_end_is_explained_in_a_sentence() -> None:
    """The text of the note: who, how it ended, attempts, time, and the reason."""
    context = begun(max=0)
    assert explain_end(context.failed(LOST, 0.25)) == (
        "retrywrap: op exhausted after 1 attempt in 0.25 s: max=0 is the limit of retries"
    )


def test_retry_interval_is_the_first_wait() -> None:
    """The plugin's name for the interval."""
    assert begun(interval=7).retry_interval == 7.0
    assert begun(interval=[]).retry_interval == 0.0


@given(
    max=st.integers(0, 6) | st.none(),
    timeout=st.none() | st.floats(0, 50),
    waits=st.lists(st.floats(0, 10), max_size=8) | st.just(None),
    outcomes=st.lists(st.sampled_from(["lost", "value", "ok"]), min_size=1, max_size=12),
)
def test_the_machine_keeps_its_invariants(
    max: int | None, timeout: float | None, waits: list[float] | None, outcomes: list[str]
) -> None:
    """For any policy and history: calls ≤ max + 1, waits ≤ timeout, one terminal event, errors = retries + failures."""
    if max is None and timeout is None:
        timeout = 30.0
    parameters: dict[str, Any] = {"interval": exponential(1) if waits is None else waits}
    context = begun(max=max, timeout=timeout, **parameters)
    events: list[RetryEvent] = []
    now, waited, calls = 0.0, 0.0, 0
    for outcome in itertools.chain(outcomes, itertools.repeat("ok")):
        calls += 1
        error = {"lost": LOST, "value": ValueError("v")}.get(outcome)
        event = context.returned(None, now) if error is None else context.failed(error, now)
        if event is not None:
            events.append(event)
        if event is None or event.wait is None:
            break
        waited += event.wait
        now += event.wait
        assert context.resumed(now) is None
    assert max is None or calls <= max + 1
    assert timeout is None or waited <= timeout * (1 + 1e-12)
    ends = [event for event in events if event.final]
    assert len(ends) == (1 if events else 0)
    failures = [event for event in ends if event.reason is not StopReason.RECOVERED]
    assert sum(e.is_error for e in events) == sum(e.is_retry for e in events) + len(failures)
    assert calls == context.attempts


def test_only_what_was_given_up_meanwhile_is_nested(monkeypatch: pytest.MonkeyPatch) -> None:
    """A note from before the operation is a leftover; one that came out of a pickle was made elsewhere, meanwhile."""
    error = ConnectionResetError("gone")
    attach(error, Note.make("gave up", "inner", (1, "inner"), StopReason.EXHAUSTED, 3))
    context = RetryContext(RetryPolicy())
    assert context.failed(error, 0.0).reason is None
    context.clear()
    assert context.failed(copy.deepcopy(error), 5.0).reason is None
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("os.getpid", lambda: -1)
        pickled = pickle.dumps(error)
    arrived = pickle.loads(pickled)
    assert arrived.__notes__ == ["gave up"]
    assert context.failed(arrived, 5.0).reason is StopReason.NESTED_REFUSED


def test_a_policy_tells_its_chain() -> None:
    """The default one, unless classifier= says otherwise."""
    own = Chain(lambda error: ErrorCode.NETWORK)
    assert RetryPolicy().chain is DEFAULT
    assert RetryPolicy(classifier=own).chain is own
