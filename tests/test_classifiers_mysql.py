"""The errors of the clients of MySQL and MariaDB: look-alikes, and the real classes where they are installed."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from typing import Any

import pytest
from servers.common import library

from retrywrap.classifiers import classify
from retrywrap.classifiers.tables import family


def fake(name: str, *bases: type) -> type[Any]:
    """Return a class that looks like a library's: ``"pymysql.err.OperationalError"``."""
    module, _, qualname = name.rpartition(".")
    return type(qualname, bases or (Exception,), {"__module__": module})


class Numbered(Exception):
    """An error with a number, a SQLSTATE and a text, as mariadb's and mysql.connector's are."""

    def __init__(self, text: str = "", errno: object = None, sqlstate: object = None) -> None:
        super().__init__(text)
        self.errno = errno
        self.sqlstate = sqlstate


def by_args(module: str) -> dict[str, type[Any]]:
    """Return the classes of a client whose errors have the number as their first argument."""
    classes = {"MySQLError": fake(f"{module}.MySQLError")}
    classes["Error"] = fake(f"{module}.Error", classes["MySQLError"])
    classes["InterfaceError"] = fake(f"{module}.InterfaceError", classes["Error"])
    classes["DatabaseError"] = fake(f"{module}.DatabaseError", classes["Error"])
    for name in ("OperationalError", "ProgrammingError", "IntegrityError", "DataError", "NotSupportedError"):
        classes[name] = fake(f"{module}.{name}", classes["DatabaseError"])
    return classes


def by_errno(module: str, *more: str) -> dict[str, type[Any]]:
    """Return the classes of a client whose errors have the number as ``errno``."""
    error = fake(f"{module}.Error", Numbered)
    database = fake(f"{module}.DatabaseError", error)
    names = ("OperationalError", "ProgrammingError", "IntegrityError", "DataError", "NotSupportedError")
    return {
        "Error": error,
        "InterfaceError": fake(f"{module}.InterfaceError", error),
        **{name: fake(f"{module}.{name}", database) for name in names},
        **{name: fake(f"{module}.{name}", error) for name in more},
    }


PYMYSQL = by_args("pymysql.err")
MYSQLDB = by_args("MySQLdb")
MARIADB = by_errno("mariadb", "PoolError")
CONNECTOR = by_errno(
    "mysql.connector.errors", "PoolError", "ConnectionTimeoutError", "ReadTimeoutError", "WriteTimeoutError"
)


def real(module: str, name: str) -> Any:
    """Return a class of a library that is installed; skips, or fails, where it is not."""
    return getattr(library(module), name)


def real_mariadb(name: str, text: str, number: int) -> Any:
    """Return an error of mariadb's, which sets its attributes itself."""
    error = real("mariadb", name)(text)
    error.errno = number
    return error


MAKERS: dict[str, Callable[[str, int, str], Any]] = {
    "pymysql": lambda name, number, text: PYMYSQL[name](number, text),
    "MySQLdb": lambda name, number, text: MYSQLDB[name](number, text),
    "mariadb": lambda name, number, text: MARIADB[name](text, number),
    "mysql": lambda name, number, text: CONNECTOR[name](text, number),
    "real pymysql": lambda name, number, text: real("pymysql.err", name)(number, text),
    "real MySQLdb": lambda name, number, text: real("MySQLdb", name)(number, text),
    "real mariadb": lambda name, number, text: real_mariadb(name, text, number),
    "real mysql": lambda name, number, text: real("mysql.connector.errors", name)(text, number),
}


def judge(error: BaseException) -> tuple[str, bool, str]:
    """Return code, whether it is retryable, and the effect."""
    verdict = classify(error)
    return verdict.code.name, verdict.retryable, verdict.effect


