"""The errors of clients of brokers, SSH and WebSocket, by look-alikes: names, bases and attributes of the real ones."""

from __future__ import annotations

import enum
import socket
from collections.abc import Callable
from typing import Any

import pytest

from retrywrap import with_retry
from retrywrap.classifiers import classify
from retrywrap.codes import ErrorCode

REFUSED = ConnectionRefusedError(111, "Connection refused")
NO_NAME = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
DENIED = PermissionError(13, "Permission denied")


def fake(name: str, *bases: type) -> type[Any]:
    """Return a class that looks like a library's: ``"pika.exceptions.NackError"``."""
    module, _, qualname = name.rpartition(".")
    return type(qualname, bases or (Exception,), {"__module__": module})


def make(cls: type[Any], *args: object, cause: BaseException | None = None, **attributes: object) -> Any:
    """Return an error with a cause and other attributes set."""
    error = cls(*args)
    if cause is not None:
        error.__cause__ = cause
    for name, value in attributes.items():
        setattr(error, name, value)
    return error


def thing(**attributes: object) -> Any:
    """Return an object with these attributes."""
    return type("Thing", (), attributes)()


def judge(error: object) -> tuple[str, bool, str]:
    """Return code, whether it is retryable, and the effect."""
    verdict = classify(error)
    return verdict.code.name, verdict.retryable, verdict.effect


# ---- pika

AMQPError = fake("pika.exceptions.AMQPError")
AMQPConnectionError = fake("pika.exceptions.AMQPConnectionError", AMQPError)
AMQPChannelError = fake("pika.exceptions.AMQPChannelError", AMQPError)
ConnectionClosed = fake("pika.exceptions.ConnectionClosed", AMQPConnectionError)
ChannelClosed = fake("pika.exceptions.ChannelClosed", AMQPChannelError)
ClosedByBroker = fake("pika.exceptions.ConnectionClosedByBroker", ConnectionClosed)
ChannelClosedByBroker = fake("pika.exceptions.ChannelClosedByBroker", ChannelClosed)
PhaseError = fake("pika.adapters.utils.connection_workflow.AMQPConnectorPhaseErrorBase")
SocketConnectError = fake("pika.adapters.utils.connection_workflow.AMQPConnectorSocketConnectError", PhaseError)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (320, ("CONNECTION_LOST", True, "unknown")),
        (200, ("NOT_INITIALIZED", False, "none")),
        (311, ("INVALID_PARAM", False, "unknown")),
        (313, ("UNKNOWN", False, "unknown")),
        (402, ("INVALID_PARAM", False, "unknown")),
        (403, ("PERMISSION_DENIED", False, "none")),
        (404, ("INVALID_PARAM", False, "unknown")),
        (405, ("UNKNOWN", False, "unknown")),
        (406, ("INVALID_PARAM", False, "unknown")),
        (501, ("INVALID_PARAM", False, "unknown")),
        (502, ("INVALID_PARAM", False, "unknown")),
        (503, ("INVALID_PARAM", False, "unknown")),
        (504, ("INVALID_PARAM", False, "unknown")),
        (505, ("INVALID_PARAM", False, "unknown")),
        (506, ("UNKNOWN", False, "unknown")),
        (530, ("PERMISSION_DENIED", False, "none")),
        (540, ("INVALID_PARAM", False, "unknown")),
        (541, ("UNKNOWN", False, "unknown")),
    ],
)
def test_pika_reply_codes(reply: int, expected: tuple[str, bool, str]) -> None:
    """Of what a broker closes with, only its own end is worth another attempt; 503 is no HTTP status here."""
    for cls in (ClosedByBroker, ChannelClosedByBroker):
        error = make(cls, reply, "text", reply_code=reply)
        assert judge(error) == expected
        assert classify(error).rule == f"messaging.pika.{reply}"


@pytest.mark.parametrize("reply", [None, "320", 999, True])
def test_pika_without_a_reply_code(reply: object) -> None:
    """A code that is none, or unknown, makes the channel's end unknown; the connection's has its base to say."""
    assert classify(make(ChannelClosedByBroker, reply_code=reply)).rule == "unknown"
    assert classify(make(ClosedByBroker, reply_code=reply)).rule == "unknown"


