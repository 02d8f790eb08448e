"""Forked children: their failures are the test's, and what they mount, or whose rights they take on, ends with them."""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

__all__ = ["fork_into", "in_child", "mount_small", "remount_read_only", "skip_without_mounts"]

_NEW_MOUNTS, _NEW_USER = 0x00020000, 0x10000000
_READ_ONLY, _NO_SUID, _NO_DEVICES, _REMOUNT, _RECURSIVE, _PRIVATE = 1, 2, 4, 32, 16384, 1 << 18
_LONGEST_TEXT = 60_000  # fits into a pipe, so that nobody waits for a reader


def fork_into(function: Callable[..., object], *arguments: Any) -> int:
    """Run a function in a forked child, which never comes back into the test run; return its process id.

    Its exit status is 0 where the function returned, else 1.
    """
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        function(*arguments)
        status = 0
    except BaseException:
        with suppress(BaseException):
            traceback.print_exc()
    finally:
        os._exit(status)
    raise AssertionError("a child went on")


def in_child(function: Callable[..., object], *arguments: Any) -> None:
    """Run a function in a forked child.

    Raises:
        AssertionError: It raised, or the child was killed; with the child's traceback.
    """
    reading, writing = os.pipe()

    def tell() -> None:
        try:
            function(*arguments)
        except BaseException:
            os.write(writing, traceback.format_exc().encode("utf-8", "backslashreplace")[-_LONGEST_TEXT:])
            raise

    child = fork_into(_silent, tell)
    os.close(writing)
    with open(reading, "rb") as stream:
        text = stream.read().decode()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status == 0, f"the child ended with {status}\n{text}"


def _silent(function: Callable[[], object]) -> None:
    try:
        function()
    except BaseException:
        os._exit(1)  # what it was is told already


def _libc_call(name: str, *arguments: Any) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _enter_namespace() -> None:
    """Give this process mounts of its own, with root's rights or, in a namespace of users, without."""
    user, group = os.getuid(), os.getgid()
    try:
        _libc_call("unshare", _NEW_MOUNTS)
    except OSError:
        _libc_call("unshare", _NEW_MOUNTS | _NEW_USER)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    _libc_call("mount", None, b"/", None, _RECURSIVE | _PRIVATE, None)


def mount_small(path: Path, options: str) -> None:
    """Mount a small file system in memory, which only this process sees, and which ends with it.

    Args:
        path: Where; an existing directory.
        options: Of tmpfs, such as ``size=64k``.

    Raises:
        OSError: That is not permitted here.
    """
    _enter_namespace()
    _libc_call("mount", b"tmpfs", os.fsencode(path), b"tmpfs", _NO_SUID | _NO_DEVICES, options.encode())


def remount_read_only(path: Path, read_only: bool) -> None:
    """Make what `mount_small` mounted read-only, or writable again."""
    flags = _REMOUNT | _NO_SUID | _NO_DEVICES | (_READ_ONLY if read_only else 0)
    _libc_call("mount", None, os.fsencode(path), None, flags, None)


@functools.cache
def _mount_problem() -> int:
    """Return the errno with which a child of this process may not mount a small file system; 0: it may."""
    reading, writing = os.pipe()

    def try_it() -> None:
        try:
            mount_small(Path("/tmp"), "size=64k")
        except OSError as error:
            os.write(writing, str(error.errno).encode())

    in_child(try_it)
    os.close(writing)
    with open(reading, "rb") as stream:
        return int(stream.read() or b"0")


def skip_without_mounts() -> None:
    """Skip a test that mounts where that may not be; for root in CI, only where the system says that it may not."""
    if not sys.platform.startswith("linux"):
        pytest.skip("the mounts are Linux's")
    problem = _mount_problem()
    if problem not in (0, errno.EPERM) and "CI" in os.environ and os.getuid() == 0:
        pytest.fail(f"a file system cannot be mounted: {os.strerror(problem)}")
    if problem:
        pytest.skip(f"no file system may be mounted here: {os.strerror(problem)}")
