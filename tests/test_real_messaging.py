"""The real clients of brokers, SSH and WebSocket against nobody, or against small servers on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from servers.common import free_port, library

from retrywrap import ErrorCode, with_retry
from retrywrap.classifiers import classify
from retrywrap.classifiers.messaging import TABLE


def caught(operation: Callable[[], Any]) -> Exception:
    """Return what an operation raises."""
    with pytest.raises(Exception) as info:  # noqa: PT011  # which one is what the test looks at
        operation()
    assert isinstance(info.value, Exception)
    return info.value


def judge(error: object) -> tuple[str, str, bool, str]:
    """Return the error's class, the code, whether it is retryable, and the effect."""
    verdict = classify(error)
    return type(error).__name__, verdict.code.name, verdict.retryable, verdict.effect


@contextlib.contextmanager
def hanging_up(first: bytes = b"") -> Iterator[int]:
    """A server that says one thing to each client, and hangs up. Yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):  # the listener was shut down
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        connection.sendall(first)
                        connection.shutdown(socket.SHUT_WR)
                        with contextlib.suppress(OSError):
                            while connection.recv(4096):
                                pass

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("root", "modules", "gone"),
    [
        ("pika", "pika.exceptions pika.adapters.utils.connection_workflow", ""),
        ("amqp", "amqp.exceptions", ""),
        ("kombu", "kombu.exceptions", ""),
        ("cimpl", "confluent_kafka", ""),
        ("confluent_kafka", "confluent_kafka.error", ""),
        ("nats", "nats.errors nats.js.errors", ""),
        ("paho", "paho.mqtt.enums paho.mqtt.client", ""),
        ("paramiko", "paramiko paramiko.ssh_exception", ""),
        ("websockets", "websockets.exceptions", "InvalidStatusCode"),
    ],
)
def test_classes_exist(root: str, modules: str, gone: str) -> None:
    """Each class that has a row is one of the library's, but for those of older releases."""
    found = [library(module) for module in modules.split()]
    names = [key.partition(".")[2] for key in TABLE if key.startswith(f"{root}.")]
    assert names
    missing = [name for name in names if not any(hasattr(module, name) for module in found)]
    assert set(missing) <= set(gone.split())


# ---- amqp


def test_amqp_codes() -> None:
    """What amqp makes of a broker's code: recoverable or not by its own classes."""
    exceptions = library("amqp.exceptions")
    for code, cls in exceptions.ERROR_MAP.items():
        error = exceptions.error_for_code(code, "text", (50, 10), exceptions.ChannelError)
        assert type(error) is cls
        recoverable = (exceptions.RecoverableConnectionError, exceptions.RecoverableChannelError)
        assert classify(error).retryable is issubclass(cls, recoverable)
        assert classify(error).retryable is (code in {311, 313, 320, 405, 506})


