"""A real Redis server."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from servers.common import free_port, need

__all__ = ["RedisServer", "redis_server", "require_redis"]

_PATIENCE = 20.0


def require_redis() -> None:
    """Skip where the server or its client is missing; fail where the environment says that they must be there."""
    need(modules=["redis"], binaries=["redis-server"])


class RedisServer:
    """A Redis server that can be killed and started again on its port.

    Args:
        folder: Where its data goes.
        *options: Of its command line.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.options = options
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    def reserve(self) -> int:
        """Take a free port, and return it; nobody listens there until the server is started."""
        self.port = free_port()
        return self.port

    def start(self, *options: str, ready: bool = True) -> None:
        """Start the server.

        Args:
            *options: More of its command line.
            ready: Wait until it has loaded its data.
        """
        fixed = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        quiet = ["--save", "", "--appendonly", "no", "--daemonize", "no", "--logfile", str(self.folder / "log")]
        command = ["redis-server", *fixed, *quiet, *self.options, *options]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        end = time.monotonic() + _PATIENCE
        while not (answer := self._ask()) or (ready and answer.startswith(b"-LOADING")):
            if self._process.poll() is not None or time.monotonic() > end:
                self.kill()
                raise RuntimeError(f"redis-server did not start: {(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.01)

    def _ask(self) -> bytes:
        """Return the answer to a PING, an error reply too; nothing where there is none."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(100)
        except OSError:
            return b""

    def kill(self) -> None:
        """End the server at once, as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """End the server in its own time."""
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_PATIENCE)
            self.kill()


@contextlib.contextmanager
def redis_server(folder: Path, *options: str) -> Iterator[RedisServer]:
    """Run a Redis server.

    Args:
        folder: Where its data goes.
        *options: Of its command line.
    """
    server = RedisServer(folder, *options)
    for chance in (True, True, False):
        server.reserve()
        try:
            server.start()
            break
        except RuntimeError:  # somebody else may have taken the port in between
            if not chance:
                raise
    try:
        yield server
    finally:
        server.stop()
