"""The errors of PostgreSQL's clients and of SQLAlchemy: look-alikes, and the real classes where they are installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from servers.common import library

from retrywrap.classifiers import classify, explain
from retrywrap.classifiers.tables import family


def fake(name: str, *bases: type, **attributes: Any) -> type[Any]:
    """Return a class that looks like a library's: ``"psycopg.OperationalError"``."""
    module, _, qualname = name.rpartition(".")
    return type(qualname, bases or (Exception,), {"__module__": module, **attributes})


class Psycopg:
    """The exceptions of psycopg 3.3 and psycopg_pool 3.3."""

    Error = fake("psycopg.Error", sqlstate=None)
    InterfaceError = fake("psycopg.InterfaceError", Error)
    DatabaseError = fake("psycopg.DatabaseError", Error)
    OperationalError = fake("psycopg.OperationalError", DatabaseError)
    DataError = fake("psycopg.DataError", DatabaseError)
    IntegrityError = fake("psycopg.IntegrityError", DatabaseError)
    NotSupportedError = fake("psycopg.NotSupportedError", DatabaseError)
    ProgrammingError = fake("psycopg.ProgrammingError", DatabaseError)
    ConnectionTimeout = fake("psycopg.errors.ConnectionTimeout", OperationalError)
    CancellationTimeout = fake("psycopg.errors.CancellationTimeout", OperationalError)
    PipelineAborted = fake("psycopg.errors.PipelineAborted", OperationalError)
    PoolTimeout = fake("psycopg_pool.PoolTimeout", OperationalError)
    PoolClosed = fake("psycopg_pool.PoolClosed", OperationalError)
    TooManyRequests = fake("psycopg_pool.TooManyRequests", OperationalError)


class Psycopg2:
    """The exceptions of psycopg2 2.9."""

    Error = fake("psycopg2.Error", pgcode=None)
    InterfaceError = fake("psycopg2.InterfaceError", Error)
    DatabaseError = fake("psycopg2.DatabaseError", Error)
    OperationalError = fake("psycopg2.OperationalError", DatabaseError)
    DataError = fake("psycopg2.DataError", DatabaseError)
    IntegrityError = fake("psycopg2.IntegrityError", DatabaseError)
    NotSupportedError = fake("psycopg2.NotSupportedError", DatabaseError)
    ProgrammingError = fake("psycopg2.ProgrammingError", DatabaseError)


class Asyncpg:
    """The exceptions of asyncpg 0.32."""

    PostgresError = fake("asyncpg.exceptions._base.PostgresError", sqlstate=None)
    FeatureNotSupportedError = fake("asyncpg.exceptions.FeatureNotSupportedError", PostgresError, sqlstate="0A000")
    InvalidCached = fake("asyncpg.exceptions.InvalidCachedStatementError", FeatureNotSupportedError)
    InterfaceError = fake("asyncpg.exceptions._base.InterfaceError")
    DataError = fake("asyncpg.exceptions._base.DataError", InterfaceError, ValueError)
    ClientConfigurationError = fake("asyncpg.exceptions._base.ClientConfigurationError", InterfaceError, ValueError)
    InternalClientError = fake("asyncpg.exceptions._base.InternalClientError")
    OutdatedSchemaCacheError = fake("asyncpg.exceptions._base.OutdatedSchemaCacheError", InternalClientError)


class Alchemy:
    """The exceptions of SQLAlchemy 2.1."""

    SQLAlchemyError = fake("sqlalchemy.exc.SQLAlchemyError")
    StatementError = fake("sqlalchemy.exc.StatementError", SQLAlchemyError, orig=None)
    DBAPIError = fake("sqlalchemy.exc.DBAPIError", StatementError, connection_invalidated=False, code="dbapi")
    OperationalError = fake("sqlalchemy.exc.OperationalError", DBAPIError, code="e3q8")
    TimeoutError = fake("sqlalchemy.exc.TimeoutError", SQLAlchemyError)
    DisconnectionError = fake("sqlalchemy.exc.DisconnectionError", SQLAlchemyError)
    InvalidRequestError = fake("sqlalchemy.exc.InvalidRequestError", SQLAlchemyError)
    PendingRollbackError = fake("sqlalchemy.exc.PendingRollbackError", InvalidRequestError)
    ResourceClosedError = fake("sqlalchemy.exc.ResourceClosedError", InvalidRequestError)
    ArgumentError = fake("sqlalchemy.exc.ArgumentError", SQLAlchemyError)
    CompileError = fake("sqlalchemy.exc.CompileError", SQLAlchemyError)
    Emulated = fake("sqlalchemy.exc.EmulatedDBAPIException", orig=None)


