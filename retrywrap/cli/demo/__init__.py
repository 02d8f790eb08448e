"""`retrywrap demo [PATH]`: a real backup of a real folder over real sockets to a server that misbehaves on purpose."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

__all__ = ["add_parser", "run"]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Add the subcommand ``demo``; ``run`` is its default for the attribute ``run``."""
    parser = subparsers.add_parser(
        "demo",
        help="back up a folder to a server that misbehaves on purpose",
        description="Back up a real folder, file by file over real sockets, to a server in another process that "
        "refuses connections, resets them, answers 503, falls silent, and once lies about a checksum; then compare "
        "both trees byte for byte. The exit status is 0 where they are identical, else 1.",
    )
    parser.add_argument("path", metavar="PATH", nargs="?", help="the folder or file (default: retrywrap itself)")
    parser.add_argument("--seed", type=int, default=7, metavar="N", help="what goes wrong, and where (default: 7)")
    parser.add_argument("--faults", choices=("none", "default", "many"), default="default", help="how much goes wrong")
    parser.add_argument("--keep", action="store_true", help="keep the backup, its manifest and its error log")
    parser.add_argument("--json", action="store_true", help="the final report as JSON on standard output")
    parser.set_defaults(run=run)
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Run the subcommand.

    Args:
        arguments: What `add_parser`'s parser made.

    Returns:
        The exit status: 0 where the backup is identical; 1 where it is not; 130 where the user interrupted it.

    Raises:
        UsageError: There is nothing at the path that could be backed up.
    """
    from retrywrap.cli.demo.session import Session

    return Session(arguments).run()
