"""The frozen events: what the machine decided, which the driver obeys and the listeners hear."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from retrywrap.codes import ErrorCode

__all__ = ["EVERY_NAME", "RECORDED", "SCHEDULED", "UNKNOWN_ERROR", "RetryEvent", "StopReason", "end_name"]

SCHEDULED = "retry.scheduled"
UNKNOWN_ERROR = "retry.unknown_error"
RECORDED = "error.recorded"


class StopReason(StrEnum):
    """Why an operation that failed at least once came to its end; exactly one per operation."""

    RECOVERED = "recovered"
    """A later attempt succeeded."""
    EXHAUSTED = "exhausted"
    """No retries are left: of its own ``max``, of its ``interval``, or of a scope around it."""
    REJECTED = "rejected"
    """The error is not one to retry."""
    TIMED_OUT = "timed_out"
    """The next wait could not have ended in time."""
    BUDGET_DENIED = "budget_denied"
    """The retry budget has nothing left."""
    NESTED_REFUSED = "nested_refused"
    """An inner operation had exhausted its retries on the same error already."""
    CANCELLED = "cancelled"
    """The scope was cancelled, `shutdown` was called, or the operation was interrupted."""


def end_name(reason: StopReason) -> str:
    """Return the name of the event of such an end."""
    return f"retry.{reason.value}"


EVERY_NAME = frozenset({SCHEDULED, UNKNOWN_ERROR, RECORDED, *map(end_name, StopReason)})
"""The names of all events."""


class RetryEvent(NamedTuple):
    """One decision about one operation.

    Attributes:
        name: ``"retry.scheduled"``, ``"retry.unknown_error"``, ``"error.recorded"``, or ``"retry."`` with the
            `StopReason`.
        operation: The operation's name.
        reason: Why it ended; None while it goes on.
        code: The last error's `ErrorCode`.
        message: The last error's text: redacted, escaped to one line, bounded.
        error_type: The last error's type, module-qualified; ``"result"`` where a returned value was judged a failure.
        attempt: The number of the attempt that it speaks of, from 1.
        max: The policy's ``max`` (retries after the first call); None: no cap.
        wait: Seconds until the next attempt; None where none follows.
        elapsed: Seconds since the operation began where a timeout is set, else since its first failure.
        time: Seconds since the epoch.
        rule: The classifier's row that spoke of the last error.
        retry_after: The server's hint in seconds, as it was given; None: no hint.
        scope: The innermost scope around the operation; None: none.
        detail: A sentence for people: why, and which parameter would change that.
        is_error: It reports a failed attempt that no event reported before.
        is_retry: It reports the end of an attempt after the first that no event reported before.
    """

    name: str
    operation: str
    reason: StopReason | None
    code: ErrorCode
    message: str
    error_type: str
    attempt: int
    max: int | None
    wait: float | None
    elapsed: float
    time: float
    rule: str
    retry_after: float | None
    scope: str | None
    detail: str
    is_error: bool
    is_retry: bool

    @property
    def unknown(self) -> bool:
        """Whether it says that no rule knew the error."""
        return self.name == UNKNOWN_ERROR

    @property
    def final(self) -> bool:
        """Whether it ends its operation."""
        return self.reason is not None
