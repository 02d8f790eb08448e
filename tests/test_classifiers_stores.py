"""The errors of the data stores' clients, by look-alikes and, where it is installed, by the real library's classes."""

from __future__ import annotations

import builtins
import socket
import ssl
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from servers.common import library

from retrywrap.classifiers import classify

REFUSED = ConnectionRefusedError(111, "Connection refused")
NO_NAME = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
BAD_CERTIFICATE = ssl.SSLCertVerificationError(1, "certificate verify failed")


def fake(name: str, *bases: type) -> type[Any]:
    """Return a class that looks like a library's: ``"redis.exceptions.TimeoutError"``."""
    module, _, qualname = name.rpartition(".")
    return type(qualname, bases or (Exception,), {"__module__": module})


def fakes(module: str, root: type, *lines: str) -> SimpleNamespace:
    """Return look-alikes by name: each line is a base, a colon, and the classes that are made of it."""
    found: dict[str, type] = {root.__name__: root}
    for line in lines:
        bases, _, names = line.partition(":")
        parents = tuple(found.get(base) or getattr(builtins, base) for base in bases.split())
        found |= {name: fake(f"{module}.{name}", *parents) for name in names.split()}
    return SimpleNamespace(**found)


def judge(error: BaseException) -> tuple[str, bool, str]:
    """Return code, whether it is retryable, and the effect."""
    verdict = classify(error)
    return verdict.code.name, verdict.retryable, verdict.effect


class RedisBase(Exception):
    """What all errors of redis-py 8.1 have."""

    def __init__(self, *args: Any, status_code: str | None = None) -> None:
        super().__init__(*args)
        self.status_code = status_code


REDIS = fakes(
    "redis.exceptions",
    fake("redis.exceptions.RedisError", RedisBase),
    "RedisError: ConnectionError TimeoutError ResponseError DataError PubSubError",
    "RedisError: InvalidResponse WatchError ClusterError",
    "ConnectionError: AuthenticationError AuthorizationError BusyLoadingError MaxConnectionsError",
    "ConnectionError: ExternalAuthProviderError MasterNotFoundError SlaveNotFoundError",
    "ResponseError: NoPermissionError NoScriptError OutOfMemoryError ExecAbortError ReadOnlyError TryAgainError",
    "ResponseError: AuthenticationWrongNumberOfArgsError MovedError ClusterCrossSlotError",
    "ClusterError ResponseError: ClusterDownError",
    "ClusterDownError: MasterDownError",
    "RedisError ValueError: LockError",
    "LockError: LockNotOwnedError",
    "Exception: RedisClusterException TemporaryUnavailableException",
    "RedisClusterException: SlotNotCoveredError CrossSlotTransactionError InvalidPipelineStack",
)


@pytest.fixture(params=["look-alikes", "redis"])
def redis(request: pytest.FixtureRequest) -> Any:
    """The exceptions of redis-py."""
    if request.param == "look-alikes":
        return REDIS
    sentinel = library("redis.sentinel")
    multidb = library("redis.multidb.exception")
    return SimpleNamespace(**{**vars(library("redis.exceptions")), **vars(sentinel), **vars(multidb)})