def real(name: str) -> Any:
    """Return something of a library that is installed; skips, or fails, where it is not."""
    module, _, qualname = name.rpartition(".")
    return getattr(library(module), qualname)


def fake_with(base: type[Any], attribute: str, state: str | None) -> Any:
    """Return a look-alike with a SQLSTATE."""
    error = base("text")
    setattr(error, attribute, state)
    return error


def real_psycopg(state: str) -> Any:
    """Return psycopg's error for a SQLSTATE, of the class that it has for it."""
    try:
        return real("psycopg.errors.lookup")(state)("text")
    except KeyError:
        error = real("psycopg.DatabaseError")("text")
        error.sqlstate = state
        return error


def real_psycopg2(state: str) -> Any:
    """Return psycopg2's error for a SQLSTATE, of the class that it has for it."""
    try:
        error = real("psycopg2.errors.lookup")(state)("text")
    except KeyError:
        error = real("psycopg2.DatabaseError")("text")
    error.__setstate__({"pgcode": state})
    return error


def real_asyncpg(state: str) -> Any:
    """Return asyncpg's error for a SQLSTATE, made as from the server's message."""
    return real("asyncpg.exceptions.PostgresError").new({"C": state, "M": "text", "S": "ERROR"})


MAKERS: dict[str, Callable[[str], Any]] = {
    "psycopg": lambda state: fake_with(Psycopg.OperationalError, "sqlstate", state),
    "psycopg2": lambda state: fake_with(Psycopg2.OperationalError, "pgcode", state),
    "asyncpg": lambda state: fake_with(Asyncpg.PostgresError, "sqlstate", state),
    "real psycopg": real_psycopg,
    "real psycopg2": real_psycopg2,
    "real asyncpg": real_asyncpg,
}


def judge(error: BaseException) -> tuple[str, bool, str]:
    """Return code, whether it is retryable, and the effect."""
    verdict = classify(error)
    return verdict.code.name, verdict.retryable, verdict.effect


STATES = [
    ("40001", "UNKNOWN", True, "none"),
    ("40P01", "UNKNOWN", True, "none"),
    ("55P03", "TIMEOUT", True, "none"),
    ("57014", "TIMEOUT", False, "unknown"),
    ("57P01", "CONNECTION_LOST", True, "unknown"),
    ("57P02", "CONNECTION_LOST", True, "unknown"),
    ("57P05", "CONNECTION_LOST", True, "unknown"),
    ("25P03", "CONNECTION_LOST", True, "unknown"),
    ("57P03", "NETWORK", True, "none"),
    ("53300", "NETWORK", True, "none"),
    ("08001", "NETWORK", True, "none"),
    ("08000", "CONNECTION_LOST", True, "unknown"),
    ("08003", "CONNECTION_LOST", True, "unknown"),
    ("08006", "CONNECTION_LOST", True, "unknown"),
    ("08007", "CONNECTION_LOST", False, "unknown"),
    ("40003", "UNKNOWN", False, "unknown"),
    ("08P01", "INVALID_PARAM", False, "unknown"),
    ("0A000", "INVALID_PARAM", False, "none"),
    ("22003", "INVALID_PARAM", False, "none"),
    ("23505", "INVALID_PARAM", False, "none"),
    ("3D000", "INVALID_PARAM", False, "none"),
    ("42601", "INVALID_PARAM", False, "none"),
    ("42P01", "INVALID_PARAM", False, "none"),
    ("54000", "INVALID_PARAM", False, "none"),
    ("53100", "DISK_FULL", False, "unknown"),
    ("53200", "MEMORY_ALLOC", False, "unknown"),
    ("28P01", "PERMISSION_DENIED", False, "none"),
    ("28000", "PERMISSION_DENIED", False, "none"),
    ("42501", "PERMISSION_DENIED", False, "none"),
    ("25006", "PERMISSION_DENIED", False, "none"),
    ("XX001", "DATA_CORRUPTION", False, "unknown"),
    ("XX002", "DATA_CORRUPTION", False, "unknown"),
    ("25P02", "UNKNOWN", False, "none"),
]


@pytest.mark.parametrize("client", MAKERS)
@pytest.mark.parametrize(("state", "code", "retryable", "effect"), STATES)
def test_sqlstates(client: str, state: str, code: str, retryable: bool, effect: str) -> None:
    """A SQLSTATE means the same whichever client carries it; the rule says which client, and which row."""
    error = MAKERS[client](state)
    assert judge(error) == (code, retryable, effect)
    library = client.removeprefix("real ")
    assert classify(error).rule in {f"sql.{library}.{state}", f"sql.{library}.{state[:2]}"}


