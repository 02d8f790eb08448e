"""Failures of a real Redis server, as its real client reports them, and what a retry makes of them."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from servers.redis import RedisServer, redis_server, require_redis

from retrywrap import with_retry
from retrywrap.classifiers import Verdict, classify


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One server for all tests of this file that leave it as it was."""
    require_redis()
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server of the test's own."""
    require_redis()
    with redis_server(tmp_path, "--enable-protected-configs", "yes") as server:
        yield server


@pytest.fixture
def connect() -> Iterator[Callable[..., Any]]:
    """Makes clients that try once, where nothing else is said, and are closed in the end."""
    require_redis()
    redis = importlib.import_module("redis")
    once = importlib.import_module("redis.retry").Retry(importlib.import_module("redis.backoff").NoBackoff(), 0)
    with contextlib.ExitStack() as clients:

        def make(server: RedisServer, **options: Any) -> Any:
            settings = {"host": "127.0.0.1", "port": server.port, "retry": once, **options}
            client = redis.Redis(**settings)
            clients.callback(client.close)
            return client

        yield make


def caught(function: Callable[[], Any]) -> Exception:
    """Return the error that a call raises."""
    with pytest.raises(Exception) as info:  # noqa: PT011 - each test looks at what it is
        function()
    return info.value


def verdict_of(function: Callable[[], Any]) -> Verdict:
    """Return the verdict on the error that a call raises."""
    return classify(caught(function))


def until(condition: Callable[[], Any]) -> None:
    """Wait until something is true."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def calls_of(function: Callable[[], Any], **options: Any) -> int:
    """Return how often an operation is called that fails in the end."""
    count = 0

    @with_retry(max=2, interval=0, **options)
    def operation() -> None:
        nonlocal count
        count += 1
        function()

    caught(operation)
    return count


def test_refused(server: RedisServer, connect: Callable[..., Any]) -> None:
    """Nobody listens: the request was not sent, so that one that must not be sent twice is retried too."""
    server.kill()
    client = connect(server)
    found = verdict_of(lambda: client.incr("n"))
    assert (found.code.name, found.retryable, found.effect) == ("NETWORK", True, "none")
    assert found.rule == "stdlib.errno.ECONNREFUSED"
    started = with_retry(max=1, interval=0, idempotent=False, before_retry=lambda context: server.start())
    assert started(client.incr)("n") == 1


def test_refused_in_a_pipeline_and_in_a_coroutine(server: RedisServer, connect: Callable[..., Any]) -> None:
    """The other ways to send a command come the same way up."""
    server.kill()
    with connect(server).pipeline() as pipeline:
        pipeline.incr("n")
        assert verdict_of(pipeline.execute).effect == "none"
    asked = importlib.import_module("redis.asyncio")
    once = importlib.import_module("redis.asyncio.retry").Retry(importlib.import_module("redis.backoff").NoBackoff(), 0)

    async def incr() -> Verdict:
        async with asked.Redis(host="127.0.0.1", port=server.port, retry=once) as client:
            try:
                await client.incr("n")
            except Exception as error:
                return classify(error)
        raise AssertionError("it was not refused")

    found = asyncio.run(incr())
    assert (found.code.name, found.retryable, found.effect) == ("NETWORK", True, "none")


def test_a_host_that_does_not_exist(running: RedisServer, connect: Callable[..., Any]) -> None:
    """A name that cannot be resolved is no reason to try again, though the class is that of all lost connections."""
    found = verdict_of(lambda: connect(running, host="no-such-host.invalid").ping())
    assert found.rule.startswith("stdlib.socket.")
    assert found.effect == "none"


def test_wrong_password(running: RedisServer, connect: Callable[..., Any]) -> None:
    """A wrong password is final, though its class is a connection error."""
    admin = connect(running)
    admin.acl_setuser("guest", enabled=True, passwords=["+right"], commands=["+ping"], keys=["a*"])
    guest = connect(running, username="guest", password="wrong")
    error = caught(guest.ping)
    assert isinstance(error, importlib.import_module("redis").ConnectionError)
    assert (classify(error).code.name, classify(error).retryable) == ("PERMISSION_DENIED", False)
    assert calls_of(guest.ping) == 1
    allowed = connect(running, username="guest", password="right")
    found = verdict_of(lambda: allowed.get("a"))
    assert (found.code.name, found.retryable) == ("PERMISSION_DENIED", False)


def test_no_password(server: RedisServer, connect: Callable[..., Any]) -> None:
    """A server that demands a password, which was not given."""
    connect(server).config_set("requirepass", "secret")
    assert verdict_of(connect(server).ping).code.name == "PERMISSION_DENIED"


def test_too_many_clients(server: RedisServer, connect: Callable[..., Any]) -> None:
    """A full server asks for less load; the request was not sent, and passes when a client has gone."""
    first = connect(server)
    first.config_set("maxclients", 2)
    first.ping()
    second = connect(server)
    second.ping()
    third = connect(server)
    found = verdict_of(lambda: third.incr("n"))
    assert (found.code.name, found.retryable, found.effect) == ("NETWORK", True, "none")
    assert (found.throttled, found.rule) == (True, "stores.redis.max number of clients")

    def make_room(context: object) -> None:
        second.close()
        until(lambda: first.info("clients")["connected_clients"] == 1)

    assert with_retry(max=1, interval=0, idempotent=False, before_retry=make_room)(third.incr)("n") == 1


def test_a_pool_that_is_exhausted(running: RedisServer, connect: Callable[..., Any]) -> None:
    """So does a pool of the client's own."""
    client = connect(running, max_connections=1)
    held = client.connection_pool.get_connection()
    try:
        found = verdict_of(client.ping)
    finally:
        client.connection_pool.release(held)
    assert (found.code.name, found.retryable, found.effect) == ("NETWORK", True, "none")


