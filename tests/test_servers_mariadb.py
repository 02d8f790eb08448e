"""The clients of MySQL and MariaDB against a real server, with failures provoked for real."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from servers.attempts import Attempts, judge
from servers.common import free_port, library, wait_until
from servers.mariadb import PASSWORD, MariaDB, mariadb

from retrywrap.classifiers import classify

SLOTS = 12
MODULES = {"pymysql": "pymysql", "mysqlclient": "MySQLdb", "mariadb": "mariadb", "mysql.connector": "mysql"}


def connection(client: str, **words: Any) -> Any:
    """Connect by one of the clients."""
    if client == "pymysql":
        import pymysql as module
    elif client == "mysqlclient":
        import MySQLdb as module
    elif client == "mariadb":
        import mariadb as module
    else:
        import mysql.connector as module

        words["use_pure"] = True
    made = module.connect(**words)
    if client in {"pymysql", "mysqlclient"}:
        made.autocommit(True)
    else:
        made.autocommit = True
    return made


class Session:
    """One connection of any client: statements one by one, each in a transaction of its own unless told otherwise."""

    def __init__(
        self, client: str, port: int, user: str = "tester", password: str = PASSWORD, database: str = "test"
    ) -> None:
        self._connection = connection(
            client, host="127.0.0.1", port=port, user=user, password=password, database=database
        )
        # One for all: mysql.connector asks the server before it makes one, and so hides a connection that broke.
        self._cursor = self._connection.cursor()

    def run(self, statement: str) -> Any:
        """Execute a statement; return its first column's first value, or None."""
        self._cursor.execute(statement)
        rows = self._cursor.fetchall() if self._cursor.description else ()
        return rows[0][0] if rows else None

    def close(self) -> None:
        """Close it, whatever has become of it."""
        with contextlib.suppress(Exception):
            self._connection.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


@pytest.fixture(scope="module")
def server() -> Iterator[MariaDB]:
    """A server, for all tests of the module."""
    with mariadb(**{"max-connections": str(SLOTS), "max-allowed-packet": "1M"}) as running:
        yield running


@pytest.fixture(params=MODULES)
def connect(request: pytest.FixtureRequest, server: MariaDB) -> Iterator[Callable[..., Session]]:
    """What connects by one of the clients; all its sessions are closed in the end."""
    library(MODULES[request.param])
    sessions: list[Session] = []

    def open_session(**changes: Any) -> Session:
        session = Session(request.param, **{"port": server.port, **changes})
        sessions.append(session)
        return session

    with open_session() as setup:
        setup.run("CREATE OR REPLACE TABLE t (id int PRIMARY KEY, v int NOT NULL) ENGINE = InnoDB")
        setup.run("INSERT INTO t VALUES (1, 0), (2, 0)")
    yield open_session
    for session in sessions:
        session.close()


def number(error: BaseException) -> str:
    """Return the number that the rule's name ends in."""
    return classify(error).rule.rpartition(".")[2]


def transaction(session: Session, *statements: str | Callable[[], Any]) -> None:
    """Run statements, and other things to do between them, in a transaction; roll it back where one fails."""
    session.run("BEGIN")
    try:
        for statement in statements:
            if isinstance(statement, str):
                session.run(statement)
            else:
                statement()
        session.run("COMMIT")
    except Exception:
        with contextlib.suppress(Exception):
            session.run("ROLLBACK")
        raise


def value(connect: Callable[..., Session], row: int = 1) -> int:
    """Return what is stored in a row."""
    with connect() as session:
        found: int = session.run(f"SELECT v FROM t WHERE id = {row}")
        return found


def test_refused(connect: Callable[..., Session], server: MariaDB) -> None:
    """A server that refuses is tried again, also by an operation that is not idempotent."""
    nobody = free_port()
    attempts = Attempts(lambda call: connect(port=nobody if call < 3 else server.port), idempotent=False)
    assert attempts.retried().run("SELECT 7") == 7
    assert [judge(error) for error in attempts.errors] == [("NETWORK", True, "none")] * 2


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"password": "wrong"}, "PERMISSION_DENIED"),
        ({"user": "nobody"}, "PERMISSION_DENIED"),
        ({"database": "mysql"}, "PERMISSION_DENIED"),
        ({"user": "reader", "database": "nowhere"}, "PERMISSION_DENIED"),
    ],
)
def test_what_is_never_let_in(connect: Callable[..., Session], changes: dict[str, str], code: str) -> None:
    """A wrong password, and a user and a database that are not there for us, are not tried again."""
    attempts = Attempts(lambda call: connect(**changes))
    assert judge(attempts.fail())[:2] == (code, False)
    assert attempts.calls == 1


