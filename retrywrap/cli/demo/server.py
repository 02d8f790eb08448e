"""The other side of the demo: a small HTTP server, in a process of its own, that misbehaves on purpose.

Run as ``python -m retrywrap.cli.demo.server``. It reads its orders as one line of JSON from standard input and answers
with its port; each further line tells it that somebody was turned away at its closed port, and is answered when the port
is open again. Standard input ends when the parent does, whatever way that happened: then the server ends, and removes
the backup's folder unless it is to be kept.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import socket
import struct
import sys
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from typing import Any, BinaryIO
from urllib.parse import unquote_to_bytes

from retrywrap.cli.demo.scan import BLOCK, read_blocks
from retrywrap.config import configure
from retrywrap.run.decorator import with_retry
from retrywrap.run.files import write_file

__all__ = ["Server", "main"]

_PATIENCE = 10.0
_LONGEST_AWAY = 1.5
_RESET_AFTER = 1 << 16
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


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
        self._opened.wait(_PATIENCE)

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


class Handler(BaseHTTPRequestHandler):
    """One connection: uploads by PUT, folders by MKCOL, checksums by HEAD."""

    protocol_version = "HTTP/1.1"
    timeout = _PATIENCE
    server: Any

    def do_PUT(self) -> None:
        """Take a file."""
        name = self._begin()
        if name is None:
            return
        try:
            checksum = self._store(self.server.path(name), self._length())
        except OSError as error:
            self.close_connection = True
            self._answer(507 if error.errno in _DISK_FULL else 500)
            return
        if checksum is not None:
            self.server.checksums[name] = checksum
            self._answer(201)

    def do_MKCOL(self) -> None:
        """Make a folder."""
        name = self._begin()
        if name is not None:
            os.makedirs(self.server.path(name), exist_ok=True)
            self._answer(201)

    def do_HEAD(self) -> None:
        """Tell the checksum of a file that came."""
        name = self._begin()
        if name is not None:
            self._answer(200 if name in self.server.checksums else 404, ETag=self._tag(name))

    def _begin(self) -> str | None:
        """Return the file's name where the request is to be served; else it was dealt with."""
        name = self.server.name(self.path)
        if name is None:
            self.close_connection = True
            self._answer(404)
            return None
        misbehaviour = self.server.next_misbehaviour(self.command, name)
        if misbehaviour == "refuse":
            self.server.go_away()
            self.close_connection = True
        elif misbehaviour == "lie":
            self._answer(200, ETag=self._tag(name)[::-1])
        elif misbehaviour is not None:
            getattr(self, f"_{misbehaviour}")()
        return name if misbehaviour in (None, "refuse") else None

    def _reset(self) -> None:
        """Take a part of the body, then have the kernel send RST instead of an orderly end."""
        self.rfile.read(min(self._length() // 2, _RESET_AFTER))
        linger = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close_connection = True

    def _busy(self) -> None:
        for _ in read_blocks(self.rfile, self._length()):  # an answer that crosses a body is lost with it
            pass
        self._answer(503, **{"Retry-After": "1"})

    def _stall(self) -> None:
        """Swallow all that comes and say nothing, until the client hangs up."""
        while self.rfile.read1(BLOCK):  # type: ignore[attr-defined]  # socketserver's file is a BufferedReader
            pass
        self.close_connection = True

    def _tag(self, name: str) -> str:
        return '"' + self.server.checksums.get(name, "") + '"'

    def _length(self) -> int:
        return int(self.headers.get("Content-Length") or 0)

    def _store(self, path: str, size: int) -> str | None:
        """Store the body; return its checksum, or None where it ended before its time."""
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if size > BLOCK:
            return self._store_large(path, size)
        body = self.rfile.read(size)
        if len(body) < size:
            return None
        write_file(path, body, durable=False)
        return hashlib.sha256(body).hexdigest()

    def _store_large(self, path: str, size: int) -> str | None:
        checksum = hashlib.sha256()
        with open(path, "wb") as file:
            for block in read_blocks(self.rfile, size):
                checksum.update(block)
                size -= file.write(block)
        return None if size else checksum.hexdigest()

    def _answer(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": "0"}.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the client tells what it met."""


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
