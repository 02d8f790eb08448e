"""What a gRPC call left behind: its status, and when the server wants to be asked again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from retrywrap.classifiers.guard import call, exact_int, read, type_name
from retrywrap.classifiers.http import _LONGEST_HINT

__all__ = ["NEVER_AGAIN", "retry_delay", "server_hint", "status_name"]

NEVER_AGAIN = -1.0
"""The hint of a server that does not want to be asked again."""

_MOST_TRAILERS = 1000
_MOST_DETAILS = 100
_LONGEST_DETAILS = 16_384  # bytes: more than gRPC lets through as metadata
_LONGEST_NUMBER = 20
_MILLISECONDS = re.compile(r"[0-9]{1,18}")
_SECONDS = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?)s")
_RETRY_INFO = "google.rpc.RetryInfo"


def status_name(code: object) -> str:
    """Return the name of a `grpc.StatusCode`; "" for what is none."""
    name = read(code, "name")
    return name if type(name) is str else ""


def server_hint(answered: object) -> float | None:
    """Return how many seconds a server asks to wait, by the metadata that came with its answer.

    ``grpc-retry-pushback-ms`` counts first, where anything but a number of milliseconds means `NEVER_AGAIN` (gRFC A6,
    "Pushback"); then a ``google.rpc.RetryInfo`` within ``grpc-status-details-bin``.

    Args:
        answered: A call, or the error that it raised.
    """
    try:
        trailers = _trailers(call(answered, "trailing_metadata"))
    except Exception:  # the metadata may be anything
        return None
    pushback = trailers.get("grpc-retry-pushback-ms")
    if pushback is not None:
        text = pushback.decode("latin-1") if type(pushback) is bytes else pushback
        known = type(text) is str and _MILLISECONDS.fullmatch(text)
        return min(float(text) / 1000, _LONGEST_HINT) if known else NEVER_AGAIN
    details = trailers.get("grpc-status-details-bin")
    return _from_status(details) if type(details) is bytes and len(details) <= _LONGEST_DETAILS else None


def _trailers(metadata: Iterable[Any] | None) -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    for name, value in islice(metadata or (), _MOST_TRAILERS):
        if type(name) is str:
            found.setdefault(name, value)
    return found


def _from_status(status: bytes) -> float | None:
    """Return the delay within a serialized ``google.rpc.Status``.

    Source: google/rpc/status.proto, google/rpc/error_details.proto.
    """
    wanted = _RETRY_INFO.encode()
    if wanted not in status:
        return None
    try:
        for detail in _blobs(status, 3):
            if any(url.endswith(wanted) for url in _blobs(detail, 1)):
                duration = next(_blobs(next(_blobs(detail, 2)), 1))
                parts = {number: value for number, value in _fields(duration) if type(value) is int}
                return _seconds(parts.get(1, 0), parts.get(2, 0))
    except (IndexError, StopIteration):  # it breaks off, or has no delay
        pass
    return None


def _blobs(message: bytes, wanted: int) -> Iterator[bytes]:
    return (value for number, value in _fields(message) if number == wanted and type(value) is bytes)


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and value of each field. Source: Protocol Buffers, "Encoding"."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield key >> 3, value
            continue
        size = {1: 8, 5: 4}.get(kind)
        if size is None:
            if kind != 2:
                return
            size, at = _varint(message, at)
        yield key >> 3, message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise IndexError(at)


def retry_delay(details: object) -> float | None:
    """Return how many seconds a server asks to wait, by the details of its error: messages, or what JSON had for them.

    Args:
        details: A list; what is no ``google.rpc.RetryInfo`` in it says nothing.
    """
    if type(details) not in (list, tuple):
        return None
    for detail in islice(details, _MOST_DETAILS):  # type: ignore[call-overload]  # the line above says what it is
        if type(detail) is dict:
            kind, delay = detail.get("@type"), detail.get("retryDelay")
            match = _SECONDS.fullmatch(delay[: _LONGEST_NUMBER * 2]) if type(delay) is str else None
            if match and type(kind) is str and kind.endswith(_RETRY_INFO):
                return min(float(match[1]), _LONGEST_HINT)
        elif type_name(type(detail)) == "RetryInfo":
            delay = read(detail, "retry_delay")
            return _seconds(read(delay, "seconds"), read(delay, "nanos"))
    return None


def _seconds(seconds: object, nanos: object) -> float | None:
    whole, part = exact_int(seconds), exact_int(nanos)
    if whole is None or part is None or not 0 <= part < 10**9 or not 0 <= whole < 2**63:
        return None
    return min(whole + part / 1e9, _LONGEST_HINT)
