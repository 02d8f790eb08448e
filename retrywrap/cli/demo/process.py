"""The server's process: started, talked to, and gone when we are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, cast

from retrywrap.cli.usage import UsageError

__all__ = ["ServerProcess"]

_PATIENCE = 5.0


class ServerProcess:
    """A server in another process, as a context manager; it ends with the block, and with our process at the latest.

    Args:
        orders: What `retrywrap.cli.demo.server.Server` takes, and ``backup``: the folder to remove at the end, unless
            ``keep``.

    Attributes:
        pid: The process's number.
        port: The port it listens at.

    Raises:
        UsageError: The process could not be started, or did not become a server.
    """

    def __init__(self, orders: dict[str, Any]) -> None:
        ours = str(Path(__file__).resolve().parents[3])  # the other side runs the same retrywrap, wherever it was found
        path = os.pathsep.join(filter(None, (ours, os.environ.get("PYTHONPATH"))))
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "retrywrap.cli.demo.server"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": path},
                start_new_session=True,  # the terminal's Ctrl-C is for us alone; the server ends when its input does
            )
        except OSError as error:
            raise UsageError(f"the demo's server cannot be started: {error}") from error
        self._stdin, self._stdout = cast("IO[bytes]", self._process.stdin), cast("IO[bytes]", self._process.stdout)
        self.pid = self._process.pid
        try:
            answer = self._ask(json.dumps(orders))
        except BaseException:
            self.stop()
            raise
        if answer is None:
            self.stop()
            raise UsageError(f"the demo's server did not start (exit status {self._process.returncode})")
        self.port: int = answer["port"]

    def come_back(self) -> None:
        """Tell it that somebody was turned away; return when it is open again, or was found dead."""
        self._ask("")

    def _ask(self, line: str) -> dict[str, Any] | None:
        with suppress(OSError, ValueError):
            self._stdin.write(line.encode() + b"\n")
            self._stdin.flush()
            answer: dict[str, Any] = json.loads(self._stdout.readline())
            return answer
        return None

    def stop(self) -> None:
        """End it, kindly first."""
        for pipe in (self._stdin, self._stdout):
            with suppress(OSError):
                pipe.close()
        try:
            self._process.wait(_PATIENCE)
        except BaseException as error:
            self._process.kill()
            self._process.wait()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
