"""Errors that look transient and are not safe to try again: none is retried, whatever its name and its number say.

The classes of libraries are made here under the names that theirs have, because the chain goes by names alone; the
files beside this one try the real ones.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import errno
import gzip
import io
import shutil
import smtplib
import socket
import sqlite3
import ssl
import subprocess
from typing import Any

import pytest

from retrywrap import classify, with_retry
from retrywrap.classifiers import explain
from retrywrap.testing import VirtualClock


def named(name: str, *bases: type) -> Any:
    """Return an exception class with the name of a library's."""
    module, _, last = name.rpartition(".")
    return type(last, bases or (Exception,), {"__module__": module})


def carrying(error: Any, **attributes: Any) -> Exception:
    """Return an error with attributes."""
    for name, value in attributes.items():
        setattr(error, name, value)
    return error  # type: ignore[no-any-return]  # as it came


class Answer:
    """What an HTTP client keeps of an answer."""

    def __init__(self, status_code: int, method: str = "GET") -> None:
        self.status_code = status_code
        self.headers: dict[str, str] = {}
        self.request = type("Request", (), {"method": method})


Request = named("requests.exceptions.RequestException", OSError)
Timeout = named("requests.exceptions.Timeout", Request)
Status = named("httpx.HTTPStatusError")
RedisConnection = named("redis.exceptions.ConnectionError", named("redis.exceptions.RedisError"))
Psycopg = named("psycopg.OperationalError", named("psycopg.Error"))
MySQL = named("pymysql.err.OperationalError", named("pymysql.err.Error"))
TaosRest = named("taosrest.errors.ConnectError", named("taosrest.errors.Error"))
AMQP = named("amqp.exceptions.IrrecoverableConnectionError", named("amqp.exceptions.AMQPError"))
Boto = named("botocore.exceptions.ClientError")
Rpc = named("grpc.RpcError")


def while_handling(error: Exception, before: Exception) -> Exception:
    """Return an error that was raised while another one was handled."""
    error.__context__ = before
    return error


def grpc_status(name: str) -> Exception:
    """Return a gRPC error with a status."""
    return carrying(Rpc(name), code=lambda: type("StatusCode", (), {"name": name})(), trailing_metadata=lambda: ())


def throttled_for_good() -> Exception:
    """Return what botocore raises once it has tried as often as it may."""
    metadata = {"HTTPStatusCode": 503, "HTTPHeaders": {}, "RetryAttempts": 4, "MaxAttemptsReached": True}
    return carrying(Boto("SlowDown"), response={"Error": {"Code": "SlowDown"}, "ResponseMetadata": metadata})


TRAPS: dict[str, Exception] = {
    # An OSError is no file error, and no connection's, by that alone.
    "a URL without a scheme": named("requests.exceptions.MissingSchema", Request, ValueError)("no scheme"),
    "a wrong password over SMTP": smtplib.SMTPAuthenticationError(535, b"5.7.8 bad credentials"),
    "a mailbox that is not there": smtplib.SMTPRecipientsRefused({"a@b": (550, b"no such user")}),
    "a corrupt gzip file": gzip.BadGzipFile("Not a gzipped file"),
    "a bad certificate": ssl.SSLCertVerificationError(1, "certificate verify failed"),
    "another error of TLS": ssl.SSLError(1, "wrong version number"),
    "an operation that a stream lacks": io.UnsupportedOperation("fileno"),
    "a file copied to itself": shutil.SameFileError("same"),
    "a full disk": OSError(errno.ENOSPC, "No space left on device"),
    "a file that is not there": FileNotFoundError(errno.ENOENT, "No such file"),
    "an address in use": OSError(errno.EADDRINUSE, "Address already in use"),
    # A name with "Connect" in it.
    "taosrest's ConnectError for bad syntax": carrying(TaosRest("syntax"), errno=0x2600, msg="syntax error"),
    "redis: a wrong password": named("redis.exceptions.AuthenticationError", RedisConnection)("invalid password"),
    # An OperationalError is not transient by that alone.
    "PostgreSQL: disk full": carrying(Psycopg("disk full"), sqlstate="53100"),
    "PostgreSQL: out of memory": carrying(Psycopg("out of memory"), sqlstate="53200"),
    "PostgreSQL: cancelled by a user": carrying(Psycopg("canceling statement"), sqlstate="57014"),
    "PostgreSQL: no such database": carrying(
        Psycopg(
            'connection failed: connection to server at "h", port 5432 failed: FATAL:  database "x" does not exist'
        ),
        sqlstate=None,
    ),
    "PostgreSQL: a text that nobody knows": carrying(Psycopg("something else"), sqlstate=None),
    "PostgreSQL: in an aborted transaction": carrying(Psycopg("current transaction is aborted"), sqlstate="25P02"),
    "MySQL: wrong password": MySQL(1045, "Access denied"),
    "sqlite3: disk full": carrying(sqlite3.OperationalError("full"), sqlite_errorcode=13),
    # SQLSTATEs that begin with 08 do not ask for a new connection by that alone.
    "PostgreSQL: a protocol violation": carrying(Psycopg("protocol"), sqlstate="08P01"),
    "PostgreSQL: a commit of unknown end": carrying(Psycopg("unknown"), sqlstate="08007"),
    "MySQL: a packet that is too large (08S01)": MySQL(1153, "Got a packet bigger than 'max_allowed_packet' bytes"),
    # Numbers that mean something else elsewhere.
    "a host that nobody knows": socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
    "an error of gethostbyname": socket.herror(1, "Unknown host"),
    "TLS that wants to read": ssl.SSLWantReadError(2, "The operation did not complete"),
    **{f"AMQP {code}, which is no HTTP status": carrying(AMQP("x"), code=code) for code in (501, 502, 503, 504, 540)},
    # Somebody has tried again already.
    "botocore, at its own end": throttled_for_good(),
    "requests, at urllib3's end": named("requests.exceptions.RetryError", Request)("Max retries exceeded"),
    "google-api-core, at its own end": named("google.api_core.exceptions.RetryError")("Timeout exceeded"),
    "redis, a cluster's end": named("redis.exceptions.ClusterError", named("redis.exceptions.RedisError"))("TTL"),
    # What was handled when it was raised is not its cause.
    "a mistake made in handling a lost connection": while_handling(
        ValueError("bad state"), ConnectionResetError(104, "reset")
    ),
    "an unknown error in handling a timeout": while_handling(RuntimeError("oops"), TimeoutError("late")),
    # A cancellation is no timeout.
    "a cancelled future": concurrent.futures.CancelledError(),
    "a cancelled gRPC call": grpc_status("CANCELLED"),
    # Of a failure inside the server nobody can tell.
    "gRPC: INTERNAL": grpc_status("INTERNAL"),
    "HTTP 500 after a POST": carrying(Status("500"), response=Answer(500, "POST")),
    "HTTP 409": carrying(Status("409"), response=Answer(409)),
    # Exit statuses belong to programs.
    **{
        f"status {status} of any program": subprocess.CalledProcessError(status, ["whatever", "--now"])
        for status in (5, 6, 10, 28, 56, 111, 124, 255)
    },
    "pg_dump, which has one status for all": subprocess.CalledProcessError(1, ["pg_dump", "x"]),
    "a program that a signal ended": subprocess.CalledProcessError(-9, ["rsync", "a", "b"]),
}


