"""The heart: every decision about an operation is made here, without I/O, without a clock.

The law, in the order in which `RetryContext.failed` applies it to one failed attempt:

1.  A verdict that *forbids* ends the operation: rejected. Nothing overrides it.
2.  An error that is not retryable by its verdict, nor named by ``on=``, ends it: rejected. What the chain does not know
    is not retryable.
3.  Where the operation is not idempotent, an attempt that may have had an effect ends it: rejected.
4.  An argument that the failed attempt used up ends it, unless ``before_retry=`` resets it: rejected. An error on which
    an inner operation exhausted its retries ends it, unless ``nested="multiply"``: nested refused.
5.  In a scope that was cancelled, or after `shutdown`, it ends: cancelled.
6.  After ``max`` retries, or when the backoff has no further wait, it ends: exhausted.
7.  A wait that could not end before the deadline is not begun: timed out.
8.  Each scope around it must have a retry left: else exhausted.
9.  Each budget, its own and the scopes', must have the retry's price left: else budget denied. What was drawn before a
    refusal is given back.
10. Otherwise it is scheduled: the wait is the backoff's next, a server's hint clamped to [wait, wait + 5 s], or exactly
    what the ``on=`` predicate said.

After the wait (`resumed`) the deadline and the cancellation are looked at once more. States:

```
IDLE ──begin──▶ RETRYING ──succeeded──▶ SUCCESS
                  │  ▲└────failed, returned, resumed, cancelled──▶ FAILED
                  └──┘ scheduled
```

A context keeps codes and text, never an exception, a frame or an argument.
"""

from __future__ import annotations

import random as chance
from collections.abc import Callable, Iterator, Sequence
from enum import IntEnum
from math import inf
from typing import TYPE_CHECKING, Any

from retrywrap.classifiers.chain import DEFAULT
from retrywrap.classifiers.guard import dotted_name, type_name
from retrywrap.classifiers.verdict import Verdict
from retrywrap.codes import ErrorCode
from retrywrap.decide.allowance import ALONE, PROCESS, Allowance
from retrywrap.decide.backoff import check_wait, clamp_hint
from retrywrap.decide.checks import check_bool, check_clock, is_timedelta, shown, shown_seconds
from retrywrap.decide.events import SCHEDULED, RetryEvent, StopReason, end_name
from retrywrap.decide.notes import counted, given_up
from retrywrap.decide.policy import RetryPolicy
from retrywrap.reports import report_once

if TYPE_CHECKING:
    from retrywrap.decide.budget import Budget

__all__ = ["RetryContext", "RetryState"]


class RetryState(IntEnum):
    """Where an operation stands; the plugin's numbers."""

    IDLE = 0
    RETRYING = 1
    SUCCESS = 2
    FAILED = 3


_Stop = tuple[StopReason, str]
_NAMES = {reason: end_name(reason) for reason in StopReason}
_WORDS = {end_name(reason): reason.value.replace("_", " ") for reason in StopReason}


