"""TDengine's REST client against a loopback server that speaks its protocol, and what a retry makes of its errors."""

from __future__ import annotations

import errno
import importlib
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from servers.tdengine import HANG_UP, HANG_UP_AFTER, STALL, TDengineServer, require_taosrest, tdengine_server

from retrywrap import with_retry
from retrywrap.classifiers import Verdict, classify

INSERT = "INSERT INTO power.d1 VALUES (1700000000000, 10.3)"


@pytest.fixture
def server() -> Iterator[TDengineServer]:
    """A server that does what it is told."""
    require_taosrest()
    with tdengine_server() as server:
        yield server


@pytest.fixture
def execute(server: TDengineServer) -> Callable[[str], Any]:
    """Executes a statement."""
    return connect(server).execute


def connect(server: TDengineServer, **options: Any) -> Any:
    """Return a connection of the real client."""
    return importlib.import_module("taosrest").connect(url=server.url, timeout=5, **options)


def caught(function: Callable[[], Any]) -> Exception:
    """Return the error that a call raises."""
    with pytest.raises(Exception) as info:  # noqa: PT011 - each test looks at what it is
        function()
    return info.value


def verdict_of(function: Callable[[], Any]) -> Verdict:
    """Return the verdict on the error that a call raises."""
    return classify(caught(function))


def test_it_works(server: TDengineServer, execute: Callable[[str], Any]) -> None:
    """The server takes statements as TDengine does."""
    assert execute(INSERT) == 1
    assert server.rows == [INSERT]


@pytest.mark.parametrize(
    ("code", "name", "retryable"),
    [
        *((code, "NETWORK", True) for code in (0x000B, 0x0020, 0x0022, 0x0023, 0x0024, 0x0130, 0x0131)),
        *((code, "NETWORK", True) for code in (0x0529, 0x090C, 0x0914)),
        *((code, "CONNECTION_LOST", True) for code in (0x0018, 0x0021, 0x0213)),
        *((code, "TIMEOUT", True) for code in (0x0019, 0x012C, 0x0903)),
        *((code, "UNKNOWN", True) for code in (0x0125, 0x0386, 0x0396, 0x03B8, 0x03B9, 0x03D3, 0x03EF)),
        *((code, "UNKNOWN", False) for code in (0x03D5, 0x03D7, 0x0530, 0xFFFF, -1)),
        *((code, "INVALID_PARAM", False) for code in (0x0013, 0x0015, 0x0216, 0x2600, 0x2603)),
        *((code, "DISK_FULL", False) for code in (0x0129, 0x012B, 0x012E, 0x80FF0000 | errno.ENOSPC)),
        *((code, "PERMISSION_DENIED", False) for code in (0x0303, 0x0315, 0x0357, 0x0512, 0x2644, 0x0800)),
        *((code, "DATA_CORRUPTION", False) for code in (0x0104, 0x011F)),
        (0x0017, "INIT_FAILED", False),
        (0x0026, "NOT_INITIALIZED", False),
        (0x020B, "NOT_INITIALIZED", False),
        (0x0102, "MEMORY_ALLOC", False),
    ],
)
@pytest.mark.parametrize("form", ["as it is", "signed"])
def test_numbers(
    server: TDengineServer, execute: Callable[[str], Any], code: int, name: str, retryable: bool, form: str
) -> None:
    """One class comes for every statement that failed: the number says whether it is tried again."""
    wire = code if form == "as it is" or code < 0 else (code | 0x8000_0000) - 2**32
    server.failures += [wire]
    error = caught(lambda: execute(INSERT))
    assert type(error).__name__ == "ConnectError"
    found = classify(error)
    assert (found.code.name, found.retryable, found.effect) == (name, retryable, "unknown")
    server.failures += [wire]
    retried = with_retry(max=1, interval=0)(execute)
    if retryable:
        assert retried(INSERT) == 1
    else:
        assert type(caught(lambda: retried(INSERT))) is type(error)
    assert server.rows == [INSERT] * retryable


def test_wrong_password(server: TDengineServer) -> None:
    """The server answers 401, which the client raises as an error of its own."""
    found = verdict_of(lambda: connect(server, password="wrong").execute(INSERT))
    assert (found.code.name, found.retryable, found.rule) == ("PERMISSION_DENIED", False, "http.401")


def test_overloaded(server: TDengineServer, execute: Callable[[str], Any]) -> None:
    """The server answers 503, and is asked again."""
    server.failures += [(503, {})]
    found = verdict_of(lambda: execute(INSERT))
    assert (found.code.name, found.retryable, found.throttled) == ("NETWORK", True, True)
    server.failures += [(503, {}), (503, {})]
    assert with_retry(max=2, interval=0)(execute)(INSERT) == 1
    assert server.rows == [INSERT]


def test_internal_error(server: TDengineServer, execute: Callable[[str], Any]) -> None:
    """A 500 says nothing of the statement, which a POST carries: it is not sent again."""
    server.failures += [(500, {})]
    assert not verdict_of(lambda: execute(INSERT)).retryable


@pytest.mark.parametrize(("failure", "written"), [(HANG_UP, 0), (HANG_UP_AFTER, 1)])
def test_hang_up(server: TDengineServer, execute: Callable[[str], Any], failure: str, written: int) -> None:
    """A server that hangs up may have written or not: the error is the same, and the effect unknown."""
    server.failures += [failure]
    found = verdict_of(lambda: execute(INSERT))
    assert (found.code.name, found.retryable, found.effect) == ("CONNECTION_LOST", True, "unknown")
    assert len(server.rows) == written
    server.failures += [failure]
    caught(lambda: with_retry(max=2, interval=0, idempotent=False)(execute)(INSERT))
    assert (server.requests, len(server.rows)) == (2, written * 2)
    server.failures += [failure]
    # A row of a time series is idempotent: its time is its key.
    assert with_retry(max=2, interval=0)(execute)(INSERT) == 1
    assert server.requests == 4


def test_stall(server: TDengineServer) -> None:
    """A server that does not answer in time, and may still write."""
    taosrest = importlib.import_module("taosrest")
    execute = taosrest.connect(url=server.url, timeout=0.5).execute
    server.failures += [STALL]
    found = verdict_of(lambda: execute(INSERT))
    assert (found.code.name, found.retryable, found.effect) == ("TIMEOUT", True, "unknown")
    server.failures += [STALL]
    assert with_retry(max=1, interval=0)(execute)(INSERT) == 1


def test_refused() -> None:
    """Nobody listens: the statement was not sent, so that one that must not be sent twice is retried too."""
    require_taosrest()
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{reserved.getsockname()[1]}"
        execute = importlib.import_module("taosrest").connect(url=url).execute
        found = verdict_of(lambda: execute(INSERT))
    assert (found.code.name, found.retryable, found.effect) == ("NETWORK", True, "none")
    assert found.rule == "stdlib.errno.ECONNREFUSED"


def test_misuse(server: TDengineServer) -> None:
    """What the client refuses by itself is no failure of a connection, whatever its class is called."""
    error = caught(lambda: connect(server, uri="x"))
    assert type(error).__name__ == "ConnectError"
    assert (classify(error).code.name, classify(error).retryable) == ("INVALID_PARAM", False)
    assert server.requests == 0


def test_no_json(server: TDengineServer, execute: Callable[[str], Any]) -> None:
    """A proxy in between that answers for the server with something else."""
    server.failures += [(200, {"Content-Type": "text/html"})]
    assert not verdict_of(lambda: execute(INSERT)).retryable