@pytest.mark.parametrize(
    ("name", "base", "expected"),
    [
        ("StreamLostError", AMQPConnectionError, ("CONNECTION_LOST", True, "unknown")),
        ("AMQPHeartbeatTimeout", AMQPConnectionError, ("CONNECTION_LOST", True, "unknown")),
        ("ConnectionBlockedTimeout", AMQPConnectionError, ("TIMEOUT", True, "unknown")),
        ("ConnectionOpenAborted", AMQPConnectionError, ("NOT_INITIALIZED", False, "none")),
        ("ConnectionClosedByClient", ConnectionClosed, ("NOT_INITIALIZED", False, "none")),
        ("ChannelClosedByClient", ChannelClosed, ("NOT_INITIALIZED", False, "none")),
        ("ConnectionWrongStateError", AMQPConnectionError, ("NOT_INITIALIZED", False, "none")),
        ("ChannelWrongStateError", AMQPChannelError, ("NOT_INITIALIZED", False, "none")),
        ("AuthenticationError", AMQPConnectionError, ("PERMISSION_DENIED", False, "none")),
        ("ProbableAuthenticationError", AMQPConnectionError, ("PERMISSION_DENIED", False, "none")),
        ("ProbableAccessDeniedError", AMQPConnectionError, ("PERMISSION_DENIED", False, "none")),
        ("UnroutableError", AMQPChannelError, ("INVALID_PARAM", False, "unknown")),
        ("DuplicateConsumerTag", AMQPChannelError, ("INVALID_PARAM", False, "unknown")),
        ("NoFreeChannels", AMQPConnectionError, ("INVALID_PARAM", False, "unknown")),
        ("ProtocolSyntaxError", AMQPError, ("DATA_CORRUPTION", False, "unknown")),
        ("NackError", AMQPChannelError, ("NETWORK", True, "unknown")),
        ("SomethingNew", AMQPConnectionError, ("UNKNOWN", False, "unknown")),
        ("ConsumerCancelled", AMQPChannelError, ("UNKNOWN", False, "unknown")),
    ],
)
def test_pika_classes(name: str, base: type, expected: tuple[str, bool, str]) -> None:
    """Each class means what the table says: wrong passwords are subclasses of the connection error, and not retried."""
    assert judge(fake(f"pika.exceptions.{name}", base)("text")) == expected


def test_pika_connect() -> None:
    """The error that came out of connecting lies two levels deep; nothing can have been sent."""
    refused = AMQPConnectionError(make(SocketConnectError, exception=REFUSED))
    assert judge(refused) == ("NETWORK", True, "none")
    assert classify(refused).rule == "stdlib.errno.ECONNREFUSED"
    late = AMQPConnectionError(make(SocketConnectError, exception=TimeoutError("TCP connection attempt timed out")))
    assert judge(late) == ("TIMEOUT", True, "none")
    denied = fake("pika.exceptions.ProbableAuthenticationError", AMQPConnectionError)
    shaken = fake("pika.adapters.utils.connection_workflow.AMQPConnectorAMQPHandshakeError", PhaseError)
    assert judge(AMQPConnectionError(make(shaken, exception=denied()))) == ("PERMISSION_DENIED", False, "none")
    assert judge(make(SocketConnectError, exception=None))[:2] == ("UNKNOWN", False)
    stack = fake("pika.adapters.utils.connection_workflow.AMQPConnectorStackTimeout")
    assert judge(AMQPConnectionError(stack("x"))) == ("TIMEOUT", True, "none")
    for args in ((), ("text",), (REFUSED.errno,)):
        assert judge(AMQPConnectionError(*args)) == ("NETWORK", True, "unknown")


def test_pika_protocol() -> None:
    """A broker that hangs up before it has spoken comes as one that speaks something else; the text tells."""
    cls = fake("pika.exceptions.IncompatibleProtocolError", AMQPConnectionError)
    assert judge(cls("StreamLostError: ('Transport indicated EOF',)")) == ("CONNECTION_LOST", True, "none")
    assert judge(cls("The protocol returned by the server is not supported")) == ("INVALID_PARAM", False, "none")
    assert judge(cls(5)) == ("INVALID_PARAM", False, "none")


# ---- kombu, amqp

Recoverable = fake("amqp.exceptions.RecoverableConnectionError", fake("amqp.exceptions.ConnectionError"))
RecoverableChannel = fake("amqp.exceptions.RecoverableChannelError", fake("amqp.exceptions.ChannelError"))
Irrecoverable = fake("amqp.exceptions.IrrecoverableConnectionError", fake("amqp.exceptions.ConnectionError"))
IrrecoverableChannel = fake("amqp.exceptions.IrrecoverableChannelError", fake("amqp.exceptions.ChannelError"))