@pytest.mark.parametrize("client", MAKERS)
def test_too_many_connections_asks_for_less_load(client: str) -> None:
    """A server without a free connection is priced as one that throttles."""
    assert classify(MAKERS[client]("53300")).throttled
    assert not classify(MAKERS[client]("40001")).throttled


@pytest.mark.parametrize("client", MAKERS)
@pytest.mark.parametrize("state", ["P0001", "58030", "XX000", "08004", "57P04"])
def test_unknown_sqlstates(client: str, state: str) -> None:
    """What no row knows is unknown, not retried: neither class 08 nor OperationalError is a reason to."""
    assert judge(MAKERS[client](state)) == ("UNKNOWN", False, "unknown")
    assert classify(MAKERS[client](state)).rule == "unknown"


AT = 'connection to server at "127.0.0.1", port 5432 failed: '
RUNNING = "\n\tIs the server running on that host and accepting TCP/IP connections?\n"
TEXTS = [
    # What libpq 15 to 17 says at connect time.
    (f"{AT}Connection refused{RUNNING}", "NETWORK", True, "none", "unreached"),
    (f"{AT}No route to host{RUNNING}", "NETWORK", True, "none", "unreached"),
    (f"{AT}Network is unreachable{RUNNING}", "NETWORK", True, "none", "unreached"),
    (
        'connection to server on socket "/run/.s.PGSQL.5432" failed: No such file or directory\n'
        "\tIs the server running locally and accepting connections on that socket?\n",
        "NETWORK",
        True,
        "none",
        "unreached",
    ),
    (
        'could not connect to server: Connection refused\n\tIs the server running on host "db" (10.0.0.1) and accepting'
        "\n\tTCP/IP connections on port 5432?\n",
        "NETWORK",
        True,
        "none",
        "unreached",
    ),
    (
        'connection to server on socket "/run/.s.PGSQL.5432" failed: Permission denied\n'
        "\tIs the server running locally and accepting connections on that socket?\n",
        "PERMISSION_DENIED",
        False,
        "none",
        "denied",
    ),
    (f"{AT}Connection timed out{RUNNING}", "TIMEOUT", True, "none", "timeout"),
    (f"{AT}timeout expired\n", "TIMEOUT", True, "none", "timeout"),
    (f"{AT}FATAL:  sorry, too many clients already\n", "NETWORK", True, "none", "full"),
    (
        f"{AT}FATAL:  remaining connection slots are reserved for non-replication superuser connections\n",
        "NETWORK",
        True,
        "none",
        "full",
    ),
    (f'{AT}FATAL:  too many connections for role "app"\n', "NETWORK", True, "none", "full"),
    (f"{AT}FATAL:  no more connections allowed (max_client_conn)\n", "NETWORK", True, "none", "full"),
    (f"{AT}FATAL:  the database system is starting up\n", "NETWORK", True, "none", "starting"),
    (f"{AT}FATAL:  the database system is shutting down\n", "NETWORK", True, "none", "starting"),
    (f"{AT}FATAL:  the database system is in recovery mode\n", "NETWORK", True, "none", "starting"),
    (f"{AT}FATAL:  the database system is not yet accepting connections\n", "NETWORK", True, "none", "starting"),
    (f"{AT}server closed the connection unexpectedly\n", "CONNECTION_LOST", True, "none", "lost"),
    (f"{AT}could not receive data from server: Connection reset\n", "CONNECTION_LOST", True, "none", "lost"),
    (f'{AT}FATAL:  database "app" does not exist\n', "INVALID_PARAM", False, "none", "invalid"),
    (f"{AT}server does not support SSL, but SSL was required\n", "INVALID_PARAM", False, "none", "invalid"),
    (f"{AT}received invalid response to SSL negotiation: H\n", "INVALID_PARAM", False, "none", "invalid"),
    ('invalid port number: "99999999"\n', "INVALID_PARAM", False, "none", "invalid"),
    (f'{AT}root certificate file "/x" does not exist\n', "INVALID_PARAM", False, "none", "invalid"),
    (f'{AT}FATAL:  role "app" does not exist\n', "PERMISSION_DENIED", False, "none", "denied"),
    (f'{AT}FATAL:  role "app" is not permitted to log in\n', "PERMISSION_DENIED", False, "none", "denied"),
    (f'{AT}FATAL:  password authentication failed for user "a"\n', "PERMISSION_DENIED", False, "none", "denied"),
    (f"{AT}fe_sendauth: no password supplied\n", "PERMISSION_DENIED", False, "none", "denied"),
    (f'{AT}FATAL:  no pg_hba.conf entry for host "10.0.0.1"\n', "PERMISSION_DENIED", False, "none", "denied"),
    (f'{AT}FATAL:  permission denied for database "a"\n', "PERMISSION_DENIED", False, "none", "denied"),
    (f"{AT}SSL error: certificate verify failed\n", "PERMISSION_DENIED", False, "none", "denied"),
    (f'{AT}server certificate for "a" does not match host name "b"\n', "PERMISSION_DENIED", False, "none", "denied"),
    ('could not translate host name "db" to address: Name or service not known\n', "INVALID_PARAM", False, "none",
     "no_name"),
    ('could not translate host name "db" to address: Temporary failure in name resolution\n', "NETWORK", True, "none",
     "name"),
    ("failed to resolve host 'db': [Errno -2] Name or service not known", "INVALID_PARAM", False, "none", "no_name"),
    ("failed to resolve host 'db': [Errno -3] Temporary failure in name resolution", "NETWORK", True, "none", "name"),
    # What it says of a connection that breaks.
    ("server closed the connection unexpectedly\n", "CONNECTION_LOST", True, "unknown", "lost"),
    ("consuming input failed: server closed the connection unexpectedly", "CONNECTION_LOST", True, "unknown", "lost"),
    ("SSL SYSCALL error: EOF detected\n", "CONNECTION_LOST", True, "unknown", "lost"),
    # psycopg 3 over TLS, with OpenSSL 3, when the server's process was killed.
    (
        "consuming input failed: SSL error: unexpected eof while reading",
        "CONNECTION_LOST",
        True,
        "unknown",
        "lost",
    ),
    ("SSL connection has been closed unexpectedly\n", "CONNECTION_LOST", True, "unknown", "lost"),
    ("could not send data to server: Broken pipe\n", "CONNECTION_LOST", True, "unknown", "lost"),
    ("terminating connection due to administrator command\n", "CONNECTION_LOST", True, "unknown", "lost"),
    ("connection socket closed", "CONNECTION_LOST", True, "unknown", "lost"),
    ("could not receive data from server: Connection timed out\n", "TIMEOUT", True, "unknown", "timeout"),
    # What every later call on a dead handle says.
    ("the connection is closed", "NOT_INITIALIZED", False, "none", "closed"),
    ("the connection is lost", "NOT_INITIALIZED", False, "none", "closed"),
    ("no connection to the server\n", "NOT_INITIALIZED", False, "none", "closed"),
]  # fmt: skip