NUMBERS = [
    (1213, "UNKNOWN", True, "none"),
    (1020, "UNKNOWN", True, "none"),
    (1205, "TIMEOUT", True, "unknown"),
    (3572, "TIMEOUT", True, "unknown"),
    (2002, "NETWORK", True, "none"),
    (2003, "NETWORK", True, "none"),
    (1040, "NETWORK", True, "none"),
    (1203, "NETWORK", True, "none"),
    (1047, "NETWORK", True, "none"),
    (2006, "CONNECTION_LOST", True, "unknown"),
    (2013, "CONNECTION_LOST", True, "unknown"),
    (2055, "CONNECTION_LOST", True, "unknown"),
    (1053, "CONNECTION_LOST", True, "unknown"),
    (1927, "CONNECTION_LOST", True, "unknown"),
    (4031, "CONNECTION_LOST", True, "unknown"),
    (2005, "INVALID_PARAM", False, "unknown"),
    (1048, "INVALID_PARAM", False, "unknown"),
    (1049, "INVALID_PARAM", False, "unknown"),
    (1054, "INVALID_PARAM", False, "unknown"),
    (1064, "INVALID_PARAM", False, "unknown"),
    (1062, "INVALID_PARAM", False, "unknown"),
    (1146, "INVALID_PARAM", False, "unknown"),
    (1153, "INVALID_PARAM", False, "unknown"),
    (1317, "UNKNOWN", False, "unknown"),
    (1226, "UNKNOWN", False, "unknown"),
    (1969, "TIMEOUT", False, "unknown"),
    (3024, "TIMEOUT", False, "unknown"),
    (1045, "PERMISSION_DENIED", False, "unknown"),
    (1044, "PERMISSION_DENIED", False, "unknown"),
    (1130, "PERMISSION_DENIED", False, "unknown"),
    (1142, "PERMISSION_DENIED", False, "unknown"),
    (1143, "PERMISSION_DENIED", False, "unknown"),
    (1227, "PERMISSION_DENIED", False, "unknown"),
    (1290, "PERMISSION_DENIED", False, "unknown"),
    (1698, "PERMISSION_DENIED", False, "unknown"),
    (1792, "PERMISSION_DENIED", False, "unknown"),
    (1021, "DISK_FULL", False, "unknown"),
    (1114, "DISK_FULL", False, "unknown"),
    (1037, "MEMORY_ALLOC", False, "unknown"),
    (1041, "MEMORY_ALLOC", False, "unknown"),
]


@pytest.mark.parametrize("client", MAKERS)
@pytest.mark.parametrize(("number", "code", "retryable", "effect"), NUMBERS)
def test_numbers(client: str, number: int, code: str, retryable: bool, effect: str) -> None:
    """A number means the same whichever client carries it; the rule says which client, and which row."""
    error = MAKERS[client]("OperationalError", number, "text, or Server has gone away")
    assert judge(error) == (code, retryable, effect)
    assert classify(error).rule == f"sql.{client.removeprefix('real ')}.{number}"


@pytest.mark.parametrize("client", MAKERS)
def test_too_many_connections_asks_for_less_load(client: str) -> None:
    """A server without a free connection is priced as one that throttles."""
    found = {number for number, *_ in NUMBERS if classify(MAKERS[client]("OperationalError", number, "")).throttled}
    assert found == {1040, 1203}


@pytest.mark.parametrize("client", MAKERS)
def test_the_resources_of_a_user(client: str) -> None:
    """A user without a free connection may soon have one; what is counted by the hour is not tried again."""
    text = "User 'u' has exceeded the '{}' resource (current value: 1)"
    error = MAKERS[client]("OperationalError", 1226, text.format("max_user_connections"))
    assert judge(error) == ("NETWORK", True, "none")
    assert classify(error).throttled
    error = MAKERS[client]("OperationalError", 1226, text.format("max_queries_per_hour"))
    assert judge(error) == ("UNKNOWN", False, "unknown")


@pytest.mark.parametrize("client", MAKERS)
@pytest.mark.parametrize("number", [1, 111, 1105, 1180, 2014, 2026, 99999, -2])
def test_numbers_that_nobody_knows(client: str, number: int) -> None:
    """What no row knows is not retried, though it is an OperationalError; nor is the number an errno."""
    error = MAKERS[client]("OperationalError", number, "Lost connection")
    assert judge(error) == ("UNKNOWN", False, "unknown")
    assert classify(error).rule == "unknown"