@pytest.mark.parametrize(
    ("name", "base", "code", "expected"),
    [
        ("ConnectionForced", Recoverable, 320, ("CONNECTION_LOST", True, "unknown")),
        ("ResourceError", Recoverable, 506, ("NETWORK", True, "none")),
        ("Blocked", Recoverable, 0, ("NETWORK", True, "none")),
        ("ConsumerCancelled", Recoverable, 0, ("CONNECTION_LOST", True, "unknown")),
        ("RecoverableConnectionError", Recoverable, 0, ("CONNECTION_LOST", True, "unknown")),
        ("ContentTooLarge", RecoverableChannel, 311, ("NETWORK", True, "none")),
        ("NoConsumers", RecoverableChannel, 313, ("UNKNOWN", True, "none")),
        ("ResourceLocked", RecoverableChannel, 405, ("UNKNOWN", True, "none")),
        ("RecoverableChannelError", RecoverableChannel, 0, ("CONNECTION_LOST", True, "unknown")),
        ("InvalidPath", Irrecoverable, 402, ("INVALID_PARAM", False, "unknown")),
        ("FrameError", Irrecoverable, 501, ("INVALID_PARAM", False, "unknown")),
        ("FrameSyntaxError", Irrecoverable, 502, ("INVALID_PARAM", False, "unknown")),
        ("InvalidCommand", Irrecoverable, 503, ("INVALID_PARAM", False, "unknown")),
        ("ChannelNotOpen", Irrecoverable, 504, ("INVALID_PARAM", False, "unknown")),
        ("UnexpectedFrame", Irrecoverable, 505, ("INVALID_PARAM", False, "unknown")),
        ("NotAllowed", Irrecoverable, 530, ("PERMISSION_DENIED", False, "none")),
        ("AMQPNotImplementedError", Irrecoverable, 540, ("INVALID_PARAM", False, "unknown")),
        ("InternalError", Irrecoverable, 541, ("UNKNOWN", False, "unknown")),
        ("AccessRefused", IrrecoverableChannel, 403, ("PERMISSION_DENIED", False, "none")),
        ("NotFound", IrrecoverableChannel, 404, ("INVALID_PARAM", False, "unknown")),
        ("PreconditionFailed", IrrecoverableChannel, 406, ("INVALID_PARAM", False, "unknown")),
    ],
)
def test_amqp_classes(name: str, base: type, code: int, expected: tuple[str, bool, str]) -> None:
    """What amqp calls recoverable is retried; its 501 to 505, 540 and 541 are no HTTP statuses."""
    assert judge(make(fake(f"amqp.exceptions.{name}", base), code=code, reply_code=code)) == expected


@pytest.mark.parametrize(
    "text", ["connection already closed", "Connection already closed", "Connection already closed."]
)
def test_amqp_closed_already(text: str) -> None:
    """A connection that was closed before stays so: the class is that of one which breaks off."""
    assert judge(make(Recoverable, reply_text=text)) == ("NOT_INITIALIZED", False, "none")
    assert judge(make(Recoverable, reply_text="Too many heartbeats missed")) == ("CONNECTION_LOST", True, "unknown")


def test_kombu() -> None:
    """kombu's OperationalError means what its cause means; a message that was nacked may be sent again."""
    cls = fake("kombu.exceptions.OperationalError", fake("kombu.exceptions.KombuError"))
    assert judge(make(cls, "x", cause=REFUSED)) == ("NETWORK", True, "none")
    assert judge(make(cls, "x", cause=NO_NAME)) == ("INVALID_PARAM", False, "none")
    assert judge(cls("x")) == ("NETWORK", True, "unknown")
    assert judge(fake("amqp.exceptions.MessageNacked")()) == ("NETWORK", True, "unknown")
    assert judge(fake("kombu.exceptions.DecodeError", fake("kombu.exceptions.SerializationError"))())[:2] == (
        "DATA_CORRUPTION",
        False,
    )
    assert judge(fake("kombu.exceptions.NotBoundError")())[:2] == ("INVALID_PARAM", False)
    full = fake("kombu.exceptions.ConnectionLimitExceeded", fake("kombu.exceptions.LimitExceeded"))
    assert judge(full(10)) == ("TIMEOUT", True, "none")


# ---- confluent-kafka

KafkaException = fake("cimpl.KafkaException")


