"""The errors of the HTTP clients, by look-alikes: classes with the names, bases and attributes of the real ones."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from typing import Any

import pytest

from retrywrap.classifiers import classify
from retrywrap.codes import ErrorCode

REFUSED = ConnectionRefusedError(111, "Connection refused")
NO_NAME = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
BAD_CERTIFICATE = ssl.SSLCertVerificationError(1, "certificate verify failed")


def fake(name: str, *bases: type) -> type[Any]:
    """Return a class that looks like a library's: ``"requests.exceptions.Timeout"``."""
    module, _, qualname = name.rpartition(".")
    return type(qualname, bases or (Exception,), {"__module__": module})


class Requests:
    """The exceptions of requests 2.34."""

    RequestException = fake("requests.exceptions.RequestException", OSError)
    HTTPError = fake("requests.exceptions.HTTPError", RequestException)
    ConnectionError = fake("requests.exceptions.ConnectionError", RequestException)
    ProxyError = fake("requests.exceptions.ProxyError", ConnectionError)
    SSLError = fake("requests.exceptions.SSLError", ConnectionError)
    Timeout = fake("requests.exceptions.Timeout", RequestException)
    ConnectTimeout = fake("requests.exceptions.ConnectTimeout", ConnectionError, Timeout)
    ReadTimeout = fake("requests.exceptions.ReadTimeout", Timeout)
    ChunkedEncodingError = fake("requests.exceptions.ChunkedEncodingError", RequestException)
    ContentDecodingError = fake("requests.exceptions.ContentDecodingError", RequestException)
    RetryError = fake("requests.exceptions.RetryError", RequestException)
    TooManyRedirects = fake("requests.exceptions.TooManyRedirects", RequestException)
    UnrewindableBodyError = fake("requests.exceptions.UnrewindableBodyError", RequestException)
    MissingSchema = fake("requests.exceptions.MissingSchema", RequestException, ValueError)
    InvalidURL = fake("requests.exceptions.InvalidURL", RequestException, ValueError)
    StreamConsumedError = fake("requests.exceptions.StreamConsumedError", RequestException, TypeError)
    JSONDecodeError = fake("requests.exceptions.JSONDecodeError", RequestException, json.JSONDecodeError)


class Urllib3:
    """The exceptions of urllib3 2.8."""

    HTTPError = fake("urllib3.exceptions.HTTPError")
    MaxRetryError = fake("urllib3.exceptions.MaxRetryError", HTTPError)
    TimeoutError = fake("urllib3.exceptions.TimeoutError", HTTPError)
    ReadTimeoutError = fake("urllib3.exceptions.ReadTimeoutError", TimeoutError, HTTPError)
    ConnectTimeoutError = fake("urllib3.exceptions.ConnectTimeoutError", TimeoutError)
    NewConnectionError = fake("urllib3.exceptions.NewConnectionError", ConnectTimeoutError)
    NameResolutionError = fake("urllib3.exceptions.NameResolutionError", NewConnectionError)
    EmptyPoolError = fake("urllib3.exceptions.EmptyPoolError", HTTPError)
    ClosedPoolError = fake("urllib3.exceptions.ClosedPoolError", HTTPError)
    ProxyError = fake("urllib3.exceptions.ProxyError", HTTPError)
    SSLError = fake("urllib3.exceptions.SSLError", HTTPError)
    ProtocolError = fake("urllib3.exceptions.ProtocolError", HTTPError)
    IncompleteRead = fake("urllib3.exceptions.IncompleteRead", HTTPError, http.client.IncompleteRead)
    DecodeError = fake("urllib3.exceptions.DecodeError", HTTPError)
    ResponseError = fake("urllib3.exceptions.ResponseError", HTTPError)
    LocationParseError = fake("urllib3.exceptions.LocationParseError", ValueError, HTTPError)