def test_pika_server_that_hangs_up() -> None:
    """Whoever hangs up before a word, such as a proxy without a broker behind it, speaks no wrong protocol."""
    pika = library("pika")
    with hanging_up() as port:
        error = caught(lambda: pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", port)))
    assert judge(error) == ("IncompatibleProtocolError", "CONNECTION_LOST", True, "none")


# ---- confluent-kafka


@pytest.fixture
def kafka() -> Any:
    """The library."""
    return library("confluent_kafka")


def test_kafka_nobody_listens(kafka: Any) -> None:
    """A cluster that is not there is a timeout, or a transport failure."""
    client = kafka.Consumer(
        {"bootstrap.servers": f"127.0.0.1:{free_port()}", "group.id": "g", "log_level": 0, "socket.timeout.ms": 500}
    )
    error = caught(lambda: client.list_topics(timeout=0.2))
    client.close()
    assert type(error) is kafka.KafkaException
    assert classify(error).retryable
    assert classify(error).rule in {"messaging.kafka.-195", "messaging.kafka.-185", "messaging.kafka.-187"}


@pytest.mark.parametrize(
    ("name", "code", "retryable"),
    [
        ("_TRANSPORT", "NETWORK", True),
        ("_ALL_BROKERS_DOWN", "NETWORK", True),
        ("LEADER_NOT_AVAILABLE", "NETWORK", True),
        ("NOT_LEADER_FOR_PARTITION", "NETWORK", True),
        ("COORDINATOR_NOT_AVAILABLE", "NETWORK", True),
        ("COORDINATOR_LOAD_IN_PROGRESS", "NETWORK", True),
        ("NOT_COORDINATOR", "NETWORK", True),
        ("NOT_ENOUGH_REPLICAS", "NETWORK", True),
        ("NOT_ENOUGH_REPLICAS_AFTER_APPEND", "NETWORK", True),
        ("NETWORK_EXCEPTION", "CONNECTION_LOST", True),
        ("THROTTLING_QUOTA_EXCEEDED", "NETWORK", True),
        ("_TIMED_OUT", "TIMEOUT", True),
        ("_MSG_TIMED_OUT", "TIMEOUT", True),
        ("REQUEST_TIMED_OUT", "TIMEOUT", True),
        ("_AUTHENTICATION", "PERMISSION_DENIED", False),
        ("_SSL", "PERMISSION_DENIED", False),
        ("TOPIC_AUTHORIZATION_FAILED", "PERMISSION_DENIED", False),
        ("GROUP_AUTHORIZATION_FAILED", "PERMISSION_DENIED", False),
        ("CLUSTER_AUTHORIZATION_FAILED", "PERMISSION_DENIED", False),
        ("TRANSACTIONAL_ID_AUTHORIZATION_FAILED", "PERMISSION_DENIED", False),
        ("SASL_AUTHENTICATION_FAILED", "PERMISSION_DENIED", False),
        ("UNKNOWN_TOPIC_OR_PART", "INVALID_PARAM", False),
        ("MSG_SIZE_TOO_LARGE", "INVALID_PARAM", False),
        ("_RESOLVE", "INVALID_PARAM", False),
        ("_BAD_MSG", "DATA_CORRUPTION", False),
        ("_STATE", "UNKNOWN", False),
    ],
)
def test_kafka_codes(kafka: Any, name: str, code: str, retryable: bool) -> None:
    """The numbers of the table are those of the library's names."""
    number = getattr(kafka.KafkaError, name)
    assert judge(kafka.KafkaException(kafka.KafkaError(number, "text")))[1:3] == (code, retryable)


def test_kafka_flags(kafka: Any) -> None:
    """Fatal, and a transaction to abort, are never retried; retriable is a yes."""
    number = kafka.KafkaError._TRANSPORT
    for flags, retryable in (
        ({"fatal": True}, False),
        ({"txn_requires_abort": True}, False),
        ({"fatal": True, "retriable": True}, False),
        ({"retriable": True}, True),
    ):
        assert classify(kafka.KafkaException(kafka.KafkaError(number, "text", **flags))).retryable is retryable
    assert classify(kafka.KafkaException(kafka.KafkaError(kafka.KafkaError._STATE, "x", retriable=True))).retryable


# ---- paho-mqtt


def test_mqtt_without_a_connection() -> None:
    """What paho returns where there is no connection: a code, a pair that begins with one, or one within an object."""
    mqtt = library("paho.mqtt.client")
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    for result in (client.publish("topic", b"text"), client.subscribe("topic"), client.loop()):
        assert judge(result)[1:] == ("NETWORK", True, "unknown")
        assert classify(result).message == "MQTT_ERR_NO_CONN"
    client.max_queued_messages_set(1)
    client.publish("topic", b"text", qos=1)
    assert judge(client.publish("topic", b"text", qos=1))[1:] == ("NETWORK", True, "none")
    calls: list[int] = []

    @with_retry(max=2, interval=0, results=classify)
    def publish() -> Any:
        calls.append(1)
        return client.publish("topic", b"text")

    with contextlib.suppress(Exception):
        publish()
    assert len(calls) == 3
    error = caught(lambda: client.connect("127.0.0.1", free_port()))
    assert judge(error)[1:] == ("NETWORK", True, "none")


def test_mqtt_every_code() -> None:
    """Each code of the library is known, and by its own name."""
    enums = library("paho.mqtt.enums")
    for code in enums.MQTTErrorCode:
        verdict = classify(code)
        if code > 0:
            assert verdict.message == code.name
            assert verdict.retryable is (code in {4, 5, 7, 15, 16})
    assert classify(enums.MQTTErrorCode.MQTT_ERR_SUCCESS).code is ErrorCode.SUCCESS


# ---- paramiko


@pytest.fixture
def ssh() -> Iterator[Callable[[int], Any]]:
    """Connects to an SSH server."""
    paramiko = library("paramiko")
    client = paramiko.SSHClient()

    def connect(port: int) -> None:
        client.connect("127.0.0.1", port, "u", "p", timeout=5, banner_timeout=5, look_for_keys=False, allow_agent=False)

    yield connect
    client.close()


def test_ssh_connections(ssh: Callable[[int], Any], caplog: pytest.LogCaptureFixture) -> None:
    """Refused, and a server that hangs up before its banner, as one with too many logins under way does."""
    assert judge(caught(lambda: ssh(free_port()))) == ("NoValidConnectionsError", "NETWORK", True, "none")
    with hanging_up() as port:
        error = caught(lambda: ssh(port))
    assert judge(error) == ("SSHException", "CONNECTION_LOST", True, "none")


def test_ssh_classes() -> None:
    """What is refused for good."""
    paramiko = library("paramiko")
    key = paramiko.RSAKey.generate(1024)
    for error in (
        paramiko.AuthenticationException("Authentication failed."),
        paramiko.BadHostKeyException("host", key, key),
        paramiko.BadAuthenticationType("x", ["publickey"]),
        paramiko.ChannelException(1, "Administratively prohibited"),
    ):
        assert judge(error)[1:] == ("PERMISSION_DENIED", False, "none")
    assert classify(paramiko.ChannelException(4, "Resource shortage")).retryable
    with socket.socket() as one:
        transport = paramiko.Transport(one)
        assert judge(caught(transport.open_session))[1:] == ("NOT_INITIALIZED", False, "none")
        transport.close()


# ---- websockets


def closing_with(code: int) -> Exception:
    """Return what a client raises when its server closes with a code."""
    asyncio_client = library("websockets.asyncio.client")
    asyncio_server = library("websockets.asyncio.server")

    async def handle(connection: Any) -> None:
        if code == 1006:
            connection.transport.abort()
        else:
            await connection.close(code)

    async def talk() -> Exception:
        async with asyncio_server.serve(handle, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with asyncio_client.connect(f"ws://127.0.0.1:{port}", proxy=None) as connection:
                try:
                    await connection.recv()
                except Exception as error:
                    return error
        raise AssertionError("nothing was raised")

    return asyncio.run(talk())


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (1000, ("ConnectionClosedOK", "NOT_INITIALIZED", False, "none")),
        (1001, ("ConnectionClosedOK", "CONNECTION_LOST", False, "unknown")),
        (1006, ("ConnectionClosedError", "CONNECTION_LOST", True, "unknown")),
        (1008, ("ConnectionClosedError", "PERMISSION_DENIED", False, "none")),
        (1011, ("ConnectionClosedError", "CONNECTION_LOST", True, "unknown")),
        (1012, ("ConnectionClosedError", "CONNECTION_LOST", True, "unknown")),
        (1013, ("ConnectionClosedError", "NETWORK", True, "unknown")),
    ],
)
def test_websocket_closed(code: int, expected: tuple[str, str, bool, str]) -> None:
    """What the server closes with; 1006 stands for no word at all."""
    assert judge(closing_with(code)) == expected


def shake_hands(port: int) -> Exception:
    """Return what a client raises in its handshake."""
    client = library("websockets.asyncio.client")

    async def connect() -> None:
        await client.connect(f"ws://127.0.0.1:{port}", proxy=None, open_timeout=5)

    return caught(lambda: asyncio.run(connect()))


def test_websocket_handshake() -> None:
    """Refused, hung up, an answer that is no HTTP, and statuses with their hint."""
    assert judge(shake_hands(free_port()))[1:] == ("NETWORK", True, "none")
    with hanging_up() as port:
        assert judge(shake_hands(port)) == ("InvalidMessage", "CONNECTION_LOST", True, "none")
    with hanging_up(b"hello\r\n\r\n") as port:
        assert judge(shake_hands(port)) == ("InvalidMessage", "INVALID_PARAM", False, "none")
    for status, retryable in ((503, True), (500, True), (403, False), (404, False)):
        answer = f"HTTP/1.1 {status} Text\r\nRetry-After: 3\r\nContent-Length: 0\r\n\r\n".encode()
        with hanging_up(answer) as port:
            error = shake_hands(port)
        assert type(error).__name__ == "InvalidStatus"
        assert (classify(error).retryable, classify(error).retry_after) == (retryable, 3.0)
