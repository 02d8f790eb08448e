"""What `retrywrap run` tells on standard error: one line for each retry, counting down on a terminal."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from retrywrap.decide.allowance import Allowance
from retrywrap.decide.checks import shown_seconds
from retrywrap.decide.events import SCHEDULED, RetryEvent, StopReason
from retrywrap.record.logfile import escape
from retrywrap.run import clock as clocks

__all__ = ["Countdown", "Progress", "is_live", "say"]

_CLEAR = "\r\x1b[K"


def say(text: str) -> None:
    """Print one line on standard error, whatever state that is in."""
    _write(f"retrywrap run: {escape(text)}\n")


def _write(text: str) -> None:
    with suppress(OSError, ValueError, AttributeError):  # closed, full, or None: no reason to end the program we run
        sys.stderr.write(text)
        sys.stderr.flush()


class Countdown(clocks.Clock):
    """A clock that says, once a second, how many seconds of a wait are left.

    Args:
        inner: The clock that does the waiting.
        show: Called with the whole seconds left, and with 0 at the end.
    """

    def __init__(self, inner: clocks.Clock, show: Callable[[int], None]) -> None:
        self._inner = inner
        self._show = show

    def now(self) -> float:
        """Return the inner clock's seconds."""
        return self._inner.now()

    def epoch(self) -> float:
        """Return the inner clock's epoch."""
        return self._inner.epoch()

    def random(self) -> float:
        """Return the inner clock's random number."""
        return self._inner.random()

    def sleep(self, seconds: float, limits: Allowance) -> None:
        """Wait in steps that end where another whole number of seconds is left."""
        end = self.now() + seconds
        try:
            while (left := end - self.now()) > 0 and not limits.cancelled:
                whole = max(1, math.ceil(left - 0.05))
                self._show(whole)
                self._inner.sleep(left - (whole - 1), limits)
        finally:
            self._show(0)


class Progress:
    """Turns the events of one operation into lines.

    Args:
        operation: The operation's name.
        why_final: Returns why a failure was not followed by another attempt.
        live: Whether waits are counted down.
    """

    def __init__(self, operation: str, why_final: Callable[[RetryEvent], str], *, live: bool) -> None:
        self._operation = operation
        self._why_final = why_final
        self._live = live
        self._line = self._after = ""

    def heard(self, event: RetryEvent) -> None:
        """Tell of an event: a listener."""
        if event.operation != self._operation:
            return
        if event.name == SCHEDULED and event.wait is not None:
            self._scheduled(event, event.wait)
        elif event.reason is StopReason.RECOVERED:
            say(f"{self._operation} succeeded at attempt {event.attempt}")
        elif event.final and event.error_type == "result":
            say(f"{event.message}; {self._why_final(event)}")

    def count(self, left: int) -> None:
        """Show the line of the wait with the seconds left; with 0 for the last time."""
        text = f"{self._line} in {left} s" if left else f"{self._line}{self._after}"
        _write(f"{_CLEAR}{text[: _columns() - 1]}" if left else f"{_CLEAR}{text}\n")

    def _scheduled(self, event: RetryEvent, wait: float) -> None:
        number = f"retry {event.attempt}" if event.max is None else f"retry {event.attempt} of {event.max}"
        line = f"{event.message}; {number}"
        if self._live and wait > 0:
            self._line, self._after = f"retrywrap run: {escape(line)}", f" after {shown_seconds(wait)} s"
        else:
            say(f"{line} in {shown_seconds(wait)} s" if wait else f"{line} at once")


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except (OSError, ValueError, AttributeError):
        return 80


def is_live(stream: Any) -> bool:
    """Return whether a stream is a terminal on which a line can be written over."""
    try:
        return bool(stream.isatty()) and os.environ.get("TERM", "dumb") != "dumb"
    except (ValueError, AttributeError):
        return False