@pytest.mark.parametrize("client", MAKERS)
@pytest.mark.parametrize("name", ["DataError", "IntegrityError", "NotSupportedError", "ProgrammingError"])
def test_classes_that_are_final(client: str, name: str) -> None:
    """These classes are final where the number is in no row, and only there."""
    assert judge(MAKERS[client](name, 1105, "text"))[:2] == ("INVALID_PARAM", False)
    assert judge(MAKERS[client](name, 1213, "text"))[:2] == ("UNKNOWN", True)


@pytest.mark.parametrize("cls", [MARIADB["Error"], CONNECTOR["Error"]])
def test_the_number_before_the_sqlstate(cls: Any) -> None:
    """A packet that is too large comes with 08S01, as a failed connection does; an unknown number leaves it to it."""
    assert judge(cls("Got a packet bigger than 'max_allowed_packet' bytes", 1153, "08S01"))[:2] == (
        "INVALID_PARAM",
        False,
    )
    assert judge(cls("text", 1614, "40001")) == ("UNKNOWN", True, "none")
    assert judge(cls("text", 1451, "23000"))[:2] == ("INVALID_PARAM", False)
    assert judge(cls("text", 1160, "08S01"))[:2] == ("UNKNOWN", False)
    assert judge(cls("text", 1105, "HY000"))[:2] == ("UNKNOWN", False)


def test_pymysql_has_a_sqlstate_too() -> None:
    """PyMySQL since 1.2 gives the SQLSTATE beside the number."""
    error = PYMYSQL["OperationalError"](1614, "text")
    error.sqlstate = "40001"
    assert classify(error).rule == "sql.pymysql.40001"


CLOSED = [
    (PYMYSQL["InterfaceError"], (0, "")),
    (PYMYSQL["ProgrammingError"], ("Cursor closed",)),
    (MYSQLDB["OperationalError"], (2006, "")),
    (MYSQLDB["OperationalError"], (2006, "Lost connection to server during query")),
    (MYSQLDB["InterfaceError"], (0, "")),
    (MYSQLDB["ProgrammingError"], ("cursor closed",)),
    (MARIADB["ProgrammingError"], ("Invalid connection or not connected",)),
    (MARIADB["ProgrammingError"], ("Cursor cannot be used anymore (it was already closed before).",)),
    (CONNECTOR["OperationalError"], ("MySQL Connection not available", -1)),
    (CONNECTOR["InterfaceError"], ("Connection to MySQL is not available", -1)),
    (CONNECTOR["ProgrammingError"], ("Cursor is not connected", -1)),
    (CONNECTOR["OperationalError"], ("2055: Lost connection to server at 'h:1', system error: Errno 9: Bad file "
                                     "descriptor", 2055)),
    (CONNECTOR["OperationalError"], ("Lost connection to server at 'h', system error: Connection not available.",
                                     2055)),
]  # fmt: skip


@pytest.mark.parametrize(("cls", "args"), CLOSED)
def test_a_dead_handle(cls: Any, args: tuple[Any, ...]) -> None:
    """What every later call on a dead handle says: without a new connection it stays so."""
    assert judge(cls(*args)) == ("NOT_INITIALIZED", False, "none")


def test_a_server_that_went_away() -> None:
    """With its own text 2006 is a connection that broke, and 2055 too."""
    assert judge(MYSQLDB["OperationalError"](2006, "Server has gone away"))[:2] == ("CONNECTION_LOST", True)
    assert judge(MYSQLDB["OperationalError"](2006, "MySQL server has gone away"))[:2] == ("CONNECTION_LOST", True)
    assert judge(PYMYSQL["OperationalError"](2006, "broken pipe"))[:2] == ("CONNECTION_LOST", True)
    assert judge(CONNECTOR["OperationalError"]("system error: Errno 32: Broken pipe", 2055))[:2] == (
        "CONNECTION_LOST",
        True,
    )


@pytest.mark.parametrize("client", MAKERS)
@pytest.mark.parametrize("packet", ["reading initial communication packet", "reading authorization packet"])
def test_a_connection_that_broke_before_it_stood(client: str, packet: str) -> None:
    """Nothing is asked of a server before there is a connection."""
    for number in (2013, 2055):
        error = MAKERS[client]("OperationalError", number, f"Lost connection to server at 'handshake: {packet}'")
        assert judge(error) == ("CONNECTION_LOST", True, "none")


