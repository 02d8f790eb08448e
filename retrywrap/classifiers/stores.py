"""What the errors of the data stores' clients mean: redis, pymongo (with bson and gridfs), elasticsearch.

All three clients try a request again by themselves. Their last error may say "refused" after an earlier attempt lost
its reply, so that an effect is "none" only where something shows that there was no earlier attempt, or it had none.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any

from retrywrap.classifiers.guard import exact_int, read
from retrywrap.classifiers.http import by_attributes, by_status, parse_retry_after
from retrywrap.classifiers.rows import (
    Codes,
    Entry,
    Judge,
    Look,
    Through,
    again,
    by_code,
    combine,
    error_context,
    follows_context,
    inside,
    never,
    table,
)
from retrywrap.classifiers.verdict import Effect, Verdict
from retrywrap.codes import ErrorCode

__all__ = ["CODES", "TABLE"]

_MOST_FRAMES = 1000
_MOST_EARLIER = 100
_LONGEST_TEXT = 10_000

_LOST = again(ErrorCode.CONNECTION_LOST)
_UNREACHED = again(ErrorCode.NETWORK)
_TIMEOUT = again(ErrorCode.TIMEOUT)
_CONFLICT = again(ErrorCode.UNKNOWN)
_INVALID = never(ErrorCode.INVALID_PARAM)
_REFUSED = never(ErrorCode.INVALID_PARAM, "none")
_DENIED = never(ErrorCode.PERMISSION_DENIED)
_CORRUPT = never(ErrorCode.DATA_CORRUPTION)
_PARTLY = never(ErrorCode.UNKNOWN)


def _text(error: object) -> str:
    """Return an error's first argument, where it is a text."""
    args = read(error, "args")
    return args[0][:_LONGEST_TEXT] if type(args) is tuple and args and type(args[0]) is str else ""


def _with_effect(verdict: Verdict, effect: Effect) -> Verdict:
    return verdict if verdict.effect == effect else verdict._replace(effect=effect)


# --- redis: redis-py's exceptions.py, connection.py, client.py and _parsers/base.py ---

_POOLS = frozenset({"redis.connection", "redis.asyncio.connection"})
# What may stand between the caller and the pool without having tried anything before.
_CALLERS = _POOLS | {"redis.client", "redis.asyncio.client", "redis.utils"}


def _unsent(error: BaseException) -> bool:
    """Return whether the client was still taking a connection from its pool, where it has not sent the request yet.

    Later it connects again after a lost reply, with the same error when that is refused; only the way there differs.
    """
    step = read(error, "__traceback__")
    for _ in range(_MOST_FRAMES):
        if type(step) is not TracebackType:
            break
        module = dict.get(step.tb_frame.f_globals, "__name__")
        name = module if type(module) is str else ""
        if name in _POOLS and step.tb_frame.f_code.co_name == "get_connection":
            return True
        if name.partition(".")[0] == "redis" and name not in _CALLERS and not name.startswith("redis.commands."):
            break  # the clients of clusters and of several databases send a request to one server after another
        step = step.tb_next
    return False


def _unless_unsent(verdict: Verdict) -> Judge:
    """Return a judge that gives the verdict, without effect where the request was not sent."""
    unsent = verdict._replace(effect="none")

    def judge(error: Any) -> Verdict:
        return unsent if _unsent(error) else verdict

    judge.__doc__ = f"{verdict.code.name}, retried; without effect where the request was not sent."
    return judge


_NOT_CONNECTED = again(ErrorCode.NETWORK, rule="stores.redis.connecting")
_DROPPED = again(ErrorCode.CONNECTION_LOST, rule="stores.redis.ConnectionError")
_CONNECTIONS: tuple[tuple[str, Verdict], ...] = (
    (
        "max number of clients reached",
        again(ErrorCode.NETWORK, rule="stores.redis.max number of clients", throttled=True),
    ),
    ("No connection available", again(ErrorCode.NETWORK, rule="stores.redis.pool exhausted")),
    ("protocol must be ", never(ErrorCode.INVALID_PARAM, rule="stores.redis.misconfigured")),
    ("Invalid RESP version", never(ErrorCode.INVALID_PARAM, rule="stores.redis.misconfigured")),
    ("Invalid Database", never(ErrorCode.INVALID_PARAM, rule="stores.redis.misconfigured")),
    ("ocsp validation error", never(ErrorCode.PERMISSION_DENIED, rule="stores.redis.certificate")),
)


