"""What the fast path in C has to know of a failure on the beaten track, and who goes on where it leaves that.

The track is for operations that are retried at once, under no scope, by a policy that asks for nothing but attempts.
Every decision there is law 10 of `retrywrap.decide.context`; wherever another law has a say, an `Operation` takes over.
"""

from __future__ import annotations

import sys
import threading
import time
import weakref
from types import MappingProxyType
from typing import Any, TypeAlias

from retrywrap.classifiers.guard import dotted_name, lineage
from retrywrap.classifiers.registration import book as registrations
from retrywrap.classifiers.settled import settled
from retrywrap.classifiers.verdict import Verdict
from retrywrap.codes import ErrorCode
from retrywrap.decide import policy as policies
from retrywrap.decide.allowance import ALONE, PROCESS
from retrywrap.decide.backoff import fixed
from retrywrap.decide.checks import shown
from retrywrap.decide.context import RetryContext, limit_detail, recovered_detail, scheduled_detail
from retrywrap.decide.events import SCHEDULED, UNKNOWN_ERROR, RetryEvent, StopReason, end_name
from retrywrap.decide.notes import counted
from retrywrap.decide.policy import RetryPolicy
from retrywrap.errors import RetryExhausted
from retrywrap.record import hooks
from retrywrap.record.registry import MOST_NEWS, Registry
from retrywrap.reports import report_once
from retrywrap.run import clock as clocks
from retrywrap.run import drive
from retrywrap.run.ambient import ambient
from retrywrap.run.calls import awaited, first_failure
from retrywrap.run.spec import OperationSpec

__all__ = ["links"]

SoFar: TypeAlias = "tuple[RetryPolicy, int, float, float, int, Judged]"
"""Of an operation: its policy, the newest note when it began, its start, the epoch, its failures, the last verdict."""
Judged: TypeAlias = "tuple[ErrorCode, str, str, str, object, weakref.ref[type]]"
"""Code, message, type and rule of an error that is retried, what was registered then, and its class."""

_MOST_JUDGED = 128
_MOST_DETAILS = 64
_ENDS = StopReason.RECOVERED, StopReason.EXHAUSTED
_AT_ONCE = fixed(0)
_SAY_MORE = frozenset({"__getattr__", "__getattribute__", "__notes__", "__cause__", "__dict__"})
_HANDLE = Registry.handle
_judged: dict[Any, Judged] = {}


def _track_of(spec: OperationSpec) -> tuple[Any, ...]:
    book = policies.book.current or policies.book.get()  # first: another thread may put another one in force
    policy, registry = spec.policy(), spec.registry
    beaten = spec.simple and _is_plain(registry) and _asks_for_attempts_alone(policy)
    most = sys.maxsize if policy.max is None else min(policy.max, sys.maxsize)
    limit = limit_detail(most if policy.max is None else policy.max)
    known = registry if beaten else None
    return book, policy, spec.name, spec.layer, policy.max, most, limit, known, registry._news


def _is_plain(registry: Registry) -> bool:
    """Whether a registry takes events as the class does, and nobody has put something else in the place of that."""
    return type(registry) is Registry and "handle" not in vars(registry) and Registry.handle is _HANDLE


def _asks_for_attempts_alone(policy: RetryPolicy) -> bool:
    asked = policy.on_predicate, policy.before_retry, policy.own_chain
    asks = policy.on_types or any(each is not None for each in asked)
    return policy.backoff == _AT_ONCE and policy.idempotent and policy.reraise and not asks


def _judge(error: Exception, key: tuple[Any, ...]) -> Judged | None:
    """Return what is kept of an error that is retried, whatever else is known of it; None for all others."""
    cls = type(error)
    if issubclass(cls, BaseExceptionGroup | RetryExhausted) or any(map(_says_more, lineage(cls))):
        return None
    mark = registrations.mark  # first: another thread may register meanwhile
    text: str = key[2]
    verdict = settled(error, text)
    if verdict is None or not verdict.retryable or verdict.forbid or verdict.retry_after is not None:
        return None
    judged = verdict.code, verdict.message, dotted_name(cls), verdict.rule, mark, weakref.ref(cls)
    if verdict.message == text:  # else something in it may be a secret
        if len(_judged) >= _MOST_JUDGED:
            _judged.clear()
        _judged[key] = judged
    return judged


