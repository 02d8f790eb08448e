"""A NATS server. Debian's package: nats-server."""

from __future__ import annotations

import tempfile
from pathlib import Path

from servers.common import free_port
from servers.processes import Program, listening, wait_until

__all__ = ["BINARY", "NatsServer"]

BINARY = "nats-server"


class NatsServer:
    """A NATS server with JetStream; as a context manager it stops at the end.

    Args:
        *options: More options for its command line.
    """

    def __init__(self, *options: str) -> None:
        self.port = free_port()
        self._options = options
        self._folder = tempfile.TemporaryDirectory(prefix="retrywrap-nats-")
        self._program: Program | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, on the port and with the data that it had before; return when it answers."""
        folder = Path(self._folder.name)
        place = ["-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", str(folder / "data")]
        self._program = Program([BINARY, *place, *self._options], folder / "log")
        wait_until(lambda: listening(self.port), BINARY, self._program)

    def kill(self) -> None:
        """End it as a power cut would."""
        assert self._program is not None
        self._program.kill()

    def __enter__(self) -> NatsServer:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._program is not None:
            self._program.stop()
        self._folder.cleanup()
