"""The other side of the demo: a small HTTP server, in a process of its own, that misbehaves on purpose.

Run as ``python -m retrywrap.cli.demo.server``. It reads its orders as one line of JSON from standard input and answers
with its port. Each further line tells it that somebody was turned away at its closed port, and is answered when the
port is open again. Standard input ends when the parent does, whatever way that happened: then the server ends, and
removes the backup's folder unless it is to be kept.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import threading
from contextlib import suppress
from typing import Any, BinaryIO
from urllib.parse import unquote_to_bytes

from retrywrap.cli.demo.handler import PATIENCE, Handler
from retrywrap.config import configure
from retrywrap.run.decorator import with_retry

__all__ = ["Server", "main"]

_LONGEST_AWAY = 1.5


class Server:
    """Accepts one connection after the other on one port of 127.0.0.1, which it sometimes closes.

    Args:
        orders: ``folder``: where the files go; ``token``: what every request's path begins with; ``queues``: what goes
            wrong, as in `retrywrap.cli.demo.plan.Plan`.

    Attributes:
        port: The port, the same whenever it is open.
        folder: Where the files go.
        checksums: The SHA-256 of each file that came whole.
    """

    def __init__(self, orders: dict[str, Any]) -> None:
        self.folder: str = orders["folder"]
        self.checksums: dict[str, str] = {}
        self._prefix = f"/{orders['token']}/"
        self._queues: dict[str, dict[str, list[str]]] = orders["queues"]
        self._called = threading.Event()
        self._opened = threading.Event()
        self._ended = False
        self.port = 0
        self._open()

    @with_retry(max=40, interval=0.05, on=OSError, name="demo.open_port")
    def _open(self) -> None:
        """Listen; patiently, should another program have taken the port in the meantime."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        self._opened.set()

    def serve(self) -> None:
        """Serve until `end`."""
        while not self._ended:
            try:
                connection, address = self._listener.accept()
            except OSError:
                continue
            with connection, suppress(OSError):
                Handler(connection, address, self)  # type: ignore[arg-type]  # it only keeps its third argument
            if not self._opened.is_set():
                self._called.wait(_LONGEST_AWAY)
                self._open()

    def go_away(self) -> None:
        """Close the port, until somebody was turned away."""
        self._called.clear()
        self._opened.clear()
        self._listener.close()

    def come_back(self) -> None:
        """Have the port opened again; return when it is."""
        self._called.set()
        self._opened.wait(PATIENCE)

    def end(self) -> None:
        """Close the port for good. Any thread may call it."""
        self._ended = True
        self._called.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes whoever waits in accept
        self._listener.close()

    def name(self, path: str) -> str | None:
        """Return the file's name that a request's path means; None: it means none that we serve."""
        name = os.fsdecode(unquote_to_bytes(path.removeprefix(self._prefix)))
        if not path.startswith(self._prefix) or {"", ".", ".."} & set(name.split("/")) or "\0" in name:
            return None
        return name

    def path(self, name: str) -> str:
        """Return where the file of that name goes."""
        return os.path.join(self.folder, *name.split("/"))

    def next_misbehaviour(self, method: str, name: str) -> str | None:
        """Return what is to go wrong with this request; None: nothing."""
        queue = self._queues.get(method, {}).get(name)
        return queue.pop(0) if queue else None


def main(orders: BinaryIO, answers: BinaryIO) -> None:
    """Serve until `orders` ends.

    Args:
        orders: One line of JSON; then one line whenever the server is to come back.
        answers: One line of JSON for each of them.
    """
    configure(events=False)
    order = json.loads(orders.readline() or "null")
    if order is None:
        return
    server = Server(order)
    threading.Thread(target=server.serve, daemon=True).start()
    answer: dict[str, int] = {"port": server.port}
    while True:
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()
        if not orders.readline():
            break
        server.come_back()
        answer = {}
    server.end()
    if not order["keep"]:
        shutil.rmtree(order["backup"], ignore_errors=True)


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer)
