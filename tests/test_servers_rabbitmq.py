"""A real RabbitMQ broker, with pika and kombu: what they raise when it refuses, closes, dies and comes back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from servers.common import free_port, need
from servers.rabbitmq import BINARIES, RabbitMQ

from retrywrap import with_retry
from retrywrap.classifiers import classify

need(modules=["pika", "kombu"], binaries=BINARIES)

import kombu  # noqa: E402  # only where it is installed
import pika  # noqa: E402  # only where it is installed


@pytest.fixture(scope="module")
def broker() -> Iterator[RabbitMQ]:
    """A broker for all tests of this file."""
    with RabbitMQ() as running:
        yield running


def caught(operation: Callable[[], Any]) -> Exception:
    """Return what an operation raises."""
    with pytest.raises(Exception) as info:  # noqa: PT011  # which one is what the test looks at
        operation()
    assert isinstance(info.value, Exception)
    return info.value


def judge(error: Exception) -> tuple[str, str, bool, str]:
    """Return the error's class, the code, whether it is retryable, and the effect."""
    verdict = classify(error)
    return type(error).__name__, verdict.code.name, verdict.retryable, verdict.effect


def with_pika(port: int, password: str = "guest", host: str = "/") -> Any:
    """Return a connection of pika."""
    login = pika.PlainCredentials("guest", password)
    return pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", port, host, login))


def with_kombu(port: int, password: str = "guest", host: str = "/") -> Any:
    """Return a connection of kombu."""
    connection = kombu.Connection(f"amqp://guest:{password}@127.0.0.1:{port}/{host}")
    connection.connect()
    return connection


@contextlib.contextmanager
def channel(broker: RabbitMQ) -> Iterator[Any]:
    """A channel of pika, whose connection is closed at the end if it is still there."""
    connection = with_pika(broker.port)
    try:
        yield connection.channel()
    finally:
        with contextlib.suppress(pika.exceptions.AMQPError):
            connection.close()


def test_refused() -> None:
    """Nobody listens: a retry may help, and nothing was sent."""
    port = free_port()
    error = caught(lambda: with_pika(port))
    assert judge(error) == ("AMQPConnectionError", "NETWORK", True, "none")
    assert classify(error).rule == "stdlib.errno.ECONNREFUSED"
    assert judge(caught(lambda: with_kombu(port)))[1:] == ("NETWORK", True, "none")
    late = kombu.Connection(f"amqp://127.0.0.1:{port}//")
    error = caught(lambda: late.ensure_connection(max_retries=1, interval_start=0))
    assert judge(error) == ("OperationalError", "NETWORK", True, "none")


def test_wrong_password(broker: RabbitMQ) -> None:
    """A wrong password, or a virtual host that is not there, is tried once."""
    calls: list[int] = []

    @with_retry(max=5, interval=0)
    def connect() -> None:
        calls.append(1)
        with_pika(broker.port, "wrong")

    error = caught(connect)
    assert judge(error) == ("ProbableAuthenticationError", "PERMISSION_DENIED", False, "none")
    assert calls == [1]
    error = caught(lambda: with_pika(broker.port, host="nowhere"))
    assert judge(error) == ("ProbableAccessDeniedError", "PERMISSION_DENIED", False, "none")
    error = caught(lambda: with_kombu(broker.port, "wrong"))
    assert judge(error) == ("AccessRefused", "PERMISSION_DENIED", False, "none")
    error = caught(lambda: with_kombu(broker.port, host="nowhere"))
    assert judge(error) == ("NotAllowed", "PERMISSION_DENIED", False, "none")


