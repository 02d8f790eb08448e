"""What a run has come to so far, counted from retrywrap's events."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from retrywrap.cli.demo.plan import MISBEHAVIOURS
from retrywrap.cli.demo.scan import Tree, printable
from retrywrap.decide.events import RetryEvent

__all__ = ["Progress", "misbehaviour_of", "sized"]

_MET_AS = {
    "builtins.ConnectionRefusedError": "refuse",
    "builtins.ConnectionResetError": "reset",
    "builtins.BrokenPipeError": "reset",
    "builtins.ConnectionAbortedError": "reset",
    "http.client.RemoteDisconnected": "reset",
    "builtins.TimeoutError": "stall",
    "retrywrap.cli.demo.client.HTTPFailure": "busy",
    "retrywrap.cli.demo.client.ChecksumMismatch": "lie",
}


def misbehaviour_of(event: RetryEvent) -> str | None:
    """Return which misbehaviour of the server an error shows; None: the server is not to blame."""
    return _MET_AS.get(event.error_type)


def sized(count: float) -> str:
    """Return a number of bytes for people."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} GB"


class Progress:
    """What a run has come to so far. It listens to the events of its own run.

    Args:
        tree: What is backed up.
        now: Returns monotonic seconds.

    Attributes:
        files: Files that are to be backed up.
        bytes: Their size together.
        done: Files that are.
        done_bytes: Their size together.
        sent: Bytes of the current file that were sent.
        current: The current file's name, fit to be printed.
        doing: What is waited for just now; "" while nothing is.
        retries: Retries that were decided on.
        waits: Waits of more than no time at all.
        waited: Their seconds together.
        met: How often each misbehaviour of the server was met.
        last_error: The newest error's code and text.
    """

    def __init__(self, tree: Tree, now: Callable[[], float] = time.monotonic) -> None:
        self.files = len(tree.files)
        self.bytes = tree.bytes
        self.done = self.done_bytes = self.sent = 0
        self.current = self.doing = ""
        self.retries = self.waits = 0
        self.waited = 0.0
        self.met: Counter[str] = Counter(dict.fromkeys(MISBEHAVIOURS, 0))
        self.last_error = ""
        self._now = now
        self._started = now()

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return self._now() - self._started

    def begin(self, name: str) -> None:
        """A file's turn has come."""
        self.current, self.sent, self.doing = printable(name), 0, ""

    def block(self, size: int) -> None:
        """A block of the current file was sent."""
        self.sent += size
        self.doing = ""

    def finish(self, size: int) -> None:
        """The current file is backed up."""
        self.done += 1
        self.done_bytes += size
        self.sent = 0
        self.doing = ""

    def event(self, event: RetryEvent) -> None:
        """Count one event."""
        if event.is_error:
            self.last_error = f"{event.code.name}: {event.message}"
            kind = misbehaviour_of(event)
            if kind is not None:
                self.met[kind] += 1
        if event.wait is not None:
            self.retries += 1
            self.waits += event.wait > 0
            self.waited += event.wait
            if event.operation.endswith("upload_file"):
                self.sent = 0
            self.doing = f"waiting {event.wait:.2f} s before the next attempt"
