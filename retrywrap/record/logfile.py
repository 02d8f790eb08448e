"""One file of the error log: its name, its lines, its lock, and whether it is still where it was."""

from __future__ import annotations

import errno
import os
import re
from contextlib import suppress
from typing import Any

fcntl: Any
try:
    import fcntl
except ImportError:  # pragma: no cover - on Windows only
    fcntl = None

__all__ = ["LogFile", "create", "escape", "format_line", "log_files", "open_plain", "try_lock"]

_NAME = re.compile(r"backup_error_([0-9]+)\.log")
_MOST_NAMES = 1000
_MOST_RACES = 3
_COMMON = getattr(os, "O_BINARY", 0)  # that no program inherits what os.open opens is Python's doing

# What ends a line for any reader, what drives a terminal, what reorders text (bidirectional controls), and surrogates.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def escape(text: str) -> str:
    """Return a text as one harmless line: control characters, line ends and surrogates as backslash escapes.

    Backslashes stay as they are, so that a text that was escaped before does not change.
    """
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def format_line(epoch_ms: int, code: int, message: str) -> bytes:
    """Return the log's line for one error, its newline included."""
    return f"[{epoch_ms:d}] Error {code:d}: {escape(message)}\n".encode()


def log_files(directory: str) -> list[tuple[int, str]]:
    """Return the number and the path of each log file in a directory, the oldest first.

    Raises:
        OSError: The directory cannot be listed.
    """
    matches = (_NAME.fullmatch(name) for name in os.listdir(directory))
    return sorted((int(match[1]), os.path.join(directory, match[0])) for match in matches if match)


def try_lock(descriptor: int, *, exclusive: bool) -> bool | None:
    """Lock an open file without waiting, for as long as it is open.

    Returns:
        True: locked. False: another holder is in the way. None: locks do not exist here, or not on this file system.
    """
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _identity_of(about: os.stat_result) -> tuple[int, int]:
    return about.st_dev, about.st_ino


class LogFile:
    """An open log file, closed when the last reference goes.

    Nothing closes it by hand: a signal handler may record an error, and so rotate the log, between two steps of a write
    that it interrupted, and the number of a closed descriptor may belong to another file an instant later.

    Args:
        descriptor: Open for appending. The new object owns it, even if making the object fails.
        path: Where it was opened.
        owned: Whether this process alone writes into it.
        readable: Whether its end can be looked at: others may have left a piece of a line there.

    Raises:
        OSError: The descriptor cannot be examined.
    """

    __slots__ = ("_identity", "_owned", "_process", "_readable", "_torn", "descriptor", "path")

    def __init__(self, descriptor: int, path: str, *, owned: bool, readable: bool = False) -> None:
        self.descriptor = descriptor
        self.path = path
        self._owned = owned
        self._readable = readable
        self._process = os.getpid()
        self._torn = False
        self._identity: tuple[int, int] | None = None
        self._identity = _identity_of(os.fstat(descriptor))

    def size(self) -> int | None:
        """Return the file's size in bytes; None where no more lines may go into it.

        That is so in a forked child, and where the path now leads nowhere or to another file.
        """
        if self._process != os.getpid():
            return None
        try:
            about, there = os.fstat(self.descriptor), os.stat(self.path)
        except OSError:
            return None
        return about.st_size if _identity_of(about) == self._identity == _identity_of(there) else None

    def append(self, line: bytes, size: int) -> None:
        """Append a line in a single write.

        Args:
            line: The line with its newline.
            size: The file's size now, to return to if only a piece can be written.

        Raises:
            OSError: The line could not be written, or only a piece of it. The piece is taken away where this process
                alone writes into the file; elsewhere the next line begins on a line of its own.
        """
        torn, self._torn = self._torn, True  # until known to be whole: an interrupt may end this method anywhere
        data = b"\n" + line if torn or (self._readable and not self._ends_a_line()) else line
        try:
            written = os.write(self.descriptor, data)
        except OSError:
            self._torn = torn
            raise
        if written == len(data):
            self._torn = False
            return
        if self._owned:
            with suppress(OSError):
                os.ftruncate(self.descriptor, size)
                self._torn = torn
        raise OSError(errno.EIO, f"only {written} of {len(data)} bytes could be written", self.path)

    def _ends_a_line(self) -> bool:
        """Whether the file ends with a newline, as far as can be seen; who wrote the rest may be dead."""
        with suppress(OSError):  # an empty file has no last byte
            os.lseek(self.descriptor, -1, os.SEEK_END)
            return os.read(self.descriptor, 1) == b"\n"
        return True

    # The functions are bound early, because the module may be half taken down when the interpreter ends.
    def __del__(
        self, fstat: Any = os.fstat, close: Any = os.close, identity_of: Any = _identity_of, closed: int = errno.EBADF
    ) -> None:
        try:
            ours = self._identity in (None, identity_of(fstat(self.descriptor)))
        except OSError as error:  # a server's file that was removed there (ESTALE) is ours nevertheless
            ours = error.errno != closed
        try:
            # A daemon that closes all descriptors may have put another file under the number, which is not ours.
            if ours:
                close(self.descriptor)
        except OSError:  # the system has closed it all the same
            return


def open_plain(path: str, *, missing: bool, regular: bool = True) -> LogFile:
    """Open a file, device or pipe that takes the lines as it is; never waits for a pipe's other end.

    Args:
        path: Where.
        missing: Whether to create it. Not passed on where it exists: systems refuse to "create" another user's file in
            a shared directory even if it may be written.
        regular: Whether it is a file. Then it is opened for reading too, where that is permitted, so that a line does
            not stick to a piece that a killed writer left. A pipe would have a reader by that.

    Raises:
        OSError: It cannot be opened.
    """
    flags = os.O_APPEND | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | _COMMON
    flags |= os.O_CREAT if missing else 0
    if regular:
        with suppress(PermissionError):
            return LogFile(os.open(path, flags | os.O_RDWR, 0o600), path, owned=False, readable=True)
    return LogFile(os.open(path, flags | os.O_WRONLY, 0o600), path, owned=False)


def create(directory: str, number: int) -> tuple[LogFile, int]:
    """Create a log file of this process's own, locked against cleaning, readable by its owner alone.

    Args:
        directory: Where; it must exist.
        number: The number to begin with; taken names are passed over.

    Returns:
        The file, and its number.

    Raises:
        OSError: It cannot be created.
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | _COMMON
    races = 0
    for free in range(number, number + _MOST_NAMES):
        path = os.path.join(directory, f"backup_error_{free}.log")
        try:
            descriptor = os.open(path, flags, 0o600)
        except FileExistsError:
            continue
        file = LogFile(descriptor, path, owned=True)
        if hasattr(os, "fchmod"):
            with suppress(OSError):
                os.fchmod(descriptor, 0o600)  # the umask may have taken away more than others' rights
        # Between its creation and its lock, another process that cleans may have taken the file for a dead one's.
        if try_lock(descriptor, exclusive=False) is not False and file.size() is not None:
            return file, free
        races += 1
        if races == _MOST_RACES:  # that is no race any more, and must not fill the directory with empty files
            break
    raise OSError(errno.EBUSY, "no free name for a log file", directory)
