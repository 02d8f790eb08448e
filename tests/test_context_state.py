"""What a context tells of itself, before, during and after an operation."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest

from retrywrap import (
    ErrorCode,
    RetryBudget,
    RetryContext,
    RetryPolicy,
    RetryState,
    StopReason,
    Verdict,
    exponential,
    with_retry,
)
from retrywrap.decide.allowance import PROCESS, Allowance
from retrywrap.decide.notes import Note, attach
from retrywrap.testing import VirtualClock

LOST = ConnectionResetError("gone")


class OddError(Exception):
    """An error that no table knows."""


def told(context: RetryContext) -> dict[str, Any]:
    """All that a context says of itself, but for the number of the newest note."""
    private = {"policy", "since"}
    return {name: getattr(context, name) for name in RetryContext.__slots__ if name[0] != "_" and name not in private}


FRESH = {
    "attempts": 0,
    "current_retry": 0,
    "deadline": None,
    "error_message": "",
    "error_type": "",
    "known": True,
    "last_error": ErrorCode.SUCCESS,
    "last_retry_time": 0.0,
    "layer": "op",
    "operation": "op",
    "started": 0.0,
    "state": RetryState.IDLE,
    "verdict": None,
}


def test_a_context_that_was_just_made() -> None:
    """Nothing has happened: zeros, no error, IDLE; its time counts from the clock's zero until it begins."""
    context = RetryContext(RetryPolicy(), operation="op")
    assert told(context) == FRESH
    assert told(RetryContext(RetryPolicy(timeout=7), operation="op")) == FRESH | {"deadline": 7.0}


def test_a_layer_may_be_told_apart_from_its_name() -> None:
    """The name is the layer, unless another is given; whatever it is, None alone stands for the name."""
    assert RetryContext(RetryPolicy(), operation="op", layer=("f", 3)).layer == ("f", 3)
    assert RetryContext(RetryPolicy(), operation="op", layer=0).layer == 0
    assert RetryContext(RetryPolicy()).operation == RetryContext(RetryPolicy()).layer == "operation"


def test_a_cleared_context_is_as_new() -> None:
    """Whatever has happened, clear() leaves what a new one says, but for the last wait's time."""
    context = RetryContext(RetryPolicy(), operation="op", epoch=1000.0)
    context.begin(3.0)
    context.failed(OddError("x"), 4.0)
    context.begin(5.0)
    context.failed(LOST, 6.0)
    context.clear()
    assert told(context) == FRESH | {"last_retry_time": 1006.0}


def test_a_note_from_before_the_run_is_a_leftover() -> None:
    """What was given up before begin(), or before clear(), tells nothing of this run; what was given up since does."""
    error = ConnectionResetError("gone")
    context = RetryContext(RetryPolicy(max=5))
    for again in (lambda: context.begin(0.0), context.clear):
        attach(error, Note.make("gave up", "inner", (1, "inner"), StopReason.EXHAUSTED, 2))
        again()
        assert context.failed(error, 0.0).reason is None
    attach(error, Note.make("gave up", "inner", (1, "inner"), StopReason.EXHAUSTED, 2))
    assert context.failed(error, 0.0).reason is StopReason.NESTED_REFUSED


def test_retries_without_a_limit_are_always_left() -> None:
    """Without max, should_retry asks the code alone."""
    context = RetryContext(RetryPolicy(max=None, timeout=60))
    assert context.should_retry(-6)
    context.begin(0.0)
    context.failed(LOST, 0.0)
    assert context.should_retry(-6)
    assert not context.should_retry(-4)


def test_the_interval_of_a_jittered_policy_is_its_longest_first_wait() -> None:
    """The plugin's name for the interval stands for what jitter comes near to, and never reaches."""
    assert RetryContext(RetryPolicy(interval=exponential(2))).retry_interval == math.nextafter(2.0, 0.0)


