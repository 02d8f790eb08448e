"""What the errors of message brokers' clients, and of SSH and WebSocket, mean.

pika, kombu and amqp, confluent-kafka, nats, paho-mqtt, paramiko, websockets.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

from retrywrap.classifiers.guard import call, exact_int, key_of, read
from retrywrap.classifiers.http import by_attributes, by_status
from retrywrap.classifiers.rows import (
    UNKNOWN,
    Codes,
    Entry,
    Look,
    Through,
    again,
    by_code,
    combine,
    each,
    inside,
    never,
    table,
)
from retrywrap.classifiers.verdict import Verdict
from retrywrap.codes import ErrorCode

__all__ = ["CODES", "TABLE"]

_MOST_ADDRESSES = 100

_LOST = again(ErrorCode.CONNECTION_LOST)
_NEVER_OPENED = again(ErrorCode.CONNECTION_LOST, "none")
_UNREACHED = again(ErrorCode.NETWORK, "none")
_THROTTLED = again(ErrorCode.NETWORK, "none", throttled=True)
_NACKED = again(ErrorCode.NETWORK)
_TIMEOUT = again(ErrorCode.TIMEOUT)
_NOT_SENT = again(ErrorCode.TIMEOUT, "none")
_CONFLICT = again(ErrorCode.UNKNOWN, "none")
_INVALID = never(ErrorCode.INVALID_PARAM)
_REFUSED = never(ErrorCode.INVALID_PARAM, "none")
_DENIED = never(ErrorCode.PERMISSION_DENIED, "none")
_CORRUPT = never(ErrorCode.DATA_CORRUPTION)
_USELESS = never(ErrorCode.NOT_INITIALIZED, "none")
_UNCLEAR = never(ErrorCode.UNKNOWN)


def _numbered(library: str, *parts: tuple[Verdict, tuple[int, ...]]) -> Mapping[int | None, Verdict]:
    """Return verdicts by the numbers that stand beside them, each with a rule."""
    return by_code(f"messaging.{library}", *parts)


def _first(error: object) -> Any:
    args = read(error, "args")
    return args[0] if type(args) is tuple and args else None


def _said(error: object) -> str:
    first = _first(error)
    return first if type(first) is str else ""


# ---- pika

# Source: AMQP 0-9-1, "Reply codes"; RabbitMQ, "Access control" (530 is a virtual host that one may not enter).
_REPLIES = _numbered(
    "pika",
    (_USELESS, (200,)),
    (_INVALID, (311, 402, 404, 406, 501, 502, 503, 504, 505, 540)),
    (_LOST, (320,)),
    (_DENIED, (403, 530)),
    (_UNCLEAR, (313, 405, 506, 541)),
)


def _by_reply(error: Any) -> Verdict | None:
    """What the broker's reply code says (reply_code)."""
    return _REPLIES.get(exact_int(read(error, "reply_code")))


def _at_connect(error: Any, look: Look) -> Verdict | None:
    """What the error inside says; nothing can have been sent."""
    verdict = look(read(error, "exception"), "exception")
    return None if verdict is None else verdict._replace(effect="none")


def _not_connected(error: Any, look: Look) -> Verdict | None:
    """What the first argument says, otherwise NETWORK; of a subclass, nothing."""
    # Wrong passwords are subclasses too: one that no row knows is left alone.
    default = again(ErrorCode.NETWORK) if key_of(type(error))[1] == "pika.AMQPConnectionError" else None
    return look(_first(error), "args") or default


def _by_protocol(error: Any) -> Verdict:
    """Tell a broker that speaks something else from one that hung up before it had spoken."""
    return _NEVER_OPENED if _said(error).startswith("StreamLostError") else _REFUSED


# Source: pika/exceptions.py, pika/adapters/utils/connection_workflow.py.
_PIKA: Mapping[str, Entry] = {
    "pika.StreamLostError": _LOST,
    "pika.AMQPHeartbeatTimeout": _LOST,
    "pika.ConnectionBlockedTimeout": again(ErrorCode.TIMEOUT, throttled=True),
    **each("pika", "ConnectionClosedByClient ChannelClosedByClient ConnectionOpenAborted", _USELESS),
    **each("pika", "ConnectionWrongStateError ChannelWrongStateError", _USELESS),
    **each("pika", "AuthenticationError ProbableAuthenticationError ProbableAccessDeniedError", _DENIED),
    **each("pika", "UnroutableError DuplicateConsumerTag NoFreeChannels InvalidChannelNumber", _INVALID),
    **each("pika", "ShortStringTooLong UnsupportedAMQPFieldException MethodNotImplemented ReentrancyError", _INVALID),
    "pika.IncompatibleProtocolError": _by_protocol,
    "pika.ProtocolSyntaxError": _CORRUPT,
    "pika.NackError": _NACKED,
    "pika.ConnectionClosed": _by_reply,
    "pika.ChannelClosed": _by_reply,
    "pika.AMQPConnectorPhaseErrorBase": Through(_at_connect),
    "pika.AMQPConnectorStackTimeout": _NOT_SENT,
    "pika.AMQPConnectionError": Through(_not_connected),
}