def test_out_of_memory(server: RedisServer, connect: Callable[..., Any]) -> None:
    """A server without memory refuses writes until somebody acts."""
    client = connect(server)
    client.config_set("maxmemory", "1kb")
    found = verdict_of(lambda: client.set("a", "b"))
    assert (found.code.name, found.retryable) == ("MEMORY_ALLOC", False)
    with client.pipeline(transaction=False) as pipeline:
        pipeline.set("a", "b")
        error = caught(pipeline.execute)
    assert "of pipeline caused error" in str(error)
    assert classify(error).code.name == "MEMORY_ALLOC"


def test_replica(server: RedisServer, connect: Callable[..., Any]) -> None:
    """A replica refuses writes for good, and reads while its master is down and its data may be stale."""
    client = connect(server)
    client.replicaof("127.0.0.1", "1")
    found = verdict_of(lambda: client.set("a", "b"))
    assert (found.code.name, found.retryable) == ("CONNECTION_LOST", False)
    client.config_set("replica-serve-stale-data", "no")
    found = verdict_of(lambda: client.get("a"))
    assert (found.code.name, found.retryable, found.rule) == ("NETWORK", True, "stores.redis.MasterDownError")


def test_too_few_replicas(server: RedisServer, connect: Callable[..., Any]) -> None:
    """Writes that need replicas pass when there are enough."""
    client = connect(server)
    client.config_set("min-replicas-to-write", 1)
    found = verdict_of(lambda: client.set("a", "b"))
    assert (found.code.name, found.retryable, found.rule) == ("NETWORK", True, "stores.redis.NOREPLICAS")
    relax = with_retry(max=1, interval=0, before_retry=lambda context: client.config_set("min-replicas-to-write", 0))
    assert relax(client.set)("a", "b")


def test_data_that_cannot_be_saved(server: RedisServer, connect: Callable[..., Any]) -> None:
    """A server that could not save its data refuses writes: another attempt does not mend its disk."""
    client = connect(server)
    client.config_set("save", "3600 1")
    client.set("a", "b")
    folder = server.folder / "gone"
    folder.mkdir()
    client.config_set("dir", str(folder))
    folder.rmdir()
    client.bgsave()
    until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")
    found = verdict_of(lambda: client.set("a", "c"))
    client.config_set("save", "")  # or it would refuse to end, too
    assert (found.code.name, found.retryable, found.rule) == ("FILE_IO", False, "stores.redis.MISCONF")


def test_busy_with_a_script(server: RedisServer, connect: Callable[..., Any]) -> None:
    """A server that runs a long script answers everybody else BUSY, and works again after it."""
    author, killer, reader = (connect(server) for _ in range(3))
    killer.config_set("busy-reply-threshold", 1)
    reader.ping()
    failures: list[Exception] = []
    thread = threading.Thread(target=lambda: failures.append(caught(lambda: author.eval("while true do end", 0))))
    thread.start()
    found: list[Verdict] = []

    def busy() -> bool:
        try:
            reader.get("a")
        except Exception as error:
            found.append(classify(error))
        return bool(found)

    def end_script(context: object = None) -> None:
        with contextlib.suppress(Exception):
            killer.script_kill()

    try:
        until(busy)
        assert (found[0].code.name, found[0].retryable, found[0].rule) == ("NETWORK", True, "stores.redis.BUSY")
        assert with_retry(max=None, timeout=20, interval=0, before_retry=end_script)(reader.get)("a") is None
    finally:
        end_script()
        thread.join()
    assert not classify(failures[0]).retryable


def test_what_stays_wrong(running: RedisServer, connect: Callable[..., Any]) -> None:
    """Error replies to a wrong request are final, also those that begin like BUSY."""
    client = connect(running)
    client.delete("text", "stream")
    client.set("text", "x")
    client.xgroup_create("stream", "group", mkstream=True)
    for wrong in (
        lambda: client.lpush("text", "x"),
        lambda: client.execute_command("NOSUCH", "BUSY"),
        lambda: client.evalsha("0" * 40, 0),
        lambda: client.xgroup_create("stream", "group"),
        lambda: client.set("text", object()),
        lambda: client.eval("return redis.error_reply('ERR BUSY by its own words')", 0),
        lambda: connect(running, db=9999).ping(),
    ):
        found = verdict_of(wrong)
        assert (found.code.name, found.retryable) == ("INVALID_PARAM", False), found


