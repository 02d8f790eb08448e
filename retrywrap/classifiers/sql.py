"""What the errors of PostgreSQL's clients and of SQLAlchemy mean: psycopg 3, psycopg2, asyncpg, psycopg_pool."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from retrywrap.classifiers.guard import read, text_of
from retrywrap.classifiers.rows import Codes, Entry, Look, Through, again, combine, inside, never, table
from retrywrap.classifiers.sqlstate import BY_SQLSTATE, state_reader
from retrywrap.classifiers.verdict import Verdict
from retrywrap.codes import ErrorCode

__all__ = ["CODES", "TABLE"]

_LONGEST_TEXT = 10_000
_QUOTED = re.compile(r'"[^"\n]*"')
_ATTEMPT = "connection to server "
# libpq begins a text so until it is connected; psycopg 3 puts words of its own before it.
_CONNECTING = ("connection failed: ", "connection is bad: ", _ATTEMPT, "could not connect to server")

_INVALID = never(ErrorCode.INVALID_PARAM, "none")
_DENIED = never(ErrorCode.PERMISSION_DENIED, "none")
_CLOSED = never(ErrorCode.NOT_INITIALIZED, "none")
_LOST = again(ErrorCode.CONNECTION_LOST)
_TIMEOUT = again(ErrorCode.TIMEOUT)
_UNREACHED = again(ErrorCode.NETWORK, "none")
_NO_SLOT = again(ErrorCode.TIMEOUT, "none")

# libpq has no SQLSTATE to give while it connects, nor for a connection that breaks: only the text tells, with what it
# quotes left out. The first row that fits counts: what is final stands before what is not.
# Sources: libpq's fe-connect.c, fe-auth.c, fe-exec.c, fe-misc.c and fe-secure-openssl.c; the server's postmaster.c,
# postinit.c and miscinit.c; psycopg's generators.py and waiting.py; psycopg2's connection.h and cursor.h; PgBouncer.
_TEXTS: tuple[tuple[str, Verdict, tuple[str, ...]], ...] = (
    (
        "closed",
        _CLOSED,
        (
            "connection already closed",
            "cursor already closed",
            "the connection is closed",
            "the connection is lost",
            "the cursor is closed",
            "the cursor has no connection",
            "no connection to the server",
        ),
    ),
    (
        "denied",
        _DENIED,
        (
            "authentication failed",
            "no password supplied",
            "pg_hba.conf",
            'role "" does not exist',
            "is not permitted to log in",
            "authentication method requirement",
            "certificate verify failed",
            "does not match host name",
            "ermission denied",
        ),
    ),
    (
        "invalid",
        _INVALID,
        (
            'database "" does not exist',
            'database "" is not currently accepting connections',
            "server does not support SSL",
            "invalid response to SSL negotiation",
            "invalid port number",
            "invalid connection option",
            "root certificate file",
        ),
    ),
    ("name", _UNREACHED, ("Temporary failure in name resolution",)),
    ("no_name", _INVALID, ("could not translate host name", "failed to resolve host")),
    (
        "full",
        again(ErrorCode.NETWORK, "none", throttled=True),
        (
            "too many clients already",
            "connection slots are reserved",
            "too many connections for",
            "no more connections allowed",
        ),
    ),
    ("starting", _UNREACHED, ("the database system is ",)),
    ("timeout", _TIMEOUT, ("timeout expired", "Connection timed out")),
    (
        "unreached",
        _UNREACHED,
        ("Is the server running", "Connection refused", "Network is unreachable", "No route to host"),
    ),
    (
        "lost",
        _LOST,
        (
            "server closed the connection unexpectedly",
            "SSL connection has been closed unexpectedly",
            "SSL SYSCALL error",
            "unexpected eof while reading",
            "terminating connection",
            "could not receive data from server",
            "could not send data to server",
            "could not send startup packet",
            "could not send SSL negotiation packet",
            "connection socket closed",
        ),
    ),
)
_PHRASES = tuple(
    (phrase, verdict._replace(rule=f"sql.libpq.{name}")) for name, verdict, phrases in _TEXTS for phrase in phrases
)


def _by_text(error: BaseException) -> Verdict | None:
    """Judge what libpq says; of several hosts that were tried, each must be worth another attempt."""
    text = _QUOTED.sub('""', text_of(error)[:_LONGEST_TEXT])
    first, *more = text.split(_ATTEMPT)
    verdict = _of_all(first, more) if more else _phrase(text)
    if verdict is not None and verdict.effect != "none" and text.startswith(_CONNECTING):
        return verdict._replace(effect="none")  # nothing is asked of a server before there is a connection
    return verdict


def _of_all(first: str, more: Sequence[str]) -> Verdict | None:
    found = [_phrase(attempt) for attempt in more]
    before = None if first in _CONNECTING or not first else _phrase(first)
    if len(found) == 1 and before is None:
        return found[0]
    known = [verdict for verdict in (before, *found) if verdict is not None]
    return combine(known) if None not in found else None


def _phrase(text: str) -> Verdict | None:
    for phrase, verdict in _PHRASES:
        if phrase in text:
            return verdict
    return None


def _libpq(library: str, carrier: str) -> Mapping[str, Entry]:
    """Return the rows of a client that is made of libpq."""
    by_state = state_reader(f"sql.{library}", carrier)

    def by_state_or_text(error: Any) -> Verdict | None:
        return by_state(error) or _by_text(error)

    def by_state_or_final(error: Any) -> Verdict | None:
        return by_state(error) or (_INVALID if read(error, carrier) is None else None)

    by_state_or_text.__doc__ = f"What its SQLSTATE says ({carrier}), otherwise libpq's text."
    by_state_or_final.__doc__ = f"What its SQLSTATE says ({carrier}), INVALID_PARAM where it has none."
    final = ("DataError", "IntegrityError", "NotSupportedError", "ProgrammingError")
    return {
        **{f"{library}.{name}": by_state_or_final for name in final},
        f"{library}.Error": by_state_or_text,
    }


# Source: psycopg's errors.py; psycopg_pool's errors.py.
_PSYCOPG: Mapping[str, Entry] = {
    "psycopg.ConnectionTimeout": _NO_SLOT,
    "psycopg.CancellationTimeout": _TIMEOUT,
    "psycopg.PipelineAborted": never(ErrorCode.UNKNOWN),
    "psycopg_pool.PoolTimeout": _NO_SLOT,
    "psycopg_pool.PoolClosed": _CLOSED,
    "psycopg_pool.TooManyRequests": again(ErrorCode.NETWORK, "none", throttled=True),
}


def _by_use(error: BaseException) -> Verdict:
    """NOT_INITIALIZED where it says that something is closed or released, otherwise INVALID_PARAM."""
    text = text_of(error)[:_LONGEST_TEXT]
    return _CLOSED if any(phrase in text for phrase in _UNUSABLE) else _INVALID


_UNUSABLE = (" is closed", " is closing", "released back to the pool", "pool is not initialized")

_by_asyncpg_state = state_reader("sql.asyncpg", "sqlstate")


def _by_state_or_final(error: Any) -> Verdict:
    """What its SQLSTATE says (sqlstate), otherwise INVALID_PARAM."""
    return _by_asyncpg_state(error) or _INVALID


# Source: asyncpg's exceptions/_base.py, connection.py (_do_execute), connresource.py and pool.py.
_ASYNCPG: Mapping[str, Entry] = {
    # Within a transaction asyncpg clears its caches, and leaves the second attempt to whoever owns the transaction.
    "asyncpg.InvalidCachedStatementError": again(ErrorCode.UNKNOWN, "none"),
    "asyncpg.OutdatedSchemaCacheError": again(ErrorCode.UNKNOWN),
    "asyncpg.PostgresError": _by_asyncpg_state,
    # Two classes have this name: the server's, and the client's own, whose text quotes what was passed in.
    "asyncpg.DataError": _by_state_or_final,
    "asyncpg.ClientConfigurationError": _INVALID,
    "asyncpg.InterfaceError": _by_use,
}


def _by_driver(error: Any, look: Look) -> Verdict | None:
    """What the driver's error says (orig); where SQLAlchemy has thrown the connection away, the next one is new."""
    verdict = look(read(error, "orig"), "orig")
    if read(error, "connection_invalidated") is not True:
        return verdict
    if verdict is None:
        return _INVALIDATED
    return _INVALIDATED._replace(effect=verdict.effect) if verdict.code == ErrorCode.NOT_INITIALIZED else verdict