# ---- kombu, amqp


def _by_amqp(error: Any) -> Verdict:
    """Tell a connection that was lost from one that was closed before: on the latter, every call fails the same way."""
    text = read(error, "reply_text")
    closed = type(text) is str and text.lower().rstrip(".") == "connection already closed"
    return _USELESS if closed else _LOST


# Source: amqp/exceptions.py, which says what is recoverable. Its codes look like HTTP's, and are none.
_AMQP: Mapping[str, Entry] = {
    "amqp.ConnectionForced": _LOST,
    "amqp.ResourceError": _THROTTLED,
    "amqp.Blocked": _THROTTLED,
    "amqp.ContentTooLarge": _UNREACHED,
    "amqp.NoConsumers": _CONFLICT,
    "amqp.ResourceLocked": _CONFLICT,
    "amqp.RecoverableConnectionError": _by_amqp,
    "amqp.RecoverableChannelError": _LOST,
    "amqp.AccessRefused": _DENIED,
    "amqp.NotAllowed": _DENIED,
    "amqp.InternalError": _UNCLEAR,
    "amqp.IrrecoverableConnectionError": _INVALID,
    "amqp.IrrecoverableChannelError": _INVALID,
    "amqp.MessageNacked": _NACKED,
    "kombu.OperationalError": inside("__cause__", default=again(ErrorCode.NETWORK)),
    "kombu.LimitExceeded": _NOT_SENT,
    "kombu.DecodeError": _CORRUPT,
    **each("kombu", "SerializationError SerializerNotInstalled NotBoundError MessageStateError", _INVALID),
}

# ---- confluent-kafka

# Source: librdkafka/src/rdkafka.h (negative); Apache Kafka, "Error codes".
_KAFKA = _numbered(
    "kafka",
    (_UNREACHED, (5, 6, 14, 15, 16, 19)),
    (again(ErrorCode.NETWORK), (-195, -187, 20)),
    (_LOST, (13,)),
    (_TIMEOUT, (-192, -185, 7)),
    (_THROTTLED, (-184, 89)),
    (_DENIED, (-181, -169, 29, 30, 31, 33, 53, 58, 65)),
    (_REFUSED, (-193, -190, -188, -186, 2, 3, 10, 17, 18, 35, 36)),
    (_CORRUPT, (-199, -198, -160, -159)),
)
_RETRIABLE = again(ErrorCode.NETWORK, rule="messaging.kafka.retriable")


def _by_kafka(error: Any) -> Verdict | None:
    """What the code of the error inside says (args[0]); never retried where it is fatal."""
    inner = _first(error)
    verdict = _KAFKA.get(exact_int(call(inner, "code")))
    for name in ("fatal", "txn_requires_abort"):
        if call(inner, name) is True:
            code = UNKNOWN.code if verdict is None else verdict.code
            return never(code, rule=f"messaging.kafka.{name}")
    if call(inner, "retriable") is True and not (verdict is not None and verdict.retryable):
        return _RETRIABLE
    return verdict


_CONFLUENT: Mapping[str, Entry] = {
    "cimpl.KafkaException": _by_kafka,
    "confluent_kafka.KeyDeserializationError": _CORRUPT,
    "confluent_kafka.ValueDeserializationError": _CORRUPT,
    "confluent_kafka.SerializationError": _INVALID,
}

# ---- nats

# What a server says before it hangs up. Source: NATS, "Client Protocol", -ERR.
_NATS_ERRORS: tuple[tuple[str, Verdict], ...] = (
    ("authorization", _DENIED._replace(rule="messaging.nats.authorization")),
    ("authentication", _DENIED._replace(rule="messaging.nats.authentication")),
    ("permissions violation", _DENIED._replace(rule="messaging.nats.permissions")),
    ("maximum connections exceeded", _THROTTLED._replace(rule="messaging.nats.connections")),
    ("stale connection", _LOST._replace(rule="messaging.nats.stale")),
)
_LONGEST_SAID = 200


def _by_nats_text(error: Any) -> Verdict | None:
    """What the server said before it hung up."""
    text = _said(error)[:_LONGEST_SAID].lower()
    return next((verdict for said, verdict in _NATS_ERRORS if text.startswith(f"nats: '{said}")), None)


