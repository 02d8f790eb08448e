"""`retrywrap run`: retries a program by its exit status.

The program inherits the standard streams. It is passed SIGINT, SIGTERM, SIGHUP, SIGQUIT (which also end the retrying),
SIGUSR1, SIGUSR2, SIGWINCH, SIGTSTP and SIGCONT. The exit status is the program's last one; 128 + N where signal N ended
the program, or ended us while none ran; 124 where an attempt or the whole took too long; 127 where there is no such
program, 126 where it cannot be run.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from retrywrap.classifiers.verdict import Verdict
from retrywrap.cli.options import add_waiting, read_count, read_interval, read_seconds
from retrywrap.cli.usage import UsageError
from retrywrap.codes import ErrorCode
from retrywrap.errors import DeadlineExceeded, RetryExhausted
from retrywrap.run import clock as clocks

if TYPE_CHECKING:
    import argparse

    from retrywrap.cli.child import Child
    from retrywrap.cli.signals import Received, Signals
    from retrywrap.decide.context import RetryContext
    from retrywrap.run.scope import RetryScope

__all__ = ["add_parser", "run"]

_NOT_EXECUTABLE, _NOT_FOUND, _TOO_LONG = 126, 127, 124
_HIGHEST = 255
_WANTED_ENDS = {129, 130, 131, 143}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Add the subcommand ``run``; ``run`` is its default for the attribute ``run``."""
    from argparse import REMAINDER

    parser = subparsers.add_parser(
        "run",
        help="retry a program by its exit status",
        usage="retrywrap run [options] -- COMMAND ...",
        description="Run a program, and run it again where its exit status says that this may help.",
        epilog="Exit status: the program's last one; 128+N where signal N ended it; 124 where an attempt took too long; "
        "126 and 127 where it cannot be run.",
        allow_abbrev=False,
    )
    add_waiting(parser)
    parser.add_argument("--attempt-timeout", metavar="S", help="seconds after which one attempt is ended, and retried")
    parser.add_argument(
        "--retry-on", metavar="CODES", action="append", help="retry on these exit statuses too: 75,124 or 1-9 or any"
    )
    parser.add_argument("--no-retry-on", metavar="CODES", action="append", help="never retry on these exit statuses")
    parser.add_argument("--store", metavar="DIR", help="write an error log into this directory")
    parser.add_argument("--name", metavar="NAME", help="the operation's name (default: the program's)")
    parser.add_argument("--quiet", action="store_true", help="tell nothing of retries")
    parser.add_argument("program", metavar="COMMAND", nargs=REMAINDER, help="the program and its arguments")
    parser.set_defaults(run=run)
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Run the subcommand.

    Args:
        arguments: What `add_parser`'s parser made.

    Returns:
        The exit status, as the module's head says.

    Raises:
        UsageError: The arguments cannot be used.
        ConfigurationError: The environment or a configuration file cannot be used.
    """
    from retrywrap import config
    from retrywrap.cli.signals import Signals

    runner = Runner(arguments)
    config.configure(error_store_path=arguments.store, enable_error_logging=arguments.store and True, events=False)
    with runner.told(), Signals(runner.receive) as runner.signals:
        status = runner.run()
    return status if status >= 0 else 128 - status


class Runner:
    """One use of ``retrywrap run``."""

    signals: Signals

    def __init__(self, arguments: argparse.Namespace) -> None:
        from retrywrap.classifiers.programs import program_name
        from retrywrap.cli.signals import has_terminal
        from retrywrap.run.scope import retry_scope

        command = arguments.program[1:] if arguments.program[:1] == ["--"] else arguments.program
        if not command:
            raise UsageError("run: there is nothing to run; write: retrywrap run [options] -- COMMAND ...")
        self.command: list[str] = command
        self.name: str = arguments.name or program_name(command) or "program"
        self.quiet: bool = arguments.quiet
        self.retry_on = _read_statuses(arguments.retry_on, "--retry-on")
        self.no_retry_on = _read_statuses(arguments.no_retry_on, "--no-retry-on")
        both = self.retry_on & self.no_retry_on
        if both and "any" not in ",".join(arguments.retry_on):
            raise UsageError(f"--retry-on and --no-retry-on both name {min(both)}: leave it out of one of them")
        self.limit = _seconds(arguments.attempt_timeout, "--attempt-timeout")
        self.timeout: str | None = arguments.timeout
        self.scope: RetryScope = retry_scope(**self._policy(arguments))
        self.shared = has_terminal()
        self.stdin = Input(None if self.quiet else self._say)
        self.child: Child | None = None
        self.overdue = False
        self.ended_by: int | None = None
        self.ended_idle = False