REFUSED = ConnectionRefusedError(111, "Connection refused")
REASONS = [
    (REFUSED, ("NETWORK", True, "none")),
    (TimeoutError("timed out"), ("TIMEOUT", True, "none")),
    (ConnectionResetError(104, "reset"), ("CONNECTION_LOST", True, "none")),
    (FileNotFoundError(2, "No such file or directory"), ("NETWORK", True, "none")),
    (PermissionError(13, "Permission denied"), ("PERMISSION_DENIED", False, "none")),
    (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), ("INVALID_PARAM", False, "none")),
    (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), ("NETWORK", True, "none")),
    (ssl.SSLCertVerificationError(1, "certificate verify failed"), ("PERMISSION_DENIED", False, "none")),
    (RuntimeError("?"), ("NETWORK", True, "none")),
    (None, ("NETWORK", True, "none")),
    ("text", ("NETWORK", True, "none")),
]


@pytest.mark.parametrize(("reason", "expected"), REASONS)
def test_why_there_is_no_connection(reason: object, expected: tuple[str, bool, str]) -> None:
    """PyMySQL and mysql.connector have one number for every reason; what counts is the reason, where it is known."""
    error = PYMYSQL["OperationalError"](2003, "Can't connect to MySQL server on 'h' (reason)")
    error.original_exception = reason
    assert judge(error) == expected
    for number in (2002, 2003):
        error = CONNECTOR["InterfaceError"]("Can't connect to MySQL server on 'h:1' (reason)", number)
        error.__cause__ = reason if isinstance(reason, BaseException) else None
        assert judge(error) == expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        # Their number is one of the server's, which is final.
        (CONNECTOR["ReadTimeoutError"]("The Read Operation timed out.", 3024), ("TIMEOUT", True, "unknown")),
        (CONNECTOR["WriteTimeoutError"]("The Write Operation timed out.", 3024), ("TIMEOUT", True, "unknown")),
        (CONNECTOR["ConnectionTimeoutError"]("timed out", 3024), ("TIMEOUT", True, "none")),
        (CONNECTOR["ConnectionTimeoutError"]("timed out", 2003), ("TIMEOUT", True, "none")),
        (CONNECTOR["PoolError"]("Failed getting connection; pool exhausted", -1), ("TIMEOUT", True, "none")),
        (CONNECTOR["PoolError"]("Size can not be changed for active pools.", -1), ("UNKNOWN", False, "unknown")),
        (MARIADB["PoolError"]("No connection available"), ("TIMEOUT", True, "none")),
        (MARIADB["PoolError"]("Couldn't get configuration for pool p"), ("UNKNOWN", False, "unknown")),
        (PYMYSQL["ProgrammingError"]("execute() first"), ("INVALID_PARAM", False, "unknown")),
        (PYMYSQL["OperationalError"](), ("UNKNOWN", False, "unknown")),
        (PYMYSQL["OperationalError"]("1213"), ("UNKNOWN", False, "unknown")),
        (PYMYSQL["OperationalError"](True), ("UNKNOWN", False, "unknown")),
        (MARIADB["OperationalError"]("text", "1213"), ("UNKNOWN", False, "unknown")),
        (MARIADB["OperationalError"](1213, "text"), ("UNKNOWN", False, "unknown")),
    ],
    ids=lambda value: f"{type(value).__module__}-{value}"[:70] if isinstance(value, Exception) else "",
)
def test_other_classes(error: Exception, expected: tuple[str, bool, str]) -> None:
    """What carries no number of the server's is judged by its class, or by the few texts that say more."""
    assert judge(error) == expected