@pytest.mark.parametrize(
    ("name", "code", "retryable"),
    [
        ("TimeoutError", "TIMEOUT", True),
        ("BusyLoadingError", "NETWORK", True),
        ("MaxConnectionsError", "NETWORK", True),
        ("MasterNotFoundError", "NETWORK", True),
        ("SlaveNotFoundError", "NETWORK", True),
        ("TryAgainError", "NETWORK", True),
        ("ClusterDownError", "NETWORK", True),
        ("MasterDownError", "NETWORK", True),
        ("SlotNotCoveredError", "NETWORK", True),
        ("TemporaryUnavailableException", "NETWORK", True),
        ("WatchError", "UNKNOWN", True),
        ("AuthenticationError", "PERMISSION_DENIED", False),
        ("AuthorizationError", "PERMISSION_DENIED", False),
        ("ExternalAuthProviderError", "PERMISSION_DENIED", False),
        ("NoPermissionError", "PERMISSION_DENIED", False),
        ("OutOfMemoryError", "MEMORY_ALLOC", False),
        ("ReadOnlyError", "CONNECTION_LOST", False),
        ("ClusterError", "RETRY_EXHAUSTED", False),
        ("AuthenticationWrongNumberOfArgsError", "INVALID_PARAM", False),
        ("NoScriptError", "INVALID_PARAM", False),
        ("ExecAbortError", "INVALID_PARAM", False),
        ("ClusterCrossSlotError", "INVALID_PARAM", False),
        ("ResponseError", "INVALID_PARAM", False),
        ("PubSubError", "INVALID_PARAM", False),
        ("CrossSlotTransactionError", "INVALID_PARAM", False),
        ("InvalidPipelineStack", "INVALID_PARAM", False),
        ("LockError", "INVALID_PARAM", False),
        ("LockNotOwnedError", "UNKNOWN", False),
        ("InvalidResponse", "DATA_CORRUPTION", False),
        ("RedisClusterException", "UNKNOWN", False),
        ("RedisError", "UNKNOWN", False),
    ],
)
def test_redis_classes(redis: Any, name: str, code: str, retryable: bool) -> None:
    """Each class means what the table says; the client may have tried before, so that no effect is known."""
    assert judge(getattr(redis, name)("text")) == (code, retryable, "unknown")


def test_redis_data_error(redis: Any) -> None:
    """What the client itself refuses was not sent."""
    assert judge(redis.DataError("Invalid input of type: 'object'")) == ("INVALID_PARAM", False, "none")


@pytest.mark.parametrize(
    ("text", "code", "retryable", "rule"),
    [
        ("Error 111 connecting to h:1. Connection refused.", "NETWORK", True, "redis.connecting"),
        ("max number of clients reached", "NETWORK", True, "redis.max number of clients"),
        ("No connection available.", "NETWORK", True, "redis.pool exhausted"),
        ("Connection closed by server.", "CONNECTION_LOST", True, "redis.ConnectionError"),
        ("Error 32 while writing to socket. Broken pipe.", "CONNECTION_LOST", True, "redis.ConnectionError"),
        ("Error while reading from h:1 : (104, 'reset')", "CONNECTION_LOST", True, "redis.ConnectionError"),
        ("", "CONNECTION_LOST", True, "redis.ConnectionError"),
        ("protocol must be either 2 or 3", "INVALID_PARAM", False, "redis.misconfigured"),
        ("Invalid Database", "INVALID_PARAM", False, "redis.misconfigured"),
        ("Invalid RESP version", "INVALID_PARAM", False, "redis.misconfigured"),
        ("ocsp validation error", "PERMISSION_DENIED", False, "redis.certificate"),
    ],
)
def test_redis_connection(redis: Any, text: str, code: str, retryable: bool, rule: str) -> None:
    """One class stands for every failure of a connection: its text tells which."""
    verdict = classify(redis.ConnectionError(text))
    assert (verdict.code.name, verdict.retryable, verdict.effect) == (code, retryable, "unknown")
    assert verdict.rule == f"stores.{rule}" if rule.startswith("redis.") else rule
    assert verdict.throttled is (text == "max number of clients reached")


@pytest.mark.parametrize(
    ("cause", "code", "retryable"),
    [
        (REFUSED, "NETWORK", True),
        (NO_NAME, "INVALID_PARAM", False),
        (BAD_CERTIFICATE, "PERMISSION_DENIED", False),
    ],
)
@pytest.mark.parametrize("where", ["__cause__", "__context__"])
def test_redis_connection_says_why(redis: Any, cause: OSError, code: str, retryable: bool, where: str) -> None:
    """A connection that was not made means what the system said of it: a bad certificate stays bad."""
    error = redis.ConnectionError(f"Error {cause.errno} connecting to h:1. {cause.strerror}.")
    setattr(error, where, cause)
    assert judge(error) == (code, retryable, "unknown")


def test_redis_context_of_a_lost_connection_is_no_reason(redis: Any) -> None:
    """What was handled while a connection broke says nothing of it."""
    error = redis.ConnectionError("Connection closed by server.")
    error.__context__ = REFUSED
    assert judge(error) == ("CONNECTION_LOST", True, "unknown")