@pytest.mark.parametrize("error", TRAPS.values(), ids=TRAPS.keys())
def test_what_only_looks_transient_is_not_retried(error: Exception, clock: VirtualClock) -> None:
    """One call, one error, no wait."""
    calls: list[int] = []

    @with_retry(max=3, interval=1)
    def operation() -> None:
        calls.append(1)
        raise error

    with pytest.raises(type(error)) as caught:
        operation()
    assert caught.value is error
    assert (len(calls), clock.waits) == (1, [])
    assert not classify(error).retryable
    assert explain(error)[-1].answer == classify(error)


def lost_reply() -> dict[str, Exception]:
    """Return errors after which nobody can tell whether what was asked for has been done."""
    closed = "server closed the connection unexpectedly"
    return {
        "a commit whose reply was lost": carrying(Psycopg(closed), sqlstate=None),
        "a statement of MySQL whose reply was lost": MySQL(2013, "Lost connection to MySQL server during query"),
        "a POST whose reply was lost": named("requests.exceptions.ReadTimeout", Timeout)("timed out"),
        "a POST that a gateway gave up on": carrying(
            named("httpx.HTTPStatusError")("504"), response=Answer(504, "POST")
        ),
        "mail whose acceptance was lost": smtplib.SMTPServerDisconnected("Connection unexpectedly closed"),
        "a gRPC call whose deadline is over": grpc_status("DEADLINE_EXCEEDED"),
        "a connection that was reset": ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
    }


@pytest.mark.parametrize("error", lost_reply().values(), ids=lost_reply().keys())
def test_what_may_have_been_done_is_not_done_twice(error: Exception, clock: VirtualClock) -> None:
    """Retried where that does no harm, and never where ``idempotent=False`` says that it would."""
    calls: list[int] = []

    def operation() -> None:
        calls.append(1)
        raise error

    with pytest.raises(type(error)):
        with_retry(max=1, interval=1, idempotent=False)(operation)()
    assert len(calls) == 1
    with pytest.raises(type(error)):
        with_retry(max=1, interval=1)(operation)()
    assert len(calls) == 3


def test_a_cancelled_task_is_no_timeout(clock: VirtualClock) -> None:
    """Its cancellation goes through at once."""
    calls: list[int] = []

    @with_retry(max=3, interval=1, on=Exception)
    async def operation() -> None:
        calls.append(1)
        raise asyncio.CancelledError

    async def main() -> None:
        await operation()

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())
    assert len(calls) == 1


@pytest.mark.parametrize("number", [11, 75, 104, 111, 124, 429, 503])
def test_a_bare_number_is_no_status_and_no_errno(number: int) -> None:
    """As a result it is one of the taxonomy's codes, or none."""
    verdict = classify(number)
    assert (verdict.retryable, verdict.rule) == (False, "code")