def kafka(number: object, cls: type[Any] = KafkaException, **flags: object) -> Any:
    """Return an error of Kafka, whose argument has methods for everything."""
    asked = {name: (lambda self, answer=answer: answer) for name, answer in {"code": number, **flags}.items()}
    return cls(type("KafkaError", (), asked)())


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (-195, ("NETWORK", True, "unknown")),
        (-187, ("NETWORK", True, "unknown")),
        (5, ("NETWORK", True, "none")),
        (6, ("NETWORK", True, "none")),
        (15, ("NETWORK", True, "none")),
        (-185, ("TIMEOUT", True, "unknown")),
        (-192, ("TIMEOUT", True, "unknown")),
        (7, ("TIMEOUT", True, "unknown")),
        (13, ("CONNECTION_LOST", True, "unknown")),
        (14, ("NETWORK", True, "none")),
        (16, ("NETWORK", True, "none")),
        (19, ("NETWORK", True, "none")),
        (20, ("NETWORK", True, "unknown")),
        (89, ("NETWORK", True, "none")),
        (-169, ("PERMISSION_DENIED", False, "none")),
        (29, ("PERMISSION_DENIED", False, "none")),
        (58, ("PERMISSION_DENIED", False, "none")),
        (3, ("INVALID_PARAM", False, "none")),
        (10, ("INVALID_PARAM", False, "none")),
        (-193, ("INVALID_PARAM", False, "none")),
        (-199, ("DATA_CORRUPTION", False, "unknown")),
        (-5000, ("UNKNOWN", False, "unknown")),
        ("7", ("UNKNOWN", False, "unknown")),
    ],
)
def test_kafka_codes(number: object, expected: tuple[str, bool, str]) -> None:
    """The number is that of librdkafka where negative, of the broker where positive."""
    assert judge(kafka(number)) == expected
    client = fake("confluent_kafka.error.ProduceError", fake("confluent_kafka.error._KafkaClientError", KafkaException))
    assert judge(kafka(number, client)) == expected


@pytest.mark.parametrize("flag", ["fatal", "txn_requires_abort"])
def test_kafka_that_is_over(flag: str) -> None:
    """A fatal error, and a transaction that must be aborted, are not retried, whatever the number says."""
    for number in (-195, -5000):
        verdict = classify(kafka(number, retriable=True, **{flag: True}))
        assert (verdict.retryable, verdict.rule) == (False, f"messaging.kafka.{flag}")


def test_kafka_retriable() -> None:
    """retriable() counts only as a yes: it is False for almost everything that may be retried."""
    assert judge(kafka(-195, retriable=False))[1]
    assert judge(kafka(-5000, retriable=False)) == ("UNKNOWN", False, "unknown")
    for number in (-5000, 3):
        verdict = classify(kafka(number, retriable=True))
        assert (verdict.rule, verdict.code.name) == ("messaging.kafka.retriable", "NETWORK")
    assert classify(kafka(7, retriable=True)).rule == "messaging.kafka.7"


@pytest.mark.parametrize("args", [(), ("text",), (5,)])
def test_kafka_without_an_error(args: tuple[object, ...]) -> None:
    """An exception whose argument is none of Kafka's is unknown."""
    assert classify(KafkaException(*args)).rule == "unknown"


def test_kafka_serialization() -> None:
    """What cannot be written was wrong from the start; what cannot be read is broken."""
    base = fake("confluent_kafka.serialization.SerializationError", KafkaException)
    for name, code in (
        ("KeySerializationError", "INVALID_PARAM"),
        ("KeyDeserializationError", "DATA_CORRUPTION"),
        ("ValueDeserializationError", "DATA_CORRUPTION"),
    ):
        assert judge(kafka(-195, fake(f"confluent_kafka.error.{name}", base)))[:2] == (code, False)


# ---- nats

NatsError = fake("nats.errors.Error")
JetStreamError = fake("nats.js.errors.Error", NatsError)
APIError = fake("nats.js.errors.APIError", JetStreamError)
NatsTimeout = fake("nats.errors.TimeoutError", NatsError, TimeoutError)
Stale = fake("nats.errors.StaleConnectionError", NatsError)
NotFound = fake("nats.js.errors.NotFoundError", APIError)
BadRequest = fake("nats.js.errors.BadRequestError", APIError)


