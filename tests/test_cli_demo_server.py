"""The demo's server and its client: each misbehaviour, what the server refuses, and how its process ends."""

from __future__ import annotations

import errno
import io
import json
import os
import runpy
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

import retrywrap
from retrywrap.cli.demo import client as client_module
from retrywrap.cli.demo import handler, process, scan, server
from retrywrap.cli.demo.client import ChecksumMismatch, Client, HTTPFailure
from retrywrap.cli.demo.process import ServerProcess
from retrywrap.cli.demo.progress import misbehaviour_of
from retrywrap.cli.demo.server import Server
from retrywrap.cli.usage import UsageError
from retrywrap.decide.events import RetryEvent, StopReason
from retrywrap.record.hooks import subscribe
from retrywrap.testing import VirtualClock

TOKEN = "secret"
BLOCK = scan.BLOCK


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with three files, the last one larger than a block, and an empty folder."""
    (tmp_path / "here" / "deep").mkdir(parents=True)
    (tmp_path / "here" / "hollow").mkdir()
    (tmp_path / "here" / "a.txt").write_bytes(b"alpha")
    (tmp_path / "here" / "deep" / "empty").write_bytes(b"")
    (tmp_path / "here" / "deep" / "large").write_bytes(os.urandom(BLOCK + 5))
    return tmp_path / "here"


class Served:
    """A server in a thread, and what its client needs."""

    def __init__(self, source: Path, target: Path, queues: dict[str, dict[str, list[str]]]) -> None:
        target.mkdir()
        self.target = target
        self.server = Server({"folder": str(target), "token": TOKEN, "queues": queues})
        self.thread = threading.Thread(target=self.server.serve)
        self.thread.start()
        self.client = Client(self.server.port, TOKEN, scan.scan(str(source)))
        self.events: list[RetryEvent] = []
        self.unsubscribe = subscribe(self._event)

    def _event(self, event: RetryEvent) -> None:
        self.events.append(event)
        if event.error_type == "builtins.ConnectionRefusedError":
            self.server.come_back()

    def met(self) -> list[str | None]:
        """Return what the client met, in order."""
        return [misbehaviour_of(event) for event in self.events if event.is_error]

    def end(self) -> None:
        """Take all down."""
        self.unsubscribe()
        self.client.close()
        self.server.end()
        self.thread.join(10)
        assert not self.thread.is_alive()


@pytest.fixture
def serve(folder: Path, tmp_path: Path, clock: VirtualClock) -> Iterator[Callable[..., Served]]:
    """Return a function that starts a server which misbehaves as told; waits of the client take no time."""
    made: list[Served] = []

    def start(put: dict[str, list[str]] | None = None, head: dict[str, list[str]] | None = None) -> Served:
        made.append(Served(folder, tmp_path / "target", {"PUT": put or {}, "HEAD": head or {}}))
        return made[-1]

    yield start
    for served in made:
        served.end()


def test_backup_without_misbehaviour(serve: Callable[..., Served], folder: Path) -> None:
    """Files of any size and folders arrive as they are, at the first attempt, over a single connection."""
    served = serve()
    for name in ("a.txt", "deep/empty", "deep/large"):
        stored = served.client.upload_file(name)
        assert (served.target / name).read_bytes() == (folder / name).read_bytes()
        assert stored.size == (folder / name).stat().st_size
        assert stored.checksum == served.server.checksums[name]
    served.client.make_folder("hollow/most")
    assert (served.target / "hollow" / "most").is_dir()
    assert served.events == []
    assert served.client.attempts == 7


@pytest.mark.parametrize(
    ("put", "head", "codes"),
    [
        (["refuse"], [], ["NETWORK"]),
        (["reset"], [], ["CONNECTION_LOST"]),
        (["busy"], [], ["NETWORK"]),
        (["stall"], [], ["TIMEOUT"]),
        ([], ["lie"], ["DATA_CORRUPTION"]),
        ([], ["busy", "lie"], ["NETWORK", "DATA_CORRUPTION"]),
        (["reset", "busy", "refuse"], ["stall"], ["CONNECTION_LOST", "NETWORK", "NETWORK", "TIMEOUT"]),
    ],
)
@pytest.mark.parametrize("name", ["a.txt", "deep/empty", "deep/large"])
def test_each_misbehaviour_is_met_and_recovered_from(
    serve: Callable[..., Served], folder: Path, name: str, put: list[str], head: list[str], codes: list[str]
) -> None:
    """What the server does wrong reaches the client as what it is, by its code, and the file arrives all the same."""
    served = serve({name: [*put]}, {name: [*head]})
    served.client.upload_file(name)
    assert (served.target / name).read_bytes() == (folder / name).read_bytes()
    assert served.met() == [*put, *head]
    assert [event.code.name for event in served.events if event.is_error] == codes
    assert {event.reason for event in served.events} == {None, StopReason.RECOVERED}


def test_retry_after_is_heeded(serve: Callable[..., Served], clock: VirtualClock) -> None:
    """The second that a busy server asks for is waited, where the backoff alone would wait 0.05 s at most."""
    serve({"a.txt": ["busy"]}).client.upload_file("a.txt")
    assert clock.waits == [1.0]


def test_a_refusal_after_the_last_answer_meets_the_next_upload(serve: Callable[..., Served]) -> None:
    """A port that closes after a checksum was told refuses the next file's upload, once."""
    served = serve(head={"a.txt": ["refuse"]})
    served.client.upload_file("a.txt")
    served.client.upload_file("deep/empty")
    assert [(event.operation.rpartition(".")[2], event.is_error) for event in served.events] == [
        ("upload_file", True),
        ("upload_file", False),
    ]


