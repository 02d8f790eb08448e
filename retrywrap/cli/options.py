"""Reads the options that several subcommands share, each refused by its own name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrywrap.cli.expression import read_backoff
from retrywrap.cli.usage import UsageError
from retrywrap.decide.checks import check_seconds, shown

if TYPE_CHECKING:
    import argparse

    from retrywrap.decide.backoff import Backoff

__all__ = ["add_waiting", "read_count", "read_interval", "read_seconds"]

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def add_waiting(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how often, how far apart and how long."""
    parser.add_argument("--max", metavar="N", help="retries after the first attempt (default: 10, or configured)")
    parser.add_argument(
        "--interval", metavar="S", help="seconds between attempts: 5, 0.5, 500ms, 2m (default: 5, or configured)"
    )
    parser.add_argument("--backoff", metavar="EXPR", help="growing waits instead, such as 'exponential(0.1, cap=20)'")
    parser.add_argument(
        "--timeout", metavar="S", help="seconds for the whole: no wait is begun that cannot end in time"
    )


def read_count(text: str, option: str) -> int:
    """Return a whole number, 0 or more."""
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise UsageError(f"{option} {shown(text)}: expected a whole number, 0 or more")
    return int(text)


def read_seconds(text: str, option: str, *, zero: bool = True) -> float:
    """Return seconds from a number with or without one of the units ms, s, m, h."""
    number = text.strip().lower()
    unit = next((unit for unit in _UNITS if number.endswith(unit)), "")
    least = "0 or more" if zero else "more than 0"
    try:
        seconds = check_seconds(float(number.removesuffix(unit)) * _UNITS.get(unit, 1.0), option)
    except ValueError:
        seconds = -1.0
    if seconds < 0 or (seconds == 0 and not zero):
        hint = "; --backoff takes such an expression" if option == "--interval" and "(" in text else ""
        raise UsageError(f"{option} {shown(text)}: expected seconds such as 5, 0.5, 500ms, 2m or 1h, {least}{hint}")
    return seconds


def read_interval(arguments: argparse.Namespace) -> Backoff | float | None:
    """Return what ``--interval`` or ``--backoff`` says; None where neither was given."""
    if arguments.backoff is None:
        return None if arguments.interval is None else read_seconds(arguments.interval, "--interval")
    if arguments.interval is not None:
        raise UsageError("--interval and --backoff both say how long to wait: leave out one of them")
    return read_backoff(arguments.backoff, "--backoff")
