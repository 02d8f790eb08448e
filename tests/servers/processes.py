"""Programs that run while a test does: started, waited for, killed, stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

__all__ = ["Program", "listening", "wait_until"]

_LONGEST_WAIT = 40.0
_BETWEEN_LOOKS = 0.02


def listening(port: int) -> bool:
    """Return whether somebody listens on a port."""
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex(("127.0.0.1", port)) == 0


def wait_until(ready: Callable[[], bool], what: str, program: Program | None = None) -> None:
    """Return when something is so.

    Raises:
        TimeoutError: It did not become so.
        RuntimeError: The program ended instead.
    """
    end = time.monotonic() + _LONGEST_WAIT
    while not ready():
        if program is not None and not program.runs:
            raise RuntimeError(f"{what}: the program ended.\n{program.output}")
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {_LONGEST_WAIT} s.\n{'' if program is None else program.output}")
        time.sleep(_BETWEEN_LOOKS)


class Program:
    """A program in a process group of its own.

    Args:
        command: Its name and arguments.
        log: The file that takes what it prints.
        env: Its environment; None: this process's own.
    """

    def __init__(self, command: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> None:
        self._log = log
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env, start_new_session=True
            )

    @property
    def runs(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    @property
    def output(self) -> str:
        """The end of what it printed."""
        return self._log.read_text(errors="replace")[-2000:]

    def kill(self) -> None:
        """End it as a power cut would, with all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(_LONGEST_WAIT)

    def stop(self) -> None:
        """Ask it to end; kill it, if it does not."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_LONGEST_WAIT / 2)
        self.kill()
