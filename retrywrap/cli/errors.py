"""`retrywrap errors DIR`: reads error logs."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from retrywrap.cli.usage import UsageError
from retrywrap.codes import ErrorCode
from retrywrap.decide.allowance import Allowance
from retrywrap.decide.checks import shown, shown_path
from retrywrap.record.logfile import escape, log_files
from retrywrap.record.reader import LoggedError, follow, read_errors, summarize
from retrywrap.run import clock

if TYPE_CHECKING:
    import argparse

__all__ = ["add_parser", "run"]

_AGO = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([smhdw])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_DATE_DIGITS = 8
_LEAST_MS = 1e11
_NAMES = {code.name: code for code in ErrorCode}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand ``errors``."""
    parser = subparsers.add_parser(
        "errors",
        help="read error logs",
        description="Show the errors in a directory of error logs (or in one file) in the order of their time.",
    )
    parser.add_argument("directory", metavar="DIR", help="the directory of the error logs, or one file")
    parser.add_argument(
        "--since", metavar="WHEN", help="only errors from then on: an ISO time, epoch s or ms, or 90s, 15m, 2h, 7d ago"
    )
    parser.add_argument(
        "--code",
        metavar="CODE",
        action="append",
        help="only this code: -6, NETWORK, BACKUP_ERROR_NETWORK; may be repeated",
    )
    parser.add_argument("--follow", action="store_true", help="go on with the errors that come, until interrupted")
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    parser.add_argument("--summary", action="store_true", help="count by code instead of listing")
    parser.set_defaults(run=run)


def run(
    arguments: argparse.Namespace,
    *,
    now: Callable[[], float] = time.time,
    sleep: Callable[[float], object] | None = None,
) -> int:
    """Run the subcommand.

    Args:
        arguments: What `add_parser`'s parser made.
        now: Returns the seconds since the epoch.
        sleep: Waits for so many seconds between two looks with ``--follow``. None: the clock's own.

    Returns:
        The exit status: 0; 1 where some file could not be read.

    Raises:
        UsageError: The arguments cannot be used, or there is nothing to read at that path.
    """
    if arguments.follow and arguments.summary:
        raise UsageError("--summary needs an end, which --follow never comes to: leave out one of them")
    options: dict[str, Any] = {
        "since": None if arguments.since is None else _read_when(arguments.since, now()),
        "codes": None
        if arguments.code is None
        else {_read_code(word) for text in arguments.code for word in text.split(",")},
    }
    problems = _Problems(at_once=arguments.follow)
    _show(arguments, _errors(arguments, options, problems, sleep or _sleep))
    return problems.conclude()


class _Problems:
    """Counts what could not be read, and says so on standard error."""

    def __init__(self, at_once: bool) -> None:
        self._at_once = at_once
        self._lines = 0
        self._first = ""
        self._unreadable = False

    def note(self, file: str, line: int, what: str) -> None:
        where = escape(f"{file}:{line}: {what}" if line else f"{file}: {what}")
        if line == 0:
            self._unreadable = True
        if line == 0 or self._at_once:
            _print(f"retrywrap errors: {where}", sys.stderr)
        else:
            self._lines += 1
            self._first = self._first or where

    def conclude(self) -> int:
        if self._lines:
            lines = "1 line was" if self._lines == 1 else f"{self._lines} lines were"
            _print(f"retrywrap errors: {lines} passed over; the first: {self._first}", sys.stderr)
        return int(self._unreadable)


def _errors(
    arguments: argparse.Namespace, options: dict[str, Any], problems: _Problems, sleep: Callable[[float], object]
) -> Iterator[LoggedError]:
    path = arguments.directory
    try:
        if not arguments.follow:
            if os.path.isdir(path) and not log_files(path):
                _print(f"retrywrap errors: there is no error log in {shown_path(path)}", sys.stderr)
            yield from read_errors(path, report=problems.note, **options)
            return
        if not os.path.exists(path):
            _print(f"retrywrap errors: waiting for {escape(path)} to appear", sys.stderr)
        yield from follow(path, sleep, report=problems.note, **options)
    except (OSError, ValueError) as error:  # ValueError: no path may hold a null byte
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot read {shown_path(path)}: {reason}") from error


def _sleep(seconds: float) -> None:
    clock.current().sleep(seconds, Allowance(None))


def _show(arguments: argparse.Namespace, errors: Iterator[LoggedError]) -> None:
    if arguments.summary:
        lines = _summary_as_json(errors) if arguments.json else _summary_as_text(errors)
    else:
        lines = map(_as_json if arguments.json else _as_text, errors)
    for line in lines:
        _print(line, sys.stdout, flush=arguments.follow)


def _as_text(error: LoggedError) -> str:
    name = ErrorCode(error.code).name
    return f"{_local(error.time_ms):<29}  {error.code:>4}  {name:<17}  {escape(error.message)}"


def _as_json(error: LoggedError) -> str:
    import json

    named = {"time": _local(error.time_ms), "name": ErrorCode(error.code).name, **error._asdict()}
    return json.dumps(named)


def _summary_as_text(errors: Iterator[LoggedError]) -> Iterator[str]:
    rows = summarize(errors)
    if not rows:
        yield "no errors"
        return
    yield f"{'errors':>8}  {'code':>4}  {'name':<17}  {'first':<29}  last"
    for code, count, first, last in rows:
        yield f"{count:>8}  {code:>4}  {ErrorCode(code).name:<17}  {_local(first):<29}  {_local(last)}"


def _summary_as_json(errors: Iterator[LoggedError]) -> Iterator[str]:
    import json

    for one in summarize(errors):
        first, last = _local(one.first_ms), _local(one.last_ms)
        yield json.dumps({**one._asdict(), "name": ErrorCode(one.code).name, "first": first, "last": last})


def _local(epoch_ms: int) -> str:
    """Return a time as ISO text in the local time zone; a number that is no time stays a number."""
    from datetime import UTC, datetime, timedelta

    try:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=epoch_ms)
        return moment.astimezone().isoformat(timespec="milliseconds")
    except (OverflowError, ValueError, OSError):
        return str(epoch_ms)


def _read_when(text: str, now: float) -> float:
    """Return the epoch milliseconds that a WHEN means."""
    from datetime import datetime

    word = text.strip()
    if ago := _AGO.fullmatch(word):
        return (now - float(ago[1]) * _UNITS[ago[2]]) * 1000
    if _NUMBER.fullmatch(word) and len(word) != _DATE_DIGITS:  # eight digits are a date: 20240131
        number = float(word)
        return number if number >= _LEAST_MS else number * 1000
    try:
        return datetime.fromisoformat(word).timestamp() * 1000
    except (ValueError, OverflowError, OSError):
        raise UsageError(
            f"--since {shown(text)}: expected an ISO time (2024-01-31T10:00), seconds or milliseconds since the epoch, "
            "or how long ago (90s, 15m, 2h, 7d)"
        ) from None


def _read_code(text: str) -> int:
    """Return the number that a CODE means."""
    word = text.strip()
    if re.fullmatch("[-+]?[0-9]{1,20}", word):
        return int(word)
    code = _NAMES.get(word.upper().removeprefix("BACKUP_ERROR_").removeprefix("BACKUP_"))
    if code is None:
        raise UsageError(f"--code {shown(text)}: expected a number, or one of {', '.join(_NAMES)}")
    return code


def _print(text: str, stream: Any, *, flush: bool = False) -> None:
    """Print a line, with backslash escapes for what the stream cannot encode."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=flush)
