"""Small HTTP servers on loopback that answer, redirect, and fail as they are told; they are proxies too."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from servers.common import serving

__all__ = ["CUT", "HANG_UP", "STALL", "Web", "encrypted", "last_words", "web"]

HANG_UP = "hang up"
"""Take the request, and close the connection without an answer."""
CUT = "cut"
"""Promise a hundred bytes, send five, and close the connection."""
STALL = "stall"
"""Do not answer while the server runs."""


class Web:
    """What the server was asked, and what it is to do.

    Attributes:
        port: Where it listens.
        answers: By path: a `(status, headers)`, or one of this module's words. Every other path is answered with 200.
        requests: Method and path of each request that came.
    """

    def __init__(self, answers: dict[str, Any]) -> None:
        self.port = 0
        self.answers = answers
        self.requests: list[str] = []
        self.ended = threading.Event()

    def url(self, path: str, scheme: str = "http") -> str:
        """Return the address of a path."""
        return f"{scheme}://127.0.0.1:{self.port}{path}"


def _handler(server: Web) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            server.requests.append(f"{self.command} {self.path}")
            # Asked for a tunnel, it acts as for the path "CONNECT".
            told = server.answers.get("CONNECT" if self.command == "CONNECT" else self.path, (200, {}))
            if told == STALL:
                server.ended.wait()
            elif told == CUT:
                self.reply(200, {}, 100)
            elif told != HANG_UP:
                self.reply(*told, 5)

        def reply(self, status: int, headers: dict[str, str], length: int) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(length), "Connection": "close"}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"hello")

        do_GET = do_POST = do_CONNECT = answer

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    return Handler


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that has gone away is what a test wants."""


@contextlib.contextmanager
def web(**answers: Any) -> Iterator[Web]:
    """Run a server for as long as the block lasts.

    Args:
        **answers: By path without its slash, or for ``CONNECT``, what comes of a request.
    """
    server = Web({name if name == "CONNECT" else f"/{name}": told for name, told in answers.items()})
    with serving(_handler(server), _Server, server.ended.set) as server.port:
        yield server


@contextlib.contextmanager
def last_words(answered: int = 0) -> Iterator[tuple[int, list[bytes]]]:
    """Run a server of one connection, which hangs up on a request with its port closed already.

    Args:
        answered: How many requests are answered before, with the connection kept.

    Yields:
        The port, and the first bytes of each request.
    """
    requests: list[bytes] = []
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listening:
            listening.settimeout(30)
            connection, _ = listening.accept()
        with connection:
            connection.settimeout(30)
            for _ in range(answered):
                requests.append(connection.recv(10_000))
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            requests.append(connection.recv(10_000))

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listening.getsockname()[1], requests
    finally:
        thread.join()


@contextlib.contextmanager
def encrypted(folder: Path) -> Iterator[int]:
    """Run a TLS server whose certificate nobody has signed; needs the program openssl. Yields the port.

    Args:
        folder: Where the certificate goes.
    """
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    made = ["-keyout", str(key), "-out", str(certificate), "-subj", "/CN=localhost", "-days", "2"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *made]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.05)
        ended = threading.Event()

        def serve() -> None:
            while not ended.is_set():
                with contextlib.suppress(OSError):  # nobody came, or did not like the certificate
                    connection, _ = listening.accept()
                    connection.settimeout(5)
                    with connection, context.wrap_socket(connection, server_side=True):
                        pass

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            ended.set()
            thread.join()