_INVALIDATED = again(ErrorCode.CONNECTION_LOST, rule="sql.sqlalchemy.invalidated")

# Source: SQLAlchemy's exc.py; its manual, "Error Messages".
_SQLALCHEMY: Mapping[str, Entry] = {
    "sqlalchemy.DBAPIError": Through(_by_driver),
    "sqlalchemy.StatementError": inside("orig"),
    "sqlalchemy.EmulatedDBAPIException": inside("orig"),
    "sqlalchemy.TimeoutError": _NO_SLOT,
    "sqlalchemy.DisconnectionError": again(ErrorCode.CONNECTION_LOST, "none"),
    # The session's transaction has failed before: like SQLSTATE 25P02.
    "sqlalchemy.PendingRollbackError": never(ErrorCode.UNKNOWN, "none"),
    "sqlalchemy.ResourceClosedError": _CLOSED,
    "sqlalchemy.InvalidRequestError": _INVALID,
    "sqlalchemy.ArgumentError": _INVALID,
    "sqlalchemy.CompileError": _INVALID,
}

_LIBPQ: tuple[tuple[str, str], ...] = (("psycopg", "sqlstate"), ("psycopg2", "pgcode"))

TABLE = table(*(_libpq(*client) for client in _LIBPQ), _PSYCOPG, _ASYNCPG, _SQLALCHEMY, prefix="sql.")
"""Rows of the classes of PostgreSQL's clients and of SQLAlchemy."""

CODES = (
    Codes("psycopg psycopg2 asyncpg", "SQLSTATE", BY_SQLSTATE),
    Codes("psycopg psycopg2", "text of libpq", {f'"{phrase}"': verdict for phrase, verdict in _PHRASES}),
)
