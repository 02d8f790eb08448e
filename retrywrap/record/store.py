"""The error log on disk: one file per process, rotated, cleaned; whatever happens to it, the operation goes on."""

from __future__ import annotations

import math
import os
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from retrywrap.decide.checks import check_seconds, shown, shown_path
from retrywrap.locks import importing, new_lock
from retrywrap.record.logfile import LogFile, create, format_line, log_files, open_plain, try_lock

__all__ = ["ErrorLog"]

_DAY = 86400.0


class ErrorLog:
    """The error log: lines ``[<epoch ms>] Error <code>: <message>`` in files ``backup_error_<epoch ms>.log``.

    Threads, processes and forked children may share one: each process writes a file of its own, mode 0600, and each
    line in a single write. A file or directory that was removed or renamed comes back with the next line. Where `path`
    leads to something that is no directory (a plain file, ``/dev/stderr``), lines are appended to that: no rotation, no
    cleaning.

    Args:
        path: The directory; made with the first line, mode 0700.
        max_bytes: A new file is begun before one grows beyond this. None: never.
        max_files: The newest so many files are kept. None: all.
        max_age: Seconds after its last line at which a file is removed. None: never.
        clock: Returns the seconds since the epoch.

    A file that any living process has open is not removed, neither for its age nor for their number. Cleaning happens
    when a file is begun.

    Attributes:
        path: The absolute path.
        written: Lines written.
        dropped: Lines lost, because the disk was full, say. The first loss is also a warning of the logger
            ``retrywrap``; the next one, with their number, comes when a line was written again.

    Raises:
        TypeError: A parameter has the wrong type.
        ValueError: A parameter is out of range, or `path` can be no path.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        max_bytes: int | None = 10 * 1024 * 1024,
        max_files: int | None = 100,
        max_age: float | None = 30 * _DAY,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not callable(clock):
            raise TypeError(f"clock must be a function that returns the seconds since the epoch; got {shown(clock)}")
        self.path = _check_path(path)
        self.written = 0
        self.dropped = 0
        self._max_bytes = _check_count(max_bytes, "max_bytes")
        self._max_files = _check_count(max_files, "max_files")
        self._max_age = _check_age(max_age)
        self._clock = clock
        self._lock = new_lock()
        self._file: LogFile | None = None
        self._number = -1
        self._plain = False
        self._lost = 0

    def write(self, epoch_ms: int, code: int, message: str) -> bool:
        """Write one error as one line, whatever the message holds.

        Args:
            epoch_ms: When it happened, in milliseconds since the epoch.
            code: Its code.
            message: Its text; control characters and line ends are escaped.

        Returns:
            False where the line was lost.
        """
        line = format_line(epoch_ms, code, message)
        news = ""
        with self._lock:
            try:
                self._append(line)
            except OSError as error:
                self.dropped += 1
                if not self._lost:
                    problem = f"{type(error).__name__}: {error.strerror}"
                    news = f"the error log {shown_path(self.path)} cannot be written, lines are lost: {problem}"
                self._lost += 1
                written = False
            else:
                self.written += 1
                if self._lost:
                    news = f"the error log {shown_path(self.path)} is written again; {self._lost} lines were lost"
                self._lost = 0
                written = True
        if news:  # not under the lock: a logging handler may wait for a thread that has an error to write
            _warn(news)
        return written

    def close(self) -> None:
        """Close the file. A later line begins a new one."""
        with self._lock:
            self._file = None

    def __enter__(self) -> ErrorLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"ErrorLog({self.path!r}, written={self.written}, dropped={self.dropped})"

    def _append(self, line: bytes) -> None:
        file = self._file
        size = file.size() if file else None
        if file is None or size is None or self._is_full(size, len(line)):
            file = self._file = None  # closed before the next is opened: a process out of descriptors needs its number
            file, size = self._open(), 0
            self._file = file
        file.append(line, size)

    def _is_full(self, size: int, more: int) -> bool:
        return not self._plain and self._max_bytes is not None and size > 0 and size + more > self._max_bytes

    def _open(self) -> LogFile:
        missing, regular = False, True
        try:
            mode = os.stat(self.path).st_mode
            self._plain, regular = not stat.S_ISDIR(mode), stat.S_ISREG(mode)
        except FileNotFoundError:
            missing = True  # a plain file that is gone was renamed by its keeper, who wants a plain file again
        if self._plain:
            return open_plain(self.path, missing=missing, regular=regular)
        if missing:
            _make_directory(self.path)
        now = self._clock()
        # Counted on from the last one, this process's or any other's: where a clock stands or was set back, no taken
        # names are searched through, and what is newest does not pass for the oldest when others clean.
        last = max(self._number, _last_number(self.path))
        file, self._number = create(self.path, max(int(now * 1000), last + 1))
        self._clean(file.path, now)
        return file

    def _clean(self, own: str, now: float) -> None:
        try:
            files = log_files(self.path)
        except OSError:
            return
        surplus = 0 if self._max_files is None else len(files) - self._max_files
        for index, (_, path) in enumerate(files):
            if path != own:
                with suppress(OSError):
                    _remove_dead(path, now, -math.inf if index < surplus else self._max_age)


def _last_number(directory: str) -> int:
    try:
        return max((number for number, _ in log_files(directory)), default=-1)
    except OSError:  # files may be made in a directory that may not be read
        return -1


def _remove_dead(path: str, now: float, max_age: float) -> None:
    """Remove a log file that has had no line for longer than `max_age` seconds and that nobody has open."""
    about = os.lstat(path)
    age = now - about.st_mtime
    if age <= max_age or not stat.S_ISREG(about.st_mode):
        return
    flags = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    descriptor = os.open(path, flags)
    try:
        locked = try_lock(descriptor, exclusive=True)
        if locked is None:  # nobody can say whether it is in use; after a day without a line it hardly is
            locked = age > _DAY
        if locked and os.path.samestat(os.fstat(descriptor), os.lstat(path)):
            os.unlink(path)
    finally:
        os.close(descriptor)


def _make_directory(path: str) -> None:
    """Make a directory and those above it that are missing, each for its owner alone."""
    missing = [path]
    while not os.path.isdir(parent := os.path.dirname(missing[-1])) and parent != missing[-1]:
        missing.append(parent)
    for one in reversed(missing):
        with suppress(FileExistsError):  # another process may be as quick
            os.mkdir(one, 0o700)


def _warn(news: str) -> None:
    with importing:
        import logging

    with suppress(Exception):  # a broken logging handler must not do what a broken error log may not
        logging.getLogger("retrywrap").warning("%s", news)


def _check_path(value: Any) -> str:
    if not isinstance(value, str | os.PathLike) or not isinstance(path := os.fspath(value), str):
        raise TypeError(f"path must be the path of a directory (str or os.PathLike[str]); got {shown(value)}")
    try:
        unusable = not path or b"\0" in os.fsencode(path)
    except UnicodeEncodeError:
        unusable = True
    if unusable:
        raise ValueError(f"path must name a directory, which an empty or unencodable text cannot; got {shown(value)}")
    return os.path.abspath(path)


def _check_count(value: object, name: str) -> int | None:
    hint = f"{name} must be a whole number, 1 or more, or None for no limit"
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{hint}; got {shown(value)}")
    if value < 1:
        raise ValueError(f"{hint}; got {shown(value)}")
    return value


def _check_age(value: object) -> float:
    if value is None:
        return math.inf
    seconds = check_seconds(value, "max_age")
    if not seconds:
        raise ValueError("max_age must be more than 0 seconds, or None for no limit; got 0")
    return seconds
