"""Faults at each system call in turn: in Python, around the functions of `os`, and in C, around the system library."""

from __future__ import annotations

import atexit
import ctypes
import fcntl
import functools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import pytest

__all__ = ["ALWAYS", "Fault", "Shim", "What", "native_shim", "plain", "preloaded", "python_shim", "shimmed"]

ALWAYS = 1 << 30


class What(IntEnum):
    """What happens at a call; as in ``shim.c``."""

    NOTHING, FAIL, FAIL_AFTER, SHORT, KILL_BEFORE, KILL_MIDDLE, KILL_AFTER = range(7)


class Fault(NamedTuple):
    """A fault.

    Attributes:
        call: The call's name in C; ``*``: any.
        first: How many calls go well before.
        times: How many then do not.
        what: What happens.
        number: With which errno it fails.
    """

    call: str
    first: int = 0
    times: int = 1
    what: What = What.FAIL
    number: int = 0


Shim: TypeAlias = "Callable[[list[Fault]], AbstractContextManager[list[str]]]"
"""Puts faults in force for a with block; gives a list that at the block's end holds the names of all calls in it."""

_PYTHON = {"rename": "replace", "opendir": "listdir"}
_CALLS = ["open", "stat", "lstat", "fstat", "fsync", "fchmod", "fchown", "unlink", "mkdir", "ftruncate", "close"]
_CALLS += ["readlink", "write", "rename", "opendir"]


@contextmanager
def python_shim(faults: list[Fault]) -> Iterator[list[str]]:
    """Put faults around the functions of `os` and `fcntl`."""
    story: list[str] = []
    faulty = functools.partial(_faulty, faults=faults, story=story, closing=os.close)
    with pytest.MonkeyPatch.context() as patch:
        for call in _CALLS:
            name = _PYTHON.get(call, call)
            patch.setattr(os, name, faulty(call, getattr(os, name)))
        patch.setattr(fcntl, "flock", faulty("flock", fcntl.flock))
        yield story


def _faulty(call: str, real: Any, faults: list[Fault], story: list[str], closing: Any) -> Callable[..., Any]:
    def function(*arguments: Any, **options: Any) -> Any:
        story.append(call)
        what, number = What.NOTHING, 0
        for fault in faults:
            seen = len(story) if fault.call == "*" else story.count(call)
            if fault.call in ("*", call) and 0 <= seen - 1 - fault.first < fault.times:
                what, number = fault.what, fault.number
        if what == What.KILL_BEFORE or (what == What.KILL_MIDDLE and call != "write"):
            os.kill(os.getpid(), signal.SIGKILL)
        if what == What.FAIL and call != "close":  # one that fails has closed all the same
            raise OSError(number, os.strerror(number))
        if what in (What.SHORT, What.KILL_MIDDLE) and call == "write":
            arguments = (arguments[0], arguments[1][: (len(arguments[1]) + 1) // 2])
        result = real(*arguments, **options)
        if what in (What.KILL_MIDDLE, What.KILL_AFTER):
            os.kill(os.getpid(), signal.SIGKILL)
        if what in (What.FAIL, What.FAIL_AFTER):
            if call == "open":  # the file may be there, but nobody gets a descriptor
                closing(result)
            raise OSError(number, os.strerror(number))
        return result

    return function


@contextmanager
def native_shim(faults: list[Fault]) -> Iterator[list[str]]:
    """Put faults around the functions of the system's library, in a process into which `preloaded` loaded the shim."""
    library = ctypes.CDLL(None)
    library.fault_clear.restype = ctypes.c_char_p
    story: list[str] = []
    for fault in faults or [Fault("none")]:
        arguments = [*map(ctypes.c_long, (fault.first, fault.times)), *map(ctypes.c_int, (fault.what, fault.number))]
        if library.fault_add(fault.call.encode(), *arguments):
            raise ValueError(f"the shim does not take {fault}")
    try:
        yield story
    finally:
        story += library.fault_clear().decode().split()


@functools.cache
def _library() -> str | None:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    folder = tempfile.mkdtemp(prefix="retrywrap-shim-")
    atexit.register(shutil.rmtree, folder)
    path = os.path.join(folder, "shim.so")
    command = [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-fno-builtin", "-o", path]
    subprocess.run([*command, str(Path(__file__).with_name("shim.c")), "-ldl"], check=True, timeout=60)
    return path


def preloaded(module: str, *arguments: str) -> tuple[list[str], dict[str, str]] | None:
    """Return the command and the environment that run a module of this package with the shim; None without a compiler.

    The compiler's words stand on standard error where it fails, which is an error.
    """
    library = _library()
    if library is None:
        return None
    command, environment = plain(module, *arguments)
    return command, {**environment, "LD_PRELOAD": library}


def shimmed(module: str, *arguments: str) -> tuple[list[str], dict[str, str]]:
    """Return what `preloaded` returns; skip a test not on Linux or, outside of CI, without a compiler."""
    found = preloaded(module, *arguments)
    if found is None:
        if "CI" in os.environ and sys.platform.startswith("linux"):
            pytest.fail("the shim needs a C compiler")
        pytest.skip("the shim needs a C compiler and Linux")
    return found


def plain(module: str, *arguments: str) -> tuple[list[str], dict[str, str]]:
    """Return the command and the environment that run a module of this package."""
    tests = Path(__file__).parents[1]
    path = os.pathsep.join(filter(None, [str(tests), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-W", "error", "-m", f"{Path(__file__).parent.name}.{module}", *arguments]
    return command, {**os.environ, "PYTHONPATH": path}