@pytest.mark.parametrize("client", ["psycopg", "psycopg2", "real psycopg", "real psycopg2"])
@pytest.mark.parametrize(("text", "code", "retryable", "effect", "rule"), TEXTS)
def test_texts_of_libpq(client: str, text: str, code: str, retryable: bool, effect: str, rule: str) -> None:
    """Without a SQLSTATE only the text tells; while it connects, nothing was asked of the server."""
    name = client.removeprefix("real ")
    if client.startswith("real "):
        cls = real(f"{name}.OperationalError")
    else:
        cls = {"psycopg": Psycopg, "psycopg2": Psycopg2}[client].OperationalError
    if name == "psycopg" and text.startswith("connection to server"):
        text = f"connection failed: {text}"
    assert judge(cls(text)) == (code, retryable, effect)
    assert classify(cls(text)).rule == f"sql.libpq.{rule}"


@pytest.mark.parametrize("text", [t for t, *_, rule in TEXTS if rule == "full"])
def test_texts_that_ask_for_less_load(text: str) -> None:
    """A server without a free connection is priced as one that throttles, by its text as well."""
    assert classify(Psycopg2.OperationalError(text)).throttled


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"{AT}SSL error: sslv3 alert handshake failure\n",
        f"{AT}session is read-only\n",
        f"{AT}Verbindungsaufbau abgelehnt\n",
        'relation "the connection is closed" was renamed',
        f'{AT}FATAL:  tablespace "Connection refused" does not exist\n',
        f'{AT}FATAL:  parameter "too many clients already" cannot be changed now\n',
    ],
)
@pytest.mark.parametrize("base", [Psycopg.OperationalError, Psycopg2.OperationalError, Psycopg2.DatabaseError])
def test_texts_that_nobody_knows(base: type[Exception], text: str) -> None:
    """An unrecognised text, one in another language, and a name that reads like a known text are not retried."""
    assert judge(base(text)) == ("UNKNOWN", False, "unknown")