def _by_redis_connection(error: Any, look: Look) -> Verdict:
    """Judge a connection that was not made, or lost: by what the system said of it, else by the text."""
    text = _text(error)
    if text.startswith("Error") and " connecting to " in text:
        cause = look(read(error, "__cause__"), "__cause__") or look(error_context(error), "__context__")
        verdict = cause or _NOT_CONNECTED
    else:
        verdict = next((verdict for start, verdict in _CONNECTIONS if text.startswith(start)), _DROPPED)
    return _with_effect(verdict, "none" if _unsent(error) else "unknown")


_REPLIES: Mapping[str, Verdict] = by_code(
    "stores.redis",
    (_UNREACHED, ("BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "NOREPLICAS", "TRYAGAIN")),
    # The server refuses writes because it could not save the data: somebody has to look at its disk.
    (never(ErrorCode.FILE_IO), ("MISCONF",)),
    (never(ErrorCode.MEMORY_ALLOC), ("OOM",)),
    # The connection leads to a replica, and so does each later command on it.
    (never(ErrorCode.CONNECTION_LOST), ("READONLY",)),
    (_DENIED, ("NOAUTH", "NOPERM", "WRONGPASS")),
)

_WRONG = never(ErrorCode.INVALID_PARAM, rule="stores.redis.ResponseError")


def _by_reply(error: Any) -> Verdict:
    """Judge an error reply by its first word, which the client keeps in a text, or takes off it as its status."""
    word = read(error, "status_code")
    if type(word) is not str:
        # A pipeline puts the command, which may hold anything, before the reply.
        word = _text(error).rpartition(" of pipeline caused error: ")[2].partition(" ")[0]
    return _REPLIES.get(word, _WRONG)


def _by_watch(error: Any) -> Verdict:
    """Tell a transaction that was not executed from one that the connection was lost in."""
    changed = _text(error) == "Watched variable changed."
    return _with_effect(_CONFLICT, "none" if changed else "unknown")


def _by_lock(error: Any) -> Verdict:
    """Tell a lock that somebody else holds from one that was used wrongly."""
    taken = _text(error).startswith("Unable to acquire lock")
    return again(ErrorCode.TIMEOUT, "none") if taken else _INVALID


_REDIS: Mapping[str, Entry] = {
    "redis.AuthenticationError": _DENIED,
    "redis.AuthorizationError": _DENIED,
    "redis.ExternalAuthProviderError": _DENIED,
    "redis.NoPermissionError": _DENIED,
    "redis.AuthenticationWrongNumberOfArgsError": _INVALID,
    **{
        f"redis.{name}": _unless_unsent(verdict._replace(rule=f"stores.redis.{name}"))
        for name, verdict in (
            ("BusyLoadingError", _UNREACHED),
            ("MaxConnectionsError", _UNREACHED),
            ("MasterNotFoundError", _UNREACHED),
            ("SlaveNotFoundError", _UNREACHED),
            ("TimeoutError", _TIMEOUT),
        )
    },
    "redis.ConnectionError": Through(_by_redis_connection),
    "redis.TryAgainError": _UNREACHED,
    "redis.ClusterDownError": _UNREACHED,
    "redis.MasterDownError": _UNREACHED,
    "redis.SlotNotCoveredError": _UNREACHED,
    "redis.TemporaryUnavailableException": _UNREACHED,
    # The cluster's client has followed redirections in vain.
    "redis.ClusterError": never(ErrorCode.RETRY_EXHAUSTED),
    "redis.OutOfMemoryError": never(ErrorCode.MEMORY_ALLOC),
    "redis.ReadOnlyError": never(ErrorCode.CONNECTION_LOST),
    "redis.WatchError": _by_watch,
    "redis.ResponseError": _by_reply,
    "redis.InvalidResponse": _CORRUPT,
    "redis.DataError": _REFUSED,
    "redis.PubSubError": _INVALID,
    # What the lock protected has run, and the lock was gone before its end.
    "redis.LockNotOwnedError": never(ErrorCode.UNKNOWN),
    "redis.LockError": _by_lock,
    "redis.CrossSlotTransactionError": _INVALID,
    "redis.InvalidPipelineStack": _INVALID,
}

# --- MongoDB: pymongo's errors.py and helpers_shared.py, the server's error_codes.yml, and the specifications of
# transactions, retryable writes and client backpressure ---

_LABEL = "stores.pymongo."
_COMMIT_UNKNOWN = never(ErrorCode.UNKNOWN, rule=f"{_LABEL}UnknownTransactionCommitResult")
_OVERLOADED = again(ErrorCode.NETWORK, rule=f"{_LABEL}SystemOverloadedError", throttled=True)

_MONGO_CODES: Mapping[int, Verdict] = by_code(
    "stores.pymongo",
    (_UNREACHED, (6, 7, 134, 10058, 10107, 13435, 13436)),
    (_LOST, (91, 189, 9001, 11600, 11602)),
    (_TIMEOUT, (89, 262)),
    # 50: a limit that the request itself set. 64: written, and not yet replicated.
    (never(ErrorCode.TIMEOUT), (50, 64)),
    (_DENIED, (11, 13, 18, 31, 33, 8000)),
    (never(ErrorCode.DISK_FULL), (14031,)),
    (never(ErrorCode.MEMORY_ALLOC), (39, 146)),
    (_INVALID, (2, 4, 9, 14, 20, 22, 26, 48, 52, 59, 66, 72, 73, 79, 100, 121, 10334, 11000, 11001)),
    # The cursor is gone, and the results with it that were read: only the whole query can be asked again.
    (never(ErrorCode.NOT_INITIALIZED), (43,)),
)


def _labelled(error: object, label: str) -> bool:
    ask = read(error, "has_error_label")
    try:
        return ask is not None and ask(label) is True
    except Exception:  # it is a method, and may be anybody's
        return False


def _by_label(error: object, verdict: Verdict | None) -> Verdict | None:
    """Return what the server's labels make of a verdict by number or class: they come before it."""
    if _labelled(error, "UnknownTransactionCommitResult"):
        return _COMMIT_UNKNOWN
    if _labelled(error, "TransientTransactionError"):
        # It speaks of the whole transaction, which is not committed.
        return (verdict or _CONFLICT)._replace(retryable=True, effect="none", rule=f"{_LABEL}TransientTransactionError")
    if _labelled(error, "SystemOverloadedError") and _labelled(error, "RetryableError"):
        details = read(error, "details")
        base = dict.get(details, "baseBackoffMS") if type(details) is dict else None
        found = _OVERLOADED._replace(retry_after=parse_retry_after({"retry-after-ms": base}))
    elif _labelled(error, "RetryableWriteError"):
        found = (verdict or _CONFLICT)._replace(retryable=True, rule=f"{_LABEL}RetryableWriteError")
    else:
        return verdict
    return _with_effect(found, "none") if _labelled(error, "NoWritesPerformed") else found


def _by_code(error: object) -> Verdict | None:
    """Judge by the server's number, which an error of the connection has only in the answer that it keeps."""
    number = exact_int(read(error, "code"))
    details = read(error, "details")
    if number is None and type(details) is dict:
        number = exact_int(dict.get(details, "code"))
    return None if number is None else _MONGO_CODES.get(number)


def _mongo(default: Verdict | None) -> Judge:
    """Return a judge that goes by the labels, the server's number, and the class, in this order."""

    def judge(error: Any) -> Verdict | None:
        return _by_label(error, _by_code(error) or default)

    otherwise = "" if default is None else f", otherwise {default.code.name}"
    judge.__doc__ = f"What the server's labels and its number say{otherwise}."
    return judge


def _mongo_connection(default: Verdict) -> Through:
    """Return the same for errors of the connection, which a wrong certificate raises too."""
    judge = _mongo(default)

    def through(error: Any, look: Look) -> Verdict | None:
        cause = read(error, "__cause__")
        found = look(cause, "__cause__") if issubclass(type(cause), OSError) else None
        if found is not None and not found.retryable:
            return _with_effect(found, "unknown")
        if "CERTIFICATE_VERIFY_FAILED" in _text(error):
            return _DENIED._replace(rule="stores.pymongo.certificate")
        return judge(error)

    through.__doc__ = judge.__doc__
    return Through(through)


def _by_mongo_use(error: Any) -> Verdict:
    """Tell a client that was closed, on which every call fails the same way, from another misuse."""
    closed = _text(error).startswith(("Cannot use MongoClient after close", "Cannot use closed "))
    return never(ErrorCode.NOT_INITIALIZED, "none") if closed else _INVALID


_MONGO_CONNECTIONS: Mapping[str, Verdict] = {
    "ConnectionFailure": _LOST,
    # pymongo raises the first attempt's error where no server could be chosen for a second.
    "ServerSelectionTimeoutError": again(ErrorCode.NETWORK, "none"),
    "NetworkTimeout": _TIMEOUT,
    "WaitQueueTimeoutError": _TIMEOUT,
    "NotPrimaryError": _UNREACHED,
}
_MONGO_ANSWERS: Mapping[str, Verdict] = {
    "ExecutionTimeout": never(ErrorCode.TIMEOUT),
    "WTimeoutError": never(ErrorCode.TIMEOUT),
    "CursorNotFound": never(ErrorCode.NOT_INITIALIZED),
    "DuplicateKeyError": _INVALID,
    "BulkWriteError": _PARTLY,
    "ClientBulkWriteException": _PARTLY,
}
_MONGO: Mapping[str, Entry] = {
    "pymongo.PyMongoError": _mongo(None),
    **{
        f"pymongo.{name}": make(verdict._replace(rule=f"stores.pymongo.{name}"))
        for make, verdicts in ((_mongo_connection, _MONGO_CONNECTIONS), (_mongo, _MONGO_ANSWERS))
        for name, verdict in verdicts.items()
    },
    "pymongo.InvalidOperation": _by_mongo_use,
    "pymongo.ConfigurationError": _REFUSED,
    "pymongo.InvalidName": _REFUSED,
    "pymongo.CollectionInvalid": _INVALID,
    "pymongo.ProtocolError": _CORRUPT,
    "pymongo.EncryptionError": inside("cause"),
    "bson.InvalidBSON": _CORRUPT,
    "bson.BSONError": _INVALID,
    "gridfs.CorruptGridFile": _CORRUPT,
    "gridfs.NoFile": _INVALID,
    "gridfs.FileExists": _INVALID,
}

# --- Elasticsearch: elastic_transport's _exceptions.py and _transport.py, elasticsearch's exceptions.py; before its
# version 8 the status, or a word where there is none, stands in the arguments, with the cause after it ---


def _causes(error: Any) -> list[object]:
    """Return what may be the cause: one of the transports that there are raises its error "from None"."""
    args = read(error, "args")
    context = read(error, "__context__")
    network = issubclass(type(context), OSError) or follows_context(type(context))
    return [read(error, "__cause__"), context if network else None, *(args[2:3] if type(args) is tuple else ())]


def _tried(default: Verdict) -> Through:
    """Return an entry for what every attempt of the transport came to: the last one's cause, and the ones before it."""

    def through(error: Any, look: Look) -> Verdict:
        earlier = read(error, "errors")
        found = (look(cause, "__cause__") for cause in _causes(error))
        last = next((verdict for verdict in found if verdict is not None), default)
        if type(earlier) is not tuple or not earlier:
            return last
        if len(earlier) > _MOST_EARLIER:
            return _with_effect(last, "unknown")
        every = combine([last, *(look(other, "errors") or default for other in earlier)])
        return _with_effect(last, every.effect)

    through.__doc__ = f"What the attempts came to, otherwise {default.code.name}."
    return Through(through)


def _by_elastic_status(error: Any) -> Verdict | None:
    """Judge an answer; one before it, which the transport keeps to itself, may have had an effect."""
    meta = read(error, "meta")
    verdict = by_status(read(meta, "status"), read(meta, "headers")) or by_attributes(error)
    return _with_effect(verdict, "unknown") if verdict is not None and verdict.retryable else verdict


_ATTEMPTS: Mapping[str, Entry] = {
    "ConnectionError": _tried(_UNREACHED),
    "ConnectionTimeout": _tried(_TIMEOUT),
    "SerializationError": _CORRUPT,
}
_ELASTIC: Mapping[str, Entry] = {
    **{f"{root}.{name}": entry for root in ("elastic_transport", "elasticsearch") for name, entry in _ATTEMPTS.items()},
    "elastic_transport.ApiError": _by_elastic_status,
    "elastic_transport.TlsError": _tried(_INVALID),
    "elastic_transport.SniffingError": _UNREACHED,
    "elasticsearch.TransportError": _by_elastic_status,
    "elasticsearch.SSLError": _tried(_INVALID),
    "elasticsearch.ImproperlyConfigured": _REFUSED,
    "elasticsearch.UnsupportedProductError": _INVALID,
    "elasticsearch.BulkIndexError": _PARTLY,
    "elasticsearch.ScanError": never(ErrorCode.UNKNOWN),
}

TABLE = table(_REDIS, _MONGO, _ELASTIC, prefix="stores.")
"""Rows of the classes of the data stores' clients."""

CODES = (
    Codes("redis", "first word of a reply", _REPLIES),
    Codes("redis", "beginning of a connection error's text", {f'"{start}"': v for start, v in _CONNECTIONS}),
    Codes("pymongo", "number", _MONGO_CODES),
)