def through(error: Exception, *frames: tuple[str, str]) -> Exception:
    """Return the error after it has come up through functions of these modules and names, the outermost first."""

    def throw() -> None:
        raise error

    call: Callable[[], None] = throw
    for module, name in reversed(frames):
        scope: dict[str, Any] = {"__name__": module, "call": call}
        exec(f"def {name}(): call()", scope)
        call = scope[name]
    with pytest.raises(type(error)) as caught:
        call()
    return caught.value


ASKED = ("redis.commands.core", "incr"), ("redis.client", "execute_command")
POOL = ("redis.utils", "wrapper"), ("redis.connection", "get_connection"), ("redis.retry", "call_with_retry")
LATER = ("redis.retry", "call_with_retry"), ("redis.connection", "send_packed_command")


@pytest.mark.parametrize(
    ("frames", "effect"),
    [
        ((*ASKED, *POOL), "none"),
        ((("redis.asyncio.client", "execute_command"), ("redis.asyncio.connection", "get_connection")), "none"),
        ((*ASKED, *LATER), "unknown"),
        ((("redis.cluster", "execute_command"), *POOL), "unknown"),
        ((("redis.multidb.client", "execute_command"), *POOL), "unknown"),
        ((("application", "get_connection"),), "unknown"),
        ((), "unknown"),
    ],
)
@pytest.mark.parametrize("text", ["Error 111 connecting to h:1.", "max number of clients reached"])
def test_redis_refused_after_an_attempt_was_lost(redis: Any, frames: Any, effect: str, text: str) -> None:
    """The client sends a lost command again: "refused" is without effect only where it had not been sent at all."""
    assert judge(through(redis.ConnectionError(text), *frames)) == ("NETWORK", True, effect)


def test_redis_timeout_while_connecting(redis: Any) -> None:
    """A timeout is without effect under the same condition, and so is a server that loads its data."""
    for cls in (redis.TimeoutError, redis.BusyLoadingError):
        assert classify(through(cls("Timeout connecting to server"), *ASKED, *POOL)).effect == "none"
        assert classify(through(cls("Timeout reading from socket"), *ASKED, *LATER)).effect == "unknown"


def test_redis_frames_of_any_kind() -> None:
    """Modules may have any name; a long way up is not followed to its end, and no traceback may be anything."""
    odd = REDIS.TimeoutError("x")
    with pytest.raises(REDIS.TimeoutError) as caught:
        exec("def f(): raise error\nf()", {"__name__": 5, "error": odd})
    assert classify(caught.value).effect == "unknown"
    frames = [("application", "step")] * 400
    assert classify(through(REDIS.TimeoutError("x"), *frames, *POOL)).effect == "none"
    for _ in range(3):
        odd = through(odd, *frames)
    assert classify(odd).effect == "unknown"


@pytest.mark.parametrize(
    ("text", "code", "retryable"),
    [
        ("BUSY Redis is busy running a script. You can only call SCRIPT KILL", "NETWORK", True),
        ("NOREPLICAS Not enough good replicas to write.", "NETWORK", True),
        ("LOADING Redis is loading the dataset in memory", "NETWORK", True),
        ("CLUSTERDOWN The cluster is down", "NETWORK", True),
        ("MASTERDOWN Link with MASTER is down", "NETWORK", True),
        ("TRYAGAIN Multiple keys request during rehashing of slot", "NETWORK", True),
        ("Command # 2 (SET a b) of pipeline caused error: BUSY Redis is busy", "NETWORK", True),
        ("MISCONF Redis is configured to save RDB snapshots", "FILE_IO", False),
        ("OOM command not allowed when used memory > 'maxmemory'", "MEMORY_ALLOC", False),
        ("READONLY You can't write against a read only replica.", "CONNECTION_LOST", False),
        ("NOAUTH Authentication required.", "PERMISSION_DENIED", False),
        ("NOPERM no permissions", "PERMISSION_DENIED", False),
        ("WRONGPASS invalid username-password pair", "PERMISSION_DENIED", False),
        ("WRONGTYPE Operation against a key", "INVALID_PARAM", False),
        ("BUSYGROUP Consumer Group name already exists", "INVALID_PARAM", False),
        ("BUSYKEY Target key name already exists.", "INVALID_PARAM", False),
        (
            "Command # 1 (GET x of pipeline caused error: BUSY) of pipeline caused error: ERR",
            "INVALID_PARAM",
            False,
        ),
        ("unknown command 'BUSY'", "INVALID_PARAM", False),
        ("", "INVALID_PARAM", False),
    ],
)
def test_redis_replies(redis: Any, text: str, code: str, retryable: bool) -> None:
    """An error reply is judged by its first word, all of it: what only begins like BUSY is final."""
    assert judge(redis.ResponseError(text)) == (code, retryable, "unknown")