def _says_more(cls: type) -> bool:
    """Whether a class has a say in what its errors' notes and causes are."""
    members: MappingProxyType[str, Any] = type.__dict__["__dict__"].__get__(cls)
    return cls not in (BaseException, object) and not _SAY_MORE.isdisjoint(members)


def _go_on(spec: OperationSpec, so_far: SoFar) -> drive.Operation:
    """Return the operation that has come so far, under what was in force at its begin: no scope, and the real clock."""
    policy, since, started, epoch, failures, (code, message, error_type, rule, _, _) = so_far
    context = RetryContext._begun(policy, spec.name, spec.layer, ALONE, clocks.REAL.random, epoch, started)
    context.since = since
    context._went_on(failures, Verdict(code, message, retryable=True, rule=rule), error_type)
    return drive.Operation.taken_over(spec, context, clocks.REAL)


def _later_failure(
    spec: OperationSpec, so_far: SoFar, error: Exception, arguments: tuple[Any, ...], named: dict[str, Any]
) -> drive.Operation | None:
    drive.forget_stale_traceback(error, sys._getframe().f_back)
    operation = _go_on(spec, so_far)
    return operation if drive.pause(operation, operation.failed(error, arguments, named), error) else None


def _later_awaitable(
    spec: OperationSpec, so_far: SoFar, result: Any, wrapped: Any, arguments: tuple[Any, ...], named: dict[str, Any]
) -> Any:
    return drive.retried_later(_go_on(spec, so_far), result, wrapped, arguments, named)


def _later_end(spec: OperationSpec, so_far: SoFar, error: Exception, during_attempt: bool | None) -> None:
    """Publish the end of an operation that was interrupted, in an attempt or before one, or cancelled (None)."""
    operation = _go_on(spec, so_far)
    if during_attempt is None:
        operation.resume(error)
    else:
        operation.interrupted(during_attempt=during_attempt)


def _forget_traceback(error: Exception) -> None:
    # The fast path has no frame, and calls for its caller; below an exit handler or a new thread there is none.
    drive.forget_stale_traceback(error, sys._getframe().f_back)


def _count_some(registry: Registry) -> None:
    try:
        registry.count_some()
    except Exception:  # as hooks.publish says of it
        report_once(
            registry, f"{shown(registry)} raised when it counted; it is called on, its errors are not shown again"
        )


def _scheduled(retry: int) -> str:
    return scheduled_detail(retry, 0.0)


def links() -> dict[str, Any]:
    """Return what the fast path is connected with."""
    return {
        "counted": counted,
        "first_failure": first_failure,
        "retry": drive.retry,
        "awaited": awaited,
        "track_of": _track_of,
        "judge": _judge,
        "judged": _judged,
        "hush": hooks.hush,
        "tell": hooks.tell,
        "later_failure": _later_failure,
        "later_awaitable": _later_awaitable,
        "later_end": _later_end,
        "forget_traceback": _forget_traceback,
        "scheduled": _scheduled,
        "recovered": recovered_detail,
        "scheduled_details": tuple(map(_scheduled, range(_MOST_DETAILS))),
        "recovered_details": tuple(map(recovered_detail, range(_MOST_DETAILS))),
        "count_some": _count_some,
        "event_type": RetryEvent,
        "code_type": ErrorCode,
        "reason_type": StopReason,
        "leave_note": drive.leave_note,
        "unknown_name": UNKNOWN_ERROR,
        "event_names": (SCHEDULED, *map(end_name, _ENDS)),
        "reasons": (None, *_ENDS),
        "ambient": ambient,
        "process": PROCESS,
        "clocks": vars(clocks),
        "clock": clocks.REAL,
        "policies": policies.book,
        "registrations": registrations,
        "hooks": vars(hooks),
        "threading": vars(threading),
        "most_news": MOST_NEWS,
        "time": time,
    }