@pytest.mark.parametrize(
    ("text", "code", "retryable"),
    [
        (f"{AT}Connection refused{RUNNING}{AT}Connection refused{RUNNING}", "NETWORK", True),
        (f"{AT}Connection refused{RUNNING}{AT}FATAL:  the database system is starting up\n", "NETWORK", True),
        (f'{AT}Connection refused{RUNNING}{AT}FATAL:  database "a" does not exist\n', "INVALID_PARAM", False),
        (f'{AT}FATAL:  no pg_hba.conf entry for host "a"\n{AT}Connection refused{RUNNING}', "PERMISSION_DENIED", False),
        (f"{AT}Connection refused{RUNNING}{AT}session is read-only\n", "UNKNOWN", False),
        (f'could not translate host name "a" to address: No address\n{AT}Connection refused', "INVALID_PARAM", False),
        (f"unheard of\n{AT}Connection refused{RUNNING}", "NETWORK", True),
        (
            f"connection failed: {AT}Connection refused{RUNNING}Multiple connection attempts failed. All failures were:"
            f"\n- host: 'a', port: '1', hostaddr: '::1': connection failed: {AT}Connection refused{RUNNING}"
            f"\n- host: 'a', port: '1', hostaddr: '127.0.0.1': connection failed: {AT}Connection refused{RUNNING}",
            "NETWORK",
            True,
        ),
    ],
)
def test_several_hosts(text: str, code: str, retryable: bool) -> None:
    """Where several hosts were tried, each of them must be worth another attempt."""
    assert judge(Psycopg.OperationalError(text))[:2] == (code, retryable)


def test_a_text_without_end() -> None:
    """Only the beginning of a text is looked at."""
    assert judge(Psycopg.OperationalError("x" * 10_000 + "Connection refused"))[0] == "UNKNOWN"
    assert judge(Psycopg.OperationalError('"' * 200_000))[0] == "UNKNOWN"