def test_redis_status(redis: Any) -> None:
    """The client takes some first words off the text and keeps them as the status, a text; then nothing else counts."""
    assert judge(redis.ResponseError("BUSY by the script's own words", status_code="ERR"))[1] is False
    assert classify(redis.ResponseError("text", status_code="BUSY")).rule == "stores.redis.BUSY"
    assert judge(redis.RedisError("x", status_code="503"))[1] is False


def test_redis_watch(redis: Any) -> None:
    """A transaction that a change prevented was not executed; one that the connection was lost in may have been."""
    assert judge(redis.WatchError("Watched variable changed.")) == ("UNKNOWN", True, "none")
    lost = redis.WatchError("A ConnectionError occurred while watching one or more keys")
    assert judge(lost) == ("UNKNOWN", True, "unknown")


def test_redis_lock(redis: Any) -> None:
    """A lock that somebody holds is waited for; wrong use of one is final, as is one that was lost on the way."""
    taken = redis.LockError("Unable to acquire lock within the time specified")
    assert judge(taken) == ("TIMEOUT", True, "none")
    assert judge(redis.LockError("Cannot release an unlocked lock"))[:2] == ("INVALID_PARAM", False)


def test_redis_cluster_says_why(redis: Any) -> None:
    """A cluster that cannot be reached means what its node's error means."""
    error = redis.RedisClusterException("Redis Cluster cannot be connected.")
    error.__cause__ = redis.ConnectionError("Error 111 connecting to h:1.")
    assert judge(error) == ("NETWORK", True, "unknown")


class MongoBase(Exception):
    """What errors of pymongo 4 have."""

    def __init__(self, message: str = "", code: int | None = None, details: Any = None, *, labels: Any = ()) -> None:
        super().__init__(message)
        self.code, self.details, self.labels = code, details, labels

    def has_error_label(self, label: str) -> bool:
        return label in self.labels


class MongoCause(MongoBase):
    """An error that holds another."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


MONGO = fakes(
    "pymongo.errors",
    fake("pymongo.errors.PyMongoError", MongoBase),
    "PyMongoError: ConnectionFailure ConfigurationError OperationFailure InvalidOperation InvalidName ProtocolError",
    "PyMongoError: CollectionInvalid",
    "ConnectionFailure: AutoReconnect WaitQueueTimeoutError",
    "AutoReconnect: NetworkTimeout NotPrimaryError ServerSelectionTimeoutError",
    "OperationFailure: CursorNotFound ExecutionTimeout WriteConcernError WriteError BulkWriteError",
    "OperationFailure: ClientBulkWriteException",
    "WriteConcernError: WTimeoutError",
    "WriteError: DuplicateKeyError",
    "ConfigurationError: InvalidURI",
)
MONGO.EncryptionError = fake("pymongo.errors.EncryptionError", MongoCause, MONGO.PyMongoError)


@pytest.fixture(params=["look-alikes", "pymongo"])
def pymongo(request: pytest.FixtureRequest) -> Any:
    """The exceptions of pymongo."""
    return MONGO if request.param == "look-alikes" else library("pymongo.errors")


def mongo(cls: Any, code: int | None = None, labels: tuple[str, ...] = (), **details: Any) -> Any:
    """Return an error with a server's number and labels, in the way that its class carries them."""
    whole = {"errorLabels": list(labels), **details}
    if issubclass(cls, MongoBase):
        if "Reconnect" in str(cls.__mro__) and code is not None:
            return cls("text", None, {"code": code, **whole}, labels=labels)
        return cls("text", code, whole, labels=labels)
    names = [base.__name__ for base in cls.__mro__]
    if "AutoReconnect" in names:
        return cls("text", {**whole, **({} if code is None else {"code": code})})
    if "OperationFailure" not in names:
        return cls("text", error_labels=labels)
    if "Bulk" in cls.__name__:
        return cls(whole, *((False,) if cls.__name__ == "ClientBulkWriteException" else ()))
    return cls("text", code, whole)


