"""Signals that `retrywrap run` passes to the program it runs, and how it waits for them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NamedTuple

from retrywrap.cli.family import descends_from

__all__ = ["ENDING", "Received", "Signals", "has_terminal", "signal_name"]


def _numbers(*names: str) -> frozenset[int]:
    """Return the signals of these names that the platform has."""
    return frozenset(getattr(signal, name) for name in names if hasattr(signal, name))


ENDING = _numbers("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM")
"""They end the retrying, besides being passed on."""

_CAUGHT = ENDING | _numbers("SIGUSR1", "SIGUSR2")
"""They are caught also while no program runs."""

_ALL = _CAUGHT | _numbers("SIGCONT", "SIGTSTP", "SIGWINCH")
_CHILD = _numbers("SIGCHLD")
_TYPED = _numbers("SIGINT", "SIGQUIT")


class Received(NamedTuple):
    """A signal that came.

    Attributes:
        number: Its number.
        by_group: It went to our whole process group: typed on the terminal, or sent by the program that we run.
    """

    number: int
    by_group: bool


def signal_name(number: int) -> str:
    """Return a signal's name, such as ``"SIGTERM"``."""
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def has_terminal() -> bool:
    """Return whether the process has a controlling terminal, whose signals go to a whole process group."""
    if not hasattr(os, "setpgid"):  # Windows, where Ctrl-C goes to all processes of the console
        return True
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


class Signals:
    """Catches the signals to pass on, for as long as it is entered.

    A signal that is ignored from the beginning (``nohup``) stays ignored, here and in the program.

    Args:
        receive: Called with each signal that comes while nobody waits in `next`; in a signal handler.
    """

    def __init__(self, receive: Callable[[Received], None]) -> None:
        self._receive = receive
        self._before: dict[int, Any] = {}
        self._gathered: frozenset[int] = frozenset()
        self.mask: set[Any] = set()

    def __enter__(self) -> Signals:
        heeded = {number for number in _ALL if signal.getsignal(number) is not signal.SIG_IGN}
        self._gathered = frozenset(heeded | _CHILD)
        for number in heeded & _CAUGHT:
            self._before[number] = signal.signal(number, self._handle)
        for number in _CHILD:  # an ignored SIGCHLD would be lost, and with it the program's exit status
            self._before[number] = signal.signal(number, _do_nothing)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _handle(self, number: int, _: FrameType | None) -> None:
        self._receive(Received(number, number in _TYPED and has_terminal()))

    @contextmanager
    def gathered(self) -> Iterator[bool]:
        """Hold the signals back for `next`; yield whether the platform can do that.

        In between, ``mask`` is the signal mask from before, which the program is to have.
        """
        if not hasattr(signal, "sigtimedwait"):
            yield False
            return
        self.mask = signal.pthread_sigmask(signal.SIG_BLOCK, self._gathered)
        try:
            yield True
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, self.mask)

    def next(self, seconds: float) -> Received | None:
        """Wait for the next of the gathered signals, SIGCHLD among them; None: the time was over."""
        info: Any = signal.sigtimedwait(self._gathered, max(seconds, 0.0))
        return None if info is None else Received(info.si_signo, _by_group(info))


def _by_group(info: Any) -> bool:
    """Return whether the kernel sent it, for a terminal, or what we run did, to all, as an editor does at Ctrl-Z.

    A script that runs us may be of our group, too; what it sends is for us alone.
    """
    if info.si_code > 0:
        return True
    try:
        in_group = info.si_pid not in (0, os.getpid()) and os.getpgid(info.si_pid) == os.getpgrp()
    except OSError:  # the sender is gone
        return False
    return in_group and descends_from(info.si_pid, os.getpid())


def _do_nothing(number: int, frame: FrameType | None) -> None:
    """Catch a signal whose arrival is all that matters."""
