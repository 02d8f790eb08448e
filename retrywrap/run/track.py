"""The beaten track: failures that nothing is said of but "try again, at once", decided without all that others need.

It is for operations that are retried at once, under nothing that limits them, by a policy that asks for nothing but
attempts, and for errors whose verdict is known to be "retry" by their class, errno and text. Every decision there is
law 10 of `retrywrap.decide.context`, or law 6 where the retries are used up; wherever another law has a say, a
`RetryContext` takes the operation over. The fast path in C takes the same track for what it calls itself.
"""

from __future__ import annotations

import sys
import time
import weakref
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from retrywrap.classifiers.guard import dotted_name, lineage
from retrywrap.classifiers.registration import book as registrations
from retrywrap.classifiers.settled import settled
from retrywrap.codes import ErrorCode
from retrywrap.decide import policy as policies
from retrywrap.decide.allowance import PROCESS, Allowance
from retrywrap.decide.backoff import fixed
from retrywrap.decide.context import limit_detail, recovered_detail, scheduled_detail
from retrywrap.decide.events import SCHEDULED, RetryEvent, StopReason, end_name
from retrywrap.decide.policy import PolicyBook, RetryPolicy
from retrywrap.errors import RetryExhausted
from retrywrap.record.registry import Registry
from retrywrap.run import clock as clocks
from retrywrap.run.ambient import ambient
from retrywrap.run.kinds import PLAIN, is_awaitable
from retrywrap.run.spec import OperationSpec

__all__ = [
    "DETAILS",
    "Judged",
    "Track",
    "event_of",
    "is_clear",
    "is_plain",
    "judge",
    "judged",
    "judged_as",
    "started",
    "stay",
    "track_of",
]

Judged: TypeAlias = "tuple[ErrorCode, str, str, str, object, weakref.ref[type]]"
"""Code, message, type and rule of an error that is retried, what was registered then, and its class."""

_MOST_JUDGED = 128
_MOST_DETAILS = 64
_AT_ONCE = fixed(0)
_SAY_MORE = frozenset({"__getattr__", "__getattribute__", "__notes__", "__cause__", "__dict__"})
_HANDLE = Registry.handle
_ERRNO = OSError.__dict__["errno"].__get__
_RECOVERED, _EXHAUSTED = end_name(StopReason.RECOVERED), end_name(StopReason.EXHAUSTED)
judged: dict[Any, Judged] = {}
"""Verdicts that are kept, by the place of the error's class, its errno and its text."""


def _scheduled(retry: int) -> str:
    return scheduled_detail(retry, 0.0)


DETAILS = tuple((make, tuple(map(make, range(_MOST_DETAILS)))) for make in (_scheduled, recovered_detail))
"""Of the events of retries and of late successes: what makes the detail, and those of the first numbers."""


class Track(NamedTuple):
    """What is known of an operation's policy before it fails.

    Attributes:
        book: The policies in force when it was found out.
        policy: The operation's.
        most: How many retries it allows.
        limit: What an event says of that.
        beaten: Whether nothing but that number decides.
    """

    book: PolicyBook
    policy: RetryPolicy
    most: int
    limit: str
    beaten: bool


def track_of(spec: OperationSpec) -> Track:
    """Return what is known of an operation, under the policies in force."""
    known: Track | None = spec.track
    if known is not None and known.book is policies.book.current:
        return known
    book = policies.book.current or policies.book.get()  # first: another thread may put another one in force
    policy = spec.policy()
    most = sys.maxsize if policy.max is None else min(policy.max, sys.maxsize)
    limit = limit_detail(most if policy.max is None else policy.max)
    beaten = spec.simple and _asks_for_attempts_alone(policy)
    spec.track = found = Track(book, policy, most, limit, beaten)
    return found


def is_plain(registry: Registry) -> bool:
    """Whether a registry takes events as the class does, and nobody has put something else in the place of that.

    The fast path in C brings its events there past `Registry.handle`; in Python a registry that is not is left off the
    track as well, so that both take it for the same operations.
    """
    return type(registry) is Registry and "handle" not in vars(registry) and Registry.handle is _HANDLE


def _asks_for_attempts_alone(policy: RetryPolicy) -> bool:
    asked = policy.on_predicate, policy.before_retry, policy.own_chain
    asks = policy.on_types or any(each is not None for each in asked)
    return policy.backoff == _AT_ONCE and policy.idempotent and policy.reraise and not asks