def test_no_such_database(connect: Callable[..., Session]) -> None:
    """A database that does not exist is not tried again."""
    attempts = Attempts(lambda call: connect(user="everywhere", database="nowhere"))
    assert judge(attempts.fail())[:2] == ("INVALID_PARAM", False)
    assert (attempts.calls, number(attempts.errors[0])) == (1, "1049")


def test_too_many_connections(connect: Callable[..., Session]) -> None:
    """A server without a free slot is tried again, and asks for less load."""
    held: list[Session] = []

    def one_more(call: int) -> Any:
        if call == 3:
            for session in held:
                session.close()
        while call < 3:  # until it fails: what others have closed may still be going
            held.append(connect())
        return connect().run("SELECT COUNT(*) FROM information_schema.PROCESSLIST")

    attempts = Attempts(one_more, idempotent=False, max=200, interval=0.02)
    while attempts.retried() > SLOTS // 2:
        pass
    assert len(attempts.errors) >= 2
    assert {judge(error) for error in attempts.errors} == {("NETWORK", True, "none")}
    assert all(classify(error).throttled for error in attempts.errors)


def test_killed_connection(connect: Callable[..., Session]) -> None:
    """A connection that is killed under a statement is lost; a retry succeeds with a new one, and only with it."""

    def kill(session: Session) -> Any:
        return session.run(f"KILL {session.run('SELECT CONNECTION_ID()')}") or session.run("SELECT 1")

    attempts = Attempts(lambda call: kill(connect()) if call == 1 else connect().run("SELECT 7"))
    assert attempts.retried() == 7
    assert judge(attempts.errors[0]) == ("CONNECTION_LOST", True, "unknown")
    attempts = Attempts(lambda call: kill(connect()), idempotent=False)
    assert judge(attempts.fail())[0] == "CONNECTION_LOST"
    assert attempts.calls == 1
    session = connect()
    assert not isinstance(Attempts(lambda call: kill(session), max=1).fail(), AssertionError)
    session.close()
    assert judge(Attempts(lambda call: session.run("SELECT 1")).fail()) == ("NOT_INITIALIZED", False, "none")


def test_serialization_failure(connect: Callable[..., Session]) -> None:
    """The whole transaction is done again, once, also where it is not idempotent: it was rolled back."""
    session, other = connect(), connect()
    session.run("SET innodb_snapshot_isolation = ON")

    def add_one(call: int) -> None:
        transaction(
            session,
            "UPDATE t SET v = v + 1 WHERE id = 2",
            "SELECT v FROM t",
            lambda: other.run("UPDATE t SET v = v + 10 WHERE id = 1") if call == 1 else None,
            "UPDATE t SET v = v + 1 WHERE id = 1",
        )

    attempts = Attempts(add_one, idempotent=False)
    attempts.retried()
    assert [number(error) for error in attempts.errors] == ["1020"]
    assert judge(attempts.errors[0]) == ("UNKNOWN", True, "none")
    assert (value(connect, 1), value(connect, 2)) == (11, 1)


def test_a_serialization_failure_rolls_all_back(connect: Callable[..., Session]) -> None:
    """It is the whole transaction that is rolled back, not only the statement."""
    session, other = connect(), connect()
    session.run("SET innodb_snapshot_isolation = ON")
    session.run("BEGIN")
    session.run("UPDATE t SET v = v + 1 WHERE id = 2")
    session.run("SELECT v FROM t")
    other.run("UPDATE t SET v = v + 10 WHERE id = 1")
    assert number(Attempts(lambda call: session.run("UPDATE t SET v = 0 WHERE id = 1"), max=0).fail()) == "1020"
    session.run("COMMIT")
    assert (value(connect, 1), value(connect, 2)) == (10, 0)