PSYCOPG2_CLOSED = ("connection already closed", "cursor already closed")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        *[(Psycopg2.InterfaceError(text), ("NOT_INITIALIZED", False, "none")) for text in PSYCOPG2_CLOSED],
        (Psycopg.InterfaceError("the cursor is closed"), ("NOT_INITIALIZED", False, "none")),
        (Psycopg.InterfaceError("something else"), ("UNKNOWN", False, "unknown")),
        (Psycopg.ConnectionTimeout("connection timeout expired"), ("TIMEOUT", True, "none")),
        (Psycopg.CancellationTimeout("cancellation timeout expired"), ("TIMEOUT", True, "unknown")),
        (Psycopg.PipelineAborted("pipeline aborted"), ("UNKNOWN", False, "unknown")),
        (Psycopg.PoolTimeout("couldn't get a connection after 30.00 sec"), ("TIMEOUT", True, "none")),
        (Psycopg.PoolClosed("the pool 'p' is already closed"), ("NOT_INITIALIZED", False, "none")),
        (Psycopg.TooManyRequests("the pool has already 10 requests waiting"), ("NETWORK", True, "none")),
        (Psycopg.DataError("x"), ("INVALID_PARAM", False, "none")),
        (Psycopg.IntegrityError("x"), ("INVALID_PARAM", False, "none")),
        (Psycopg.NotSupportedError("x"), ("INVALID_PARAM", False, "none")),
        (Psycopg.ProgrammingError('invalid connection option "nonsense"'), ("INVALID_PARAM", False, "none")),
        (Psycopg2.ProgrammingError("no results to fetch"), ("INVALID_PARAM", False, "none")),
        (Psycopg2.DataError("Connection refused"), ("INVALID_PARAM", False, "none")),
        (fake_with(Psycopg.ProgrammingError, "sqlstate", "42501"), ("PERMISSION_DENIED", False, "none")),
        (fake_with(Psycopg2.IntegrityError, "pgcode", "40001"), ("UNKNOWN", True, "none")),
        (Asyncpg.InterfaceError("connection is closed"), ("NOT_INITIALIZED", False, "none")),
        (Asyncpg.InterfaceError("pool is closing"), ("NOT_INITIALIZED", False, "none")),
        (Asyncpg.InterfaceError("pool is not initialized"), ("NOT_INITIALIZED", False, "none")),
        (
            Asyncpg.InterfaceError("cannot call Connection.execute(): connection has been released back to the pool"),
            ("NOT_INITIALIZED", False, "none"),
        ),
        (
            Asyncpg.InterfaceError("cannot perform operation: another operation is in progress"),
            ("INVALID_PARAM", False, "none"),
        ),
        (Asyncpg.DataError("invalid input for query argument $1: 'the shop is closed'"),
         ("INVALID_PARAM", False, "none")),
        (Asyncpg.ClientConfigurationError("`x` is closed"), ("INVALID_PARAM", False, "none")),
        (Asyncpg.FeatureNotSupportedError("x"), ("INVALID_PARAM", False, "none")),
        (Asyncpg.InvalidCached("cached statement plan is invalid"), ("UNKNOWN", True, "none")),
        (Asyncpg.OutdatedSchemaCacheError("x"), ("UNKNOWN", True, "unknown")),
        (Asyncpg.InternalClientError("x"), ("UNKNOWN", False, "unknown")),
        (Asyncpg.PostgresError("x"), ("UNKNOWN", False, "unknown")),
        (Alchemy.TimeoutError("QueuePool limit of size 5 overflow 10 reached"), ("TIMEOUT", True, "none")),
        (Alchemy.DisconnectionError("x"), ("CONNECTION_LOST", True, "none")),
        (Alchemy.PendingRollbackError("Can't reconnect until invalid transaction is rolled back."),
         ("UNKNOWN", False, "none")),
        (Alchemy.ResourceClosedError("This Connection is closed"), ("NOT_INITIALIZED", False, "none")),
        (Alchemy.InvalidRequestError("x"), ("INVALID_PARAM", False, "none")),
        (Alchemy.ArgumentError("x"), ("INVALID_PARAM", False, "none")),
        (Alchemy.CompileError("x"), ("INVALID_PARAM", False, "none")),
        (Alchemy.SQLAlchemyError("x"), ("UNKNOWN", False, "unknown")),
    ],
    ids=lambda value: f"{type(value).__module__}-{value}"[:70] if isinstance(value, Exception) else "",
)  # fmt: skip
def test_other_classes(error: Exception, expected: tuple[str, bool, str]) -> None:
    """What carries no SQLSTATE is judged by its class, or by the few texts that say more."""
    assert judge(error) == expected


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("psycopg.InterfaceError", "the cursor is closed", "NOT_INITIALIZED"),
        ("psycopg.ProgrammingError", "x", "INVALID_PARAM"),
        ("psycopg.errors.ConnectionTimeout", "connection timeout expired", "TIMEOUT"),
        ("psycopg.errors.PipelineAborted", "pipeline aborted", "UNKNOWN"),
        ("psycopg_pool.PoolTimeout", "x", "TIMEOUT"),
        ("psycopg_pool.PoolClosed", "x", "NOT_INITIALIZED"),
        ("psycopg_pool.TooManyRequests", "x", "NETWORK"),
        ("psycopg2.InterfaceError", "connection already closed", "NOT_INITIALIZED"),
        ("psycopg2.extensions.QueryCanceledError", "x", "UNKNOWN"),
        ("asyncpg.InterfaceError", "connection is closed", "NOT_INITIALIZED"),
        ("asyncpg.DataError", "x is closed", "INVALID_PARAM"),
        ("asyncpg.exceptions._base.DataError", "x is closed", "INVALID_PARAM"),
        ("asyncpg.InvalidCachedStatementError", "x", "UNKNOWN"),
        ("asyncpg.ConnectionDoesNotExistError", "connection was closed in the middle of operation", "CONNECTION_LOST"),
        ("sqlalchemy.exc.TimeoutError", "x", "TIMEOUT"),
        ("sqlalchemy.exc.PendingRollbackError", "x", "UNKNOWN"),
        ("sqlalchemy.exc.ResourceClosedError", "x", "NOT_INITIALIZED"),
        ("sqlalchemy.exc.NoSuchModuleError", "x", "INVALID_PARAM"),
    ],
)
def test_real_classes(name: str, text: str, code: str) -> None:
    """The same of the real classes, whose modules and names are as the table has them."""
    error = real(name)(text)
    assert judge(error)[0] == code
    assert (classify(error).rule == "unknown") == (name == "psycopg2.extensions.QueryCanceledError")


def wrapped(orig: Any, *, invalidated: bool = False, cls: Any = Alchemy.OperationalError) -> Any:
    """Return what SQLAlchemy raises from a driver's error."""
    error = cls("(driver.Error) text")
    error.orig = orig
    error.connection_invalidated = invalidated
    error.__cause__ = orig
    return error


