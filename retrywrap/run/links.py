"""What the fast path in C is connected with: what it calls and looks at where a call raised."""

from __future__ import annotations

import sys
import sysconfig
import threading
import time
from typing import Any

from retrywrap.classifiers.registration import book as registrations
from retrywrap.codes import ErrorCode
from retrywrap.decide import policy as policies
from retrywrap.decide.allowance import PROCESS
from retrywrap.decide.checks import shown
from retrywrap.decide.events import SCHEDULED, UNKNOWN_ERROR, RetryEvent, StopReason, end_name
from retrywrap.decide.notes import Note, counted, next_number
from retrywrap.record import hooks
from retrywrap.record.registry import MOST_NEWS, Registry
from retrywrap.reports import report_once
from retrywrap.run import clock as clocks
from retrywrap.run import drive, track
from retrywrap.run.ambient import ambient
from retrywrap.run.calls import awaited, first_failure
from retrywrap.run.drive import Operation, SoFar
from retrywrap.run.spec import OperationSpec

__all__ = ["links"]

_ENDS = StopReason.RECOVERED, StopReason.EXHAUSTED


def _track_of(spec: OperationSpec) -> tuple[Any, ...]:
    book, policy, most, limit, beaten = track.track_of(spec)
    registry = spec.registry
    known = registry if beaten and track.is_plain(registry) else None
    return book, policy, spec.name, spec.layer, policy.max, most, limit, known, registry._news


def _off_track_failure(
    spec: OperationSpec, since: int, error: Exception, arguments: tuple[Any, ...], named: dict[str, Any]
) -> Operation | None:
    return first_failure(spec, since, error, arguments, named, beaten=False)


def _later_failure(
    spec: OperationSpec, so_far: SoFar, error: Exception, arguments: tuple[Any, ...], named: dict[str, Any]
) -> Operation | None:
    operation = None
    try:
        drive.forget_stale_traceback(error, sys._getframe().f_back)
        operation = Operation.taken_over(spec, so_far)
        return operation if drive.pause(operation, operation.failed(error, arguments, named), error) else None
    except BaseException:
        (operation or Operation.taken_over(spec, so_far)).cut_short()
        raise


def _later_awaitable(
    spec: OperationSpec, so_far: SoFar, result: Any, wrapped: Any, arguments: tuple[Any, ...], named: dict[str, Any]
) -> Any:
    try:
        return drive.retried_later(Operation.taken_over(spec, so_far), result, wrapped, arguments, named)
    except BaseException:
        Operation.taken_over(spec, so_far).cut_short()
        raise


def _later_end(spec: OperationSpec, so_far: SoFar, error: Exception, during_attempt: bool | None) -> None:
    """Publish the end of an operation that was interrupted, in an attempt or before one, or cancelled (None)."""
    operation = Operation.taken_over(spec, so_far)
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


def links() -> dict[str, Any]:
    """Return what the fast path is connected with."""
    (scheduled, scheduled_details), (recovered, recovered_details) = track.DETAILS
    without_lock = sysconfig.get_config_var("Py_GIL_DISABLED")  # there, C leaves the track to Python
    return {
        "counted": counted,
        "first_failure": first_failure if without_lock else _off_track_failure,
        "retry": drive.retry,
        "awaited": awaited,
        "track_of": _track_of,
        "judge": track.judge,
        "judged": track.judged,
        "hush": hooks.hush,
        "tell": hooks.tell,
        "later_failure": _later_failure,
        "later_awaitable": _later_awaitable,
        "later_end": _later_end,
        "forget_traceback": _forget_traceback,
        "scheduled": scheduled,
        "recovered": recovered,
        "scheduled_details": scheduled_details,
        "recovered_details": recovered_details,
        "count_some": _count_some,
        "event_type": RetryEvent,
        "code_type": ErrorCode,
        "reason_type": StopReason,
        "leave_note": drive.leave_note,
        "note_type": Note,
        "next_number": next_number,
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