class RetryContext:
    """The state of one operation and the machine that decides what follows each attempt.

    It does no I/O and reads no clock: whoever drives it passes the time in. ``before_retry`` hooks receive it.

    Args:
        policy: What to retry, how often, how far apart.
        operation: The operation's name.
        layer: What tells this layer of retries from others that may have the same name; the name where none is given.
        limits: The scopes around it; the process alone where none is given.
        random: Returns numbers in [0, 1) for jitter.
        epoch: Seconds since the epoch at the zero of the clock that ``now`` comes from.

    Raises:
        TypeError: `policy` is no `RetryPolicy`, or another argument has the wrong type; for the methods, the same.
        ValueError: A time is NaN or infinite; for the methods, the same.

    Attributes:
        policy: The policy.
        operation: The name.
        layer: What tells this layer of retries from others.
        state: The `RetryState`.
        attempts: Attempts that have ended.
        current_retry: Retries begun or scheduled, as the plugin counts them.
        last_error: The last error's `ErrorCode`; SUCCESS while there is none. A later success leaves it.
        error_message: The last error's text: redacted, bounded.
        error_type: The last error's type.
        verdict: The last error's `Verdict`; None while there is none.
        known: Whether a rule or ``on=`` knew the last error.
        last_retry_time: Seconds since the epoch at which the last wait was begun; 0.0 while there was none.
        since: The number of the newest note that any operation had left when it began.
        started: The clock's seconds at which it began.
        deadline: The clock's seconds at which its time is over, scopes included; None: no limit.
    """

    __slots__ = (
        "_drawn",
        "_epoch",
        "_limits",
        "_most",
        "_paid",
        "_random",
        "_waits",
        "_way_out",
        "attempts",
        "current_retry",
        "deadline",
        "error_message",
        "error_type",
        "known",
        "last_error",
        "last_retry_time",
        "layer",
        "operation",
        "policy",
        "since",
        "started",
        "state",
        "verdict",
    )

    def __init__(
        self,
        policy: RetryPolicy,
        *,
        operation: str = "operation",
        layer: object = None,
        limits: Allowance = PROCESS,
        random: Callable[[], float] = chance.random,
        epoch: float = 0.0,
    ) -> None:
        if not isinstance(policy, RetryPolicy):
            raise TypeError(f"policy must be a RetryPolicy; got {shown(policy)}")
        if not isinstance(operation, str):
            raise TypeError(f"operation must be the operation's name, a str; got {shown(operation)}")
        self.policy = policy
        self.operation = operation
        self.layer = operation if layer is None else layer
        self.surround(limits, random, epoch)
        self._make_ready()
        self._rewind(0.0)

    @classmethod
    def _begun(
        cls,
        policy: RetryPolicy,
        operation: str,
        layer: object,
        limits: Allowance,
        random: Callable[[], float],
        epoch: float,
        now: float,
    ) -> RetryContext:
        """Return a context that has begun at the clock's time ``now``, of arguments that need no check."""
        context = cls.__new__(cls)
        context.policy, context.operation, context.layer = policy, operation, layer
        context._limits, context._random, context._epoch = limits, random, epoch
        context._make_ready()
        context._rewind(now)
        context.state = RetryState.RETRYING
        return context

    def _make_ready(self) -> None:
        self.state = RetryState.IDLE
        self.last_retry_time = 0.0
        self.last_error = ErrorCode.SUCCESS
        self.error_message = ""
        self.error_type = ""
        self.verdict: Verdict | None = None
        self.known = True
        self.since = counted[0]

    def _rewind(self, started: float) -> None:
        self.started = started
        self.deadline = None if self._limits is ALONE else self._limits.deadline
        if self.policy.timeout is not None:
            own = started + self.policy.timeout
            self.deadline = own if self.deadline is None else min(own, self.deadline)
        self.attempts = 0
        self.current_retry = 0
        self._most = self.policy.max
        self._waits: Iterator[float] = self.policy.backoff.waits(self._random)
        self._drawn: Sequence[Allowance] = ()
        self._paid: Sequence[tuple[Budget, float]] = ()

    @property
    def max_retry(self) -> int | None:
        """The policy's ``max``, under the plugin's name."""
        return self.policy.max

    @property
    def retry_interval(self) -> float:
        """The policy's first wait in seconds, without jitter; 0.0 for a policy without waits."""
        return next(self.policy.backoff.waits(lambda: 1.0 - 2**-53), 0.0)

    def remaining(self, now: float) -> float | None:
        """Return the seconds that are left at the clock's time ``now``, never below 0.0; None: no limit."""
        check_clock(now)
        return None if self.deadline is None else max(0.0, self.deadline - now)

    def should_retry(self, code: int) -> bool:
        """Return whether the plugin would retry on ``code`` now: retryable by default, and retries left."""
        return ErrorCode(code).retryable and (self.policy.max is None or self.current_retry < self.policy.max)

    def begin(self, now: float) -> None:
        """Start a run from zero at the clock's time ``now``. What the last run left as last error stays."""
        check_clock(now)
        self._rewind(now)
        self.since = counted[0]
        self.state = RetryState.RETRYING

    def _went_on(self, retries: int, verdict: Verdict, error_type: str) -> None:
        """Take a run over whose retries, so far, were scheduled elsewhere, each at once, by the laws above.

        Args:
            retries: How many were scheduled.
            verdict: That on the newest failure.
            error_type: Its type.
        """
        self._note_failure(verdict, error_type)
        self.attempts = self.current_retry = retries
        self.last_retry_time = self._epoch + self.started

    def end_retries(self) -> None:
        """Let no retry follow in this run, whatever the policy says."""
        self._most = -1

    def surround(self, limits: Allowance, random: Callable[[], float], epoch: float) -> None:
        """Put a context that was made elsewhere under the scopes and the clock of where it is about to run.

        Args:
            limits: The scopes around it.
            random: Returns numbers in [0, 1) for jitter.
            epoch: Seconds since the epoch at the zero of the clock.
        """
        if not isinstance(limits, Allowance):
            raise TypeError(f"limits must be what a scope allows, and is made by retry_scope; got {shown(limits)}")
        if not callable(random):
            raise TypeError(f"random must be a function that returns numbers in [0, 1); got {shown(random)}")
        check_clock(epoch, "epoch")
        self._limits, self._random, self._epoch = limits, random, epoch

    def clear(self) -> None:
        """Forget the last error and go back to IDLE."""
        self._rewind(0.0)
        self.since = counted[0]
        self.state = RetryState.IDLE
        self.last_error, self.error_message, self.error_type, self.verdict = ErrorCode.SUCCESS, "", "", None

    def failed(self, error: Exception, now: float, *, spent: str | None = None) -> RetryEvent:
        """Decide what follows an attempt that raised.

        Args:
            error: What it raised; nothing of it but text and codes is kept.
            now: The clock's seconds.
            spent: Names an argument that the attempt used up, so that a retry would see it empty; None: there is none.

        Returns:
            The event: scheduled (with its ``wait``), or the terminal one.
        """
        if not isinstance(error, Exception):
            raise TypeError(f"error must be an Exception, as an attempt raises them; got {shown(error)}")
        check_clock(now)
        _check_spent(spent)
        return self._decide(error, now, spent)

    def _decide(self, error: Exception, now: float, spent: str | None) -> RetryEvent:
        """Do as `failed` does, of arguments that need no check."""
        policy = self.policy
        verdict = (policy.own_chain or DEFAULT)(error)
        self._note_failure(verdict, dotted_name(type(error)))
        wanted = self._wanted(error) if policy.on_types or policy.on_predicate is not None else False
        stop = self._judge(verdict, wanted) or self._nested(error) or self._used_up(spent)
        return self._end(stop, now) if stop else self._schedule(verdict, wanted, now)

    def returned(self, verdict: Verdict | None, now: float, *, spent: str | None = None) -> RetryEvent | None:
        """Decide what follows an attempt that returned.

        Args:
            verdict: What `RetryPolicy.judge` says of the value; None: success.
            now: The clock's seconds.
            spent: As for `failed`.

        Returns:
            None where the operation succeeded at once; the recovered event where it succeeded after failures; where the
            value was judged a failure, the same as `failed`.
        """
        check_clock(now)
        _check_spent(spent)
        if verdict is None:
            return self._succeeded(now)
        if not isinstance(verdict, Verdict):
            raise TypeError(f"verdict must be a Verdict, as policy.judge returns it, or None; got {shown(verdict)}")
        self._note_failure(verdict, "result")
        stop = self._judge(verdict, None) or self._used_up(spent)
        return self._end(stop, now) if stop else self._schedule(verdict, None, now)

    def resumed(self, now: float) -> RetryEvent | None:
        """Look once more before the next attempt.

        Args:
            now: The clock's seconds.

        Returns:
            None to go on; else the terminal event.
        """
        check_clock(now)
        stop = self._cancelled()
        if stop is None and self.deadline is not None and now > self.deadline:
            stop = StopReason.TIMED_OUT, f"the time was over after the wait; {self._time_limit()} is the limit"
        if stop is None:
            return None
        self._give_back()
        return self._end(stop, now, fresh=False)

    def interrupted(self, now: float, *, during_attempt: bool) -> RetryEvent:
        """End it, because something that is no `Exception` (cancellation, Ctrl-C) came through.

        Args:
            now: The clock's seconds.
            during_attempt: It came out of an attempt; False: out of a wait.
        """
        check_clock(now)
        if check_bool(during_attempt, "during_attempt"):
            self.attempts += 1
        else:
            self._give_back()
        stop = (StopReason.CANCELLED, "it was interrupted")
        return self._event(stop, None, now, error=False, retry=during_attempt and self.attempts > 1)

    def _note_failure(self, verdict: Verdict, error_type: str) -> None:
        self.attempts += 1
        self.known = True
        self._way_out = ""
        self.verdict = verdict
        self.last_error = verdict.code
        self.error_message = verdict.message
        self.error_type = error_type

    def _wanted(self, error: Exception) -> bool | float:
        """Return what ``on=`` says: False, True, or the seconds to wait."""
        predicate = self.policy.on_predicate
        if predicate is None:
            named = _is_any_of(type(error), self.policy.on_types)
            self._way_out = "" if named else "on= does not name it"
            return named
        try:
            answer = predicate(error)
            is_wait = not isinstance(answer, bool) and (isinstance(answer, int | float) or is_timedelta(answer))
            self._way_out = "the predicate on= says no"
            return check_wait(answer) if is_wait else bool(answer)
        except Exception as broken:
            report_once(predicate, f"the predicate on={shown(predicate)} failed; taken as False")
            self._way_out = f"the predicate on= failed: {shown(broken)}"
            return False

    def _judge(self, verdict: Verdict, wanted: bool | float | None) -> _Stop | None:
        """Apply the laws 1 to 3."""
        if verdict.forbid:
            return StopReason.REJECTED, f"the rule {verdict.rule} forbids a retry of {self._kind()}"
        if not verdict.retryable and (wanted is None or wanted is False):
            if verdict.rule == "unknown":
                self.known = False
                way_out = self._way_out or "on= or retrywrap.classifiers.register would retry it"
                return StopReason.REJECTED, f"no rule knows {self._kind()}; {way_out}"
            way_out = "results= decides that" if wanted is None else self._way_out or "on= would retry it"
            return StopReason.REJECTED, f"{verdict.code.name} is not retryable (rule {verdict.rule}); {way_out}"
        if not self.policy.idempotent and verdict.effect != "none":
            return StopReason.REJECTED, "the attempt may have had an effect, and idempotent=False"
        return None

    def _kind(self) -> str:
        return self.error_type.removeprefix("builtins.")

    def _used_up(self, spent: str | None) -> _Stop | None:
        if spent is None:
            return None
        way_out = "pass a list, or reset it in before_retry="
        return StopReason.REJECTED, f"{spent}, which a retry would see used up; {way_out}"

    def _nested(self, error: Exception) -> _Stop | None:
        if self.policy.nested == "multiply":
            return None
        inner = given_up(error, self.since)
        if inner is None:
            return None
        operation, attempts = inner
        detail = f"{operation} inside made {attempts} attempts already; nested='multiply' would retry here too"
        return StopReason.NESTED_REFUSED, detail

    def _cancelled(self) -> _Stop | None:
        link = self._limits.cancelled_by()
        if link is None:
            return None
        who = "retrywrap was shut down" if link is PROCESS else "the scope was cancelled"
        if link.name is not None:
            who = f"the scope {link.name} was cancelled"
        return StopReason.CANCELLED, who

    def _late(self, deadline: float, now: float, wait: float) -> _Stop | None:
        if now < deadline and now + wait <= deadline:
            return None
        if now >= deadline:
            return StopReason.TIMED_OUT, f"no time is left for another attempt; {self._time_limit()} is the limit"
        return (
            StopReason.TIMED_OUT,
            f"a wait of {shown_seconds(wait)} s would not end in time; {self._time_limit()} is the limit",
        )

    def _time_limit(self) -> str:
        timeout = self.policy.timeout
        own = timeout is not None and self.deadline == self.started + timeout
        return f"timeout={timeout:g}" if own else "the timeout of what is around it"

    def _schedule(self, verdict: Verdict, wanted: bool | float | None, now: float) -> RetryEvent:
        """Apply the laws 5 to 10."""
        stop = self._cancelled() or self._worn_out()
        if stop:
            return self._end(stop, now)
        try:
            wait = next(self._waits)
            if type(wait) is not float or not 0.0 < wait < inf:
                wait = check_wait(wait)
        except StopIteration:
            return self._end((StopReason.EXHAUSTED, "its interval= has no further wait"), now)
        except Exception as broken:  # the user's own iterable: its fault must not hide the operation's error
            return self._end((StopReason.EXHAUSTED, f"its interval= failed: {shown(broken)}"), now)
        if isinstance(wanted, float):
            wait = wanted
        elif verdict.retry_after is not None:
            wait = clamp_hint(verdict.retry_after, wait)
        stop = None if self.deadline is None else self._late(self.deadline, now, wait)
        if self._limits is not ALONE or self.policy.budget is not None:
            stop = stop or self._draw(verdict.throttled, now)
        if stop:
            return self._end(stop, now)
        self.current_retry += 1
        self.last_retry_time = self._epoch + now
        return self._event(
            (None, scheduled_detail(self.current_retry, wait)), wait, now, error=True, retry=self.attempts > 1
        )

    def _worn_out(self) -> _Stop | None:
        if self._most is None or self.current_retry < self._most:
            return None
        limit = limit_detail(self._most) if self._most >= 0 else "retries are switched off here"
        return StopReason.EXHAUSTED, limit

    def _draw(self, throttled: bool, now: float) -> _Stop | None:
        """Draw a retry from every scope, and its price from every budget; give all back where one refuses."""
        self._drawn, self._paid = drawn, paid = [], []
        for link in self._limits.links():
            if not link.draw():
                self._give_back()
                return StopReason.EXHAUSTED, f"the scope {link.name} has no retries left of max={link.max}"
            drawn.append(link)
        for budget in self._budgets():
            price = ask_budget(budget, budget.withdraw, now, throttled)
            if price is None:
                self._give_back()
                return StopReason.BUDGET_DENIED, f"{shown(budget)} has nothing left for a retry"
            paid.append((budget, price))
        return None

    def _give_back(self) -> None:
        """Return what was drawn for a retry that is not made after all."""
        for link in self._drawn:
            link.restore()
        for budget, price in self._paid:
            ask_budget(budget, budget.restore, price)
        self._drawn, self._paid = (), ()

    def _budgets(self) -> list[Budget]:
        found = [self.policy.budget, *(link.budget for link in self._limits.links())]
        return list({id(budget): budget for budget in found if budget is not None}.values())

    def _succeeded(self, now: float) -> RetryEvent | None:
        self.attempts += 1
        for budget, price in self._paid:
            ask_budget(budget, budget.succeeded, price)
        if self.attempts == 1:
            if self.policy.budget is not None:
                ask_budget(self.policy.budget, self.policy.budget.succeeded, None)
            self.state = RetryState.SUCCESS
            return None
        stop = (StopReason.RECOVERED, recovered_detail(self.attempts))
        return self._event(stop, None, now, error=False, retry=True)

    def _end(self, stop: _Stop, now: float, *, fresh: bool = True) -> RetryEvent:
        return self._event(stop, None, now, error=fresh, retry=fresh and self.attempts > 1)

    def _event(
        self, stop: tuple[StopReason | None, str], wait: float | None, now: float, *, error: bool, retry: bool
    ) -> RetryEvent:
        reason, detail = stop
        if reason is not None:
            self.state = RetryState.SUCCESS if reason is StopReason.RECOVERED else RetryState.FAILED
        verdict = self.verdict
        fields = (
            SCHEDULED if reason is None else _NAMES[reason],
            self.operation,
            reason,
            self.last_error,
            self.error_message,
            self.error_type,
            self.attempts,
            self.policy.max,
            wait,
            now - self.started,
            self._epoch + now,
            "" if verdict is None else verdict.rule,
            None if verdict is None else verdict.retry_after,
            self._scope_name(),
            detail,
            error,
            retry,
        )
        return tuple.__new__(RetryEvent, fields)  # half the cost of the call

    def _scope_name(self) -> str | None:
        if self._limits is ALONE:
            return None
        return next((link.name for link in self._limits.links() if link.name is not None), None)