@pytest.mark.parametrize(
    ("name", "base", "expected"),
    [
        ("TimeoutError", TimeoutError, ("TIMEOUT", True, "unknown")),
        ("FlushTimeoutError", NatsTimeout, ("TIMEOUT", True, "unknown")),
        ("FetchTimeoutError", NatsTimeout, ("TIMEOUT", True, "unknown")),
        ("NoServersError", NatsError, ("NETWORK", True, "none")),
        ("NoRespondersError", NatsError, ("NETWORK", True, "none")),
        ("NoStreamResponseError", JetStreamError, ("NETWORK", True, "none")),
        ("ConnectionReconnectingError", NatsError, ("NETWORK", True, "none")),
        ("StaleConnectionError", NatsError, ("CONNECTION_LOST", True, "unknown")),
        ("UnexpectedEOF", Stale, ("CONNECTION_LOST", True, "unknown")),
        ("OutboundBufferLimitError", NatsError, ("NETWORK", True, "none")),
        ("AuthorizationError", NatsError, ("PERMISSION_DENIED", False, "none")),
        ("InvalidUserCredentialsError", NatsError, ("PERMISSION_DENIED", False, "none")),
        ("ConnectionClosedError", NatsError, ("NOT_INITIALIZED", False, "none")),
        ("ConnectionDrainingError", NatsError, ("NOT_INITIALIZED", False, "none")),
        ("BadSubjectError", NatsError, ("INVALID_PARAM", False, "none")),
        ("MaxPayloadError", NatsError, ("INVALID_PARAM", False, "none")),
        ("SecureConnRequiredError", NatsError, ("INVALID_PARAM", False, "none")),
        ("MsgAlreadyAckdError", NatsError, ("INVALID_PARAM", False, "unknown")),
        ("NotFoundError", APIError, ("INVALID_PARAM", False, "unknown")),
        ("BucketNotFoundError", NotFound, ("INVALID_PARAM", False, "unknown")),
        (
            "KeyWrongLastSequenceError",
            fake("nats.js.errors.BadRequestError", APIError),
            ("INVALID_PARAM", False, "unknown"),
        ),
        ("ServiceUnavailableError", APIError, ("NETWORK", True, "unknown")),
        ("DigestMismatchError", JetStreamError, ("DATA_CORRUPTION", False, "unknown")),
        ("SlowConsumerError", NatsError, ("UNKNOWN", False, "unknown")),
        ("ProtocolError", NatsError, ("UNKNOWN", False, "unknown")),
    ],
)
def test_nats_classes(name: str, base: type, expected: tuple[str, bool, str]) -> None:
    """Each class means what the table says; a closed connection stays closed."""
    assert judge(fake(f"nats.errors.{name}", base)()) == expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (503, ("NETWORK", True, "unknown")),
        (408, ("TIMEOUT", True, "unknown")),
        (404, ("INVALID_PARAM", False, "unknown")),
        (400, ("INVALID_PARAM", False, "unknown")),
        (409, ("UNKNOWN", False, "unknown")),
        (500, ("UNKNOWN", False, "unknown")),
        (None, ("UNKNOWN", False, "unknown")),
        ("503", ("UNKNOWN", False, "unknown")),
    ],
)
def test_nats_api_codes(code: object, expected: tuple[str, bool, str]) -> None:
    """JetStream's codes are those of HTTP."""
    error = make(APIError, code=code)
    assert judge(error) == expected
    assert classify(error).rule == (f"messaging.nats.{code}" if isinstance(code, int) else "unknown")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nats: 'Authorization Violation'", ("PERMISSION_DENIED", False, "none")),
        ("nats: 'Authentication Timeout'", ("PERMISSION_DENIED", False, "none")),
        ("nats: 'Permissions Violation for Publish to \"x\"'", ("PERMISSION_DENIED", False, "none")),
        ("nats: 'Maximum Connections Exceeded'", ("NETWORK", True, "none")),
        ("nats: 'Stale Connection'", ("CONNECTION_LOST", True, "unknown")),
        ("nats: 'Unknown Protocol Operation'", ("UNKNOWN", False, "unknown")),
        (5, ("UNKNOWN", False, "unknown")),
    ],
)
def test_nats_server_texts(text: object, expected: tuple[str, bool, str]) -> None:
    """What the server says before it hangs up is only text, in the base class."""
    assert judge(NatsError(text)) == expected


# ---- paho-mqtt


class MQTTErrorCode(enum.IntEnum):
    """The codes that paho returns."""

    MQTT_ERR_AGAIN = -1
    MQTT_ERR_SUCCESS = 0
    MQTT_ERR_NOMEM = 1
    MQTT_ERR_PROTOCOL = 2
    MQTT_ERR_INVAL = 3
    MQTT_ERR_NO_CONN = 4
    MQTT_ERR_CONN_REFUSED = 5
    MQTT_ERR_NOT_FOUND = 6
    MQTT_ERR_CONN_LOST = 7
    MQTT_ERR_TLS = 8
    MQTT_ERR_PAYLOAD_SIZE = 9
    MQTT_ERR_NOT_SUPPORTED = 10
    MQTT_ERR_AUTH = 11
    MQTT_ERR_ACL_DENIED = 12
    MQTT_ERR_UNKNOWN = 13
    MQTT_ERR_ERRNO = 14
    MQTT_ERR_QUEUE_SIZE = 15
    MQTT_ERR_KEEPALIVE = 16


