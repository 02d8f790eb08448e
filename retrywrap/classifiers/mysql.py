"""What the errors of the clients of MySQL and MariaDB mean: PyMySQL, mysqlclient, mariadb, mysql.connector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from retrywrap.classifiers.guard import exact_int, read, text_of
from retrywrap.classifiers.rows import Codes, Entry, Look, Through, again, by_code, never, table
from retrywrap.classifiers.sqlstate import BY_SQLSTATE, state_reader
from retrywrap.classifiers.verdict import Verdict
from retrywrap.codes import ErrorCode

__all__ = ["CODES", "TABLE"]

_LONGEST_TEXT = 10_000
_INVALID = never(ErrorCode.INVALID_PARAM)
_DENIED = never(ErrorCode.PERMISSION_DENIED)
_TIMEOUT = again(ErrorCode.TIMEOUT)
_CLOSED = never(ErrorCode.NOT_INITIALIZED, "none")
_UNREACHED = again(ErrorCode.NETWORK, "none")
_NO_SLOT = again(ErrorCode.TIMEOUT, "none")

# Sources: the MySQL 8.4 Error Message Reference, "Server" and "Client"; the MariaDB manual, "MariaDB Error Codes".
_BY_NUMBER: tuple[tuple[Verdict, str], ...] = (
    # PyMySQL's InterfaceError(0, '').
    (_CLOSED, "0"),
    # The server has rolled the whole transaction back. 1020 is MariaDB's word for a serialization failure.
    (again(ErrorCode.UNKNOWN, "none"), "1213 1020"),
    # Only the statement was rolled back: what the transaction has done before is still there, to be committed twice by
    # whoever begins again without a rollback.
    (_TIMEOUT, "1205 3572"),
    (_UNREACHED, "2002 2003 1047"),
    (again(ErrorCode.NETWORK, "none", throttled=True), "1040 1203"),
    (again(ErrorCode.CONNECTION_LOST), "2006 2013 2055 1053 1927 4031"),
    # The SQLSTATE of 1153 is 08S01, of a connection that failed: the packet stays as large as it is.
    (_INVALID, "2005 1048 1049 1054 1062 1064 1146 1153"),
    # Of 1226 only one kind passes soon: see below.
    (never(ErrorCode.UNKNOWN), "1317 1226"),
    (never(ErrorCode.TIMEOUT), "1969 3024"),
    (_DENIED, "1045 1044 1130 1142 1143 1227 1290 1698 1792"),
    (never(ErrorCode.DISK_FULL), "1021 1114"),
    (never(ErrorCode.MEMORY_ALLOC), "1037 1041"),
)

# What each later call on a dead handle says, in the client's own words.
# Sources: PyMySQL's and mysqlclient's cursors.py; mariadb's connections.py and cursors.py; mysql.connector's
# connection.py and cursor.py.
_UNUSABLE = (
    "ursor closed",
    "Cursor cannot be used anymore",
    "Cursor is not connected",
    "Invalid connection or not connected",
    "MySQL Connection not available",
    "Connection to MySQL is not available",
)
# The client lost, or closed, the socket itself.
_NO_SOCKET = ("Bad file descriptor", "Connection not available.")
# mysqlclient has this number for a connection that was closed, too, with the text of whatever failed last, or none.
_GONE = ("gone away",)
# The other resources of a user are counted by the hour.
_USER_IS_FULL = ("the 'max_user_connections' resource",)
_HANDSHAKE = ("reading initial communication packet", "reading authorization packet")
_NOT_CONNECTED = frozenset({2002, 2003})
_BASE = "MySQLError"
_NOT_THERE_YET = "stdlib.errno.ENOENT"


def _by_number(prefix: str) -> dict[int, Verdict]:
    return by_code(prefix, *((verdict, map(int, numbers.split())) for verdict, numbers in _BY_NUMBER))


def _client(library: str, carrier: str, reasons: str = "") -> Mapping[str, Entry]:
    """Return the rows of a client.

    Args:
        library: The root of its modules.
        carrier: Where the number is: ``"args"``, as the first of them, or ``"errno"``.
        reasons: The class whose row looks for the reason why there is no connection: a base of the class Error, or one
            that is derived from it. To look inside costs as much as all the rest, so that no other row does.
    """
    rows = _by_number(f"sql.{library}")
    by_state = state_reader(f"sql.{library}", "sqlstate")
    closed = _CLOSED._replace(rule=f"sql.{library}.closed")
    full = rows[1203]._replace(rule=f"sql.{library}.1226")
    left = _NOT_CONNECTED if reasons == _BASE else frozenset()

    def by_number(error: Any) -> Verdict | None:
        number = _number(error, carrier)
        verdict = None if number is None else rows.get(number)
        if verdict is None:
            return by_state(error) or (closed if _says(error, _UNUSABLE) else None)
        if number in left:
            return None
        if number == 2006 and library == "MySQLdb" and not _says(error, _GONE):
            return closed
        if number == 2055 and _says(error, _NO_SOCKET):
            return closed
        if number == 1226 and _says(error, _USER_IS_FULL):
            return full
        if (number == 2013 or number == 2055) and _says(error, _HANDSHAKE):
            return verdict._replace(effect="none")
        return verdict

    def by_number_or_final(error: Any) -> Verdict:
        return by_number(error) or _INVALID

    def by_reason(error: Any, look: Look) -> Verdict | None:
        number = _number(error, carrier)
        return (_cause(error, look) or rows[number]) if number in _NOT_CONNECTED else None

    where = "args[0]" if carrier == "args" else carrier
    by_number.__doc__ = f"What its number says ({where}), otherwise its SQLSTATE."
    by_number_or_final.__doc__ = f"What its number says ({where}), otherwise its SQLSTATE, otherwise INVALID_PARAM."
    by_reason.__doc__ = f"Why there is no connection, where its number ({where}) says that there is none."
    final = ("DataError", "IntegrityError", "NotSupportedError", "ProgrammingError")
    return {
        **{f"{library}.{name}": by_number_or_final for name in final},
        **({f"{library}.{reasons}": Through(by_reason)} if reasons else {}),
        f"{library}.Error": by_number,
    }


def _number(error: Any, carrier: str) -> int | None:
    value = read(error, carrier)
    if carrier == "args":
        value = value[0] if type(value) is tuple and value else None
    return exact_int(value)


def _says(error: BaseException, phrases: tuple[str, ...]) -> bool:
    text = text_of(error)[:_LONGEST_TEXT]
    return any(phrase in text for phrase in phrases)


def _cause(error: Any, look: Look) -> Verdict | None:
    """Return why there is no connection; None where nobody says it, or the number says all.

    PyMySQL and mysql.connector have one number for a server that refused, a name that nobody knows and a certificate
    that is bad. A server that is being restarted has no socket file: that passes.
    """
    for name in ("original_exception", "__cause__"):
        verdict = look(read(error, name), name)
        if verdict is not None:
            return None if verdict.rule == _NOT_THERE_YET else verdict._replace(effect="none")
    return None


def _by_pool(error: BaseException) -> Verdict | None:
    """TIMEOUT where the pool has no connection left."""
    return _NO_SLOT if _says(error, ("pool exhausted", "No connection available")) else None


# Sources: mysql.connector's errors.py, network.py and pooling.py; mariadb's connectionpool.py.
_SPECIAL: Mapping[str, Entry] = {
    # Their errno is that of another thing: 3024 is the server's own limit.
    "mysql.ConnectionTimeoutError": _NO_SLOT,
    "mysql.ReadTimeoutError": _TIMEOUT,
    "mysql.WriteTimeoutError": _TIMEOUT,
    "mysql.PoolError": _by_pool,
    "mariadb.PoolError": _by_pool,
}

# mysqlclient and mariadb are made of a C library, which has no exception inside its own.
_CLIENTS = (
    ("pymysql", "args", _BASE),
    ("MySQLdb", "args"),
    ("mariadb", "errno"),
    ("mysql", "errno", "InterfaceError"),
)

TABLE = table(*(_client(*client) for client in _CLIENTS), _SPECIAL, prefix="sql.")
"""Rows of the classes of the clients of MySQL and MariaDB."""

CODES = (
    Codes("pymysql MySQLdb mariadb mysql", "number", _by_number("sql")),
    Codes("pymysql MySQLdb mariadb mysql", "SQLSTATE, where the number is not known", BY_SQLSTATE),
)