def _is_any_of(kind: type, types: tuple[type, ...]) -> bool:
    """Whether a class is one of some others, or derived from one: False where a metaclass fails when it is asked."""
    try:
        return issubclass(kind, types)
    except Exception:
        report_once(types, f"on={shown(types)} failed when it was asked for {type_name(kind)}; taken as False")
        return False


def ask_budget(budget: Budget, method: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a budget's method says; None, so a refusal, where it fails: it must not hide the outcome."""
    try:
        return method(*arguments)
    except Exception:
        report_once(budget, f"the budget {shown(budget)} failed; it allows no retry, and operations go on")
        return None


def _check_spent(spent: object) -> None:
    if not isinstance(spent, str | None):
        raise TypeError(f"spent must be the name of an argument that was used up, or None; got {shown(spent)}")


def scheduled_detail(retry: int, wait: float) -> str:
    """Return the detail of an event: a retry of this number follows after so many seconds."""
    return f"retry {retry} follows in {shown_seconds(wait)} s"


def limit_detail(most: int) -> str:
    """Return the detail of an event: so many retries are used up."""
    return f"max={most} is the limit of retries"


def recovered_detail(attempt: int) -> str:
    """Return the detail of an event: the attempt of this number succeeded, after failures."""
    return f"attempt {attempt} succeeded"


def explain_end(event: RetryEvent) -> str:
    """Return the text of the note that a terminal event leaves on the exception."""
    attempt = event.attempt
    times = "1 attempt" if attempt == 1 else f"{attempt} attempts"
    how = _WORDS[event.name]
    return f"retrywrap: {event.operation} {how} after {times} in {shown_seconds(event.elapsed)} s: {event.detail}"
