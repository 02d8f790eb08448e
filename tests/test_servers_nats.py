"""A real NATS server with JetStream: what nats-py raises when it refuses, lacks something, dies and comes back."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest
from servers.common import free_port, need
from servers.nats import BINARY, NatsServer

from retrywrap import with_retry
from retrywrap.classifiers import classify

need(modules=["nats"], binaries=[BINARY])

import nats  # noqa: E402  # only where it is installed


@pytest.fixture(scope="module")
def server() -> Iterator[NatsServer]:
    """A server for all tests of this file that need no one else."""
    with NatsServer() as running:
        yield running


async def quiet(error: Exception) -> None:
    """Take what the client reports on the side; by default it logs a traceback."""


async def connect(url: str, **options: Any) -> Any:
    """Return a connection whose client soon gives up."""
    patience = {"max_reconnect_attempts": 1, "reconnect_time_wait": 0.02, "connect_timeout": 10}
    return await nats.connect(url, error_cb=quiet, **(patience | options))


async def caught(operation: Coroutine[Any, Any, Any]) -> Exception:
    """Return what an operation raises."""
    with pytest.raises(Exception) as info:  # noqa: PT011  # which one is what the test looks at
        await operation
    assert isinstance(info.value, Exception)
    return info.value


def judge(error: Exception) -> tuple[str, str, bool, str]:
    """Return the error's class, the code, whether it is retryable, and the effect."""
    verdict = classify(error)
    return type(error).__name__, verdict.code.name, verdict.retryable, verdict.effect


def test_refused_until_it_listens() -> None:
    """Nobody listens: nothing was sent, and a retry finds the server that has started since."""
    errors: list[Exception] = []
    server = NatsServer()

    async def start(context: Any) -> None:
        await asyncio.to_thread(server.start)

    @with_retry(max=3, interval=0, before_retry=start)
    async def reach() -> str:
        try:
            connection = await connect(server.url)
        except Exception as error:
            errors.append(error)
            raise
        name: str = connection.connected_server_version and "reached"
        await connection.close()
        return name

    try:
        assert asyncio.run(reach()) == "reached"
    finally:
        server.__exit__()
    assert [judge(error) for error in errors] == [("NoServersError", "NETWORK", True, "none")]


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_wrong_password() -> None:
    """A wrong password is tried once; the server's word for it is only text."""
    calls: list[int] = []

    @with_retry(max=5, interval=0)
    async def reach(url: str) -> None:
        calls.append(1)
        await connect(url, allow_reconnect=False)

    with NatsServer("--user", "u", "--pass", "p") as server:
        url = f"nats://u:wrong@127.0.0.1:{server.port}"
        error = asyncio.run(caught(reach(url)))
    assert judge(error) == ("Error", "PERMISSION_DENIED", False, "none")
    assert (classify(error).rule, calls) == ("messaging.nats.authorization", [1])
    del error
    gc.collect()  # the client leaves its connection open, and the collector would say so in some later test


def test_what_is_not_there(server: NatsServer) -> None:
    """A stream, a bucket or a key that is not there is final; a subject without a listener may get one."""

    async def look() -> list[Exception]:
        connection = await connect(server.url)
        streams = connection.jetstream()
        bucket = await streams.create_key_value(bucket="bucket")
        errors = [
            await caught(streams.stream_info("missing")),
            await caught(streams.key_value("missing")),
            await caught(bucket.get("missing")),
            await caught(connection.request("nobody", b"", timeout=5)),
            await caught(streams.publish("nobody", b"", timeout=5)),
            await caught(connection.publish("any", b"x" * 2_000_000)),
            await caught(streams.add_stream(name="a name")),
        ]
        await connection.close()
        return [*errors, await caught(connection.publish("any", b""))]

    assert [judge(error) for error in asyncio.run(look())] == [
        ("NotFoundError", "INVALID_PARAM", False, "unknown"),
        ("BucketNotFoundError", "INVALID_PARAM", False, "unknown"),
        ("KeyNotFoundError", "INVALID_PARAM", False, "unknown"),
        ("NoRespondersError", "NETWORK", True, "none"),
        ("NoStreamResponseError", "NETWORK", True, "none"),
        ("MaxPayloadError", "INVALID_PARAM", False, "none"),
        ("ValueError", "INVALID_PARAM", False, "unknown"),
        ("ConnectionClosedError", "NOT_INITIALIZED", False, "none"),
    ]


