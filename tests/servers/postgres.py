"""A PostgreSQL server."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from servers.common import find_program, folder_of, free_port, run_as

__all__ = ["PASSWORD", "Postgres", "postgres"]

PASSWORD = "right"
_PLACES = "usr/lib/postgresql/*/bin/"


class Postgres:
    """A server that runs: users ``tester``, who may do all, and ``guarded``, who needs a password.

    Attributes:
        port: Where it listens, on 127.0.0.1.
    """

    def __init__(self, folder: Path, owner: dict[str, Any], options: dict[str, str]) -> None:
        self.port = free_port()
        self._folder = folder
        self._owner = owner
        self._control = find_program("pg_ctl", f"{_PLACES}pg_ctl")
        self._run(find_program("initdb", f"{_PLACES}initdb"), "-U", "tester", "-A", "trust", "--no-sync",
                  "--no-locale", "-E", "UTF8")  # fmt: skip
        settings = {
            "listen_addresses": "'127.0.0.1'",
            "unix_socket_directories": f"'{folder}'",
            "port": str(self.port),
            "fsync": "off",
            **options,
        }
        data = folder / "data"
        with (data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = {value}\n" for name, value in settings.items())
        (data / "pg_hba.conf").write_text(
            "host all guarded 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\nlocal all all trust\n"
        )

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        self._run(self._control, "-w", "-t", "60", "-l", str(self._folder / "log"), "start")

    def stop(self) -> None:
        """Stop it, and break each connection off."""
        self._run(self._control, "-w", "-t", "60", "-m", "fast", "stop")

    def running(self) -> bool:
        """Return whether it runs."""
        command = [self._control, "-D", str(self._folder / "data"), "status"]
        return subprocess.run(command, stdout=subprocess.DEVNULL, cwd="/", **self._owner).returncode == 0

    def _run(self, program: str, *arguments: str) -> None:
        # What pg_ctl starts would hold a pipe open, so that the output goes to a file.
        output = self._folder / "output"
        with output.open("w") as file:
            command = [program, "-D", str(self._folder / "data"), *arguments]
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, cwd="/", timeout=120, **self._owner
            )
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)} failed: {output.read_text()}")


@contextlib.contextmanager
def postgres(**options: str) -> Iterator[Postgres]:
    """Run a server for as long as the block lasts.

    Args:
        **options: Settings of postgresql.conf, as they stand there.
    """
    owner = run_as("postgres")
    with folder_of(owner) as folder:
        server = Postgres(folder, owner, options)
        try:
            server.start()
            yield server
        finally:
            if server.running():
                server.stop()