def test_sqlalchemy_means_what_the_driver_says() -> None:
    """SQLAlchemy's error means what the one in `orig` does; its `code` is the name of a page of documentation."""
    lost = fake_with(Psycopg.OperationalError, "sqlstate", "40001")
    assert classify(wrapped(lost)).rule == "sql.psycopg.40001"
    assert judge(wrapped(fake_with(Psycopg2.OperationalError, "pgcode", "53100")))[:2] == ("DISK_FULL", False)
    assert judge(wrapped(RuntimeError("?"))) == ("UNKNOWN", False, "unknown")
    assert judge(wrapped(ValueError("no int"), cls=Alchemy.StatementError))[:2] == ("INVALID_PARAM", False)
    assert explain(wrapped(lost))[0].rule == "orig"


def test_sqlalchemy_throws_a_connection_away() -> None:
    """A connection that SQLAlchemy gave up is replaced by its pool: what the driver calls closed may be tried again."""
    closed = Psycopg2.InterfaceError("connection already closed")
    assert judge(wrapped(closed)) == ("NOT_INITIALIZED", False, "none")
    assert judge(wrapped(closed, invalidated=True)) == ("CONNECTION_LOST", True, "none")
    assert judge(wrapped(RuntimeError("?"), invalidated=True)) == ("CONNECTION_LOST", True, "unknown")
    assert classify(wrapped(closed, invalidated=True)).rule == "sql.sqlalchemy.invalidated"
    assert judge(wrapped(fake_with(Psycopg.Error, "sqlstate", "57014"), invalidated=True))[:2] == ("TIMEOUT", False)


def test_sqlalchemy_over_asyncpg() -> None:
    """SQLAlchemy puts an error of its own between: since 2.1 one that holds asyncpg's, before, one with a SQLSTATE."""
    inner = fake_with(Asyncpg.PostgresError, "sqlstate", "40P01")
    between = fake("sqlalchemy.dialects.postgresql.asyncpg.Error", Alchemy.Emulated)("text")
    between.orig = inner
    assert classify(wrapped(between)).rule == "sql.asyncpg.40P01"
    older = fake("sqlalchemy.dialects.postgresql.asyncpg.Error", sqlstate="40P01")("text")
    assert classify(wrapped(older)).rule == "sqlstate.40P01"
    oldest = fake("sqlalchemy.dialects.postgresql.asyncpg.Error", sqlstate=None)("text")
    oldest.__cause__ = Asyncpg.InterfaceError("connection is closed")
    assert judge(wrapped(oldest))[:2] == ("NOT_INITIALIZED", False)


def test_real_sqlalchemy() -> None:
    """The same of SQLAlchemy's real classes, made as its engine makes them."""
    dbapi_error = real("sqlalchemy.exc.DBAPIError")
    for orig, invalidated, expected in (
        (fake_with(Psycopg.OperationalError, "sqlstate", "40001"), False, ("UNKNOWN", True, "none")),
        (Psycopg.OperationalError("the connection is closed"), True, ("CONNECTION_LOST", True, "none")),
        (Psycopg.OperationalError("the connection is closed"), False, ("NOT_INITIALIZED", False, "none")),
    ):
        error = dbapi_error.instance(
            "SELECT :secret", {"secret": "s3cret"}, orig, Exception, connection_invalidated=invalidated
        )
        assert judge(error) == expected
        assert "s3cret" not in classify(error).message
    emulated = real("sqlalchemy.exc.EmulatedDBAPIException")
    inner = fake_with(Asyncpg.PostgresError, "sqlstate", "40P01")
    assert classify(dbapi_error("SELECT 1", {}, emulated("text", inner))).rule == "sql.asyncpg.40P01"
    assert classify(emulated("text")).rule == "unknown"


@pytest.mark.parametrize("name", ["sqlstate", "pgcode"])
@pytest.mark.parametrize(("state", "code", "retryable", "effect"), STATES)
def test_a_sqlstate_of_an_unknown_library(name: str, state: str, code: str, retryable: bool, effect: str) -> None:
    """An error of a library without a table is judged by its SQLSTATE."""
    error = fake_with(fake("somedb.Error"), name, state)
    assert judge(error) == (code, retryable, effect)
    assert classify(error).rule in {f"sqlstate.{state}", f"sqlstate.{state[:2]}"}


class Text(str):
    """A str that says of itself that it is something else."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError

    def __hash__(self) -> int:
        raise RuntimeError


@pytest.mark.parametrize("state", [None, 40001, b"40001", "4000", "400011", "", "ZZZZZ", Text("40001"), ["40001"]])
def test_what_is_no_sqlstate(state: object) -> None:
    """Only a text of five characters is a SQLSTATE."""
    error = fake("somedb.Error")("text")
    error.sqlstate = state
    assert classify(error).rule == "unknown"


def test_sqlstate_before_pgcode_before_status() -> None:
    """An unknown library's SQLSTATE is asked before an HTTP status; what is none leaves it to the next carrier."""
    error = fake("somedb.Error")("text")
    error.status_code = 503
    assert classify(error).rule == "http.503"
    error.pgcode = "42601"
    assert classify(error).rule == "sqlstate.42"
    error.sqlstate = "40001"
    assert classify(error).rule == "sqlstate.40001"
    error.sqlstate = None
    assert classify(error).rule == "sqlstate.42"
    error.sqlstate = "HY000"
    assert classify(error).rule == "http.503"
    error.sqlstate = "none"
    assert classify(error).rule == "sqlstate.42"