@pytest.mark.parametrize(
    ("name", "code", "retryable", "effect"),
    [
        ("AutoReconnect", "CONNECTION_LOST", True, "unknown"),
        ("ConnectionFailure", "CONNECTION_LOST", True, "unknown"),
        ("NetworkTimeout", "TIMEOUT", True, "unknown"),
        ("WaitQueueTimeoutError", "TIMEOUT", True, "unknown"),
        ("NotPrimaryError", "NETWORK", True, "unknown"),
        ("ServerSelectionTimeoutError", "NETWORK", True, "none"),
        ("ExecutionTimeout", "TIMEOUT", False, "unknown"),
        ("WTimeoutError", "TIMEOUT", False, "unknown"),
        ("CursorNotFound", "NOT_INITIALIZED", False, "unknown"),
        ("DuplicateKeyError", "INVALID_PARAM", False, "unknown"),
        ("BulkWriteError", "UNKNOWN", False, "unknown"),
        ("ClientBulkWriteException", "UNKNOWN", False, "unknown"),
        ("InvalidOperation", "INVALID_PARAM", False, "unknown"),
        ("ConfigurationError", "INVALID_PARAM", False, "none"),
        ("InvalidURI", "INVALID_PARAM", False, "none"),
        ("InvalidName", "INVALID_PARAM", False, "none"),
        ("CollectionInvalid", "INVALID_PARAM", False, "unknown"),
        ("ProtocolError", "DATA_CORRUPTION", False, "unknown"),
        ("OperationFailure", "UNKNOWN", False, "unknown"),
        ("PyMongoError", "UNKNOWN", False, "unknown"),
    ],
)
def test_mongo_classes(pymongo: Any, name: str, code: str, retryable: bool, effect: str) -> None:
    """Each class means what the table says where neither a label nor a number says more."""
    assert judge(mongo(getattr(pymongo, name))) == (code, retryable, effect)


@pytest.mark.parametrize(
    ("number", "code", "retryable"),
    [
        *((number, "NETWORK", True) for number in (6, 7, 134, 10058, 10107, 13435, 13436)),
        *((number, "CONNECTION_LOST", True) for number in (91, 189, 9001, 11600, 11602)),
        *((number, "TIMEOUT", True) for number in (89, 262)),
        *((number, "TIMEOUT", False) for number in (50, 64)),
        *((number, "PERMISSION_DENIED", False) for number in (11, 13, 18, 31, 33, 8000)),
        *((number, "MEMORY_ALLOC", False) for number in (39, 146)),
        *((number, "INVALID_PARAM", False) for number in (2, 9, 26, 59, 121, 11000)),
        (14031, "DISK_FULL", False),
        (43, "NOT_INITIALIZED", False),
        (112, "UNKNOWN", False),
        (251, "UNKNOWN", False),
        (503, "UNKNOWN", False),
    ],
)
def test_mongo_numbers(pymongo: Any, number: int, code: str, retryable: bool) -> None:
    """The server's number, the effect of which nobody knows: the client has tried a write again by itself."""
    assert judge(mongo(pymongo.OperationFailure, number)) == (code, retryable, "unknown")


def test_mongo_number_in_an_answer(pymongo: Any) -> None:
    """An error of the connection keeps the server's answer, with its number."""
    assert classify(mongo(pymongo.NotPrimaryError, 91)).rule == "stores.pymongo.91"