def test_missing_queue(broker: RabbitMQ) -> None:
    """A queue that is not there is tried once; the channel is dead from then on, which is an error of its own."""
    calls: list[int] = []
    with channel(broker) as open_channel:

        @with_retry(max=5, interval=0)
        def look() -> None:
            calls.append(1)
            open_channel.queue_declare("missing", passive=True)

        error = caught(look)
        assert judge(error) == ("ChannelClosedByBroker", "INVALID_PARAM", False, "unknown")
        assert (classify(error).rule, calls) == ("messaging.pika.404", [1])
        assert judge(caught(look)) == ("ChannelWrongStateError", "NOT_INITIALIZED", False, "none")
    with with_kombu(broker.port) as connection:
        error = caught(lambda: connection.default_channel.queue_declare("missing", passive=True))
    assert judge(error) == ("NotFound", "INVALID_PARAM", False, "unknown")


def test_refused_operations(broker: RabbitMQ) -> None:
    """Another queue of the same name, one that somebody else holds, a message that nobody takes: final with pika."""
    with channel(broker) as first, channel(broker) as second:
        first.queue_declare("held", exclusive=True)
        error = caught(lambda: second.queue_declare("held", exclusive=True))
        assert (judge(error)[2], classify(error).rule) == (False, "messaging.pika.405")
        error = caught(lambda: first.queue_declare("held", auto_delete=True, exclusive=True))
        assert (judge(error)[2], classify(error).rule) == (False, "messaging.pika.406")
    with channel(broker) as third:
        third.confirm_delivery()
        error = caught(lambda: third.basic_publish("", "nowhere", b"text", mandatory=True))
        assert judge(error) == ("UnroutableError", "INVALID_PARAM", False, "unknown")


def test_queue_that_is_held(broker: RabbitMQ) -> None:
    """kombu's library calls a locked queue recoverable: it succeeds when the other one has let go."""
    with channel(broker) as holder, with_kombu(broker.port) as connection:
        holder.queue_declare("locked", exclusive=True)
        errors: list[Exception] = []

        def let_go(context: Any) -> None:
            if holder.connection.is_open:
                holder.connection.close()

        @with_retry(max=5, interval=0.02, before_retry=let_go)
        def declare() -> str:
            with contextlib.closing(connection.channel()) as mine:
                try:
                    name: str = mine.queue_declare("locked", exclusive=True).queue
                except Exception as error:
                    errors.append(error)
                    raise
            return name

        assert declare() == "locked"
        assert judge(errors[0]) == ("ResourceLocked", "UNKNOWN", True, "none")


def test_closed_by_the_broker(broker: RabbitMQ) -> None:
    """A broker that ends a connection on purpose says 320: the next connection may work."""
    with channel(broker) as open_channel:
        connection = with_kombu(broker.port)
        broker.close_connections()
        error = caught(lambda: open_channel.queue_declare("any"))
        assert judge(error) == ("ConnectionClosedByBroker", "CONNECTION_LOST", True, "unknown")
        assert classify(error).rule == "messaging.pika.320"
        error = caught(lambda: connection.default_channel.queue_declare("any"))
        assert judge(error) == ("ConnectionForced", "CONNECTION_LOST", True, "unknown")


def test_killed_in_mid_work(broker: RabbitMQ) -> None:
    """A broker that dies loses the connection; the operation, retried when it is back, leaves one message."""
    errors: list[Exception] = []

    @with_retry(max=5, interval=0, before_retry=lambda context: broker.start())
    def publish() -> None:
        with channel(broker) as mine:
            mine.confirm_delivery()
            mine.queue_declare("work", durable=True)
            if not errors:
                broker.kill()
            try:
                mine.basic_publish("", "work", b"text", pika.BasicProperties(delivery_mode=2), mandatory=True)
            except Exception as error:
                errors.append(error)
                again = caught(lambda: mine.basic_publish("", "work", b"text"))
                assert judge(again) == ("ChannelWrongStateError", "NOT_INITIALIZED", False, "none")
                raise

    publish()
    assert [judge(error) for error in errors] == [("StreamLostError", "CONNECTION_LOST", True, "unknown")]
    with channel(broker) as open_channel:
        assert open_channel.queue_declare("work", passive=True).method.message_count == 1
