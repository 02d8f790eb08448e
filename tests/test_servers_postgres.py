"""PostgreSQL's clients against a real server, with failures provoked for real."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from servers.attempts import Attempts, judge
from servers.common import free_port, library, wait_until
from servers.postgres import PASSWORD, Postgres, postgres

from retrywrap import with_retry
from retrywrap.classifiers import classify

SLOTS = 12


class Session:
    """One connection of any client: statements one by one, each in a transaction of its own unless told otherwise."""

    def __init__(
        self,
        client: str,
        port: int,
        user: str = "tester",
        password: str = "",
        database: str = "postgres",
        tls: str = "prefer",
    ):
        self._loop: asyncio.AbstractEventLoop | None = None
        if client == "asyncpg":
            import asyncpg

            self._loop = asyncio.new_event_loop()
            try:
                self._connection = self._loop.run_until_complete(
                    asyncpg.connect(
                        host="127.0.0.1", port=port, user=user, password=password or None, database=database, ssl=tls
                    )
                )
            except BaseException:
                self._loop.close()
                raise
            return
        if client == "psycopg":
            import psycopg as module
        else:
            import psycopg2 as module
        words = {"host": "127.0.0.1", "port": port, "user": user, "dbname": database, "sslmode": tls}
        self._connection = module.connect(**words, **({"password": password} if password else {}))
        self._connection.autocommit = True

    def run(self, statement: str) -> Any:
        """Execute a statement; return its first column's first value, or None."""
        if self._loop is not None:
            return self._loop.run_until_complete(self._run(statement))
        with contextlib.closing(self._connection.cursor()) as cursor:
            cursor.execute(statement)
            return cursor.fetchone()[0] if cursor.description else None

    async def _run(self, statement: str) -> Any:
        if statement.startswith(("SELECT", "SHOW")):
            return await self._connection.fetchval(statement)
        await self._connection.execute(statement)
        return None

    def close(self) -> None:
        """Close it, whatever has become of it."""
        if self._loop is None:
            self._connection.close()
        elif not self._loop.is_closed():
            with contextlib.suppress(Exception):
                self._loop.run_until_complete(self._connection.close(timeout=5))
            self._loop.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A server, for all tests of the module."""
    with postgres(
        max_connections=str(SLOTS),
        superuser_reserved_connections="0",
        max_wal_senders="1",
        deadlock_timeout="50ms",
        # A session that waits for a standby which there is not can be broken off after its commit.
        synchronous_standby_names="'nobody'",
        synchronous_commit="local",
    ) as running:
        yield running


@pytest.fixture(params=["psycopg", "psycopg2", "asyncpg"])
def connect(request: pytest.FixtureRequest, server: Postgres) -> Iterator[Callable[..., Session]]:
    """What connects by one of the clients; all its sessions are closed in the end."""
    library(request.param)
    sessions: list[Session] = []

    def open_session(**changes: Any) -> Session:
        session = Session(request.param, **{"port": server.port, **changes})
        sessions.append(session)
        return session

    with open_session() as setup:
        setup.run("DROP TABLE IF EXISTS t")
        setup.run("CREATE TABLE t (id int PRIMARY KEY, v int NOT NULL)")
        setup.run("INSERT INTO t VALUES (1, 0), (2, 0)")
    yield open_session
    for session in sessions:
        session.close()


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


def value(connect: Callable[..., Session], number: int = 1) -> int:
    """Return what is stored in a row."""
    with connect() as session:
        found: int = session.run(f"SELECT v FROM t WHERE id = {number}")
        return found


def test_refused(connect: Callable[..., Session], server: Postgres) -> None:
    """A server that refuses is tried again, also by an operation that is not idempotent."""
    nobody = free_port()
    attempts = Attempts(lambda call: connect(port=nobody if call < 3 else server.port), idempotent=False)
    assert attempts.retried().run("SELECT 7") == 7
    assert [judge(error) for error in attempts.errors] == [("NETWORK", True, "none")] * 2


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"user": "guarded", "password": "wrong"}, "PERMISSION_DENIED"),
        ({"user": "nobody"}, "PERMISSION_DENIED"),
        ({"database": "nowhere"}, "INVALID_PARAM"),
        ({"tls": "require"}, "INVALID_PARAM"),
    ],
)
def test_what_is_never_let_in(connect: Callable[..., Session], changes: dict[str, str], code: str) -> None:
    """A wrong password, a role and a database that do not exist, TLS that the server lacks: none is tried again."""
    with connect() as session, contextlib.suppress(Exception):
        session.run(f"CREATE ROLE guarded LOGIN PASSWORD '{PASSWORD}'")
    assert connect(user="guarded", password=PASSWORD).run("SELECT 1") == 1
    attempts = Attempts(lambda call: connect(**changes))
    assert judge(attempts.fail()) == (code, False, "none")
    assert attempts.calls == 1


def test_too_many_connections(connect: Callable[..., Session]) -> None:
    """A server without a free slot is tried again, and asks for less load."""
    held: list[Session] = []

    def one_more(call: int) -> Any:
        if call == 3:
            for session in held:
                session.close()
        while call < 3:  # until it fails: what others have closed may still be going
            held.append(connect())
        return connect().run("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")

    attempts = Attempts(one_more, idempotent=False, max=200, interval=0.02)
    while attempts.retried() > SLOTS // 2:
        pass
    assert len(attempts.errors) >= 2
    assert {judge(error) for error in attempts.errors} == {("NETWORK", True, "none")}
    assert all(classify(error).throttled for error in attempts.errors)


KILL = "SELECT pg_terminate_backend(pg_backend_pid())"


def test_killed_backend(connect: Callable[..., Session]) -> None:
    """A backend that is killed under a statement is a lost connection; on the dead handle every call is in vain."""
    session = connect()
    attempts = Attempts(lambda call: session.run(KILL if call == 1 else "SELECT 1"))
    assert judge(attempts.fail()) == ("NOT_INITIALIZED", False, "none")
    assert judge(attempts.errors[0]) == ("CONNECTION_LOST", True, "unknown")
    assert attempts.calls == 2
    attempts = Attempts(lambda call: connect().run(KILL if call == 1 else "SELECT 7"))
    assert attempts.retried() == 7
    attempts = Attempts(lambda call: connect().run(KILL), idempotent=False)
    assert judge(attempts.fail())[0] == "CONNECTION_LOST"
    assert attempts.calls == 1


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_serialization_failure(connect: Callable[..., Session], level: str) -> None:
    """The whole transaction is done again, once, also where it is not idempotent: it was rolled back."""
    session, other = connect(), connect()

    def add_one(call: int) -> None:
        transaction(
            session,
            f"SET TRANSACTION ISOLATION LEVEL {level}",
            "SELECT v FROM t WHERE id = 1",
            lambda: other.run("UPDATE t SET v = v + 10 WHERE id = 1") if call == 1 else None,
            "UPDATE t SET v = v + 1 WHERE id = 1",
        )

    attempts = Attempts(add_one, idempotent=False)
    attempts.retried()
    assert [classify(error).rule.rpartition(".")[2] for error in attempts.errors] == ["40001"]
    assert judge(attempts.errors[0]) == ("UNKNOWN", True, "none")
    assert value(connect) == 11


def test_deadlock(connect: Callable[..., Session]) -> None:
    """Of two transactions that wait for each other one is rolled back, and done again: both are done once."""
    both = threading.Barrier(2, timeout=20)
    runs: list[Attempts] = []

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
    assert [classify(error).rule.rpartition(".")[2] for error in errors] == ["40P01"]
    assert judge(errors[0]) == ("UNKNOWN", True, "none")
    assert (value(connect, 1), value(connect, 2)) == (2, 2)


@pytest.mark.parametrize("how", ["", " NOWAIT"])
def test_lock_timeout(connect: Callable[..., Session], how: str) -> None:
    """A row that another transaction holds is waited for again."""
    holder, session = connect(), connect()
    holder.run("BEGIN")
    holder.run("UPDATE t SET v = 5 WHERE id = 1")
    session.run("SET lock_timeout = '50ms'")

    def look(call: int) -> None:
        if call == 3:
            holder.run("COMMIT")
        transaction(session, f"SELECT v FROM t WHERE id = 1 FOR UPDATE{how}")

    attempts = Attempts(look, idempotent=False)
    attempts.retried()
    assert [judge(error) for error in attempts.errors] == [("TIMEOUT", True, "none")] * 2


@pytest.mark.parametrize(
    ("before", "statement", "code", "effect"),
    [
        ("SET statement_timeout = '50ms'", "SELECT pg_sleep(10)", "TIMEOUT", "unknown"),
        ("SELECT 1", "INSERT INTO t VALUES (1, 1)", "INVALID_PARAM", "none"),
        ("SELECT 1", "SELECT 1 / 0", "INVALID_PARAM", "none"),
        ("SELECT 1", "SELECT * FROM nothing", "INVALID_PARAM", "none"),
        ("SET default_transaction_read_only = on", "INSERT INTO t VALUES (3, 1)", "PERMISSION_DENIED", "none"),
    ],
)
def test_statements_that_are_not_retried(
    connect: Callable[..., Session], before: str, statement: str, code: str, effect: str
) -> None:
    """A statement that ran out of its time, and one that would fail the same way, are run once."""
    session = connect()
    session.run(before)
    attempts = Attempts(lambda call: session.run(statement))
    assert judge(attempts.fail()) == (code, False, effect)
    assert attempts.calls == 1


def test_a_statement_in_an_aborted_transaction(connect: Callable[..., Session]) -> None:
    """After a failure in a transaction the statement alone is not retried."""
    session = connect()
    session.run("BEGIN")
    assert judge(Attempts(lambda call: session.run("SELECT 1 / 0")).fail())[0] == "INVALID_PARAM"
    attempts = Attempts(lambda call: session.run("SELECT 1"))
    assert judge(attempts.fail()) == ("UNKNOWN", False, "none")
    assert attempts.calls == 1


@pytest.mark.parametrize(
    ("state", "code", "retryable"),
    [
        ("53100", "DISK_FULL", False),
        ("53200", "MEMORY_ALLOC", False),
        ("53300", "NETWORK", True),
        ("57P03", "NETWORK", True),
        ("08001", "NETWORK", True),
        ("08006", "CONNECTION_LOST", True),
        ("08007", "CONNECTION_LOST", False),
        ("08P01", "INVALID_PARAM", False),
        ("40003", "UNKNOWN", False),
        ("0A000", "INVALID_PARAM", False),
        ("54001", "INVALID_PARAM", False),
        ("28P01", "PERMISSION_DENIED", False),
        ("42501", "PERMISSION_DENIED", False),
        ("XX001", "DATA_CORRUPTION", False),
        ("XX002", "DATA_CORRUPTION", False),
        ("P0001", "UNKNOWN", False),
    ],
)
def test_states_that_the_server_raises_on_request(
    connect: Callable[..., Session], state: str, code: str, retryable: bool
) -> None:
    """What cannot be had for real comes from the server all the same, by a block that raises it."""
    session = connect()
    block = f"DO $$ BEGIN RAISE EXCEPTION 'text' USING ERRCODE = '{state}'; END $$"
    attempts = Attempts(lambda call: session.run(block), max=2)
    assert judge(attempts.fail())[:2] == (code, retryable)
    assert attempts.calls == (3 if retryable else 1)


def test_restart_in_the_midst_of_a_transaction(connect: Callable[..., Session], server: Postgres) -> None:
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
    assert judge(refused) == ("NETWORK", True, "none")
    assert value(connect) == 1
    assert judge(lost) == ("CONNECTION_LOST", True, "unknown")


def test_a_lost_commit(connect: Callable[..., Session]) -> None:
    """A commit whose reply is lost was applied: what is not idempotent is not done again."""

    def add_one(call: int) -> None:
        with connect() as session:
            session.run("SET synchronous_commit = on")
            transaction(session, "UPDATE t SET v = v + 1 WHERE id = 1")

    def kill() -> None:
        waiting = "FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        with connect() as session:
            wait_until(lambda: session.run(f"SELECT count(*) {waiting}") == 1, "the commit to wait for its standby")
            session.run(f"SELECT pg_terminate_backend(pid) {waiting}")

    killer = threading.Thread(target=kill)
    killer.start()
    attempts = Attempts(add_one, idempotent=False)
    error = attempts.fail()
    killer.join(40)
    assert judge(error) == ("CONNECTION_LOST", True, "unknown")
    assert attempts.calls == 1
    assert value(connect) == 1


def test_a_transaction_that_was_idle_for_too_long(connect: Callable[..., Session]) -> None:
    """The server breaks an idle transaction off: a lost connection, or, for asyncpg, one that is closed already."""
    session, other = connect(), connect()
    process = session.run("SELECT pg_backend_pid()")
    session.run("SET idle_in_transaction_session_timeout = '50ms'")
    session.run("BEGIN")
    gone = f"SELECT count(*) FROM pg_stat_activity WHERE pid = {process}"
    wait_until(lambda: other.run(gone) == 0, "the idle transaction to end")
    error = Attempts(lambda call: session.run("SELECT 1"), max=0).fail()
    assert judge(error)[0] in {"CONNECTION_LOST", "NOT_INITIALIZED"}


@pytest.fixture(params=["psycopg", "psycopg2"])
def engine(request: pytest.FixtureRequest, server: Postgres) -> Iterator[Any]:
    """An engine of SQLAlchemy with one connection."""
    library("sqlalchemy")
    library(request.param)
    import sqlalchemy

    url = f"postgresql+{request.param}://tester@127.0.0.1:{server.port}/postgres"
    made = sqlalchemy.create_engine(url, pool_size=1, max_overflow=0, pool_timeout=0.05)
    yield made
    made.dispose()


def test_sqlalchemy(engine: Any, connect: Callable[..., Session]) -> None:
    """A lost connection is replaced by the pool; a serialization failure means what the driver says; a full pool."""

    def killed(call: int) -> Any:
        with engine.begin() as connection:
            return connection.exec_driver_sql(KILL if call == 1 else "SELECT 7").scalar()

    attempts = Attempts(killed)
    assert attempts.retried() == 7
    assert judge(attempts.errors[0]) == ("CONNECTION_LOST", True, "unknown")

    def killed_while_idle(call: int) -> Any:
        with engine.begin() as connection:
            process = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
            if call == 1:
                with connect() as session:
                    session.run(f"SELECT pg_terminate_backend({process}, 10000)")
            return connection.exec_driver_sql("SELECT 7").scalar()

    attempts = Attempts(killed_while_idle)
    assert attempts.retried() == 7
    assert judge(attempts.errors[0])[:2] == ("CONNECTION_LOST", True)

    def add_one(call: int) -> None:
        with engine.connect().execution_options(isolation_level="SERIALIZABLE") as connection, connection.begin():
            connection.exec_driver_sql("SELECT v FROM t WHERE id = 1")
            if call == 1:
                with connect() as session:
                    session.run("UPDATE t SET v = v + 10 WHERE id = 1")
            connection.exec_driver_sql("UPDATE t SET v = v + 1 WHERE id = 1")

    attempts = Attempts(add_one, idempotent=False)
    attempts.retried()
    assert [judge(error) for error in attempts.errors] == [("UNKNOWN", True, "none")]
    assert value(connect) == 11

    holder = engine.connect()

    def one_more(call: int) -> Any:
        if call == 2:
            holder.close()
        with engine.connect() as connection:
            return connection.exec_driver_sql("SELECT 7").scalar()

    attempts = Attempts(one_more, idempotent=False)
    assert attempts.retried() == 7
    assert [judge(error) for error in attempts.errors] == [("TIMEOUT", True, "none")]


def test_sqlalchemy_over_asyncpg(server: Postgres) -> None:
    """What asyncpg says comes through SQLAlchemy's own layer; an idle connection that was killed is replaced."""
    for name in ("sqlalchemy", "asyncpg", "greenlet"):
        library(name)
    from sqlalchemy import text
    from sqlalchemy.ext.asyncio import create_async_engine

    errors: list[Exception] = []

    async def main() -> Any:
        engine = create_async_engine(f"postgresql+asyncpg://tester@127.0.0.1:{server.port}/postgres")

        @with_retry(max=3, interval=0)
        async def killed_while_idle() -> Any:
            try:
                async with engine.begin() as connection:
                    process = (await connection.execute(text("SELECT pg_backend_pid()"))).scalar()
                    if not errors:
                        async with engine.begin() as other:
                            await other.execute(text(f"SELECT pg_terminate_backend({process}, 10000)"))
                    return (await connection.execute(text("SELECT 7"))).scalar()
            except Exception as error:
                errors.append(error)
                raise

        try:
            assert await killed_while_idle() == 7
            async with engine.begin() as connection:
                await connection.execute(text("SELECT 1 / 0"))
        finally:
            await engine.dispose()

    with pytest.raises(Exception, match="division by zero") as info:
        asyncio.run(main())
    assert judge(info.value) == ("INVALID_PARAM", False, "none")
    assert judge(errors[0])[:2] == ("CONNECTION_LOST", True)


def test_psycopg_pool(server: Postgres) -> None:
    """A pool without a free connection is asked again; one that is closed is not."""
    library("psycopg_pool")
    from psycopg_pool import ConnectionPool

    with ConnectionPool(
        f"host=127.0.0.1 port={server.port} user=tester dbname=postgres", min_size=1, max_size=1, open=True
    ) as pool:
        held = pool.getconn(timeout=10)

        def one_more(call: int) -> Any:
            if call == 2:
                pool.putconn(held)
            with pool.connection(timeout=0.05 if call == 1 else 10) as connection:
                return connection.execute("SELECT 7").fetchone()

        attempts = Attempts(one_more, idempotent=False)
        assert attempts.retried() == (7,)
        assert [judge(error) for error in attempts.errors] == [("TIMEOUT", True, "none")]
    assert judge(Attempts(lambda call: pool.getconn()).fail()) == ("NOT_INITIALIZED", False, "none")