MQTTErrorCode.__module__ = "paho.mqtt.enums"


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (4, ("NETWORK", True, "unknown")),
        (5, ("NETWORK", True, "none")),
        (7, ("CONNECTION_LOST", True, "unknown")),
        (15, ("NETWORK", True, "none")),
        (16, ("CONNECTION_LOST", True, "unknown")),
        (11, ("PERMISSION_DENIED", False, "none")),
        (12, ("PERMISSION_DENIED", False, "none")),
        (8, ("PERMISSION_DENIED", False, "none")),
        (1, ("MEMORY_ALLOC", False, "unknown")),
        (2, ("INVALID_PARAM", False, "unknown")),
        (3, ("INVALID_PARAM", False, "unknown")),
        (6, ("INVALID_PARAM", False, "unknown")),
        (9, ("INVALID_PARAM", False, "none")),
        (10, ("INVALID_PARAM", False, "none")),
        (13, ("UNKNOWN", False, "unknown")),
        (14, ("UNKNOWN", False, "unknown")),
        (-1, ("UNKNOWN", False, "unknown")),
    ],
)
def test_mqtt_codes(number: int, expected: tuple[str, bool, str]) -> None:
    """paho returns its codes: the type tells them from the taxonomy's, of which -1 is one too."""
    code = MQTTErrorCode(number)
    info = type("MQTTMessageInfo", (), {"__module__": "paho.mqtt.client", "rc": code})()
    for result in (code, info, (code, 5), (code, None)):
        assert judge(result) == expected
    if number > 0:
        assert classify(code).message == code.name
    assert classify(5).code == 5


def test_mqtt_success() -> None:
    """A code of zero is a success, and so is every pair that does not begin with a code."""
    for result in (MQTTErrorCode.MQTT_ERR_SUCCESS, (MQTTErrorCode.MQTT_ERR_SUCCESS, 1), (), (5, 6), ("x",)):
        assert classify(result).code == ErrorCode.SUCCESS
    assert classify(MQTTErrorCode.MQTT_ERR_SUCCESS).rule == "messaging.paho.SUCCESS"


def test_mqtt_operation_is_retried() -> None:
    """An operation that returns a code is retried by it, with ``results=classify``."""
    codes = [MQTTErrorCode.MQTT_ERR_CONN_LOST, MQTTErrorCode.MQTT_ERR_NO_CONN, MQTTErrorCode.MQTT_ERR_SUCCESS]

    @with_retry(max=5, interval=0, results=classify)
    def publish() -> MQTTErrorCode:
        return codes.pop(0)

    assert publish() is MQTTErrorCode.MQTT_ERR_SUCCESS
    assert codes == []


def test_types_that_have_rows_for_errors_only() -> None:
    """A returned value of a class that only a row about errors speaks of is a success like any other."""
    other = type("Client", (), {"__module__": "paho.mqtt.client"})()
    addresses = type("NoValidConnectionsError", (), {"__module__": "paramiko.ssh_exception"})()
    for result in (other, addresses):
        assert classify(result).code == ErrorCode.SUCCESS


# ---- paramiko

SSHException = fake("paramiko.ssh_exception.SSHException")
NoValidConnectionsError = fake("paramiko.ssh_exception.NoValidConnectionsError", OSError)
Authentication = fake("paramiko.ssh_exception.AuthenticationException", SSHException)


def unreachable(*errors: object) -> Any:
    """Return the error of a connection to several addresses."""
    tried = {("::1", number): error for number, error in enumerate(errors)}
    return make(NoValidConnectionsError, None, "Unable to connect", errors=tried)


def test_ssh_addresses() -> None:
    """A host is worth another attempt if each of its addresses is; the error itself has no errno."""
    assert judge(unreachable(REFUSED, OSError(113, "No route to host"))) == ("NETWORK", True, "none")
    assert judge(unreachable(REFUSED, TimeoutError())) == ("NETWORK", True, "unknown")
    assert judge(unreachable(REFUSED, DENIED))[:2] == ("PERMISSION_DENIED", False)
    assert judge(unreachable(REFUSED, "text")) == ("NETWORK", True, "none")
    for errors in (None, {}, [REFUSED]):
        assert judge(make(NoValidConnectionsError, None, "x", errors=errors)) == ("NETWORK", True, "none")


