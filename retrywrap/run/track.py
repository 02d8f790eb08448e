"""What the fast path in C has to know of a failure on the beaten track, and who goes on where it leaves that.

The track is for operations that are retried at once, under no scope, by a policy that asks for nothing but attempts.
Every decision there is law 10 of `retrywrap.decide.context`; wherever another law has a say, an `Operation` takes over.
"""

from __future__ import annotations

import sys
import threading
import time
from types import MappingProxyType
from typing import Any, TypeAlias

from retrywrap.classifiers.guard import dotted_name, lineage
from retrywrap.classifiers.registration import book as registrations
from retrywrap.classifiers.settled import settled
from retrywrap.classifiers.verdict import Verdict
from retrywrap.codes import ErrorCode
from retrywrap.decide import policy as policies
from retrywrap.decide.allowance import PROCESS
from retrywrap.decide.backoff import fixed
from retrywrap.decide.context import limit_detail, recovered_detail, scheduled_detail
from retrywrap.decide.events import SCHEDULED, UNKNOWN_ERROR, RetryEvent, StopReason, end_name
from retrywrap.decide.notes import counted
from retrywrap.decide.policy import RetryPolicy
from retrywrap.record import hooks
from retrywrap.record.registry import Registry
from retrywrap.run import clock as clocks
from retrywrap.run import drive
from retrywrap.run.ambient import ambient
from retrywrap.run.calls import awaited, first_failure
from retrywrap.run.spec import OperationSpec

__all__ = ["links"]

SoFar: TypeAlias = "tuple[int, float, float, int, tuple[ErrorCode, str, str, str] | None]"
"""Of an operation: the newest note when it began, its start, the epoch, its failures, and what was said of the last."""

_MOST_JUDGED = 128
_ENDS = StopReason.RECOVERED, StopReason.EXHAUSTED
_AT_ONCE = fixed(0)
_SAY_MORE = frozenset({"__getattr__", "__getattribute__", "__notes__", "__cause__", "__dict__"})
_judged: dict[Any, tuple[ErrorCode, str, str, str]] = {}


def _track_of(spec: OperationSpec) -> tuple[Any, ...]:
    policy = spec.policy()
    beaten = spec.simple and type(spec.registry) is Registry and _asks_for_attempts_alone(policy)
    most = sys.maxsize if policy.max is None else policy.max
    registry = spec.registry if beaten else None
    return spec._book, spec.name, spec.layer, policy.max, most, limit_detail(most), registry, spec.registry._news


def _asks_for_attempts_alone(policy: RetryPolicy) -> bool:
    asks = policy.on_types or policy.on_predicate or policy.before_retry or policy.own_chain
    return policy.backoff == _AT_ONCE and policy.idempotent and policy.reraise and not asks


def _judge(error: Exception, key: tuple[Any, ...]) -> tuple[ErrorCode, str, str, str] | None:
    """Return code, message, type and rule of an error that is retried, whatever else is known of it; else None."""
    cls = type(error)
    if issubclass(cls, BaseExceptionGroup) or any(map(_says_more, lineage(cls))):
        return None
    text: str = key[2]
    verdict = settled(error, text)
    if verdict is None or not verdict.retryable or verdict.forbid or verdict.retry_after is not None:
        return None
    said = verdict.code, verdict.message, dotted_name(cls), verdict.rule
    if verdict.message == text:  # else something in it may be a secret
        if len(_judged) >= _MOST_JUDGED:
            _judged.clear()
        _judged[key] = said
    return said


def _says_more(cls: type) -> bool:
    """Whether a class has a say in what its errors' notes and causes are."""
    members: MappingProxyType[str, Any] = type.__dict__["__dict__"].__get__(cls)
    return cls not in (BaseException, object) and not _SAY_MORE.isdisjoint(members)


def _go_on(spec: OperationSpec, so_far: SoFar) -> drive.Operation:
    since, started, epoch, failures, said = so_far
    operation = drive.Operation(spec, since)
    if said is not None:
        code, message, error_type, rule = said
        verdict = Verdict(code, message, retryable=True, rule=rule)
        operation.context._went_on(started, epoch, failures, verdict, error_type)
    return operation


def _later_failure(
    spec: OperationSpec, so_far: SoFar, error: Exception, arguments: tuple[Any, ...], named: dict[str, Any]
) -> drive.Operation | None:
    drive.forget_stale_traceback(error, sys._getframe(1))
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
    drive.forget_stale_traceback(error, sys._getframe(1))  # the fast path has no frame, and calls for its caller


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
        "thread": threading.current_thread,
        "count_some": Registry.count_some,
        "event_type": RetryEvent,
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
        "time": time,
    }
