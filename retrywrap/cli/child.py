"""One run of a program by `retrywrap run`: its start, the signals it is passed, and its end. It never outlives us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from retrywrap.cli.family import Family, family, send_to
from retrywrap.cli.signals import Received, Signals

__all__ = ["GRACE", "LOOK", "Child"]

GRACE = 5.0
"""Seconds between asking a program to end (SIGTERM) and ending it (SIGKILL)."""

LOOK = 1.0
"""Seconds between two looks at it: another thread, as libraries start them, may get the signal of its end, or stop."""

_PR_SET_PDEATHSIG = 1


class Child:
    """A running program, with our own standard streams.

    With a terminal it stays in our process group: what is typed reaches it from the terminal itself, and job control
    works as without us. Without one it gets a process group of its own, so that all its descendants are reached.

    Args:
        command: The program and its arguments.
        shared: Whether it stays in our process group.
        mask: The signal mask that it is to have; None: ours.

    Attributes:
        overdue: It was ended because it took too long.

    Raises:
        OSError: It cannot be started.
    """

    def __init__(self, command: Sequence[str], *, shared: bool, mask: set[Any] | None) -> None:
        self.overdue = False
        self._shared = shared
        self._family: Family = {}
        prepare = None if sys.platform == "win32" else _preparation(mask)
        group = None if shared else 0
        self._process = subprocess.Popen(list(command), preexec_fn=prepare, process_group=group)

    def pass_on(self, received: Received) -> None:
        """Give it a signal that we received, unless it got that from the same source already."""
        if not (self._shared and received.by_group):
            self._send(received.number)
        if received.number == getattr(signal, "SIGTSTP", None):
            _stop()

    def wait(self, signals: Signals, limit: float | None, receive: Callable[[Received], None]) -> int:
        """Wait until it has ended.

        Args:
            signals: Where the gathered signals come from.
            limit: Seconds after which it is asked, and then made, to end; None: never.
            receive: Called with each signal that comes.

        Returns:
            The exit status; negative: the signal that ended it.
        """
        deadline = None if limit is None else time.monotonic() + limit
        while (status := self._process.poll()) is None:
            left = LOOK if deadline is None else min(deadline - time.monotonic(), LOOK)
            received = signals.next(left)
            if received is None and deadline is not None and time.monotonic() >= deadline:
                deadline = self._end_overdue()
            elif received is None or received.number == signal.SIGCHLD:
                self._stop_with_it()
            else:
                receive(received)
        if self.overdue:
            self._kill_rest()
        return status

    def wait_plainly(self, signals: Signals, limit: float | None, receive: Callable[[Received], None]) -> int:
        """The same as `wait` where signals cannot be gathered: their handlers run meanwhile."""
        try:
            return self._process.wait(limit)
        except subprocess.TimeoutExpired:
            self.overdue = True
            return self.end()

    def end(self) -> int:
        """Ask it to end; after `GRACE` seconds make it. Returns its exit status."""
        self._ask()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE)
        self._kill_rest()
        return self._process.wait()

    def _end_overdue(self) -> float | None:
        """Take the next step against a program that runs too long; return until when it has time."""
        if self.overdue:
            self._end_all(_KILL)
            return None
        self.overdue = True
        self._ask()
        return time.monotonic() + GRACE

    def _ask(self) -> None:
        self._end_all(signal.SIGTERM)
        if hasattr(signal, "SIGCONT"):
            self._end_all(signal.SIGCONT)  # a stopped program would not hear it

    def _kill_rest(self) -> None:
        """Kill it, and what it left behind."""
        self._end_all(_KILL)

    def _end_all(self, number: int) -> None:
        """Send a signal to it and all its descendants, those too whose parents are gone by now.

        In its own process group they are reached by that, whose number stays taken until all are gone.
        """
        if self._shared:
            self._family |= {pid: start for member in [*self._family, self._process.pid]
                             for pid, start in family(member).items()}  # fmt: skip
            send_to(self._family, number)
        self._send(number)

    def _send(self, number: int) -> None:
        with suppress(ProcessLookupError):
            if self._shared:
                self._process.send_signal(number)
            else:
                os.killpg(self._process.pid, number)

    def _stop_with_it(self) -> None:
        """Stop as well where it was stopped, so that the shell that waits for us has its terminal again."""
        if not self._shared:
            return
        with suppress(ChildProcessError):  # it has ended
            if os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WNOHANG) is not None:
                _stop()


def _stop() -> None:
    """Stop as SIGTSTP stops a process that does not catch it, until SIGCONT comes, which is passed on as well.

    SIGSTOP would stop us even where nobody is there to continue us, such as under ``ssh -t`` without a shell.
    """
    os.kill(os.getpid(), signal.SIGTSTP)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTSTP})
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTSTP})


_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)


def _preparation(mask: set[Any] | None) -> Callable[[], None]:
    """Return what the new process does before it becomes the program."""
    parent, set_up = os.getpid(), _prctl()

    def prepare() -> None:
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if set_up is not None:
            set_up(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
            if os.getppid() != parent:  # we died before the kernel knew that it was to die with us
                os._exit(1)

    return prepare


def _prctl() -> Callable[..., int] | None:
    """Return Linux's prctl, by which a process asks to die with its parent; None where there is none."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        import ctypes

        function: Callable[..., int] = ctypes.CDLL(None).prctl
    except (ImportError, OSError, AttributeError):  # a Python without ctypes, a statically linked one
        return None
    return function