@pytest.mark.parametrize(
    ("name", "number", "label", "code", "retryable", "effect"),
    [
        ("OperationFailure", 112, "TransientTransactionError", "UNKNOWN", True, "none"),
        ("AutoReconnect", None, "TransientTransactionError", "CONNECTION_LOST", True, "none"),
        ("OperationFailure", 24, "RetryableWriteError", "UNKNOWN", True, "unknown"),
        ("OperationFailure", 50, "RetryableWriteError", "TIMEOUT", True, "unknown"),
        ("OperationFailure", 10107, "NoWritesPerformed RetryableWriteError", "NETWORK", True, "none"),
        ("NetworkTimeout", None, "RetryableWriteError", "TIMEOUT", True, "unknown"),
        ("OperationFailure", 462, "RetryableError SystemOverloadedError", "NETWORK", True, "unknown"),
        ("OperationFailure", 462, "NoWritesPerformed RetryableError SystemOverloadedError", "NETWORK", True, "none"),
        ("OperationFailure", 462, "SystemOverloadedError", "UNKNOWN", False, "unknown"),
        ("OperationFailure", 112, "NoWritesPerformed", "UNKNOWN", False, "unknown"),
        ("AutoReconnect", None, "UnknownTransactionCommitResult", "UNKNOWN", False, "unknown"),
        ("AutoReconnect", None, "RetryableWriteError UnknownTransactionCommitResult", "UNKNOWN", False, "unknown"),
        ("PyMongoError", None, "TransientTransactionError", "UNKNOWN", True, "none"),
    ],
)
def test_mongo_labels(
    pymongo: Any, name: str, number: int | None, label: str, code: str, retryable: bool, effect: str
) -> None:
    """Labels come before numbers; a commit whose result is lost is not done again."""
    assert judge(mongo(getattr(pymongo, name), number, tuple(label.split()))) == (code, retryable, effect)


@pytest.mark.parametrize(("base", "hint"), [(250, 0.25), (10**12, 31_536_000.0), (-1, None), ("x", None), (None, None)])
def test_mongo_overloaded(pymongo: Any, base: Any, hint: float | None) -> None:
    """A server that asks for less load says how long to wait, in milliseconds."""
    labels = ("RetryableError", "SystemOverloadedError")
    verdict = classify(mongo(pymongo.OperationFailure, 462, labels, baseBackoffMS=base))
    assert (verdict.retryable, verdict.throttled, verdict.retry_after) == (True, True, hint)


def test_mongo_connection_says_why(pymongo: Any) -> None:
    """A bad certificate is final, whether it is the cause or stands in a text; a refusal may follow a lost attempt."""
    for cause, expected in (
        (REFUSED, ("CONNECTION_LOST", True, "unknown")),
        (BAD_CERTIFICATE, ("PERMISSION_DENIED", False, "unknown")),
        (mongo(pymongo.OperationFailure, 13), ("CONNECTION_LOST", True, "unknown")),
    ):
        error = mongo(pymongo.AutoReconnect)
        error.__cause__ = cause
        assert judge(error) == expected
    text = "h:1: SSL handshake failed: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"
    assert judge(pymongo.ServerSelectionTimeoutError(text))[:2] == ("PERMISSION_DENIED", False)


def test_mongo_closed(pymongo: Any) -> None:
    """On a client that was closed every call fails the same way."""
    closed = pymongo.InvalidOperation("Cannot use MongoClient after close")
    assert judge(closed) == ("NOT_INITIALIZED", False, "none")


def test_mongo_encryption(pymongo: Any) -> None:
    """An error of the encryption means what its cause means."""
    assert judge(pymongo.EncryptionError(mongo(pymongo.NetworkTimeout)))[:2] == ("TIMEOUT", True)
    assert judge(pymongo.EncryptionError(RuntimeError("x")))[1] is False


def test_mongo_labels_of_any_kind() -> None:
    """A method that raises, answers nonsense or is none, has no labels; details may be anything, too."""
    for method in (lambda label: 1 / 0, lambda label: "yes", "text", None):
        error = MONGO.OperationFailure("x", 10107, ["no details"])
        error.has_error_label = method
        assert classify(error).rule == "stores.pymongo.10107"
    odd = MONGO.OperationFailure("x", "10107", 5, labels=("RetryableError", "SystemOverloadedError"))
    assert judge(odd) == ("NETWORK", True, "unknown")


@pytest.mark.parametrize(
    ("module", "name", "code"),
    [
        ("bson.errors", "InvalidBSON", "DATA_CORRUPTION"),
        ("bson.errors", "InvalidDocument", "INVALID_PARAM"),
        ("gridfs.errors", "CorruptGridFile", "DATA_CORRUPTION"),
        ("gridfs.errors", "NoFile", "INVALID_PARAM"),
        ("gridfs.errors", "FileExists", "INVALID_PARAM"),
    ],
)
@pytest.mark.parametrize("real", [False, True], ids=["look-alikes", "pymongo"])
def test_mongo_documents_and_files(module: str, name: str, code: str, real: bool) -> None:
    """What documents and files are wrong with stays wrong."""
    base = MONGO.PyMongoError if module.startswith("gridfs") else fake("bson.errors.BSONError")
    cls = getattr(library(module), name) if real else fake(f"{module}.{name}", base)
    assert judge(cls("text"))[:2] == (code, False)


