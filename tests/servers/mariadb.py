"""A MariaDB server."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from servers.common import find_program, folder_of, free_port, run_as, wait_until

__all__ = ["PASSWORD", "MariaDB", "mariadb"]

PASSWORD = "right"
_USERS = f"""
CREATE DATABASE IF NOT EXISTS test;
CREATE USER IF NOT EXISTS tester@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';
GRANT ALL ON test.* TO tester@'127.0.0.1';
CREATE USER IF NOT EXISTS reader@'127.0.0.1' IDENTIFIED BY '{PASSWORD}' WITH MAX_USER_CONNECTIONS 1;
GRANT SELECT ON test.* TO reader@'127.0.0.1';
CREATE USER IF NOT EXISTS everywhere@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';
GRANT SELECT ON *.* TO everywhere@'127.0.0.1';
"""


class MariaDB:
    """A server that runs: the database ``test``, and users ``tester``, who owns it, ``reader``, who may read it and
    connect only once at a time, and ``everywhere``, who may read all.

    Attributes:
        port: Where it listens, on 127.0.0.1.
    """

    def __init__(self, folder: Path, owner: dict[str, Any], options: dict[str, str]) -> None:
        self.port = free_port()
        self._folder = folder
        self._owner = owner
        self._server = find_program("mariadbd", "usr/sbin/mariadbd")
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "users.sql").write_text(_USERS)
        self._log = (folder / "log").open("wb")
        subprocess.run(
            [find_program("mariadb-install-db"), "--no-defaults", f"--datadir={folder / 'data'}", "--skip-test-db",
             "--auth-root-authentication-method=normal", "--innodb-flush-log-at-trx-commit=0"],
            check=True, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, cwd="/", timeout=120, **owner,
        )  # fmt: skip

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        settings = {
            "datadir": str(self._folder / "data"),
            "socket": str(self._folder / "socket"),
            "pid-file": str(self._folder / "pid"),
            "bind-address": "127.0.0.1",
            "port": str(self.port),
            "init-file": str(self._folder / "users.sql"),
            "innodb-flush-log-at-trx-commit": "0",
            "innodb-buffer-pool-size": "16M",
            "skip-name-resolve": "1",
            **self._options,
        }
        self._process = subprocess.Popen(
            [self._server, "--no-defaults", *(f"--{name}={value}" for name, value in settings.items())],
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, cwd="/", **self._owner,
        )  # fmt: skip
        wait_until(self._answers, "MariaDB to take connections")

    def _answers(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise RuntimeError(f"mariadbd failed: {(self._folder / 'log').read_text()[-3000:]}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as client:
            return bool(client.recv(1))  # it greets whoever connects
        return False

    def stop(self) -> None:
        """Stop it, and break each connection off."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)
            self._process = None

    def running(self) -> bool:
        """Return whether it runs."""
        return self._process is not None and self._process.poll() is None

    def close(self) -> None:
        """Stop it for good."""
        self.stop()
        self._log.close()


@contextlib.contextmanager
def mariadb(**options: str) -> Iterator[MariaDB]:
    """Run a server for as long as the block lasts.

    Args:
        **options: Settings as on the command line, with underscores for hyphens.
    """
    owner = run_as("mysql")
    with folder_of(owner) as folder:
        server = MariaDB(folder, owner, options)
        try:
            server.start()
            yield server
        finally:
            server.close()
