"""What the servers have in common: finding programs, free ports, folders of another user, waiting."""

from __future__ import annotations

import contextlib
import importlib
import os
import pwd
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

import pytest

__all__ = ["find_program", "folder_of", "free_port", "library", "missing", "need", "run_as", "serving", "wait_until"]


def missing(what: str) -> NoReturn:
    """Skip the test for want of something, by name; fail it where all servers are required."""
    if os.environ.get("REQUIRE_SERVERS") == "1":
        pytest.fail(f"{what} is not installed, and REQUIRE_SERVERS is 1")
    pytest.skip(f"{what} is not installed", allow_module_level=True)


def need(*, modules: Sequence[str] = (), binaries: Sequence[str] = ()) -> None:
    """Skip the test, or the module that asks, by name, where something is missing; fail it where all are required.

    Args:
        modules: The client libraries that must be there.
        binaries: The programs that must be there: names, or paths.
    """
    lacking = [name for name in modules if not _installed(name)]
    lacking += [name for name in binaries if shutil.which(name) is None]
    if lacking:
        missing(", ".join(lacking))


def _installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ModuleNotFoundError, ValueError):  # its package is not there, or it is barred from being imported
        return False


def library(name: str) -> Any:
    """Return a module of a client library; skips, or fails, where it is not installed."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        missing(name)


def find_program(name: str, *patterns: str) -> str:
    """Return the path of a program; skips, or fails, where it is not installed.

    Args:
        name: As it is called on the path.
        *patterns: Where else to look, below the root folder; of several the last.
    """
    found = shutil.which(name)
    for pattern in patterns:
        found = found or str(max(Path("/").glob(pattern), default=""))
    if not found:
        missing(f"the program {name}")
    return str(found)


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


@contextlib.contextmanager
def serving(
    handler: type[BaseHTTPRequestHandler],
    kind: type[ThreadingHTTPServer] = ThreadingHTTPServer,
    before_the_end: Callable[[], object] = lambda: None,
) -> Iterator[int]:
    """Serve HTTP on a free port of the loopback interface for as long as the block lasts; yields the port.

    Args:
        handler: What answers.
        kind: The class of the server.
        before_the_end: Called before the server is stopped, to let go what it holds on purpose.
    """
    with kind(("127.0.0.1", 0), handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield listening.server_port
        finally:
            before_the_end()
            listening.shutdown()
            thread.join()


def run_as(*names: str) -> dict[str, Any]:
    """Return what makes `subprocess` run a program as the first of these users that exists; {} unless we are root."""
    if os.geteuid() != 0:
        return {}
    for name in (*names, "nobody"):
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise LookupError(f"none of the users {names} exists")


@contextlib.contextmanager
def folder_of(owner: dict[str, Any]) -> Iterator[Path]:
    """Make a temporary folder that belongs to the user of `run_as`; it is removed in the end."""
    # Short, for the name of a socket in it must not be long; and not in pytest's own, which others may not enter.
    with tempfile.TemporaryDirectory(prefix="rw-", ignore_cleanup_errors=True) as name:
        if owner:
            os.chown(name, owner["user"], owner["group"])
        yield Path(name)


def wait_until(ready: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    """Wait for something to become true; fails where it does not in time."""
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            pytest.fail(f"waited {seconds:g} s in vain for {what}")
        time.sleep(0.02)