class ElasticBase(Exception):
    """What errors of elastic_transport 9 have."""

    def __init__(self, message: str, meta: Any = None, body: Any = None, errors: tuple[Any, ...] = ()) -> None:
        super().__init__(message)
        self.meta, self.body, self.errors = meta, body, errors


class ElasticTransportBase(Exception):
    """What errors of elastic_transport's own have."""

    def __init__(self, message: str, errors: tuple[Any, ...] = ()) -> None:
        super().__init__(message)
        self.errors = errors


ELASTIC = fakes(
    "elastic_transport._exceptions",
    fake("elastic_transport._exceptions.TransportError", ElasticTransportBase),
    "TransportError: ConnectionError ConnectionTimeout SerializationError SniffingError",
    "ConnectionError: TlsError",
)
ELASTIC.ApiError = fake("elastic_transport._exceptions.ApiError", ElasticBase)


@pytest.fixture(params=["look-alikes", "elastic_transport"])
def elastic(request: pytest.FixtureRequest) -> Any:
    """The exceptions of elastic_transport."""
    return ELASTIC if request.param == "look-alikes" else library("elastic_transport")


@pytest.mark.parametrize(
    ("name", "code", "retryable"),
    [
        ("ConnectionError", "NETWORK", True),
        ("ConnectionTimeout", "TIMEOUT", True),
        ("SniffingError", "NETWORK", True),
        ("TlsError", "INVALID_PARAM", False),
        ("SerializationError", "DATA_CORRUPTION", False),
        ("TransportError", "UNKNOWN", False),
    ],
)
def test_elastic_classes(elastic: Any, name: str, code: str, retryable: bool) -> None:
    """Each class means what the table says where no attempt says more."""
    assert judge(getattr(elastic, name)("text")) == (code, retryable, "unknown")


REFUSED_BEFORE = ELASTIC.ConnectionError("x")
REFUSED_BEFORE.__cause__ = REFUSED


@pytest.mark.parametrize(
    ("name", "cause", "earlier", "code", "retryable", "effect"),
    [
        ("ConnectionError", REFUSED, (), "NETWORK", True, "none"),
        ("ConnectionError", REFUSED, (REFUSED_BEFORE,), "NETWORK", True, "none"),
        ("ConnectionError", REFUSED, (REFUSED_BEFORE, ELASTIC.ConnectionTimeout("x")), "NETWORK", True, "unknown"),
        ("ConnectionError", REFUSED, (RuntimeError("x"),), "NETWORK", True, "unknown"),
        ("ConnectionError", REFUSED, (REFUSED_BEFORE,) * 101, "NETWORK", True, "unknown"),
        ("ConnectionError", REFUSED, "text", "NETWORK", True, "none"),
        ("ConnectionError", ConnectionResetError(104, "reset"), (), "CONNECTION_LOST", True, "unknown"),
        ("ConnectionError", RuntimeError("x"), (), "NETWORK", True, "unknown"),
        ("TlsError", BAD_CERTIFICATE, (), "PERMISSION_DENIED", False, "none"),
    ],
)
@pytest.mark.parametrize("where", ["__cause__", "__context__"])
def test_elastic_attempts(
    elastic: Any, name: str, cause: Exception, earlier: Any, code: str, retryable: bool, effect: str, where: str
) -> None:
    """The transport tries again by itself: the last attempt's cause counts, and an effect of any before it."""
    error = getattr(elastic, name)("text")
    error.errors = earlier
    setattr(error, where, cause)
    assert judge(error) == (code, retryable, effect)


def api_error(elastic: Any, status: int, headers: Any = None) -> Any:
    """Return the error that an answer of this status is."""
    return elastic.ApiError("text", SimpleNamespace(status=status, headers=headers or {}), {})


