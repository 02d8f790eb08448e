"""One use of ``retrywrap run``: the attempts, what their exit statuses mean, and the signals in between."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from retrywrap.classifiers.programs import program_exit, program_name
from retrywrap.classifiers.redact import safe_text
from retrywrap.classifiers.verdict import Verdict
from retrywrap.cli.child import Child
from retrywrap.cli.options import read_count, read_interval, read_seconds
from retrywrap.cli.progress import Countdown, Progress, is_live, say
from retrywrap.cli.signals import ENDING, Received, Signals, has_terminal, signal_name
from retrywrap.cli.statuses import read_statuses
from retrywrap.cli.stdin import Input
from retrywrap.cli.usage import UsageError
from retrywrap.codes import ErrorCode
from retrywrap.config import settings
from retrywrap.decide.events import RetryEvent, StopReason
from retrywrap.errors import DeadlineExceeded, RetryExhausted
from retrywrap.record.hooks import subscribe
from retrywrap.run import clock as clocks
from retrywrap.run.scope import retry_scope

__all__ = ["Runner"]

_TOO_LONG, _NOT_EXECUTABLE, _NOT_FOUND = 124, 126, 127


class Runner:
    """One use of ``retrywrap run``.

    Args:
        arguments: The command line's.

    Raises:
        UsageError: They cannot be used.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        command: list[str] = arguments.program[1:] if arguments.program[:1] == ["--"] else arguments.program
        if not command:
            raise UsageError("run: there is nothing to run; write: retrywrap run [options] -- COMMAND ...")
        self._command = command
        self._name: str = safe_text(arguments.name or program_name(command)) or "program"
        self._quiet: bool = arguments.quiet
        self._retry_on = read_statuses(arguments.retry_on, "--retry-on")
        self._no_retry_on = read_statuses(arguments.no_retry_on, "--no-retry-on")
        self._limit = _positive(arguments.attempt_timeout, "--attempt-timeout")
        self._timeout: str | None = arguments.timeout
        self._configured = arguments.max is None
        self._shared = has_terminal()
        self._scope = retry_scope(**self._policy(arguments))
        self._child: Child | None = None
        self._starting = False
        self._early: list[Received] = []
        self._status = 0
        self._overdue = False
        self._ended_by: int | None = None
        self._ended_idle = False

    def _policy(self, arguments: argparse.Namespace) -> dict[str, Any]:
        """Return the scope's parameters; what was not given is left to the configuration."""
        given = {
            "max": None if arguments.max is None else read_count(arguments.max, "--max"),
            "interval": read_interval(arguments),
            "timeout": _positive(arguments.timeout, "--timeout"),
        }
        stdin = Input(self._warn)
        always = {"results": self.judge, "before_retry": stdin.again, "name": self._name, "nested": "multiply"}
        return {name: value for name, value in given.items() if value is not None} | always

    def _warn(self, text: str) -> None:
        if not self._quiet:
            say(text)

    @contextmanager
    def told(self) -> Iterator[None]:
        """Tell on standard error what happens meanwhile, unless the user wants quiet."""
        if self._quiet:
            yield
            return
        before, live = clocks.current(), is_live(sys.stderr)
        progress = Progress(self._name, self.why_final, live=live)
        unsubscribe = subscribe(progress.heard)
        if live:
            clocks.replace(Countdown(before, progress.count))
        try:
            yield
        finally:
            unsubscribe()
            clocks.replace(before)

    def run(self, signals: Signals) -> int:
        """Run the program until it succeeds or is not to be retried.

        Args:
            signals: Where they come from.

        Returns:
            The exit status; negative: the signal that ended the program, or us while none ran.
        """
        try:
            status = self._scope.call(self.attempt, signals)
        except RetryExhausted as exhausted:
            status = exhausted.result
        except DeadlineExceeded:
            say(f"--timeout {self._timeout} was over before {self._name} could be started")
            return _TOO_LONG
        except (OSError, ValueError) as error:  # ValueError: a null byte, or what the system's encoding does not have
            if not self._starting:
                raise
            return self._cannot_run(error)
        if status and self._ended_idle and self._ended_by is not None:
            return -self._ended_by
        return status

    def attempt(self, signals: Signals) -> int:
        """Run the program once.

        Args:
            signals: Where they come from.

        Returns:
            Its exit status; negative: the signal that ended it.

        Raises:
            OSError: It cannot be started.
        """
        with signals.gathered() as gathered:
            if self._ended_by is not None:
                return -self._ended_by
            self._early.clear()
            self._starting = True
            child = Child(self._command, shared=self._shared, mask=signals.mask if gathered else None)
            self._starting = False
            self._child = child
            try:
                while self._early:
                    self._ended_idle = False
                    child.pass_on(self._early.pop(0))
                wait = child.wait if gathered else child.wait_plainly
                status = wait(signals, self._limit, self.receive)
            except BaseException:
                child.end()
                raise
            finally:
                self._child = None
        self._overdue = child.overdue
        self._status = _TOO_LONG if child.overdue else status
        return self._status

    def receive(self, received: Received) -> None:
        """Act on a signal: pass it on, and end the retrying where it says so. May run in a signal handler."""
        if received.number in ENDING:
            self._ended_by = self._ended_by or received.number
            self._ended_idle = self._child is None
            self._scope.cancel()
        if self._child is not None:
            self._child.pass_on(received)
        else:
            self._early.append(received)  # where it came while the program was being started

    def judge(self, status: int) -> Verdict | None:
        """Classify an exit status: the classifier for ``results=``.

        Args:
            status: As `attempt` returns it.

        Returns:
            None for success.
        """
        if status == 0:
            return None
        verdict = program_exit(self._command, status)
        if verdict.rule == "unknown":  # which `results=` takes for "not mine", so for success
            verdict = verdict._replace(rule="program.unknown")
        if self._overdue:
            text = f"{self._name} was ended after {self._limit:g} s"
            verdict = Verdict.of(ErrorCode.TIMEOUT, text, rule="run.attempt_timeout")
        if _number(status) in self._no_retry_on:
            return verdict._replace(retryable=False, forbid=True, rule="run.no_retry_on")
        if _number(status) in self._retry_on:
            return verdict._replace(retryable=True, rule="run.retry_on")
        return verdict

    def why_final(self, event: RetryEvent) -> str:
        """Return why no attempt follows a failed one.

        Args:
            event: The terminal event.
        """
        attempts = "1 attempt" if event.attempt == 1 else f"{event.attempt} attempts"
        if self._ended_by is not None:
            return f"ended by {signal_name(self._ended_by)} after {attempts}"
        if event.reason is StopReason.TIMED_OUT:
            return f"gave up after {attempts}: another could not begin within --timeout {self._timeout}"
        if event.reason is not StopReason.REJECTED:
            off = self._configured and not settings().enable
            return f"gave up after {attempts}{': the configuration switches retries off (enable)' if off else ''}"
        hint = "" if event.rule == "run.no_retry_on" else f" (--retry-on {_number(self._status)} would change that)"
        return f"not retried{hint}"

    def _cannot_run(self, error: OSError | ValueError) -> int:
        program = self._command[0]
        shown = safe_text(program)
        if program and not isinstance(error, FileNotFoundError | NotADirectoryError):
            say(f"{shown}: cannot be run: {getattr(error, 'strerror', None) or error}")
            return _NOT_EXECUTABLE
        if os.path.exists(program):
            say(f"{shown}: cannot be run: the interpreter in its first line was not found")
        else:
            hint = " (give the program and its arguments as words of their own)" if " " in program else ""
            say(f"{shown}: command not found{hint}")
        return _NOT_FOUND


def _positive(text: str | None, option: str) -> float | None:
    return None if text is None else read_seconds(text, option, zero=False)


def _number(status: int) -> int:
    """Return the number that a shell shows for a status."""
    return status if status >= 0 else 128 - status
