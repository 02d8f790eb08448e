"""Reading error logs back: merged by time, filtered, followed, summed up by code."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from heapq import heappop, heappush, heappushpop
from typing import IO, Any, NamedTuple, NoReturn, TypeAlias

from retrywrap.decide.checks import check_seconds, shown
from retrywrap.record.logfile import log_files

__all__ = ["CodeSummary", "LoggedError", "follow", "read_errors", "summarize"]

Report: TypeAlias = "Callable[[str, int, str], object]"
"""Called with the file, the number of a line (from 1; 0: the file itself) and what is wrong with it."""

_LINE = re.compile(rb"\[(-?[0-9]{1,20})\] Error (-?[0-9]{1,20}): (.*?)\r?\n")
_LONGEST = 1 << 20
_WINDOW = 1024
_SLACK_MS = 60_000


class LoggedError(NamedTuple):
    """One line of an error log.

    Attributes:
        time_ms: Milliseconds since the epoch.
        code: The error's code.
        message: Its text, escaped as in the file.
        file: The file's path.
        line: The line's number in the file, from 1.
    """

    time_ms: int
    code: int
    message: str
    file: str
    line: int


class CodeSummary(NamedTuple):
    """How often a code was logged, and when.

    Attributes:
        code: The code.
        errors: How many errors.
        first_ms: The earliest, in milliseconds since the epoch.
        last_ms: The latest.
    """

    code: int
    errors: int
    first_ms: int
    last_ms: int


def read_errors(
    path: str | os.PathLike[str],
    *,
    since: float | None = None,
    codes: Iterable[int] | None = None,
    report: Report | None = None,
) -> Iterator[LoggedError]:
    """Read the errors in a directory of error logs, in the order of their time, or in a single file.

    Reads as it goes: logs of any size take little memory. Where clocks were set back, the order is that of the file.

    Args:
        path: The directory, or a file.
        since: Milliseconds since the epoch: only errors from then on.
        codes: Only errors with these codes.
        report: Called for each line that is no error line, or was torn off at the end of a file, with the file, the
            line's number and what is wrong; for a file that cannot be read, with the line number 0. None: they are
            passed over.

    Raises:
        OSError: There is nothing at `path`, or the directory cannot be listed.
        TypeError: A parameter has the wrong type.
        ValueError: A parameter is out of range.
    """
    wanted = _filter(since, codes)
    files = _files(os.fsdecode(path))
    return filter(wanted, _merged([_Position(file) for file in files], _reporter(report), at_rest=True))


def follow(
    path: str | os.PathLike[str],
    sleep: Callable[[float], object],
    *,
    interval: float = 1.0,
    since: float | None = None,
    codes: Iterable[int] | None = None,
    report: Report | None = None,
) -> Iterator[LoggedError]:
    """Read the errors that are there, then those that come, for ever: also those in new files.

    Args:
        path: The directory, or a file. It may appear later.
        sleep: Waits for so many seconds between two looks; may raise to end it all.
        interval: Those seconds.
        since: As for `read_errors`.
        codes: As for `read_errors`.
        report: As for `read_errors`; but a line without an end is waited for.

    Raises:
        OSError: The directory cannot be listed.
        TypeError: A parameter has the wrong type.
        ValueError: A parameter is out of range.
    """
    wanted = _filter(since, codes)
    seconds = check_seconds(interval, "interval")
    if not callable(sleep):
        raise TypeError(f"sleep must be a function that waits for some seconds; got {shown(sleep)}")
    name, tell = os.fsdecode(path), _reporter(report)

    def looks() -> Iterator[LoggedError]:
        positions: dict[str, _Position] = {}
        while True:
            found: list[str] = []
            with suppress(FileNotFoundError):
                found = _files(name)
            positions = {file: positions.get(file) or _Position(file) for file in found}
            changed = [position for position in positions.values() if position.has_more()]
            yield from filter(wanted, _merged(changed, tell, at_rest=False))
            sleep(seconds)

    return looks()


def summarize(errors: Iterable[LoggedError]) -> list[CodeSummary]:
    """Count errors by code, the most frequent first."""
    sums: dict[int, CodeSummary] = {}
    for error in errors:
        time, code = error.time_ms, error.code
        _, count, first, last = sums.get(code, (code, 0, time, time))
        sums[code] = CodeSummary(code, count + 1, min(first, time), max(last, time))
    return sorted(sums.values(), key=lambda one: (-one.errors, one.code))


def _reporter(report: Report | None) -> Report:
    return (lambda *_: None) if report is None else report


def _files(path: str) -> list[str]:
    try:
        return [file for _, file in log_files(path) if os.path.isfile(file)]
    except NotADirectoryError:
        os.stat(path)  # the parent may be what is no directory
        return [path]


def _filter(since: Any, codes: Any) -> Callable[[LoggedError], bool]:
    if isinstance(since, bool) or not isinstance(since, int | float | None):
        raise TypeError(f"since must be milliseconds since the epoch, or None; got {shown(since)}")
    if since is not None and math.isnan(since):
        raise ValueError("since must be milliseconds since the epoch; got NaN")
    if codes is None:
        return lambda error: since is None or error.time_ms >= since
    wanted = _check_codes(codes)
    return lambda error: (since is None or error.time_ms >= since) and error.code in wanted


def _check_codes(codes: Any) -> frozenset[int]:
    def refuse() -> NoReturn:
        raise TypeError(f"codes must be error codes, such as [-6, -7]; got {shown(codes)}") from None

    try:
        wanted = frozenset(codes)
    except TypeError:
        refuse()
    if not all(isinstance(code, int) and not isinstance(code, bool) for code in wanted):
        refuse()
    return wanted


class _Position:
    """How far a file was read."""

    __slots__ = ("_identity", "_line", "_offset", "_trouble", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self._identity: tuple[int, int] | None = None
        self._offset = 0
        self._line = 0
        self._trouble = ""

    def has_more(self) -> bool:
        """Whether the file is another, longer or shorter than when it was read."""
        try:
            about = os.stat(self.path)
        except OSError:
            return True  # reading it says what is wrong
        return (about.st_dev, about.st_ino) != self._identity or about.st_size != self._offset

    def begins(self) -> int:
        """Return the time in the file's first line; 0 where it cannot be told."""
        with suppress(OSError), open(self.path, "rb") as stream:
            match = _LINE.fullmatch(stream.readline(_LONGEST))
            return int(match[1]) if match else 0
        return 0

    def errors(self, report: Report, at_rest: bool) -> Iterator[LoggedError]:
        """Yield the errors from here on; with `at_rest`, a last line without an end counts as torn off."""
        try:
            with open(self.path, "rb") as stream:
                self._seek(stream)
                for raw in iter(lambda: stream.readline(_LONGEST), b""):
                    if not raw.endswith(b"\n") and len(raw) < _LONGEST:
                        if at_rest:
                            report(self.path, self._line + 1, "the line was torn off, or is still being written")
                        return
                    yield from self._parse(raw, report)
        except FileNotFoundError:
            return  # cleaned away since it was listed
        except OSError as error:
            trouble = f"{type(error).__name__}: {error}"
            if trouble != self._trouble:  # said once, not at every look
                report(self.path, 0, trouble)
            self._trouble = trouble

    def _seek(self, stream: IO[bytes]) -> None:
        about = os.fstat(stream.fileno())
        identity = about.st_dev, about.st_ino
        if identity != self._identity or about.st_size < self._offset:
            self._identity, self._offset, self._line = identity, 0, 0
        if self._offset:
            stream.seek(self._offset)

    def _parse(self, raw: bytes, report: Report) -> Iterator[LoggedError]:
        number = self._line + 1
        self._offset += len(raw)
        self._line += raw.endswith(b"\n")
        match = _LINE.fullmatch(raw)
        if match:
            text = match[3].decode("utf-8", "backslashreplace")
            yield LoggedError(int(match[1]), int(match[2]), text, self.path, number)
        elif raw.strip():  # an empty line follows a line that could not be written whole
            report(self.path, number, "not a line of an error log")