def _by_jetstream(error: Any) -> Verdict | None:
    """What JetStream's code says, which is HTTP's (code)."""
    verdict = by_status(read(error, "code"))
    return verdict and verdict._replace(rule=f"messaging.nats.{verdict.rule.split('.')[1]}")


# Source: nats/errors.py, nats/js/errors.py; JetStream's codes are those of HTTP.
_NATS: Mapping[str, Entry] = {
    "nats.TimeoutError": _TIMEOUT,
    **each("nats", "NoServersError NoRespondersError NoStreamResponseError ConnectionReconnectingError", _UNREACHED),
    "nats.StaleConnectionError": _LOST,
    **each("nats", "OutboundBufferLimitError TooManyStalledMsgsError", _THROTTLED),
    **each("nats", "AuthorizationError InvalidUserCredentialsError", _DENIED),
    **each("nats", "ConnectionClosedError ConnectionDrainingError", _USELESS),
    **each("nats", "BadSubscriptionError BadSubjectError BadHeaderError BadTimeoutError MaxPayloadError", _REFUSED),
    **each("nats", "SecureConnRequiredError SecureConnWantedError InvalidCallbackTypeError JsonParseError", _REFUSED),
    **each("nats", "MsgAlreadyAckdError NotJSMessageError NotFoundError BadRequestError KeyValueError", _INVALID),
    **each("nats", "InvalidKeyError InvalidBucketNameError InvalidObjectNameError ObjectAlreadyExists", _INVALID),
    **each("nats", "BadObjectMetaError DigestMismatchError", _CORRUPT),
    "nats.ServiceUnavailableError": again(ErrorCode.NETWORK, throttled=True),
    "nats.APIError": _by_jetstream,
    "nats.Error": _by_nats_text,
}

# ---- paho-mqtt: what it returns

# A message that could not be sent may be queued all the same. Source: paho/mqtt/enums.py, paho/mqtt/client.py.
_MQTT: Mapping[int | None, tuple[str, Verdict]] = {
    1: ("NOMEM", never(ErrorCode.MEMORY_ALLOC)),
    2: ("PROTOCOL", _INVALID),
    3: ("INVAL", _INVALID),
    4: ("NO_CONN", again(ErrorCode.NETWORK)),
    5: ("CONN_REFUSED", _UNREACHED),
    6: ("NOT_FOUND", _INVALID),
    7: ("CONN_LOST", _LOST),
    8: ("TLS", _DENIED),
    9: ("PAYLOAD_SIZE", _REFUSED),
    10: ("NOT_SUPPORTED", _REFUSED),
    11: ("AUTH", _DENIED),
    12: ("ACL_DENIED", _DENIED),
    13: ("UNKNOWN", _UNCLEAR),
    14: ("ERRNO", _UNCLEAR),
    15: ("QUEUE_SIZE", _THROTTLED),
    16: ("KEEPALIVE", _LOST),
}


def _by_mqtt_code(result: object) -> Verdict:
    """What the return code says."""
    number = exact_int(result)
    if number == 0:
        return Verdict.of(ErrorCode.SUCCESS, rule="messaging.paho.SUCCESS")
    name, verdict = _MQTT.get(number, ("code that is not known", _UNCLEAR))
    return verdict._replace(message=f"MQTT_ERR_{name}", rule=f"messaging.paho.{name}")


def _by_mqtt_info(result: object) -> Verdict:
    """What the message's return code says (rc)."""
    return _by_mqtt_code(read(result, "rc"))


_PAHO: Mapping[str, Entry] = {"paho.MQTTErrorCode": _by_mqtt_code, "paho.MQTTMessageInfo": _by_mqtt_info}

# ---- paramiko


def _every_address(error: Any, look: Look) -> Verdict | None:
    """What all the addresses say that were tried: retryable only if each is."""
    tried = read(error, "errors")
    if type(tried) is not dict or not tried:
        return _UNREACHED
    return combine(look(why, "errors") or _UNREACHED for why in islice(tried.values(), _MOST_ADDRESSES))


# Source: paramiko/transport.py. The first is what a server says that has too many logins under way (MaxStartups).
_SSH_TEXTS: tuple[tuple[str, Verdict], ...] = (
    ("Error reading SSH protocol banner", _NEVER_OPENED._replace(rule="messaging.paramiko.banner")),
    ("Server connection dropped", _LOST._replace(rule="messaging.paramiko.dropped")),
    ("SSH session not active", _USELESS._replace(rule="messaging.paramiko.not_active")),
    ("No existing session", _USELESS._replace(rule="messaging.paramiko.not_active")),
    ("Channel is not open", _USELESS._replace(rule="messaging.paramiko.not_active")),
)
# Source: RFC 4254, section 5.1; 2 is the far host of a forwarded port.
_SSH_CHANNELS = _numbered("paramiko", (_DENIED, (1,)), (_UNREACHED, (2,)), (_REFUSED, (3,)), (_THROTTLED, (4,)))