def test_a_run_that_was_begun_elsewhere_is_taken_over_as_it_stands() -> None:
    """Retries that were scheduled at once count as those of this context: its next one is one more."""
    context = RetryContext(RetryPolicy(max=3, interval=0), operation="op", epoch=1000.0)
    context.begin(3.0)
    context._went_on(2, Verdict.of(-6, "Gone"), "builtins.ConnectionResetError")
    assert told(context) == FRESH | {
        "attempts": 2,
        "current_retry": 2,
        "error_message": "Gone",
        "error_type": "builtins.ConnectionResetError",
        "last_error": ErrorCode.NETWORK,
        "last_retry_time": 1003.0,
        "started": 3.0,
        "state": RetryState.RETRYING,
        "verdict": Verdict.of(-6, "Gone"),
    }
    assert context.failed(LOST, 3.5).detail == "retry 3 follows in 0 s"
    assert context.failed(LOST, 3.5).reason is StopReason.EXHAUSTED


def test_a_hook_sees_the_operation_that_it_prepares(clock: VirtualClock) -> None:
    """before_retry= gets the context in the midst of its run: which layer, how far, after which error."""
    seen: list[dict[str, Any]] = []

    @with_retry(max=2, interval=exponential(6), timeout=60, name="op", before_retry=lambda it: seen.append(told(it)))
    def flaky() -> None:
        clock.advance(1)
        raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError) as caught:
        flaky()
    (note,) = caught.value.__notes__
    assert isinstance(note, Note)
    assert clock.waits == [3.0, 6.0]
    started = clock.epoch() + seen[0]["started"]
    assert [(each["attempts"], each["current_retry"]) for each in seen] == [(1, 1), (2, 2)]
    assert [each["last_retry_time"] - started for each in seen] == [1.0, 5.0]
    for each in seen:
        assert each["state"] is RetryState.RETRYING
        assert each["operation"] == "op"
        assert each["layer"] == note.layer not in {None, "op"}
        assert each["deadline"] == each["started"] + 60
        assert each["last_error"] is ErrorCode.CONNECTION_LOST
        assert each["error_type"] == "builtins.ConnectionResetError"
        assert each["known"]


def test_the_last_moment_is_in_time() -> None:
    """An attempt may start at the very end of the time, not after it; a scope that was cancelled comes first."""
    scope = Allowance(PROCESS, name="scope")
    context = RetryContext(RetryPolicy(timeout=10), limits=scope)
    context.begin(0.0)
    context.failed(LOST, 0.0)
    assert context.resumed(10.0) is None
    scope.cancel()
    for attempts in (1, 2):
        late = context.resumed(10.5)
        assert late is not None
        assert (late.reason, late.attempt, late.is_retry) == (StopReason.CANCELLED, attempts, False)
        context.failed(LOST, 10.5)


def test_what_is_interrupted_is_a_retry_or_none() -> None:
    """Only an attempt after the first is a retry, and only if it was begun."""
    context = RetryContext(RetryPolicy())
    context.begin(0.0)
    first = context.interrupted(1.0, during_attempt=True)
    assert (first.is_retry, first.rule, first.retry_after) == (False, "", None)
    context.begin(0.0)
    context.failed(LOST, 0.0)
    context.failed(LOST, 5.0)
    assert not context.interrupted(6.0, during_attempt=False).is_retry
    assert context.interrupted(6.0, during_attempt=True).is_retry


def test_an_unknown_error_is_forgotten_when_a_known_one_comes() -> None:
    """Whether the last error was known is said of the last error."""
    context = RetryContext(RetryPolicy())
    context.failed(OddError("x"), 0.0)
    assert not context.known
    context.begin(0.0)
    context.failed(LOST, 0.0)
    assert context.known