class Aiohttp:
    """The exceptions of aiohttp 3.14."""

    ClientError = fake("aiohttp.client_exceptions.ClientError")
    ClientResponseError = fake("aiohttp.client_exceptions.ClientResponseError", ClientError)
    ClientConnectionError = fake("aiohttp.client_exceptions.ClientConnectionError", ClientError)
    ClientOSError = fake("aiohttp.client_exceptions.ClientOSError", ClientConnectionError, OSError)
    ClientConnectorError = fake("aiohttp.client_exceptions.ClientConnectorError", ClientOSError)
    ClientConnectorDNSError = fake("aiohttp.client_exceptions.ClientConnectorDNSError", ClientConnectorError)
    ClientPayloadError = fake("aiohttp.client_exceptions.ClientPayloadError", ClientError)
    ServerConnectionError = fake("aiohttp.client_exceptions.ServerConnectionError", ClientConnectionError)
    ServerDisconnectedError = fake("aiohttp.client_exceptions.ServerDisconnectedError", ServerConnectionError)
    ServerTimeoutError = fake("aiohttp.client_exceptions.ServerTimeoutError", ServerConnectionError, TimeoutError)
    ConnectionTimeoutError = fake("aiohttp.client_exceptions.ConnectionTimeoutError", ServerTimeoutError)
    ServerFingerprintMismatch = fake("aiohttp.client_exceptions.ServerFingerprintMismatch", ServerConnectionError)
    CertificateError = fake("aiohttp.client_exceptions.ClientConnectorCertificateError", ClientError, ValueError)
    InvalidURL = fake("aiohttp.client_exceptions.InvalidURL", ClientError, ValueError)
    NonHttpUrlClientError = fake("aiohttp.client_exceptions.NonHttpUrlClientError", ClientError)
    HttpProcessingError = fake("aiohttp.http_exceptions.HttpProcessingError")


def chained(
    error: Any, *, cause: BaseException | None = None, context: BaseException | None = None, **more: Any
) -> Any:
    """Return an error with its cause, context and other attributes set."""
    if cause is not None:
        error.__cause__ = cause
    error.__context__ = context if context is not None else cause
    for name, value in more.items():
        setattr(error, name, value)
    return error


def judge(error: BaseException) -> tuple[str, bool, str]:
    """Return code, whether it is retryable, and the effect."""
    verdict = classify(error)
    return verdict.code.name, verdict.retryable, verdict.effect