def _by_ssh_text(error: Any) -> Verdict | None:
    """What the text begins with."""
    return next((verdict for start, verdict in _SSH_TEXTS if _said(error).startswith(start)), None)


def _by_ssh_channel(error: Any) -> Verdict | None:
    """What the channel's code says (code)."""
    return _SSH_CHANNELS.get(exact_int(read(error, "code")))


_PARAMIKO: Mapping[str, Entry] = {
    "paramiko.NoValidConnectionsError": Through(_every_address),
    **each("paramiko", "AuthenticationException BadHostKeyException", _DENIED),
    **each("paramiko", "IncompatiblePeer CouldNotCanonicalize ConfigParseError MessageOrderError", _REFUSED),
    "paramiko.ChannelException": _by_ssh_channel,
    "paramiko.SSHException": _by_ssh_text,
}

# ---- websockets

# Source: RFC 6455, section 7.4.1, and the IANA registry of close codes (1012-1014).
_CLOSED = _numbered(
    "websockets",
    (_USELESS, (1000,)),
    (never(ErrorCode.CONNECTION_LOST), (1001,)),
    (_INVALID, (1002, 1003, 1009, 1010)),
    (_CORRUPT, (1007,)),
    (_DENIED, (1008,)),
    (_LOST, (1006, 1011, 1012)),
    (again(ErrorCode.NETWORK, throttled=True), (1013,)),
)
_NOT_ACCEPTED = frozenset({1002, 1003, 1007, 1009, 1010})


def _by_close_code(error: Any) -> Verdict | None:
    """What the peer's close code says (rcvd.code), otherwise this side's."""
    received, sent = (exact_int(read(read(error, name), "code")) for name in ("rcvd", "sent"))
    if received is not None:
        return _CLOSED.get(received)
    # Nothing came from the peer, which is what 1006 stands for, unless this side could not take what it had sent.
    ours = _CLOSED.get(sent)
    return (
        ours
        if ours is not None and ours.code in (ErrorCode.INVALID_PARAM, ErrorCode.DATA_CORRUPTION)
        else _CLOSED[1006]
    )


def _by_handshake(error: Any) -> Verdict | None:
    """What the status says; a handshake is a GET without effect."""
    response = read(error, "response")
    verdict = by_status(read(response, "status_code"), read(response, "headers"), "GET") or by_attributes(error)
    return verdict and verdict._replace(effect="none")


def _by_message(error: Any) -> Verdict:
    """Tell a peer that speaks something else from one that hung up before it had spoken."""
    return _NEVER_OPENED if issubclass(type(read(error, "__cause__")), EOFError) else _REFUSED


# Source: websockets/exceptions.py, websockets/client.py (process_exception).
_WEBSOCKETS: Mapping[str, Entry] = {
    "websockets.ConnectionClosed": _by_close_code,
    **each("websockets", "InvalidStatus InvalidStatusCode InvalidProxyStatus", _by_handshake),
    "websockets.InvalidMessage": _by_message,
    "websockets.ProxyError": inside("__cause__", default=_UNREACHED),
    **each("websockets", "InvalidHandshake InvalidURI InvalidProxy ConcurrencyError", _REFUSED),
    **each("websockets", "ProtocolError PayloadTooBig", _CORRUPT),
    "websockets.InvalidState": _USELESS,
}

TABLE = table(_PIKA, _AMQP, _CONFLUENT, _NATS, _PAHO, _PARAMIKO, _WEBSOCKETS, prefix="messaging.")
"""Rows of the classes of pika, kombu, amqp, confluent-kafka, nats, paho, paramiko and websockets."""

CODES = (
    Codes("pika", "reply code", _REPLIES),
    Codes("cimpl confluent_kafka", "code", _KAFKA),
    Codes("nats", "beginning of a text", {f'"{said}"': verdict for said, verdict in _NATS_ERRORS}),
    Codes("paho", "return code", {f"{number} {name}": verdict for number, (name, verdict) in _MQTT.items()}),
    Codes("paramiko", "beginning of a text", {f'"{start}"': verdict for start, verdict in _SSH_TEXTS}),
    Codes("paramiko", "code of a channel", _SSH_CHANNELS),
    Codes("websockets", "close code", _CLOSED),
)