@pytest.mark.parametrize("spent", [3, b"argument", ["argument"]])
def test_what_was_used_up_is_named_by_a_str(spent: Any) -> None:
    """Anything else is refused by both ways to end an attempt."""
    context = RetryContext(RetryPolicy())
    text = rf"^spent must be the name of an argument that was used up, or None; got {re.escape(repr(spent))}$"
    with pytest.raises(TypeError, match=text):
        context.failed(LOST, 0.0, spent=spent)
    with pytest.raises(TypeError, match=text):
        context.returned(None, 0.0, spent=spent)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"limits": None}, "limits must be what a scope allows, and is made by retry_scope; got None"),
        ({"random": 3}, r"random must be a function that returns numbers in \[0, 1\); got 3"),
        ({"epoch": "now"}, "epoch must be a clock's seconds, a finite number; got 'now'"),
        ({"operation": 3}, "operation must be the operation's name, a str; got 3"),
    ],
)
def test_where_a_context_runs_is_checked(change: dict[str, Any], text: str) -> None:
    """Scopes, random numbers and the clock's zero are refused by name, when it is made and when it is put elsewhere."""
    with pytest.raises(TypeError, match=f"^{text}$"):
        RetryContext(RetryPolicy(), **change)
    place: dict[str, Any] = {"limits": PROCESS, "random": float, "epoch": 0.0}
    if change.keys() <= place.keys():
        with pytest.raises(TypeError, match=f"^{text}$"):
            RetryContext(RetryPolicy()).surround(**place | change)


def test_budgets_of_policy_and_scope_both_pay() -> None:
    """Each budget around an operation pays for its retry, and both get their price back."""
    own, outer = RetryBudget(), RetryBudget(600)
    scope = Allowance(PROCESS, name="scope")
    scope.count(None, outer)
    context = RetryContext(RetryPolicy(budget=own), limits=scope)
    context.failed(LOST, 0.0)
    assert (own.available, outer.available) == (486, 586)
    context.interrupted(1.0, during_attempt=False)
    assert (own.available, outer.available) == (500, 600)


def test_without_an_epoch_the_clock_is_the_epoch() -> None:
    """A context that is told of no epoch takes the clock's seconds for those since the epoch."""
    assert RetryContext(RetryPolicy()).failed(LOST, 2.0).time == 2.0


def test_the_innermost_scope_with_a_name_is_told() -> None:
    """A link that only carries a deadline has no name; what is around it has."""
    outer = Allowance(Allowance(PROCESS, name="outermost"), name="outer")
    context = RetryContext(RetryPolicy(), limits=Allowance(outer, deadline=50.0))
    assert context.failed(LOST, 0.0).scope == "outer"


def test_a_context_that_is_put_elsewhere_runs_by_what_is_there() -> None:
    """Its scopes, its random numbers and its clock are the new ones from the next run on."""
    context = RetryContext(RetryPolicy(interval=exponential(8)), operation="op")
    scope = Allowance(PROCESS, name="there", deadline=50.0)
    context.surround(scope, lambda: 0.25, 1000.0)
    context.begin(1.0)
    event = context.failed(LOST, 2.0)
    assert (event.wait, event.time, event.scope, context.deadline) == (2.0, 1002.0, "there", 50.0)


class Half(float):
    """A number of a class of its own, as numerical libraries have them."""

    def __mul__(self, other: float) -> Half:
        return Half(float(self) * other)

    __rmul__ = __mul__


@pytest.mark.parametrize(
    ("number", "wait"), [(0.5, 4.0), (Half(0.5), 4.0), (-0.0, 0.0), (-0.5, None), (math.nan, None), (math.inf, None)]
)
def test_no_wait_is_other_than_a_number_of_seconds(number: float, wait: float | None) -> None:
    """Where random numbers are given that are none, no wait comes of it: a plain float, not negative, or the end."""
    context = RetryContext(RetryPolicy(interval=exponential(8)), random=lambda: number)
    event = context.failed(LOST, 0.0)
    if wait is None:
        assert event.reason is StopReason.EXHAUSTED
        assert event.detail.startswith("its interval= failed: ValueError('a wait must be ")
    else:
        assert (type(event.wait), repr(event.wait)) == (float, repr(wait))