def test_deadlock(connect: Callable[..., Session]) -> None:
    """Of two transactions that wait for each other one is rolled back, and done again: both are done once."""
    both = threading.Barrier(2, timeout=20)

    def two_rows(first: int, second: int) -> Attempts:
        def add_one(call: int) -> None:
            with connect() as session:
                transaction(
                    session,
                    f"UPDATE t SET v = v + 1 WHERE id = {first}",
                    lambda: both.wait() if call == 1 else None,
                    f"UPDATE t SET v = v + 1 WHERE id = {second}",
                )

        return Attempts(add_one, idempotent=False)

    runs = [two_rows(1, 2), two_rows(2, 1)]
    threads = [threading.Thread(target=run.retried) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(40)
    errors = [error for run in runs for error in run.errors]
    assert [number(error) for error in errors] == ["1213"]
    assert judge(errors[0]) == ("UNKNOWN", True, "none")
    assert (value(connect, 1), value(connect, 2)) == (2, 2)


@pytest.mark.parametrize("how", ["WAIT 1", "NOWAIT"])
def test_lock_timeout(connect: Callable[..., Session], how: str) -> None:
    """A row that another transaction holds is waited for again."""
    holder, session = connect(), connect()
    holder.run("BEGIN")
    holder.run("UPDATE t SET v = 5 WHERE id = 1")

    def look(call: int) -> None:
        if call == 2:
            holder.run("COMMIT")
        transaction(session, f"SELECT v FROM t WHERE id = 1 FOR UPDATE {how}")

    attempts = Attempts(look)
    attempts.retried()
    assert [judge(error) for error in attempts.errors] == [("TIMEOUT", True, "unknown")]


def test_a_lock_timeout_leaves_the_transaction(connect: Callable[..., Session]) -> None:
    """Only the statement is rolled back: what is not idempotent is not begun again on top of what was done before."""
    holder, session = connect(), connect()
    holder.run("BEGIN")
    holder.run("UPDATE t SET v = 5 WHERE id = 1")

    def careless(call: int) -> None:
        session.run("SET autocommit = 0")
        session.run("UPDATE t SET v = v + 1 WHERE id = 2")
        session.run("SELECT v FROM t WHERE id = 1 FOR UPDATE NOWAIT")

    attempts = Attempts(careless, idempotent=False)
    assert number(attempts.fail()) == "1205"
    assert attempts.calls == 1
    session.run("COMMIT")
    assert value(connect, 2) == 1


@pytest.mark.parametrize(
    ("statement", "code", "expected"),
    [
        ("SET STATEMENT max_statement_time = 0.05 FOR SELECT SLEEP(10) FROM t", "TIMEOUT", "1969"),
        ("INSERT INTO t VALUES (1, 1)", "INVALID_PARAM", "1062"),
        ("SELEC", "INVALID_PARAM", "1064"),
        ("SELECT * FROM nothing", "INVALID_PARAM", "1146"),
        ("SELECT nothing FROM t", "INVALID_PARAM", "1054"),
        ("INSERT INTO t VALUES (3, NULL)", "INVALID_PARAM", "1048"),
        ("CREATE DATABASE elsewhere", "PERMISSION_DENIED", "1044"),
        ("SET GLOBAL max_connections = 3", "PERMISSION_DENIED", "1227"),
    ],
)
def test_statements_that_are_not_retried(
    connect: Callable[..., Session], statement: str, code: str, expected: str
) -> None:
    """A statement that ran out of its time, and one that would fail the same way, are run once."""
    session = connect()
    attempts = Attempts(lambda call: session.run(statement))
    error = attempts.fail()
    assert judge(error)[:2] == (code, False)
    assert (attempts.calls, number(error)) == (1, expected)


def test_what_may_only_read(connect: Callable[..., Session]) -> None:
    """What a read-only transaction, or user, may not do is not tried again."""
    session = connect()
    session.run("START TRANSACTION READ ONLY")
    assert number(Attempts(lambda call: session.run("INSERT INTO t VALUES (3, 1)")).fail()) == "1792"
    reader = connect(user="reader")
    assert number(Attempts(lambda call: reader.run("INSERT INTO t VALUES (3, 1)")).fail()) == "1142"


def test_too_many_connections_of_a_user(connect: Callable[..., Session]) -> None:
    """A user who has no connection left is tried again."""
    held = connect(user="reader")

    def one_more(call: int) -> Any:
        if call == 2:
            held.close()
        return connect(user="reader").run("SELECT 7")

    attempts = Attempts(one_more, idempotent=False, max=200, interval=0.02)
    assert attempts.retried() == 7
    assert {judge(error) for error in attempts.errors} == {("NETWORK", True, "none")}
    assert {number(error) for error in attempts.errors} == {"1226"}


def test_a_packet_that_is_too_large(connect: Callable[..., Session]) -> None:
    """It is as large the next time, whatever its SQLSTATE; some clients see only that the connection breaks."""
    session = connect()
    attempts = Attempts(lambda call: session.run(f"SELECT '{'x' * 1_500_000}'"), max=0)
    assert judge(attempts.fail())[0] in {"INVALID_PARAM", "CONNECTION_LOST"}


@pytest.mark.parametrize(
    ("raised", "code", "retryable"),
    [
        (1021, "DISK_FULL", False),
        (1114, "DISK_FULL", False),
        (1037, "MEMORY_ALLOC", False),
        (1041, "MEMORY_ALLOC", False),
        (1047, "NETWORK", True),
        (1053, "CONNECTION_LOST", True),
        (1153, "INVALID_PARAM", False),
        (1203, "NETWORK", True),
        (1290, "PERMISSION_DENIED", False),
        (1317, "UNKNOWN", False),
        (1927, "CONNECTION_LOST", True),
        (3024, "TIMEOUT", False),
        (1105, "UNKNOWN", False),
    ],
)
def test_numbers_that_the_server_raises_on_request(
    connect: Callable[..., Session], raised: int, code: str, retryable: bool
) -> None:
    """What cannot be had for real comes from the server all the same, with a SQLSTATE that says something else."""
    session = connect()
    signal = f"SIGNAL SQLSTATE '08S01' SET MYSQL_ERRNO = {raised}, MESSAGE_TEXT = 'text'"
    attempts = Attempts(lambda call: session.run(signal), max=2)
    assert judge(attempts.fail())[:2] == (code, retryable)
    assert attempts.calls == (3 if retryable else 1)


def test_restart_in_the_midst_of_a_transaction(connect: Callable[..., Session], server: MariaDB) -> None:
    """The server stops before a commit and is away for a while: the transaction is done again, and applied once."""

    def add_one(call: int) -> None:
        if call == 3:
            server.start()
        with connect() as session:
            transaction(session, "UPDATE t SET v = v + 1 WHERE id = 1", lambda: server.stop() if call == 1 else None)

    attempts = Attempts(add_one)
    try:
        attempts.retried()
    finally:
        if not server.running():
            server.start()
    lost, refused = attempts.errors
    assert judge(lost) == ("CONNECTION_LOST", True, "unknown")
    assert judge(refused) == ("NETWORK", True, "none")
    assert value(connect) == 1


@pytest.mark.parametrize(
    ("dialect", "module"),
    [
        ("pymysql", "pymysql"),
        ("mysqldb", "MySQLdb"),
        ("mariadbconnector", "mariadb"),
        ("mysqlconnector", "mysql"),
    ],
)
def test_sqlalchemy(dialect: str, module: str, server: MariaDB) -> None:
    """Through SQLAlchemy an error means what the driver says, and a dead connection is replaced by the pool."""
    library("sqlalchemy")
    library(module)
    import sqlalchemy

    engine = sqlalchemy.create_engine(
        f"mysql+{dialect}://tester:{PASSWORD}@127.0.0.1:{server.port}/test", pool_size=2, max_overflow=0
    )

    def killed_while_idle(call: int) -> Any:
        with engine.begin() as connection:
            process = connection.exec_driver_sql("SELECT CONNECTION_ID()").scalar()
            if call == 1:
                with engine.connect() as other:
                    other.exec_driver_sql(f"KILL {process}")
                    gone = f"SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ID = {process}"
                    wait_until(lambda: other.exec_driver_sql(gone).scalar() == 0, "the connection to go")
            return connection.exec_driver_sql("SELECT 7").scalar()

    try:
        attempts = Attempts(killed_while_idle)
        assert attempts.retried() == 7
        assert judge(attempts.errors[0]) == ("CONNECTION_LOST", True, "unknown")
        with engine.connect() as connection:
            attempts = Attempts(lambda call: connection.exec_driver_sql("SELEC"))
            assert number(attempts.fail()) == "1064"
    finally:
        engine.dispose()


def test_pools(server: MariaDB) -> None:
    """A pool without a free connection is asked again: those of mysql.connector and of mariadb do not wait."""
    library("mysql")
    library("mariadb")
    import mariadb as module
    from mysql.connector.pooling import MySQLConnectionPool

    words = {"host": "127.0.0.1", "port": server.port, "user": "tester", "password": PASSWORD, "database": "test"}
    for pool in (
        MySQLConnectionPool(pool_name="one", pool_size=1, use_pure=True, **words),
        module.ConnectionPool(pool_name="one", pool_size=1, **words),
    ):
        held = pool.get_connection()

        def one_more(call: int, pool: Any = pool, held: Any = held) -> Any:
            if call == 2:
                held.close()
            return pool.get_connection()

        attempts = Attempts(one_more, idempotent=False)
        attempts.retried().close()
        assert [judge(error) for error in attempts.errors] == [("TIMEOUT", True, "none")]
    pool.close()
