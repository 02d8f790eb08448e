"""`retrywrap run`: retries a program by its exit status.

The program inherits the standard streams. It is passed SIGINT, SIGTERM, SIGHUP, SIGQUIT (which also end the retrying),
SIGUSR1, SIGUSR2, SIGWINCH, SIGTSTP and SIGCONT. The exit status is the program's last one; 128 + N where signal N ended
the program, or ended us while none ran; 124 where an attempt or the whole took too long; 127 where there is no such
program, 126 where it cannot be run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrywrap.cli.options import add_waiting

if TYPE_CHECKING:
    import argparse

__all__ = ["add_parser", "run"]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Add the subcommand ``run``; ``run`` is its default for the attribute ``run``."""
    from argparse import REMAINDER

    parser = subparsers.add_parser(
        "run",
        help="retry a program by its exit status",
        usage="retrywrap run [options] -- COMMAND ...",
        description="Run a program, and run it again where its exit status says that this may help.",
        epilog="Exit status: the program's last one; 128+N where signal N ended it; 124 where it took too long; "
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
    from retrywrap.cli.runner import Runner
    from retrywrap.cli.signals import Signals

    runner = Runner(arguments)
    config.configure(
        error_store_path=arguments.store, enable_error_logging=None if arguments.store is None else True, events=False
    )
    with runner.told(), Signals(runner.receive) as signals:
        status = runner.run(signals)
    return status if status >= 0 else 128 - status
