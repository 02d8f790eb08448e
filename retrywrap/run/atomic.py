"""One atomic file write: whoever looks sees the old content or the new one, whole, whatever fails in between."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import Any

from retrywrap.decide.checks import shown

__all__ = ["check_arguments", "replace_file"]

_FLAGS = os.O_WRONLY | getattr(os, "O_BINARY", 0)
_NAME_KEPT = 40
_MOST_LOOKS = 100
_NO_SYNC = errno.EINVAL, errno.ENOTSUP
_NO_LINK = errno.EINVAL, errno.ENOENT
_NOT_PERMITTED = errno.EPERM, errno.EACCES, errno.EINVAL, errno.ENOTSUP, errno.ENOSYS
_SET_IDS = stat.S_ISUID | stat.S_ISGID


def replace_file(
    path: str | os.PathLike[str],
    data: bytes | bytearray | memoryview,
    *,
    mode: int | None = None,
    durable: bool = True,
) -> int:
    """Write a whole file atomically, once.

    The data goes to a temporary file in the same directory, which then takes the target's name. Whatever fails before
    that, interrupts included, the temporary file is removed and the old content stays; a killed process may leave the
    temporary file ``.<name>.<pid>.<random>.tmp``. A symbolic link is followed and stays. What cannot be replaced (a
    pipe, a device) is written as it is. Other hard links keep the old content; access lists are not carried over.

    Args:
        path: The file.
        data: All of its content, as bytes or anything else with the buffer protocol.
        mode: The file's permission bits, exactly. None: those of the file that is there, and its owner where permitted;
            for a new file the usual ones (``0o666`` without the umask).
        durable: Whether to wait until the disk has the data and the new name.

    Returns:
        The number of bytes written.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: `path` is empty or can be no path; `mode` is out of range.
        IsADirectoryError: `path` is a directory.
        OSError: Any step failed. Only where the very last failed, which waits until the disk has the new name, is the
            new content in place.
    """
    name = _check_path(path)
    _check_mode(mode)
    with _check_data(data) as view, view.cast("B") as content:
        old = _examine(name)
        target = _follow(name)
        if old is not None and not _is_replaceable(name, old, target):
            return _write_through(name, content)
        return _replace(target, content, mode, old, durable)


def _examine(name: str) -> os.stat_result | None:
    try:
        return os.stat(name)
    except FileNotFoundError:
        if not os.path.basename(name):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name) from None
        return None


def _follow(name: str) -> str:
    """Return the path that a name leads to.

    Raises:
        OSError: That could not be found out.
    """
    target = os.path.realpath(name)
    try:
        os.readlink(target)
    except OSError as error:
        if error.errno in _NO_LINK:
            return target
        raise
    # realpath takes for a file what it could not look at; the new file would take the link's place.
    raise OSError(errno.EIO, "the link could not be followed", target)


def _is_replaceable(name: str, old: os.stat_result, target: str) -> bool:
    """Whether a regular file bears the target's name; the links of ``/proc/self/fd`` may lead to files without one.

    Those never lead where their text says; an ordinary link does not only in the instant in which another writer
    replaces the file, so that it is looked at again.
    """
    if not stat.S_ISREG(old.st_mode):
        return False
    if target == os.path.abspath(name):
        return True
    for _ in range(_MOST_LOOKS):
        try:
            about = os.stat(name)
        except FileNotFoundError:  # gone meanwhile, or a link to what is gone
            return True
        with suppress(FileNotFoundError):
            if os.path.samestat(about, os.stat(target)):
                return True
    return False


def _write_through(name: str, content: memoryview) -> int:
    descriptor = os.open(name, _FLAGS | os.O_TRUNC | getattr(os, "O_NOCTTY", 0))
    try:
        return _write_all(descriptor, content)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, content: memoryview) -> int:
    done = 0
    while done < len(content):
        written = os.write(descriptor, content[done:])
        if not written:
            raise OSError(errno.EIO, f"only {done} of {len(content)} bytes could be written")
        done += written
    return done


def _replace(target: str, content: memoryview, mode: int | None, old: os.stat_result | None, durable: bool) -> int:
    directory, name = os.path.split(target)
    temporary = os.path.join(directory, f".{name[:_NAME_KEPT]}.{os.getpid()}.{os.urandom(8).hex()}.tmp")
    folder = _open_folder(directory) if durable else None
    try:
        written = _fill(temporary, content, mode, old, durable)
        os.replace(temporary, target)
        if folder is not None:
            _sync_folder(folder)
    except BaseException as error:
        if not isinstance(error, FileExistsError):  # then it is not ours
            with suppress(OSError):
                os.unlink(temporary)
        if isinstance(error, OSError) and error.filename in (None, temporary) and error.filename2 is None:
            error.filename = target  # the random name says nothing to whoever reads the message
        raise
    finally:
        if folder is not None:
            with suppress(OSError):  # nothing was written through it
                os.close(folder)
    return written


def _fill(temporary: str, content: memoryview, mode: int | None, old: os.stat_result | None, durable: bool) -> int:
    usual = mode is None and old is None
    descriptor = os.open(temporary, _FLAGS | os.O_CREAT | os.O_EXCL, 0o666 if usual else 0o600)
    try:
        written = _write_all(descriptor, content)
        _set_rights(descriptor, mode, old)
        if durable:
            os.fsync(descriptor)
    except BaseException:
        with suppress(OSError):
            os.close(descriptor)
        raise
    os.close(descriptor)  # may be the first to hear of a full disk
    return written


def _open_folder(directory: str) -> int | None:
    """Open a directory to bring its names to the disk; None where that is not allowed, or not possible (Windows)."""
    try:
        return os.open(directory, os.O_RDONLY)
    except PermissionError:
        return None


def _sync_folder(folder: int) -> None:
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise


def _set_rights(descriptor: int, mode: int | None, old: os.stat_result | None) -> None:
    """Give an open file the owner of the old one, where permitted, and the mode."""
    kept = old is None or _set_owner(descriptor, old)
    if mode is None and old is not None:
        mode = stat.S_IMODE(old.st_mode)
        if not kept:
            mode &= ~_SET_IDS  # what ran with the old owner's rights must not run with ours
    if mode is not None and hasattr(os, "fchmod"):
        os.fchmod(descriptor, mode)  # after the change of owner, which clears bits


def _set_owner(descriptor: int, old: os.stat_result) -> bool:
    new = os.fstat(descriptor)
    if (new.st_uid, new.st_gid) == (old.st_uid, old.st_gid):
        return True
    if _change_owner(descriptor, old.st_uid, old.st_gid):
        return True
    _change_owner(descriptor, -1, old.st_gid)  # a member of the group may do this much
    return False


def _change_owner(descriptor: int, user: int, group: int) -> bool:
    """Change owner and group; return whether that is permitted, and possible at all on this file system."""
    try:
        os.fchown(descriptor, user, group)
    except OSError as error:
        if error.errno in _NOT_PERMITTED:
            return False
        raise  # a failing disk is no reason to give the file to somebody else
    return True


def check_arguments(path: Any, data: Any, mode: Any) -> None:
    """Check what `replace_file` is to be given, before any attempt.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: `path` is empty or can be no path; `mode` is out of range.
    """
    _check_path(path)
    _check_data(data).release()
    _check_mode(mode)


def _check_path(value: Any) -> str:
    if not isinstance(value, str | os.PathLike):
        raise TypeError(f"path must be the path of a file (str or os.PathLike); got {shown(value)}")
    name = os.fsdecode(value)
    if not name or "\0" in name:
        raise ValueError(f"path must name a file, which an empty text or a null byte cannot; got {shown(value)}")
    return name


def _check_data(value: Any) -> memoryview:
    try:
        view = memoryview(value)
    except TypeError:
        hint = "; encode it first" if isinstance(value, str) else ""
        expected = "data must be bytes, another object with bytes in it, or for write_file a str"
        raise TypeError(f"{expected}; got {shown(value)}{hint}") from None
    return view if view.c_contiguous else memoryview(view.tobytes())


def _check_mode(value: Any) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"mode must be permission bits such as 0o600, or None; got {shown(value)}")
    if not 0 <= value <= 0o7777:
        raise ValueError(f"mode must be permission bits from 0 to 0o7777; got {shown(value)}")
    if value > 0o777 and len(digits := str(value)) == 3 and not set(digits) & {"8", "9"}:
        raise ValueError(f"mode must be written in octal: 0o{digits}; got the decimal {digits}, which is {value:#o}")