@pytest.mark.parametrize(
    ("cls", "code", "retryable", "effect"),
    [
        (Requests.ConnectionError, "NETWORK", True, "unknown"),
        (Requests.ProxyError, "NETWORK", True, "unknown"),
        (Requests.SSLError, "INVALID_PARAM", False, "unknown"),
        (Requests.Timeout, "TIMEOUT", True, "unknown"),
        (Requests.ReadTimeout, "TIMEOUT", True, "unknown"),
        (Requests.ConnectTimeout, "TIMEOUT", True, "none"),
        (Requests.ChunkedEncodingError, "CONNECTION_LOST", True, "unknown"),
        (Requests.ContentDecodingError, "DATA_CORRUPTION", False, "unknown"),
        (Requests.RetryError, "RETRY_EXHAUSTED", False, "unknown"),
        (Requests.TooManyRedirects, "INVALID_PARAM", False, "unknown"),
        (Requests.UnrewindableBodyError, "INVALID_PARAM", False, "unknown"),
        (Requests.MissingSchema, "INVALID_PARAM", False, "unknown"),
        (Requests.InvalidURL, "INVALID_PARAM", False, "unknown"),
        (Requests.StreamConsumedError, "INVALID_PARAM", False, "unknown"),
        (Requests.RequestException, "UNKNOWN", False, "unknown"),
        (Requests.HTTPError, "UNKNOWN", False, "unknown"),
        (Urllib3.MaxRetryError, "UNKNOWN", False, "unknown"),
        (Urllib3.ReadTimeoutError, "TIMEOUT", True, "unknown"),
        (Urllib3.ConnectTimeoutError, "TIMEOUT", True, "none"),
        (Urllib3.NewConnectionError, "NETWORK", True, "none"),
        (Urllib3.NameResolutionError, "NETWORK", True, "none"),
        (Urllib3.EmptyPoolError, "TIMEOUT", True, "none"),
        (Urllib3.ClosedPoolError, "NOT_INITIALIZED", False, "none"),
        (Urllib3.ProxyError, "NETWORK", True, "none"),
        (Urllib3.SSLError, "INVALID_PARAM", False, "unknown"),
        (Urllib3.ProtocolError, "CONNECTION_LOST", True, "unknown"),
        (Urllib3.DecodeError, "DATA_CORRUPTION", False, "unknown"),
        (Urllib3.ResponseError, "RETRY_EXHAUSTED", False, "unknown"),
        (Urllib3.LocationParseError, "INVALID_PARAM", False, "unknown"),
        (Urllib3.HTTPError, "UNKNOWN", False, "unknown"),
        (Aiohttp.ClientConnectorError, "UNKNOWN", False, "unknown"),
        (Aiohttp.ClientPayloadError, "CONNECTION_LOST", True, "unknown"),
        (Aiohttp.ServerDisconnectedError, "CONNECTION_LOST", True, "unknown"),
        (Aiohttp.ServerTimeoutError, "TIMEOUT", True, "unknown"),
        (Aiohttp.ConnectionTimeoutError, "TIMEOUT", True, "none"),
        (Aiohttp.ServerFingerprintMismatch, "PERMISSION_DENIED", False, "none"),
        (Aiohttp.CertificateError, "PERMISSION_DENIED", False, "none"),
        (Aiohttp.InvalidURL, "INVALID_PARAM", False, "unknown"),
        (Aiohttp.NonHttpUrlClientError, "INVALID_PARAM", False, "none"),
        (Aiohttp.ClientError, "UNKNOWN", False, "unknown"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else None,
)
def test_classes(cls: type[Exception], code: str, retryable: bool, effect: str) -> None:
    """Each class means what the table says where nothing inside it says more."""
    assert judge(cls("text")) == (code, retryable, effect)


def test_a_json_answer_that_is_none() -> None:
    """The JSON error of requests is one of the standard library's, and no file error."""
    assert judge(Requests.JSONDecodeError("x", "{", 0))[:2] == ("DATA_CORRUPTION", False)


def test_incomplete_read_of_urllib3() -> None:
    """urllib3's IncompleteRead means the same as http.client's."""
    assert judge(Urllib3.IncompleteRead(b"", 5))[:2] == ("CONNECTION_LOST", True)


@pytest.mark.parametrize("root", ["httpx", "httpcore", "httpx2", "httpcore2"])
@pytest.mark.parametrize(
    ("name", "base", "code", "retryable", "effect"),
    [
        ("ConnectTimeout", "TimeoutException", "TIMEOUT", True, "none"),
        ("PoolTimeout", "TimeoutException", "TIMEOUT", True, "none"),
        ("ReadTimeout", "TimeoutException", "TIMEOUT", True, "unknown"),
        ("WriteTimeout", "TimeoutException", "TIMEOUT", True, "unknown"),
        ("ConnectError", "NetworkError", "NETWORK", True, "none"),
        ("ReadError", "NetworkError", "CONNECTION_LOST", True, "unknown"),
        ("WriteError", "NetworkError", "CONNECTION_LOST", True, "unknown"),
        ("RemoteProtocolError", "ProtocolError", "CONNECTION_LOST", True, "unknown"),
        ("LocalProtocolError", "ProtocolError", "INVALID_PARAM", False, "unknown"),
        ("UnsupportedProtocol", "TransportError", "INVALID_PARAM", False, "none"),
        ("ProxyError", "TransportError", "NETWORK", True, "none"),
    ],
)
def test_httpx_and_httpcore(root: str, name: str, base: str, code: str, retryable: bool, effect: str) -> None:
    """httpx, httpcore and their successors have the same names for the same failures; none of them is an OSError."""
    cls = fake(f"{root}.{name}", fake(f"{root}.{base}"))
    assert judge(cls("text")) == (code, retryable, effect)


@pytest.mark.parametrize(
    ("name", "code"),
    [("DecodingError", "DATA_CORRUPTION"), ("TooManyRedirects", "INVALID_PARAM"), ("InvalidURL", "INVALID_PARAM")],
)
def test_httpx_alone(name: str, code: str) -> None:
    """What fails the same way again is not retried."""
    for root in ("httpx", "httpx2"):
        assert judge(fake(f"{root}.{name}")("x"))[:2] == (code, False)


@pytest.mark.parametrize(
    ("inner", "rule", "retryable"),
    [
        (REFUSED, "stdlib.errno.ECONNREFUSED", True),
        (NO_NAME, "stdlib.socket.gaierror", False),
        (BAD_CERTIFICATE, "stdlib.ssl.SSLCertVerificationError", False),
    ],
)
def test_a_connection_that_failed_says_why(inner: OSError, rule: str, retryable: bool) -> None:
    """Every client hides the reason in its own way; what counts is the reason: a bad certificate stays bad."""
    new = chained(Urllib3.NewConnectionError("x"), cause=inner)
    wrapped = chained(Urllib3.MaxRetryError("x"), cause=new, reason=new)
    core = chained(fake("httpcore.ConnectError", fake("httpcore.NetworkError"))(inner), context=inner)
    core.__suppress_context__ = True
    errors = {
        "requests": chained(Requests.ConnectionError(wrapped), context=wrapped),
        "requests, by context": chained(Requests.ConnectionError("x"), context=wrapped),
        "urllib3": wrapped,
        "httpx": chained(fake("httpx.ConnectError", fake("httpx.NetworkError"))("x"), cause=core),
        "httpcore": core,
        "aiohttp": chained(Aiohttp.ClientConnectorError("key", inner), os_error=inner),
    }
    found = {name: (classify(error).rule, classify(error).retryable) for name, error in errors.items()}
    assert found == dict.fromkeys(errors, (rule, retryable))


def test_the_message_is_the_outer_ones() -> None:
    """Whatever is found inside, the message is that of the error which came out."""
    error = chained(Requests.ConnectionError("outer text"), context=REFUSED)
    assert classify(error).message == "outer text"


def test_a_connection_that_was_dropped() -> None:
    """The connection that a server dropped is retryable, its effect unknown."""
    inner = Urllib3.ProtocolError("Connection aborted.", http.client.RemoteDisconnected("x"))
    assert judge(Requests.ConnectionError(inner)) == ("CONNECTION_LOST", True, "unknown")


def test_tls_errors_in_requests() -> None:
    """A TLS error that wraps another means what that one means; alone it is final."""
    inner = Urllib3.SSLError(BAD_CERTIFICATE)
    wrapped = chained(Urllib3.MaxRetryError("x"), reason=inner)
    assert judge(Requests.SSLError(wrapped)) == ("PERMISSION_DENIED", False, "unknown")  # nothing tells of its tries
    assert judge(Requests.SSLError(inner)) == ("PERMISSION_DENIED", False, "none")


def test_a_proxy_that_refuses() -> None:
    """A proxy error says in original_error what happened."""
    assert judge(chained(Urllib3.ProxyError("x"), original_error=PermissionError(13, "x")))[:2] == (
        "PERMISSION_DENIED",
        False,
    )


def test_a_client_that_has_retried_already() -> None:
    """A client that gave up after retries of its own is not retried on top."""
    inner = chained(Urllib3.MaxRetryError("x"), reason=Urllib3.ResponseError("too many 503 error responses"))
    assert judge(Requests.RetryError(inner))[:2] == ("RETRY_EXHAUSTED", False)
    assert judge(inner)[:2] == ("RETRY_EXHAUSTED", False)


def test_aiohttp_dns() -> None:
    """aiohttp copies the resolver's number into errno, where it is no errno."""
    error = chained(Aiohttp.ClientConnectorDNSError(NO_NAME.errno, "x"), os_error=NO_NAME)
    assert judge(error) == ("INVALID_PARAM", False, "none")


def test_aiohttp_errno() -> None:
    """The OS errors of aiohttp carry a real errno."""
    assert classify(Aiohttp.ClientOSError(104, "reset")).rule == "stdlib.errno.ECONNRESET"


def answer(**attributes: Any) -> Any:
    """Return an answer, which is false as those of requests are."""
    return type("Response", (), {"__bool__": lambda self: False, **attributes})()


def test_status_errors() -> None:
    """Each client's status error goes by the status, with the server's hint."""
    headers = {"Retry-After": "4"}
    for error in (
        chained(Requests.HTTPError("x"), response=answer(status_code=503, headers=headers)),
        chained(fake("httpx.HTTPStatusError")("x"), response=answer(status_code=503, headers=headers)),
        chained(Aiohttp.ClientResponseError("x"), status=503, headers=headers),
    ):
        verdict = classify(error)
        assert (verdict.rule, verdict.retry_after, verdict.retryable) == ("http.503", 4.0, True)


def test_aiohttp_answer_that_is_no_http() -> None:
    """What aiohttp cannot parse comes as status 400; the cause tells that no server said so."""
    real = chained(Aiohttp.ClientResponseError("x"), status=400, headers=None)
    assert classify(real).rule == "http.400"
    garbage = chained(Aiohttp.ClientResponseError("x"), status=400, cause=Aiohttp.HttpProcessingError("x"))
    verdict = classify(garbage)
    assert (verdict.rule, verdict.code) == ("aiohttp.unparsable", ErrorCode.DATA_CORRUPTION)


def test_context_is_followed_only_where_it_is_the_cause() -> None:
    """The context of these libraries is read, unless it was suppressed or is somebody else's error."""
    cls = Requests.ConnectionError
    assert classify(chained(cls("x"), context=PermissionError(13, "x"))).code is ErrorCode.PERMISSION_DENIED
    assert classify(chained(cls("x"), context=ValueError("handled before"))).code is ErrorCode.NETWORK
    suppressed = chained(cls("x"), context=PermissionError(13, "x"))
    suppressed.__suppress_context__ = True
    assert classify(suppressed).code is ErrorCode.NETWORK


def test_context_of_others_is_never_followed() -> None:
    """What an unknown error happened to interrupt is not its cause; its cause is."""
    assert classify(chained(RuntimeError("x"), context=REFUSED)).rule == "unknown"
    assert classify(chained(RuntimeError("x"), cause=REFUSED)).rule == "stdlib.errno.ECONNREFUSED"
    unknown = fake("redis.exceptions.SomethingNew")
    assert classify(chained(unknown("x"), context=REFUSED)).rule == "stdlib.errno.ECONNREFUSED"