@pytest.mark.parametrize(
    ("name", "base", "expected"),
    [
        ("AuthenticationException", SSHException, ("PERMISSION_DENIED", False, "none")),
        ("BadAuthenticationType", Authentication, ("PERMISSION_DENIED", False, "none")),
        ("PasswordRequiredException", Authentication, ("PERMISSION_DENIED", False, "none")),
        ("BadHostKeyException", SSHException, ("PERMISSION_DENIED", False, "none")),
        ("IncompatiblePeer", SSHException, ("INVALID_PARAM", False, "none")),
        ("MessageOrderError", SSHException, ("INVALID_PARAM", False, "none")),
        ("ProxyCommandFailure", SSHException, ("UNKNOWN", False, "unknown")),
    ],
)
def test_ssh_classes(name: str, base: type, expected: tuple[str, bool, str]) -> None:
    """A login that was refused is not retried, nor a host that is not the one it was."""
    assert judge(fake(f"paramiko.ssh_exception.{name}", base)("x")) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Error reading SSH protocol banner", ("CONNECTION_LOST", True, "none")),
        ("Error reading SSH protocol banner[Errno 104] Connection reset", ("CONNECTION_LOST", True, "none")),
        ("SSH session not active", ("NOT_INITIALIZED", False, "none")),
        ("No existing session", ("NOT_INITIALIZED", False, "none")),
        ("Channel is not open", ("NOT_INITIALIZED", False, "none")),
        ("No authentication methods available", ("UNKNOWN", False, "unknown")),
        (5, ("UNKNOWN", False, "unknown")),
    ],
)
def test_ssh_texts(text: object, expected: tuple[str, bool, str]) -> None:
    """What the base class means stands in its text."""
    assert judge(SSHException(text)) == expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (1, ("PERMISSION_DENIED", False, "none")),
        (2, ("NETWORK", True, "none")),
        (3, ("INVALID_PARAM", False, "none")),
        (4, ("NETWORK", True, "none")),
        (5, ("UNKNOWN", False, "unknown")),
    ],
)
def test_ssh_channels(code: int, expected: tuple[str, bool, str]) -> None:
    """A channel that was not opened says why, in numbers of its own."""
    assert judge(make(fake("paramiko.ssh_exception.ChannelException", SSHException), code, "x", code=code)) == expected


# ---- websockets

WebSocketException = fake("websockets.exceptions.WebSocketException")
Closed = fake("websockets.exceptions.ConnectionClosed", WebSocketException)
ClosedError = fake("websockets.exceptions.ConnectionClosedError", Closed)
InvalidHandshake = fake("websockets.exceptions.InvalidHandshake", WebSocketException)


def closed(received: object, sent: object = None) -> Any:
    """Return the error of a connection that was closed with these codes."""
    frames = [None if code is None else thing(code=code, reason="") for code in (received, sent)]
    return make(ClosedError, rcvd=frames[0], sent=frames[1])


@pytest.mark.parametrize(
    ("received", "sent", "expected"),
    [
        (1000, 1000, ("NOT_INITIALIZED", False, "none")),
        (1001, None, ("CONNECTION_LOST", False, "unknown")),
        (1002, None, ("INVALID_PARAM", False, "unknown")),
        (1003, None, ("INVALID_PARAM", False, "unknown")),
        (1006, None, ("CONNECTION_LOST", True, "unknown")),
        (1007, None, ("DATA_CORRUPTION", False, "unknown")),
        (1008, None, ("PERMISSION_DENIED", False, "none")),
        (1009, 1009, ("INVALID_PARAM", False, "unknown")),
        (1011, None, ("CONNECTION_LOST", True, "unknown")),
        (1012, None, ("CONNECTION_LOST", True, "unknown")),
        (1013, None, ("NETWORK", True, "unknown")),
        (4000, None, ("UNKNOWN", False, "unknown")),
        (None, None, ("CONNECTION_LOST", True, "unknown")),
        (None, 1011, ("CONNECTION_LOST", True, "unknown")),
        (None, 1000, ("CONNECTION_LOST", True, "unknown")),
        (None, 1009, ("INVALID_PARAM", False, "unknown")),
        (None, 1007, ("DATA_CORRUPTION", False, "unknown")),
        ("1008", None, ("CONNECTION_LOST", True, "unknown")),
    ],
)
def test_websocket_close_codes(received: object, sent: object, expected: tuple[str, bool, str]) -> None:
    """The peer's code counts; where none came, that is 1006, unless this side refused what it was sent."""
    assert judge(closed(received, sent)) == expected


def test_websocket_code_is_not_read() -> None:
    """``.code`` of the exception warns, so that it is left alone."""

    def warn(self: object) -> int:
        pytest.fail("it was read")

    cls = type("ConnectionClosedError", (Closed,), {"__module__": "websockets.exceptions", "code": property(warn)})
    assert classify(make(cls, rcvd=None, sent=None)).rule == "messaging.websockets.1006"