@pytest.mark.parametrize(
    ("status", "code", "retryable"),
    [
        (429, "NETWORK", True),
        (503, "NETWORK", True),
        (504, "TIMEOUT", True),
        (409, "UNKNOWN", False),
        (401, "PERMISSION_DENIED", False),
        (404, "INVALID_PARAM", False),
        (500, "UNKNOWN", False),
    ],
)
def test_elastic_status(elastic: Any, status: int, code: str, retryable: bool) -> None:
    """An answer means what its status means; the transport does not tell of those before it."""
    verdict = classify(api_error(elastic, status))
    assert (verdict.code.name, verdict.retryable, verdict.rule) == (code, retryable, f"http.{status}")
    assert verdict.effect == "unknown" or not verdict.retryable


def test_elastic_hint(elastic: Any) -> None:
    """The server's hint stands in the headers of the answer."""
    assert classify(api_error(elastic, 429, {"Retry-After": "7"})).retry_after == 7.0
    assert classify(elastic.ApiError("text", None, {})).rule == "unknown"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("exceptions.UnsupportedProductError", "INVALID_PARAM"),
        ("exceptions.ImproperlyConfigured", "INVALID_PARAM"),
        ("helpers.errors.BulkIndexError", "UNKNOWN"),
        ("helpers.errors.ScanError", "UNKNOWN"),
    ],
)
def test_elasticsearch_itself(name: str, code: str) -> None:
    """What the client refuses, and bulk requests that were done in part, are final."""
    assert judge(fake(f"elasticsearch.{name}")("text"))[:2] == (code, False)


def test_elasticsearch_of_a_real_client() -> None:
    """The real classes of elasticsearch, which inherit from the transport's."""
    client = library("elasticsearch")
    meta = SimpleNamespace(status=409, headers={})
    assert classify(client.ConflictError("text", meta, {})).rule == "http.409"
    assert judge(client.UnsupportedProductError("text", meta, {}))[:2] == ("INVALID_PARAM", False)


def test_elasticsearch_before_version_8() -> None:
    """The old client keeps the status, or a word, in its arguments, with the cause behind."""
    base = fake("elasticsearch.exceptions.TransportError")
    answered = base(503, "busy", {})
    answered.status_code = 503
    assert judge(answered) == ("NETWORK", True, "unknown")
    lost = fake("elasticsearch.exceptions.ConnectionError", base)("N/A", "text", REFUSED)
    lost.status_code = "N/A"
    assert judge(lost) == ("NETWORK", True, "none")
    slow = fake("elasticsearch.exceptions.ConnectionTimeout", type(lost))("TIMEOUT", "text", RuntimeError("x"))
    assert judge(slow) == ("TIMEOUT", True, "unknown")
    assert judge(fake("elasticsearch.exceptions.SSLError", type(lost))("N/A", "text", BAD_CERTIFICATE))[1] is False
    bare = fake("elasticsearch.exceptions.ConnectionError")()
    bare.args = ()
    assert judge(bare)[:2] == ("NETWORK", True)


@pytest.mark.parametrize("args", [(), (5,), (None, "x")])
@pytest.mark.parametrize("cls", [REDIS.ConnectionError, REDIS.ResponseError, REDIS.WatchError, MONGO.AutoReconnect])
def test_arguments_of_any_kind(cls: Any, args: tuple[Any, ...]) -> None:
    """Arguments that are no text say nothing."""
    error = cls("x")
    error.args = args
    assert classify(error).rule.startswith("stores.")


@pytest.mark.parametrize(
    "error",
    [
        REDIS.AuthenticationError("invalid username-password pair or user is disabled.", status_code="WRONGPASS"),
        REDIS.ConnectionError("protocol must be either 2 or 3"),
        REDIS.ResponseError("BUSYGROUP Consumer Group name already exists"),
        REDIS.ResponseError("Command # 1 (SET k BUSY) of pipeline caused error: OOM command not allowed"),
        REDIS.LockNotOwnedError("Cannot release a lock that's no longer owned"),
        REDIS.ClusterError("TTL exhausted."),
        mongo(MONGO.AutoReconnect, None, ("UnknownTransactionCommitResult", "RetryableWriteError")),
        mongo(MONGO.WTimeoutError, 64),
        mongo(MONGO.BulkWriteError, 65),
        mongo(MONGO.OperationFailure, 503),
        api_error(ELASTIC, 409),
    ],
    ids=lambda error: f"{type(error).__name__} {error}",
)
def test_what_looks_transient_and_is_not_safe(error: Exception) -> None:
    """None of these is retried."""
    assert not classify(error).retryable