def test_a_lie_that_does_not_end_is_an_error(serve: Callable[..., Served]) -> None:
    """A server that never tells the right checksum is not believed: the mismatch comes out, after ten retries."""
    with pytest.raises(ChecksumMismatch, match=r"sent \w{8}…, the server says") as caught:
        serve(head={"a.txt": ["lie"] * 11}).client.upload_file("a.txt")
    assert "exhausted after 11 attempts" in caught.value.__notes__[0]


def test_server_comes_back_by_itself(serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that nobody speaks for finds the port open again after a while."""
    monkeypatch.setattr(server, "_LONGEST_AWAY", 0.05)
    served = serve({"a.txt": ["refuse"]})
    served.unsubscribe()
    request(served.server.port, "PUT", f"/{TOKEN}/a.txt", b"alpha")
    while True:
        try:
            assert request(served.server.port, "HEAD", f"/{TOKEN}/a.txt") == 200
            break
        except ConnectionRefusedError:
            time.sleep(0.01)


def request(port: int, method: str, path: str, body: bytes = b"") -> int:
    """Make one plain request; return the status."""
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request(method, path, body)
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize(
    "path", ["/wrong/a.txt", "/secret/../a", "/secret/a/%2e%2e/b", "/secret//etc/x", "/secret/", "/secret/a%00b", "/"]
)
@pytest.mark.parametrize("method", ["PUT", "HEAD", "MKCOL"])
def test_server_serves_nobody_else(serve: Callable[..., Served], method: str, path: str) -> None:
    """A request without the token, or for a path outside of the folder, is refused, and nothing is written."""
    served = serve()
    assert request(served.server.port, method, path, b"x" if method == "PUT" else b"") == 404
    assert list(served.target.iterdir()) == []


def test_checksum_of_what_never_came(serve: Callable[..., Served]) -> None:
    """The server knows no checksum of a file that it does not have, and that answer is not worth a retry."""
    with pytest.raises(HTTPFailure, match="HTTP 404 Not Found") as caught:
        serve().client.get_checksum("a.txt")
    assert "INVALID_PARAM is not retryable" in caught.value.__notes__[0]


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, "DISK_FULL"), (errno.ENAMETOOLONG, "UNKNOWN")])
def test_server_says_why_it_cannot_store(
    serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch, number: int, code: str
) -> None:
    """A full disk on the other side is told as such, and not retried."""

    def failing(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(handler, "write_file", failing)
    served = serve()
    with pytest.raises(HTTPFailure) as caught:
        served.client.upload_file("a.txt")
    assert caught.value.status == (507 if code == "DISK_FULL" else 500)
    assert served.events[0].code.name == code
    if code == "DISK_FULL":
        assert [event.reason for event in served.events] == [StopReason.REJECTED]


@pytest.mark.parametrize("size", [100, BLOCK + 100])
def test_a_body_that_breaks_off_is_not_stored(serve: Callable[..., Served], size: int) -> None:
    """Where the client hangs up within a file, the server tells no checksum of the part."""
    served = serve()
    with socket.create_connection(("127.0.0.1", served.server.port)) as plain:
        plain.sendall(f"PUT /{TOKEN}/part HTTP/1.1\r\nContent-Length: {size}\r\n\r\nbegin".encode())
    assert request(served.server.port, "HEAD", f"/{TOKEN}/part") == 404


def test_a_file_that_shrinks_is_sent_again(serve: Callable[..., Served], folder: Path) -> None:
    """A file that loses bytes while it is sent is an error of its own, and its new content is what arrives."""
    served = serve()
    served.client._sent = lambda size: os.truncate(folder / "deep" / "large", BLOCK)
    assert served.client.upload_file("deep/large").size == BLOCK
    assert served.events[0].error_type.endswith("FileChanged")
    assert served.events[0].message == "deep/large lost 5 of 1048581 bytes while it was read"
    assert (served.target / "deep" / "large").read_bytes() == (folder / "deep" / "large").read_bytes()


def test_an_upload_ends_with_the_time_of_the_scope(serve: Callable[..., Served], clock: VirtualClock) -> None:
    """In the middle of a large file the upload ends when the scope's time is over, and no retry follows."""
    served = serve()
    served.client._sent = lambda size: clock.advance(20)
    with (
        retrywrap.retry_scope(timeout=18),
        pytest.raises(TimeoutError, match="with 5 of 1048581 bytes still") as caught,
    ):
        served.client.upload_file("deep/large")
    assert "timed out" in caught.value.__notes__[0]


def test_a_timeout_says_what_was_waited_for(serve: Callable[..., Served], clock: VirtualClock) -> None:
    """A silent server is called silent; no attempt waits for longer than is left to the scope."""
    served = serve({"a.txt": ["stall"] * 3})
    with retrywrap.retry_scope(timeout=0.2), pytest.raises(TimeoutError, match="no sign of the server") as caught:
        served.client.upload_file("a.txt")
    assert [event.message for event in served.events] == [
        f"no sign of the server for {left:g} s" for left in (0.2, 0.2 - clock.waits[0], 0.2 - sum(clock.waits))
    ]
    assert "timed out after 3 attempts" in caught.value.__notes__[0]


def test_a_timeout_of_the_system_keeps_its_own_words(
    serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the socket's own bare "timed out" is put in other words."""

    def failing(self: HTTPConnection, *_: object) -> None:
        raise TimeoutError(errno.ETIMEDOUT, "Connection timed out")

    served = serve()
    monkeypatch.setattr(HTTPConnection, "request", failing)
    with pytest.raises(TimeoutError, match="Connection timed out"):
        served.client.get_checksum("a.txt")


def test_large_files_are_given_more_time(
    serve: Callable[..., Served], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a disk catches up with a large file, the server may be silent for longer."""
    given: list[float] = []
    real = Client._set_timeout

    def noting(self: Client, patience: float) -> float:
        given.append(patience)
        return real(self, patience)

    monkeypatch.setattr(Client, "_set_timeout", noting)
    monkeypatch.setattr(client_module, "_LARGE", BLOCK)
    served = serve()
    served.client.upload_file("deep/large")
    assert given == [5.0, 0.5]


def test_server_main_serves_until_its_input_ends(folder: Path, tmp_path: Path) -> None:
    """The server tells its port, comes back when it is told so, and removes the backup at the end of its input."""
    backup = tmp_path / "backup"
    (backup / "files").mkdir(parents=True)
    answers = _talk(folder=str(backup / "files"), backup=str(backup), keep=False, queues={})
    port = answers[0]["port"]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    assert answers[1:] == [{}]
    assert not backup.exists()


def test_server_main_keeps_the_backup(tmp_path: Path) -> None:
    """Where the backup is to be kept, it is."""
    _talk(folder=str(tmp_path), backup=str(tmp_path), keep=True, queues={})
    assert tmp_path.exists()


def test_server_main_without_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run as a module by somebody who says nothing, it ends at once."""
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    monkeypatch.setattr(sys, "stdout", out)
    runpy.run_path(server.__file__, run_name="__main__")
    assert raw.getvalue() == b""


def _talk(**orders: Any) -> list[dict[str, int]]:
    said = io.BytesIO(json.dumps({"token": TOKEN, **orders}).encode() + b"\n\n")
    heard = io.BytesIO()
    server.main(said, heard)
    return [json.loads(line) for line in heard.getvalue().splitlines()]


ORDERS = {"token": TOKEN, "queues": {}, "keep": True}


def test_server_process_ends_with_its_block(tmp_path: Path) -> None:
    """Inside the block there is a server in another process, outside there is none."""
    with ServerProcess({**ORDERS, "folder": str(tmp_path), "backup": str(tmp_path)}) as started:
        assert os.getsid(started.pid) == started.pid  # the terminal's Ctrl-C does not reach it
        assert request(started.port, "PUT", f"/{TOKEN}/x", b"content") == 201
        started.come_back()
    assert (tmp_path / "x").read_bytes() == b"content"
    assert not alive(started.pid)
    started.come_back()


def alive(pid: int) -> bool:
    """Return whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_server_process_that_does_not_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A program that is no server, and none at all, are one clear error."""
    monkeypatch.setattr(sys, "executable", _script(tmp_path, "exit 3"))
    with pytest.raises(UsageError, match=r"did not start \(exit status 3\)"):
        ServerProcess(ORDERS)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "missing"))
    with pytest.raises(UsageError, match=r"cannot be started: .*missing"):
        ServerProcess(ORDERS)


def test_server_process_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A server that stays after its input has ended is killed."""
    monkeypatch.setattr(sys, "executable", _script(tmp_path, "echo '{\"port\": 1}'; exec sleep 60"))
    monkeypatch.setattr(process, "_PATIENCE", 0.05)
    with ServerProcess(ORDERS) as started:
        assert started.port == 1
    assert not alive(started.pid)


@pytest.mark.parametrize("again", [False, True])
def test_server_process_ends_on_an_interrupt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, again: bool) -> None:
    """Ctrl-C while the server is started, and once more while its end is waited for, leaves no process."""
    monkeypatch.setattr(sys, "executable", _script(tmp_path, "exec sleep 60" if again else "exec cat >/dev/null"))
    started: list[ServerProcess] = []
    wait = subprocess.Popen.wait
    interrupts = iter([KeyboardInterrupt] if again else [])

    def asking(self: ServerProcess, line: str) -> None:
        started.append(self)
        raise KeyboardInterrupt

    def waiting(self: Any, timeout: float | None = None) -> int:
        for interrupt in interrupts:
            raise interrupt
        return int(wait(self, timeout))

    monkeypatch.setattr(ServerProcess, "_ask", asking)
    monkeypatch.setattr(subprocess.Popen, "wait", waiting)
    with pytest.raises(KeyboardInterrupt):
        ServerProcess(ORDERS)
    assert not alive(started[0].pid)


def _script(tmp_path: Path, text: str) -> str:
    path = tmp_path / "program"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)