def _in_order(errors: Iterator[LoggedError]) -> Iterator[LoggedError]:
    """Sort a file's errors as far as threads that wrote at the same time may have swapped them."""
    heap: list[tuple[int, int, LoggedError]] = []
    for error in errors:
        entry = error.time_ms, error.line, error
        if len(heap) < _WINDOW:
            heappush(heap, entry)
        else:
            yield heappushpop(heap, entry)[-1]
    while heap:
        yield heappop(heap)[-1]


def _merged(positions: list[_Position], report: Report, at_rest: bool) -> Iterator[LoggedError]:
    """Yield the errors of all files by time.

    A file is opened only when its first error is due, since there may be more files than a process may open.
    """
    alone = len(positions) == 1  # it may be a pipe, which can be read only once
    waiting = sorted(((0 if alone else p.begins(), index) for index, p in enumerate(positions)), reverse=True)
    heap: list[tuple[int, int, int, LoggedError, Iterator[LoggedError]]] = []

    def push(index: int, errors: Iterator[LoggedError]) -> None:
        for error in errors:
            heappush(heap, (error.time_ms, index, error.line, error, errors))
            return

    while waiting or heap:
        while waiting and (not heap or waiting[-1][0] - _SLACK_MS <= heap[0][0]):
            index = waiting.pop()[1]
            push(index, _in_order(positions[index].errors(report, at_rest)))
        if heap:
            _, index, _, error, errors = heappop(heap)
            yield error
            push(index, errors)