def test_listener_that_comes_late(server: NatsServer) -> None:
    """A request that nobody answers is retried until somebody does."""

    async def ask() -> bytes:
        connection = await connect(server.url)

        async def answer(message: Any) -> None:
            await message.respond(b"here")

        async def listen(context: Any) -> None:
            await connection.subscribe("late", cb=answer)
            await connection.flush()

        @with_retry(max=3, interval=0, before_retry=listen)
        async def request() -> bytes:
            reply = await connection.request("late", b"", timeout=10)
            data: bytes = reply.data
            return data

        try:
            return await request()
        finally:
            await connection.close()

    assert asyncio.run(ask()) == b"here"


def test_no_answer_in_time(server: NatsServer) -> None:
    """Somebody heard the request and did not answer: it may have been carried out."""

    async def ask() -> Exception:
        connection = await connect(server.url)

        async def ignore(message: Any) -> None:
            pass

        await connection.subscribe("silent", cb=ignore)
        error = await caught(connection.request("silent", b"", timeout=0.05))
        await connection.close()
        return error

    assert judge(asyncio.run(ask())) == ("TimeoutError", "TIMEOUT", True, "unknown")


def test_killed_without_reconnect() -> None:
    """A client that may not reconnect has a dead connection from then on: no retry on it can work."""

    async def lose() -> list[Exception]:
        with NatsServer() as server:
            gone = asyncio.Event()

            async def note() -> None:
                gone.set()

            connection = await connect(server.url, allow_reconnect=False, closed_cb=note)
            server.kill()
            await asyncio.wait_for(gone.wait(), 20)
            return [await caught(connection.flush()), await caught(connection.jetstream().publish("any", b""))]

    expected = ("ConnectionClosedError", "NOT_INITIALIZED", False, "none")
    assert [judge(error) for error in asyncio.run(lose())] == [expected] * 2


def test_killed_in_mid_work() -> None:
    """A server that dies leaves a publish without its answer; retried after it is back, there is one message."""
    errors: list[Exception] = []

    async def work() -> int:
        with NatsServer() as server:
            connection = await connect(server.url, max_reconnect_attempts=-1)
            streams = connection.jetstream()
            await streams.add_stream(name="work", subjects=["work"])
            back = asyncio.Event()

            async def note() -> None:
                back.set()

            connection._reconnected_cb = note

            async def restart(context: Any) -> None:
                await asyncio.to_thread(server.start)
                await asyncio.wait_for(back.wait(), 20)

            @with_retry(max=5, interval=0, before_retry=restart)
            async def publish() -> None:
                if not errors:
                    server.kill()
                try:
                    await streams.publish("work", b"text", timeout=0.5, headers={"Nats-Msg-Id": "1"})
                except Exception as error:
                    errors.append(error)
                    raise

            await publish()
            state = (await streams.stream_info("work")).state
            await connection.close()
            count: int = state.messages
            return count

    assert asyncio.run(work()) == 1
    assert [judge(error) for error in errors] == [("TimeoutError", "TIMEOUT", True, "unknown")]


def test_nobody_listens_for_good() -> None:
    """What stays refused comes out in the end as it was."""
    calls: list[int] = []

    @with_retry(max=1, interval=0)
    async def reach(url: str) -> None:
        calls.append(1)
        await connect(url)

    error = asyncio.run(caught(reach(f"nats://127.0.0.1:{free_port()}")))
    assert (type(error).__name__, calls) == ("NoServersError", [1, 1])