def is_clear(limits: Allowance | None) -> bool:
    """Whether nothing limits an operation that fails first now, and time is real.

    Args:
        limits: What it stands under, if that is not what is ambient.
    """
    if clocks._current is not clocks.REAL or not clocks._enabled:
        return False
    if limits is None:
        limits = ambient.get()
    elif limits is not PROCESS:
        counts = limits.max is not None or limits.own_deadline is not None or limits.budget is not None
        if counts or limits.closed or limits.name is not None or limits.parent is None:
            return False
        limits = limits.parent
    return limits is PROCESS


def stay(arguments: tuple[Any, ...], named: dict[str, Any] | None) -> bool:
    """Whether all arguments are certainly as good at the next attempt as they were at the first."""
    try:
        return all(map(_is_steady, arguments)) and (not named or all(map(_is_steady, named.values())))
    except Exception:  # a metaclass may do anything when it is asked
        return False


def _is_steady(value: Any) -> bool:
    cls = type(value)
    if cls in PLAIN:
        return True
    if hasattr(cls, "__next__") or hasattr(cls, "__anext__") or is_awaitable(value):
        return False
    return cls.__module__ != "tempfile"


def judged_as(error: Exception) -> Judged | None:
    """Return what is kept of an error that is retried, whatever else is known of it, and that stands alone.

    Returns:
        None for all others: somebody else must judge.
    """
    cls = type(error)
    try:
        text = str(error)
        if "__notes__" in error.__dict__:
            return None
    except Exception:  # who says so is the classifier's business
        return None
    number = _ERRNO(error) if issubclass(cls, OSError) else None
    if type(text) is not str or not (number is None or type(number) is int):
        return None
    key = id(cls), number, text
    kept = judged.get(key)
    if kept is None or kept[5]() is not cls or kept[4] is not registrations.mark:
        kept = judge(error, key)
    return None if kept is None or error.__cause__ is not None else kept


def judge(error: Exception, key: tuple[Any, ...]) -> Judged | None:
    """Return what is to be kept of an error under this key of `judged`, and keep it; None for one that others judge."""
    cls = type(error)
    if issubclass(cls, BaseExceptionGroup | RetryExhausted) or any(map(_says_more, lineage(cls))):
        return None
    mark = registrations.mark  # first: another thread may register meanwhile
    text: str = key[2]
    verdict = settled(error, text)
    if verdict is None or not verdict.retryable or verdict.forbid or verdict.retry_after is not None:
        return None
    found = verdict.code, verdict.message, dotted_name(cls), verdict.rule, mark, weakref.ref(cls)
    if verdict.message == text:  # else something in it may be a secret
        if len(judged) >= _MOST_JUDGED:
            judged.clear()
        judged[key] = found
    return found


def _says_more(cls: type) -> bool:
    """Whether a class has a say in what its errors' notes and causes are."""
    members: MappingProxyType[str, Any] = type.__dict__["__dict__"].__get__(cls)
    return cls not in (BaseException, object) and not _SAY_MORE.isdisjoint(members)


def event_of(
    reason: StopReason | None, track: Track, operation: str, found: Judged, attempt: int, elapsed: float, moment: float
) -> RetryEvent:
    """Return the event of an attempt that has ended.

    Args:
        reason: None: a retry follows at once; RECOVERED: it succeeded, late; EXHAUSTED: its retries are used up.
        track: What is known of the operation.
        operation: Its name.
        found: Of its newest failure.
        attempt: The attempt's number.
        elapsed: Seconds since the first failure.
        moment: Seconds since the epoch.
    """
    code, message, error_type, rule, _, _ = found
    wait = None
    if reason is StopReason.EXHAUSTED:
        name, detail = _EXHAUSTED, track.limit
    else:
        name = _RECOVERED
        if reason is None:
            name, wait = SCHEDULED, 0.0
        make, made = DETAILS[reason is not None]
        detail = made[attempt] if attempt < _MOST_DETAILS else make(attempt)
    fields = (
        name,
        operation,
        reason,
        code,
        message,
        error_type,
        attempt,
        track.policy.max,
        wait,
        elapsed,
        moment,
        rule,
        None,
        None,
        detail,
        name is not _RECOVERED,
        attempt > 1,
    )
    return tuple.__new__(RetryEvent, fields)


def started() -> tuple[float, float]:
    """Return the monotonic seconds now, and the seconds since the epoch at which these were 0."""
    now = time.monotonic()
    return now, time.time() - now