@pytest.mark.parametrize(
    ("status", "retryable"),
    [(500, True), (502, True), (503, True), (504, True), (429, True), (404, False), (403, False), (400, False)],
)
def test_websocket_handshake(status: int, retryable: bool) -> None:
    """A handshake is a GET that did nothing yet: every failure of the server is retried, with its hint."""
    cls = fake("websockets.exceptions.InvalidStatus", InvalidHandshake)
    verdict = classify(make(cls, response=thing(status_code=status, headers={"Retry-After": "3"})))
    assert (verdict.retryable, verdict.effect, verdict.retry_after) == (retryable, "none", 3.0)


def test_websocket_handshake_of_old() -> None:
    """The legacy client's error has the status itself; without any, it is a handshake that failed."""
    cls = fake("websockets.legacy.exceptions.InvalidStatusCode", InvalidHandshake)
    assert judge(make(cls, status_code=503, headers={})) == ("NETWORK", True, "none")
    assert judge(cls("x")) == ("INVALID_PARAM", False, "none")


@pytest.mark.parametrize(
    ("name", "base", "cause", "expected"),
    [
        ("InvalidMessage", InvalidHandshake, EOFError("x"), ("CONNECTION_LOST", True, "none")),
        ("InvalidMessage", InvalidHandshake, ValueError("x"), ("INVALID_PARAM", False, "none")),
        ("ProxyError", InvalidHandshake, REFUSED, ("NETWORK", True, "none")),
        ("ProxyError", InvalidHandshake, None, ("NETWORK", True, "none")),
        ("SecurityError", InvalidHandshake, None, ("INVALID_PARAM", False, "none")),
        ("NegotiationError", InvalidHandshake, None, ("INVALID_PARAM", False, "none")),
        ("InvalidURI", WebSocketException, None, ("INVALID_PARAM", False, "none")),
        ("ConcurrencyError", WebSocketException, None, ("INVALID_PARAM", False, "none")),
        ("ProtocolError", WebSocketException, None, ("DATA_CORRUPTION", False, "unknown")),
        ("InvalidState", WebSocketException, None, ("NOT_INITIALIZED", False, "none")),
        ("WebSocketException", WebSocketException, None, ("UNKNOWN", False, "unknown")),
    ],
)
def test_websocket_classes(name: str, base: type, cause: BaseException | None, expected: tuple[str, bool, str]) -> None:
    """A peer that hung up within the handshake is asked again; one that does not speak the protocol is not."""
    assert judge(make(fake(f"websockets.exceptions.{name}", base), "x", cause=cause)) == expected


# ---- all of them


class Hostile:
    """An object whose attributes raise, other than those that pytest asks for."""

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("__"):
            return object.__getattribute__(self, name)
        raise RuntimeError(name)


@pytest.mark.parametrize(
    "cls",
    [ClosedByBroker, SocketConnectError, Recoverable, APIError, NoValidConnectionsError, ClosedError, InvalidHandshake],
    ids=lambda cls: cls.__name__,
)
def test_hostile_attributes(cls: type[Any]) -> None:
    """Whatever the attributes hold, there is a verdict."""
    names = "reply_code reply_text exception code errors rcvd sent response"
    assert isinstance(classify(make(cls, **dict.fromkeys(names.split(), Hostile()))).code, ErrorCode)
    assert isinstance(classify(KafkaException(Hostile())).code, ErrorCode)


SAFE: dict[str, Callable[[], Any]] = {
    "AMQP 503 read as HTTP": lambda: make(fake("amqp.exceptions.InvalidCommand", Irrecoverable), code=503),
    "AMQP 504 of pika read as HTTP": lambda: make(ClosedByBroker, reply_code=504, code=504),
    "a wrong password in a connection error": lambda: fake("pika.ProbableAuthenticationError", AMQPConnectionError)(),
    "a name containing Connect": lambda: fake("nats.errors.ConnectionClosedError", NatsError)(),
    "SSH login in a Kafka-like number": lambda: make(Authentication, "x", code=5),
    "a fatal error with a transient number": lambda: kafka(-195, fatal=True),
    "MQTT 5 read as errno 5": lambda: MQTTErrorCode.MQTT_ERR_ACL_DENIED,
    "an OSError without an errno": lambda: unreachable(DENIED),
    "a certificate or a name in an operational error": lambda: make(fake("kombu.OperationalError"), "x", cause=NO_NAME),
    "a policy violation in a lost connection": lambda: closed(1008),
}


@pytest.mark.parametrize("name", SAFE)
def test_dangerous_false_positives(name: str) -> None:
    """What looks transient and is not safe is not retried."""
    assert not classify(SAFE[name]()).retryable