@pytest.mark.parametrize(
    ("module", "name", "args", "code", "retryable"),
    [
        ("pymysql.err", "InterfaceError", (0, ""), "NOT_INITIALIZED", False),
        ("pymysql.err", "ProgrammingError", ("Cursor closed",), "NOT_INITIALIZED", False),
        ("pymysql.err", "Warning", ("text",), "UNKNOWN", False),
        ("MySQLdb", "OperationalError", (2006, ""), "NOT_INITIALIZED", False),
        ("mariadb", "ProgrammingError", ("Invalid connection or not connected",), "NOT_INITIALIZED", False),
        ("mariadb", "PoolError", ("No connection available",), "TIMEOUT", True),
        ("mysql.connector.errors", "OperationalError", ("MySQL Connection not available",), "NOT_INITIALIZED", False),
        ("mysql.connector.errors", "ReadTimeoutError", ("x", 3024), "TIMEOUT", True),
        ("mysql.connector.errors", "ConnectionTimeoutError", ("x", 3024), "TIMEOUT", True),
        ("mysql.connector.errors", "PoolError", ("Failed getting connection; pool exhausted",), "TIMEOUT", True),
        ("mysql.connector.errors", "IntegrityError", ("x", 1451, None, "23000"), "INVALID_PARAM", False),
        ("mysql.connector.errors", "DatabaseError", ("x", 1614, None, "40001"), "UNKNOWN", True),
    ],
)
def test_real_classes(module: str, name: str, args: tuple[Any, ...], code: str, retryable: bool) -> None:
    """The same of the real classes, whose modules and names are as the table has them."""
    assert judge(real(module, name)(*args))[:2] == (code, retryable)


def test_sqlalchemy_means_what_the_driver_says() -> None:
    """SQLAlchemy's error means what the driver's does, and a connection that it threw away is replaced."""
    error = fake("sqlalchemy.exc.OperationalError", fake("sqlalchemy.exc.DBAPIError"))("text")
    error.orig = PYMYSQL["OperationalError"](1213, "Deadlock found")
    assert classify(error).rule == "sql.pymysql.1213"
    error.orig, error.connection_invalidated = PYMYSQL["InterfaceError"](0, ""), True
    assert judge(error) == ("CONNECTION_LOST", True, "none")


@pytest.mark.parametrize("client", MAKERS)
@pytest.mark.parametrize("number", [1045, 1044, 1049, 1142, 1153, 1317, 1969, 3024, 1021, 1114, 2005])
def test_what_looks_transient_and_is_not(client: str, number: int) -> None:
    """OperationalError is no reason to retry, nor is a SQLSTATE of class 08."""
    error = MAKERS[client]("OperationalError", number, "text")
    if client in {"mariadb", "mysql"}:
        error.sqlstate = "08S01"
    assert not classify(error).retryable


@pytest.mark.parametrize("client", MAKERS)
def test_a_lost_commit(client: str) -> None:
    """A COMMIT whose reply was lost looks like any lost connection, and may have been applied."""
    error = MAKERS[client]("OperationalError", 2013, "Lost connection to server during query")
    assert judge(error) == ("CONNECTION_LOST", True, "unknown")


def test_hostile_attributes() -> None:
    """Attributes and texts that raise say nothing."""

    class Raises:
        def __get__(self, thing: object, owner: object = None) -> Any:
            raise RuntimeError("no")

    def no_text(self: object) -> str:
        raise RuntimeError("no text")

    names = ("args", "errno", "sqlstate", "original_exception", "__cause__")
    for base in (PYMYSQL["OperationalError"], MARIADB["PoolError"], fake("mysql.connector.errors.OperationalError",
                 fake("mysql.connector.errors.Error"))):  # fmt: skip
        cls = type("Hostile", (base,), {**{name: Raises() for name in names}, "__str__": no_text})
        assert not classify(cls.__new__(cls)).retryable
    error = type("Hostile", (PYMYSQL["OperationalError"],), {"__str__": no_text})(2013, "x")
    assert judge(error) == ("CONNECTION_LOST", True, "unknown")


def test_the_family_is_listed() -> None:
    """The rows can be had by family, and each that depends says on what."""
    rows = family("mysql")
    assert {"pymysql.MySQLError", "MySQLdb.Error", "mariadb.Error", "mysql.Error"} <= rows.keys()
    for row in rows.values():
        assert row.answer is not None or (row.judge or row.through).__doc__