def test_never_errno_nor_code() -> None:
    """An errno outside OSError, and a code, mean something else in every library."""
    error = fake("somedb.Error")("text")
    error.errno, error.code = 111, "40001"
    assert classify(error).rule == "unknown"


def test_a_value_error_with_a_sqlstate() -> None:
    """The builtin type goes before an unknown library's attributes."""
    assert classify(fake_with(fake("somedb.Error", ValueError), "sqlstate", "40001")).rule == "stdlib.ValueError"


def test_django() -> None:
    """A wrapper without a table means what its cause does."""
    error = fake("django.db.utils.OperationalError")("text")
    error.__cause__ = fake_with(Psycopg.OperationalError, "sqlstate", "40P01")
    assert classify(error).rule == "sql.psycopg.40P01"


@pytest.mark.parametrize(
    "error",
    [
        fake_with(Psycopg.OperationalError, "sqlstate", "53100"),
        fake_with(Psycopg.OperationalError, "sqlstate", "53200"),
        fake_with(Psycopg.OperationalError, "sqlstate", "57014"),
        fake_with(Psycopg.OperationalError, "sqlstate", "08007"),
        fake_with(Psycopg.OperationalError, "sqlstate", "08P01"),
        fake_with(Psycopg.OperationalError, "sqlstate", "40003"),
        fake_with(Psycopg.OperationalError, "sqlstate", "25P02"),
        fake_with(Psycopg2.OperationalError, "pgcode", "57014"),
        Psycopg.OperationalError(f'connection failed: {AT}FATAL:  database "a" does not exist'),
        Psycopg2.OperationalError(f'{AT}FATAL:  password authentication failed for user "a"\n'),
        Psycopg2.OperationalError("what no table knows"),
        Psycopg2.InterfaceError("connection already closed"),
        Asyncpg.InterfaceError("connection is closed"),
    ],
)
def test_what_looks_transient_and_is_not(error: Exception) -> None:
    """OperationalError is no reason to retry, nor class 08, nor a statement in an aborted transaction."""
    assert not classify(error).retryable
    assert not classify(wrapped(error)).retryable


@pytest.mark.parametrize("make", [
    lambda: fake_with(Psycopg.OperationalError, "sqlstate", "57P01"),
    lambda: Psycopg2.OperationalError("server closed the connection unexpectedly\n"),
    lambda: fake_with(Asyncpg.PostgresError, "sqlstate", "08003"),
])  # fmt: skip
def test_a_lost_commit(make: Callable[[], Exception]) -> None:
    """A COMMIT whose reply was lost looks like any lost connection, and may have been applied."""
    assert judge(make()) == ("CONNECTION_LOST", True, "unknown")
    assert judge(wrapped(make(), invalidated=True)) == ("CONNECTION_LOST", True, "unknown")


def test_hostile_attributes() -> None:
    """Attributes and texts that raise say nothing."""

    class Raises:
        def __get__(self, thing: object, owner: object = None) -> Any:
            raise RuntimeError("no")

    def no_text(self: object) -> str:
        raise RuntimeError("no text")

    for base in (Psycopg.OperationalError, Psycopg2.OperationalError, Asyncpg.PostgresError, Asyncpg.InterfaceError,
                 Alchemy.OperationalError, Alchemy.Emulated, Exception):  # fmt: skip
        names = ("sqlstate", "pgcode", "orig", "connection_invalidated")
        cls = type("Hostile", (base,), {**{name: Raises() for name in names}, "__str__": no_text})
        assert not classify(cls("text")).retryable


def test_the_family_is_listed() -> None:
    """The rows can be had by family and by library, and each that depends says on what."""
    rows = family("sql")
    assert {"psycopg.Error", "psycopg2.Error", "asyncpg.PostgresError", "sqlalchemy.DBAPIError"} <= rows.keys()
    assert set(family("psycopg")) == {key for key in rows if key.startswith("psycopg.")}
    for row in rows.values():
        assert row.answer is not None or (row.judge or row.through).__doc__
