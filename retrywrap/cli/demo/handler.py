"""One connection of the demo's server: what is asked for, and what goes wrong with it."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import struct
from http.server import BaseHTTPRequestHandler
from typing import Any

from retrywrap.cli.demo.scan import BLOCK, read_blocks
from retrywrap.run.files import write_file

__all__ = ["PATIENCE", "Handler"]

PATIENCE = 10.0
"""Seconds without a sign of the client after which a connection is closed."""

_RESET_AFTER = 1 << 16
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class Handler(BaseHTTPRequestHandler):
    """One connection: uploads by PUT, folders by MKCOL, checksums by HEAD."""

    protocol_version = "HTTP/1.1"
    timeout = PATIENCE
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
        while self.rfile.read1(BLOCK):
            pass
        self.close_connection = True

    def _tag(self, name: str) -> str:
        return f'"{self.server.checksums.get(name, "")}"'

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
