"""What the errors of the HTTP client libraries mean: requests, urllib3, httpx, httpcore, aiohttp.

httpx2 and httpcore2 have the names of httpx and httpcore; openai and anthropic use them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from retrywrap.classifiers.guard import key_of, lineage, read
from retrywrap.classifiers.http import BY_STATUS, by_attributes, by_proxy_status
from retrywrap.classifiers.rows import Codes, Entry, Through, again, inside, never, table
from retrywrap.classifiers.tries import tried, unless_sent_before
from retrywrap.classifiers.verdict import Verdict
from retrywrap.codes import ErrorCode

__all__ = ["CODES", "TABLE"]

_LOST = again(ErrorCode.CONNECTION_LOST)
_UNREACHED = again(ErrorCode.NETWORK, "none")
_TIMEOUT = again(ErrorCode.TIMEOUT)
_NOT_SENT = again(ErrorCode.TIMEOUT, "none")
_INVALID = never(ErrorCode.INVALID_PARAM)
_REFUSED = never(ErrorCode.INVALID_PARAM, "none")
_CORRUPT = never(ErrorCode.DATA_CORRUPTION)
# The client has tried again by itself, in vain.
_WORN_OUT = never(ErrorCode.RETRY_EXHAUSTED)

# A connection that failed says why: refused, no such name, a bad certificate. httpcore says it in its arguments, and
# raises "from None".
_CONNECT = inside("args", "__cause__", "__context__", default=_UNREACHED)


def _by_aiohttp_status(error: Any) -> Verdict | None:
    """Judge an answer; one that is no HTTP comes as status 400 too, with a cause that no server's word has."""
    cause = read(error, "__cause__")
    if any(key_of(base)[1] == "aiohttp.HttpProcessingError" for base in lineage(type(cause))):
        return never(ErrorCode.DATA_CORRUPTION, rule="aiohttp.unparsable")
    return by_attributes(error)


def _by_tunnel(error: Any) -> Verdict:
    """What the status says of a proxy that made no tunnel, otherwise NETWORK; the server got no request."""
    args = read(error, "args")
    text = args[0] if type(args) is tuple and args else None
    if type(text) is str and text.startswith("Invalid username/password"):  # a SOCKS proxy has no status
        return never(ErrorCode.PERMISSION_DENIED, "none", rule="socks.password")
    return by_proxy_status(text) or _UNREACHED


def _by_aiohttp_tunnel(error: Any) -> Verdict | None:
    """What the status says of a proxy that made no tunnel; the server got no request."""
    verdict = _by_aiohttp_status(error)
    return None if verdict is None else verdict._replace(effect="none")


_REQUESTS: Mapping[str, Entry] = {
    "requests.HTTPError": by_attributes,
    "requests.ConnectTimeout": inside("args", default=_NOT_SENT),
    "requests.Timeout": _TIMEOUT,
    "requests.SSLError": inside("args", "__cause__", "__context__", default=_INVALID),
    "requests.ConnectionError": inside("args", "__cause__", "__context__", default=again(ErrorCode.NETWORK)),
    "requests.ChunkedEncodingError": _LOST,
    "requests.ContentDecodingError": _CORRUPT,
    "requests.RetryError": _WORN_OUT,
    "requests.TooManyRedirects": _INVALID,
    "requests.UnrewindableBodyError": _INVALID,
}
_URLLIB3: Mapping[str, Entry] = {
    "urllib3.NewConnectionError": _CONNECT,
    "urllib3.ConnectTimeoutError": _NOT_SENT,
    "urllib3.EmptyPoolError": _NOT_SENT,
    "urllib3.TimeoutError": _TIMEOUT,
    "urllib3.ClosedPoolError": never(ErrorCode.NOT_INITIALIZED, "none"),
    "urllib3.ProxyError": inside("original_error", "__cause__", default=_UNREACHED),
    "urllib3.SSLError": inside("args", "__cause__", "__context__", default=_INVALID),
    "urllib3.ProtocolError": _LOST,
    "urllib3.IncompleteRead": _LOST,
    "urllib3.DecodeError": _CORRUPT,
    "urllib3.ResponseError": _WORN_OUT,
}
_TRANSPORT: Mapping[str, Entry] = {
    "ConnectTimeout": _NOT_SENT,
    "PoolTimeout": _NOT_SENT,
    "TimeoutException": _TIMEOUT,
    "ConnectError": _CONNECT,
    "ProxyError": _by_tunnel,
    "NetworkError": _LOST,
    "RemoteProtocolError": _LOST,
    "LocalProtocolError": _INVALID,
    "UnsupportedProtocol": _REFUSED,
}
_ANSWERS: Mapping[str, Entry] = {
    "HTTPStatusError": by_attributes,
    "DecodingError": _CORRUPT,
    "TooManyRedirects": _INVALID,
    "InvalidURL": _REFUSED,
}
_HTTPX_ROOTS = ("httpx", "httpcore", "httpx2", "httpcore2")
_HTTPX: Mapping[str, Entry] = {
    **{f"{root}.{name}": entry for root in _HTTPX_ROOTS for name, entry in _TRANSPORT.items()},
    **{f"{root}.{name}": entry for root in ("httpx", "httpx2") for name, entry in _ANSWERS.items()},
}
_AIOHTTP: Mapping[str, Entry] = {
    "aiohttp.ClientResponseError": _by_aiohttp_status,
    "aiohttp.ClientHttpProxyError": _by_aiohttp_tunnel,
    "aiohttp.ServerDisconnectedError": _LOST,
    "aiohttp.ClientPayloadError": _LOST,
    "aiohttp.NonHttpUrlClientError": _REFUSED,
    "aiohttp.ServerFingerprintMismatch": never(ErrorCode.PERMISSION_DENIED, "none"),
    "aiohttp.ConnectionTimeoutError": _NOT_SENT,
    "aiohttp.ClientConnectorCertificateError": never(ErrorCode.PERMISSION_DENIED, "none"),
    "aiohttp.ClientConnectorError": inside("os_error", "__cause__"),
}

TABLE = table(
    {"urllib3.MaxRetryError": Through(tried)},  # which calls itself for each try, and says what came of each
    *(
        {key: unless_sent_before(entry) for key, entry in part.items()}
        for part in (_REQUESTS, _URLLIB3, _HTTPX, _AIOHTTP)
    ),
)
"""Rows of the HTTP clients' classes."""

CODES = (Codes("requests httpx httpx2 aiohttp urllib3", "HTTP status", BY_STATUS),)
