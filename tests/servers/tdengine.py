"""A loopback server that speaks TDengine's REST protocol, and fails on request: nothing of TDengine is needed."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
from collections import deque
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

from servers.common import need, serving

__all__ = ["HANG_UP", "HANG_UP_AFTER", "STALL", "TDengineServer", "require_taosrest", "tdengine_server"]

HANG_UP = "hang up"
"""Close the connection before the statement is executed."""
HANG_UP_AFTER = "hang up after"
"""Execute the statement, and close the connection without an answer."""
STALL = "stall"
"""Do not answer while the server runs."""


def require_taosrest() -> None:
    """Skip where the client is missing; fail where the environment says that it must be there."""
    need(modules=["taosrest"])


class TDengineServer:
    """What the server was told, and what it is to do.

    Attributes:
        url: Where it listens.
        failures: What comes of the next requests, in order: a number of TDengine's, a `(status, headers)` of HTTP's, or
            one of this module's words. When there are none left, statements succeed.
        rows: The statements that were executed.
        requests: How many came.
    """

    def __init__(self) -> None:
        self.url = ""
        self.failures: deque[Any] = deque()
        self.rows: list[str] = []
        self.requests = 0
        self.ended = threading.Event()

    def answer(self, statement: str) -> Any:
        """Return what is to be done with a statement: a word, a status, or the body of an answer."""
        self.requests += 1
        failure = self.failures.popleft() if self.failures else 0
        if type(failure) is int and failure:
            return {"code": failure, "desc": f"failure 0x{failure & 0xFFFF:04x}"}
        if failure in (0, HANG_UP_AFTER):
            self.rows.append(statement)
        if failure:
            return failure
        meta = [["affected_rows", "INT", 4]]
        return {"code": 0, "column_meta": meta, "data": [[1]], "rows": 1}


def _handler(server: TDengineServer) -> type[BaseHTTPRequestHandler]:
    expected = "Basic " + base64.b64encode(b"root:taosdata").decode()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            statement = self.rfile.read(int(self.headers["Content-Length"])).decode()
            if self.headers["Authorization"] != expected:
                self.reply(401, {}, b"")
                return
            answer = server.answer(statement)
            if answer == STALL:
                server.ended.wait()
            elif type(answer) is tuple:
                self.reply(answer[0], answer[1], b"")
            elif type(answer) is dict:
                self.reply(200, {"Content-Type": "application/json"}, json.dumps(answer).encode())

        def reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    return Handler


@contextlib.contextmanager
def tdengine_server() -> Iterator[TDengineServer]:
    """Run a server that speaks TDengine's REST protocol."""
    server = TDengineServer()
    with serving(_handler(server), before_the_end=server.ended.set) as port:
        server.url = f"http://127.0.0.1:{port}"
        yield server