def test_timeout(running: RedisServer, connect: Callable[..., Any]) -> None:
    """A reply that does not come in time, which may come later."""
    found = verdict_of(lambda: connect(running, socket_timeout=0.05).blpop("empty", 5))
    assert (found.code.name, found.retryable, found.effect) == ("TIMEOUT", True, "unknown")
    assert calls_of(lambda: connect(running, socket_timeout=0.05).blpop("empty", 5), idempotent=False) == 1


def test_a_transaction_that_a_change_prevents(running: RedisServer, connect: Callable[..., Any]) -> None:
    """A watched key that changed: the transaction is done again, and counts once."""
    client, other = connect(running), connect(running)
    client.set("balance", 10)
    interfere = [5]

    @with_retry(max=3, interval=0, idempotent=False)
    def withdraw() -> None:
        with client.pipeline() as pipeline:
            pipeline.watch("balance")
            balance = int(pipeline.get("balance"))
            if interfere:
                other.incrby("balance", interfere.pop())
            pipeline.multi()
            pipeline.set("balance", balance - 1)
            pipeline.execute()

    withdraw()
    assert int(client.get("balance")) == 14


def test_a_lock_that_is_taken(running: RedisServer, connect: Callable[..., Any]) -> None:
    """A lock that somebody holds is tried again; one that was lost at its end is not."""
    client = connect(running)
    held = client.lock("lock", timeout=60)
    assert held.acquire()
    wanted = client.lock("lock", timeout=60, blocking_timeout=0.01)

    def work() -> str:
        with wanted:
            return "done"

    found = verdict_of(work)
    assert (found.code.name, found.retryable, found.effect) == ("TIMEOUT", True, "none")
    assert with_retry(max=1, interval=0, before_retry=lambda context: held.release())(work)() == "done"

    def overrun() -> None:
        with client.lock("lock", timeout=60):
            client.delete("lock")

    assert calls_of(overrun) == 1


@contextlib.contextmanager
def killed_on_a_request(server: RedisServer, watcher: Any) -> Iterator[threading.Thread]:
    """Kill the server, in a thread, as soon as a client waits for it; the thread has ended when the block has."""
    watcher.ping()
    over = threading.Event()

    def run() -> None:
        until(lambda: over.is_set() or watcher.info("clients")["blocked_clients"] > 0)
        if not over.is_set():
            server.kill()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield thread
    finally:
        over.set()
        thread.join()


def test_killed_in_the_midst_of_a_request(server: RedisServer, connect: Callable[..., Any]) -> None:
    """The connection is lost and the effect unknown; a retry after the restart succeeds."""
    client, watcher = connect(server), connect(server)
    failures: list[Verdict] = []

    def take() -> Any:
        try:
            return client.blpop("queue", 20)
        except Exception as error:
            failures.append(classify(error))
            raise

    def restart(context: object) -> None:
        thread.join()
        server.start()
        watcher.rpush("queue", "job")

    with killed_on_a_request(server, watcher) as thread:
        assert with_retry(max=2, interval=0, before_retry=restart)(take)() == (b"queue", b"job")
    assert [(found.code.name, found.retryable, found.effect) for found in failures] == [
        ("CONNECTION_LOST", True, "unknown")
    ]


def test_killed_where_sending_twice_does_harm(server: RedisServer, connect: Callable[..., Any]) -> None:
    """An operation that must not be done twice is not retried then."""
    client, watcher = connect(server), connect(server)
    with killed_on_a_request(server, watcher):
        assert calls_of(lambda: client.blpop("queue", 20), idempotent=False) == 1


def test_a_client_that_tries_again_by_itself(server: RedisServer, connect: Callable[..., Any]) -> None:
    """Its last error says "refused" of a request that it has sent before: that is not without effect."""
    retry = importlib.import_module("redis.retry").Retry(importlib.import_module("redis.backoff").NoBackoff(), 3)
    client, watcher = connect(server, retry=retry), connect(server)
    with killed_on_a_request(server, watcher):
        error = caught(lambda: client.blpop("queue", 20))
    assert "Connection refused" in str(error)
    found = classify(error)
    assert (found.code.name, found.retryable, found.effect) == ("NETWORK", True, "unknown")


def test_while_it_loads_its_data(server: RedisServer, connect: Callable[..., Any]) -> None:
    """A server that was started and has not read its data yet is asked again until it has."""
    client = connect(server)
    with client.pipeline() as pipeline:
        for number in range(3000):
            pipeline.set(f"key {number}", "x" * 100)
        pipeline.execute()
    client.save()
    server.kill()
    server.start("--key-load-delay", "200", "--loading-process-events-interval-bytes", "1024", ready=False)
    found = verdict_of(lambda: client.get("key 5"))
    assert (found.code.name, found.retryable, found.rule) == ("NETWORK", True, "stores.redis.BusyLoadingError")
    assert with_retry(max=None, timeout=30, interval=0.05)(client.get)("key 5") == b"x" * 100
