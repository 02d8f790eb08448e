"""The errors of cloud and RPC clients, by look-alikes: the names, bases and attributes of the real ones."""

from __future__ import annotations

import enum
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from retrywrap import with_retry
from retrywrap.classifiers import classify
from retrywrap.classifiers.rpc import NEVER_AGAIN, retry_delay, server_hint
from retrywrap.codes import ErrorCode

REFUSED = ConnectionRefusedError(111, "Connection refused")
RESET = ConnectionResetError(104, "Connection reset by peer")
BAD_CERTIFICATE = ssl.SSLCertVerificationError(1, "certificate verify failed")
YEAR = 31_536_000.0


def fake(name: str, *bases: type) -> type[Any]:
    """Return a class that looks like a library's: ``"botocore.exceptions.ClientError"``."""
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


def judge(error: BaseException) -> tuple[str, bool, str]:
    """Return code, whether it is retryable, and the effect."""
    verdict = classify(error)
    return verdict.code.name, verdict.retryable, verdict.effect


def ruled(error: BaseException) -> tuple[str, bool]:
    """Return the rule that spoke, and whether the error is retryable."""
    verdict = classify(error)
    return verdict.rule, verdict.retryable


class Hostile:
    """An object whose attributes raise, other than those that pytest asks for."""

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("__"):
            return object.__getattribute__(self, name)
        raise RuntimeError(name)


# ---- botocore

BotoCoreError = fake("botocore.exceptions.BotoCoreError")
ClientError = fake("botocore.exceptions.ClientError")
NoSuchKey = fake("botocore.errorfactory.NoSuchKey", ClientError)


def aws(code: object, status: object = None, headers: object = None, **metadata: object) -> Any:
    """Return the error that an AWS service's answer becomes."""
    more = {"HTTPStatusCode": status, "HTTPHeaders": headers, **metadata}
    return make(ClientError, "text", response={"Error": {"Code": code}, "ResponseMetadata": more})


THROTTLED = (
    "Throttling ThrottlingException ThrottledException RequestThrottledException RequestThrottled "
    "TooManyRequestsException ProvisionedThroughputExceededException RequestLimitExceeded BandwidthLimitExceeded "
    "LimitExceededException SlowDown PriorRequestNotComplete EC2ThrottledException throttlingException"
)


@pytest.mark.parametrize("code", THROTTLED.split())
def test_aws_throttling(code: str) -> None:
    """A throttling is retried by the service's code, whatever the status; the request was rejected."""
    verdict = classify(aws(code, 400))
    assert verdict[2:] == (True, None, "none", f"cloud.botocore.{code[0].upper()}{code[1:]}", False, True)
    assert verdict.code.name == "NETWORK"


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("RequestTimeout", 400, ("TIMEOUT", True, "unknown")),
        ("RequestTimeoutException", 400, ("TIMEOUT", True, "unknown")),
        ("TransactionInProgressException", 400, ("UNKNOWN", True, "unknown")),
        ("AccessDenied", 403, ("PERMISSION_DENIED", False, "none")),
        ("AccessDeniedException", 400, ("PERMISSION_DENIED", False, "none")),
        ("ExpiredToken", 400, ("PERMISSION_DENIED", False, "none")),
        ("ExpiredTokenException", 403, ("PERMISSION_DENIED", False, "none")),
        ("SignatureDoesNotMatch", 403, ("PERMISSION_DENIED", False, "none")),
        ("Throttling.User", 400, ("NETWORK", True, "none")),
        ("ThrottlingError", 400, ("NETWORK", True, "none")),
        ("KMSThrottlingException", 400, ("NETWORK", True, "none")),
        ("Whatever", 429, ("NETWORK", True, "none")),
        ("InternalError", 500, ("UNKNOWN", True, "unknown")),
        ("502", 502, ("NETWORK", True, "unknown")),
        ("ServiceUnavailable", 503, ("NETWORK", True, "unknown")),
        ("504", 504, ("TIMEOUT", True, "unknown")),
        ("NotImplemented", 501, ("INVALID_PARAM", False, "unknown")),
        ("Whatever", 408, ("TIMEOUT", False, "unknown")),
        ("ConditionalCheckFailedException", 400, ("INVALID_PARAM", False, "unknown")),
        ("NoSuchKey", 404, ("INVALID_PARAM", False, "unknown")),
        ("PreconditionFailed", 412, ("INVALID_PARAM", False, "unknown")),
        ("x" * 1000, 400, ("INVALID_PARAM", False, "unknown")),
        (None, 400, ("INVALID_PARAM", False, "unknown")),
        ("Whatever", None, ("UNKNOWN", False, "unknown")),
        ("Whatever", "503", ("UNKNOWN", False, "unknown")),
    ],
)
def test_aws_codes(code: object, status: object, expected: tuple[str, bool, str]) -> None:
    """The service's code counts before the status: a request timeout is a 400."""
    assert judge(aws(code, status)) == expected


def test_aws_generated_classes() -> None:
    """The classes that botocore makes for a service's errors are judged as their base."""
    assert judge(make(NoSuchKey, response=aws("NoSuchKey", 404).response)) == ("INVALID_PARAM", False, "unknown")


@pytest.mark.parametrize("response", [None, {}, {"Error": None}, {"Error": {}, "ResponseMetadata": 5}, Hostile()])
def test_aws_without_an_answer(response: object) -> None:
    """An error that carries no answer is unknown."""
    assert classify(make(ClientError, response=response)).rule == "unknown"


@pytest.mark.parametrize(
    ("code", "status", "headers", "seconds"),
    [
        ("SlowDown", 503, {"retry-after": "7"}, 7.0),
        ("Whatever", 503, {"retry-after": "7"}, 7.0),
        ("ThrottlingException", 400, {"x-amz-retry-after": "1500"}, 1.5),
        ("ThrottlingException", 400, {"retry-after": "9" * 30}, YEAR),
        ("ThrottlingException", 400, {"retry-after": "soon"}, None),
        ("AccessDenied", 403, {"retry-after": "7"}, None),
        ("NoSuchKey", 404, {"retry-after": "7"}, None),
    ],
)
def test_aws_hints(code: str, status: int, headers: object, seconds: float | None) -> None:
    """The answer's headers carry the hint; what is not retried has none."""
    assert classify(aws(code, status, headers)).retry_after == seconds


def test_aws_has_retried_already() -> None:
    """What botocore has retried in vain is not retried on top; with its retries off, the row decides."""
    rule = "cloud.botocore.MaxAttemptsReached"
    assert ruled(aws("SlowDown", 503, MaxAttemptsReached=True, RetryAttempts=4)) == (rule, False)
    assert judge(aws("X", 500, MaxAttemptsReached=True, RetryAttempts=4))[0] == "RETRY_EXHAUSTED"
    assert ruled(aws("SlowDown", 503, MaxAttemptsReached=True, RetryAttempts=0)) == ("cloud.botocore.SlowDown", True)
    assert ruled(aws("SlowDown", 503, RetryAttempts=4)) == ("cloud.botocore.SlowDown", True)
    assert judge(aws("SlowDown", 503, RetryAttempts=4))[2] == "unknown"
    assert judge(aws("SlowDown", 503, RetryAttempts=0))[2] == "none"
    assert judge(aws("X", 404, MaxAttemptsReached=True, RetryAttempts=4))[0] == "INVALID_PARAM"


@pytest.mark.parametrize(
    ("name", "code", "retryable", "effect"),
    [
        ("EndpointConnectionError", "NETWORK", True, "unknown"),
        ("ProxyConnectionError", "NETWORK", True, "unknown"),
        ("ConnectionError", "NETWORK", True, "unknown"),
        ("ConnectTimeoutError", "TIMEOUT", True, "unknown"),
        ("ReadTimeoutError", "TIMEOUT", True, "unknown"),
        ("ConnectionClosedError", "CONNECTION_LOST", True, "unknown"),
        ("ResponseStreamingError", "CONNECTION_LOST", True, "unknown"),
        ("IncompleteReadError", "CONNECTION_LOST", True, "unknown"),
        ("HTTPClientError", "NETWORK", True, "unknown"),
        ("SSLError", "INVALID_PARAM", False, "unknown"),
        ("ChecksumError", "DATA_CORRUPTION", False, "unknown"),
        ("FlexibleChecksumError", "DATA_CORRUPTION", False, "unknown"),
        ("NoCredentialsError", "PERMISSION_DENIED", False, "none"),
        ("PartialCredentialsError", "PERMISSION_DENIED", False, "none"),
        ("CredentialRetrievalError", "PERMISSION_DENIED", False, "none"),
        ("TokenRetrievalError", "PERMISSION_DENIED", False, "none"),
        ("ParamValidationError", "INVALID_PARAM", False, "none"),
        ("ProfileNotFound", "INVALID_PARAM", False, "none"),
        ("WaiterError", "UNKNOWN", False, "unknown"),
        ("BotoCoreError", "UNKNOWN", False, "unknown"),
    ],
)
def test_botocore_classes(name: str, code: str, retryable: bool, effect: str) -> None:
    """Each class of botocore's own means what the table says; it inherits from OSError by the requests within."""
    vendored = fake("botocore.vendored.requests.exceptions.RequestException", OSError)
    error = fake(f"botocore.exceptions.{name}", BotoCoreError, vendored)("text")
    assert judge(error) == (code, retryable, effect)


def test_botocore_says_why() -> None:
    """botocore keeps the real error among the words of its text: a bad certificate stays bad."""
    for name, inner, rule in (
        ("EndpointConnectionError", REFUSED, "stdlib.errno.ECONNREFUSED"),
        ("SSLError", BAD_CERTIFICATE, "stdlib.ssl.SSLCertVerificationError"),
        ("HTTPClientError", ValueError("a bug"), "stdlib.ValueError"),
    ):
        error = make(fake(f"botocore.exceptions.{name}", BotoCoreError), kwargs={"error": inner})
        assert classify(error).rule == rule


def test_waiter() -> None:
    """A waiter that has asked in vain as often as it may is not asked again; one that met a failure is unknown."""
    cls = fake("botocore.exceptions.WaiterError", BotoCoreError)
    assert judge(make(cls, kwargs={"reason": "Max attempts exceeded. Last was ..."}))[0] == "RETRY_EXHAUSTED"
    assert classify(make(cls, kwargs={"reason": "Waiter encountered a terminal failure state"})).rule == "unknown"


def test_s3_uploads() -> None:
    """An upload that failed means what the client's error means; no other error that was being handled counts."""
    cls = fake("boto3.exceptions.S3UploadFailedError")
    assert ruled(make(cls, __context__=aws("SlowDown", 503))) == ("cloud.botocore.SlowDown", True)
    assert classify(make(cls, __context__=REFUSED)).rule == "unknown"
    for root in ("boto3", "s3transfer"):
        assert judge(fake(f"{root}.exceptions.RetriesExceededError")("x"))[:2] == ("RETRY_EXHAUSTED", False)


# ---- grpc

RpcError = fake("grpc.RpcError")
InactiveRpcError = fake("grpc._channel._InactiveRpcError", RpcError)


class StatusCode(enum.Enum):
    """The status codes of gRPC."""

    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


def rpc(status: object, *trailers: tuple[str, object], cls: type[Any] = InactiveRpcError) -> Any:
    """Return the error of a call."""
    return make(cls, "text", code=lambda: status, trailing_metadata=lambda: trailers)


@pytest.mark.parametrize(
    ("status", "code", "retryable", "effect"),
    [
        ("UNAVAILABLE", "NETWORK", True, "unknown"),
        ("DEADLINE_EXCEEDED", "TIMEOUT", True, "unknown"),
        ("ABORTED", "UNKNOWN", True, "unknown"),
        ("RESOURCE_EXHAUSTED", "NETWORK", False, "unknown"),
        ("INTERNAL", "UNKNOWN", False, "unknown"),
        ("UNKNOWN", "UNKNOWN", False, "unknown"),
        ("DATA_LOSS", "DATA_CORRUPTION", False, "unknown"),
        ("FAILED_PRECONDITION", "INVALID_PARAM", False, "unknown"),
        ("CANCELLED", "UNKNOWN", False, "unknown"),
        ("PERMISSION_DENIED", "PERMISSION_DENIED", False, "none"),
        ("UNAUTHENTICATED", "PERMISSION_DENIED", False, "none"),
        ("INVALID_ARGUMENT", "INVALID_PARAM", False, "unknown"),
        ("NOT_FOUND", "INVALID_PARAM", False, "unknown"),
        ("ALREADY_EXISTS", "INVALID_PARAM", False, "unknown"),
        ("OUT_OF_RANGE", "INVALID_PARAM", False, "unknown"),
        ("UNIMPLEMENTED", "INVALID_PARAM", False, "unknown"),
    ],
)
def test_grpc_statuses(status: str, code: str, retryable: bool, effect: str) -> None:
    """Each status means what the table says, of sync and async calls; the rule names it."""
    for cls in (InactiveRpcError, fake("grpc.aio._call.AioRpcError", RpcError)):
        error = rpc(StatusCode[status], cls=cls)
        assert judge(error) == (code, retryable, effect)
        assert classify(error).rule == f"cloud.grpc.{status}"


def test_grpc_cancelled() -> None:
    """What was cancelled is never retried, whatever ``on=`` says."""
    assert classify(rpc(StatusCode.CANCELLED)).forbid
    assert classify(fake("grpc.FutureCancelledError")()).forbid
    calls: list[int] = []

    @with_retry(max=2, interval=0, on=Exception)
    def call() -> None:
        calls.append(1)
        raise rpc(StatusCode.CANCELLED)

    with pytest.raises(InactiveRpcError):
        call()
    assert calls == [1]


def test_grpc_futures() -> None:
    """A future that was not ready in time is a timeout."""
    assert judge(fake("grpc.FutureTimeoutError")()) == ("TIMEOUT", True, "unknown")


@pytest.mark.parametrize("status", [None, "UNAVAILABLE", 14, Hostile(), thing(name=5), thing(name="NONE_SUCH")])
def test_grpc_without_a_status(status: object) -> None:
    """What is no status is unknown."""
    assert classify(rpc(status)).rule == "unknown"
    assert classify(RpcError()).rule == "unknown"


def test_grpc_call_that_still_runs() -> None:
    """A call that has no status yet is not asked for one: that would be to wait for its end."""

    def wait() -> None:
        pytest.fail("it would wait")

    assert classify(make(RpcError, is_active=lambda: True, code=wait)).rule == "unknown"


PUSHBACK = "grpc-retry-pushback-ms"


@pytest.mark.parametrize(
    ("status", "pushback", "retryable", "seconds"),
    [
        ("UNAVAILABLE", "1500", True, 1.5),
        ("UNAVAILABLE", b"0", True, 0.0),
        ("UNAVAILABLE", "9" * 18, True, YEAR),
        ("UNAVAILABLE", "-1", False, None),
        ("UNAVAILABLE", "soon", False, None),
        ("UNAVAILABLE", "9" * 400, False, None),
        ("UNAVAILABLE", 5, False, None),
        ("RESOURCE_EXHAUSTED", "20", True, 0.02),
        ("RESOURCE_EXHAUSTED", "-1", False, None),
        ("INTERNAL", "20", False, None),
        ("INTERNAL", "-1", False, None),
        ("CANCELLED", "20", False, None),
    ],
)
def test_grpc_pushback(status: str, pushback: object, retryable: bool, seconds: float | None) -> None:
    """A server says in milliseconds when to come back; anything but a number means never."""
    verdict = classify(rpc(StatusCode[status], (PUSHBACK, pushback), (PUSHBACK, "7")))
    assert (verdict.retryable, verdict.retry_after) == (retryable, seconds)
    assert verdict.throttled == retryable


def varint(value: int) -> bytes:
    """Return a number as Protocol Buffers write it."""
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def field(number: int, value: int | bytes) -> bytes:
    """Return a field as Protocol Buffers write it."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def any_of(kind: str, value: bytes) -> bytes:
    """Return a detail of a status: a ``google.protobuf.Any``."""
    return field(3, field(1, f"type.googleapis.com/{kind}".encode()) + field(2, value))


def delay_of(seconds: int, nanos: int) -> bytes:
    """Return a ``google.rpc.RetryInfo``."""
    return field(1, field(1, seconds) + field(2, nanos))


STATUS = field(1, 8) + field(2, b"slow down") + any_of("google.rpc.ErrorInfo", b"")
DETAILS = "grpc-status-details-bin"


@pytest.mark.parametrize(
    ("details", "seconds"),
    [
        (STATUS + any_of("google.rpc.RetryInfo", delay_of(2, 500_000_000)), 2.5),
        (STATUS + any_of("google.rpc.RetryInfo", delay_of(10**12, 0)), YEAR),
        (STATUS + any_of("google.rpc.RetryInfo", field(1, b"")), 0.0),
        (b"\x19" + b"x" * 8 + b"\x25" + b"x" * 4 + any_of("google.rpc.RetryInfo", delay_of(3, 0)), 3.0),
        (STATUS + any_of("google.rpc.RetryInfo", delay_of(2**64 - 1, 0)), None),
        (STATUS + any_of("google.rpc.RetryInfo", delay_of(1, 2**63)), None),
        (STATUS + any_of("google.rpc.RetryInfo", b""), None),
        (STATUS, None),
        (b"\x1b" + any_of("google.rpc.RetryInfo", delay_of(3, 0)), None),
        (b"\xff" * 20 + b"google.rpc.RetryInfo", None),
        (b"google.rpc.RetryInfo\xff", None),
        (field(2, b"google.rpc.RetryInfo"), None),
        (b"\xff", None),
        (b"x" * 20_000, None),
        ("text", None),
        (None, None),
    ],
)
def test_grpc_retry_info(details: object, seconds: float | None) -> None:
    """The delay that a rich status asks for makes an exhausted resource retryable; whatever cannot be read does not."""
    verdict = classify(rpc(StatusCode.RESOURCE_EXHAUSTED, (DETAILS, details)))
    assert (verdict.retryable, verdict.retry_after) == (seconds is not None, seconds)
    assert verdict.rule == "cloud.grpc.RESOURCE_EXHAUSTED" + (".hint" if seconds is not None else "")


@pytest.mark.parametrize("metadata", [5, [1], [(1, 2, 3)], [(b"x", "y")], Hostile(), None])
def test_grpc_metadata_that_is_none(metadata: object) -> None:
    """Metadata may be anything."""
    assert server_hint(thing(trailing_metadata=lambda self: metadata)) is None
    assert server_hint(None) is None
    assert NEVER_AGAIN < 0


# ---- google-api-core

GoogleAPICallError = fake("google.api_core.exceptions.GoogleAPICallError")


def google(code: object, status: object = None, **attributes: object) -> Any:
    """Return an error of google-api-core."""
    return make(GoogleAPICallError, "text", code=code, grpc_status_code=status, **attributes)


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        (429, None, ("NETWORK", True, "none")),
        (500, None, ("UNKNOWN", True, "unknown")),
        (503, None, ("NETWORK", True, "unknown")),
        (502, None, ("NETWORK", False, "unknown")),
        (504, None, ("TIMEOUT", False, "unknown")),
        (408, None, ("TIMEOUT", False, "unknown")),
        (401, None, ("PERMISSION_DENIED", False, "none")),
        (404, None, ("INVALID_PARAM", False, "unknown")),
        (409, None, ("UNKNOWN", False, "unknown")),
        (429, "RESOURCE_EXHAUSTED", ("NETWORK", True, "unknown")),
        (500, "INTERNAL", ("UNKNOWN", True, "unknown")),
        (503, "UNAVAILABLE", ("NETWORK", True, "unknown")),
        (504, "DEADLINE_EXCEEDED", ("TIMEOUT", False, "unknown")),
        (409, "ABORTED", ("UNKNOWN", True, "unknown")),
        (409, "ALREADY_EXISTS", ("UNKNOWN", False, "unknown")),
        (499, "CANCELLED", ("UNKNOWN", False, "unknown")),
        (None, "UNKNOWN", ("UNKNOWN", False, "unknown")),
        (None, "DATA_LOSS", ("DATA_CORRUPTION", False, "unknown")),
        (None, None, ("UNKNOWN", False, "unknown")),
    ],
)
def test_google_codes(code: object, status: str | None, expected: tuple[str, bool, str]) -> None:
    """What its own retries would take counts: 429, 500, 503, and not 502 or 504; an aborted transaction is redone."""
    assert judge(google(code, status and StatusCode[status])) == expected


def test_google_has_retried_already() -> None:
    """A RetryError says that the client's own retries came to an end."""
    cls = fake("google.api_core.exceptions.RetryError", fake("google.api_core.exceptions.GoogleAPIError"))
    assert judge(make(cls, cause=google(503)))[:2] == ("RETRY_EXHAUSTED", False)


def test_google_message_that_is_too_large() -> None:
    """The client's own limit comes as an exhausted resource too."""
    text = "CLIENT: Received message larger than max (5000000 vs. 4194304)"
    error = google(429, StatusCode.RESOURCE_EXHAUSTED, message=text)
    assert ruled(error) == ("cloud.google.message_size", False)
    assert classify(error).code.name == "INVALID_PARAM"


def retry_info(seconds: object, nanos: object) -> Any:
    """Return what looks like a ``google.rpc.RetryInfo`` message."""
    return type("RetryInfo", (), {"retry_delay": thing(seconds=seconds, nanos=nanos)})()


@pytest.mark.parametrize(
    ("attributes", "seconds"),
    [
        ({"response": thing(headers={"Retry-After": "4"})}, 4.0),
        ({"response": rpc(None, (PUSHBACK, "1500"))}, 1.5),
        ({"details": [thing(), retry_info(2, 500_000_000)]}, 2.5),
        ({"details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"}]}, 34.5),
        ({"details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "9999999999s"}]}, YEAR),
        ({"details": ({"@type": "type.googleapis.com/google.rpc.Help", "retryDelay": "3s"},)}, None),
        ({"details": [{"@type": 5, "retryDelay": "3s"}, {"retryDelay": "soon"}, {"retryDelay": 3}]}, None),
        ({"details": [retry_info("x", 0)]}, None),
        ({"details": "text"}, None),
        ({"details": Hostile()}, None),
    ],
)
def test_google_hints(attributes: dict[str, object], seconds: float | None) -> None:
    """The hint comes by a header, by gRPC's metadata, or by a RetryInfo among the details."""
    verdict = classify(google(503, **attributes))
    assert (verdict.retryable, verdict.retry_after) == (True, seconds)
    assert classify(google(404, **attributes)).retry_after is None


def test_google_pushback() -> None:
    """A server that does not want to be asked again is not."""
    assert ruled(google(503, response=rpc(None, (PUSHBACK, "-1")))) == ("cloud.grpc.pushback", False)
    assert retry_delay(None) is None


def test_google_auth() -> None:
    """Credentials that are not there stay so, unless the error says otherwise; the token server may be unreachable."""
    auth = fake("google.auth.exceptions.GoogleAuthError")
    refresh = fake("google.auth.exceptions.RefreshError", auth)
    transport = fake("google.auth.exceptions.TransportError", auth)
    assert judge(make(refresh, retryable=False)) == ("PERMISSION_DENIED", False, "none")
    assert judge(make(refresh, retryable=True)) == ("NETWORK", True, "none")
    assert judge(transport("x")) == ("NETWORK", True, "none")
    assert judge(transport(BAD_CERTIFICATE))[:2] == ("PERMISSION_DENIED", False)


# ---- azure-core

AzureError = fake("azure.core.exceptions.AzureError")
HttpResponseError = fake("azure.core.exceptions.HttpResponseError", AzureError)
ServiceRequestError = fake("azure.core.exceptions.ServiceRequestError", AzureError)
ServiceResponseError = fake("azure.core.exceptions.ServiceResponseError", AzureError)


def azure(status: object, headers: object = None, cls: type[Any] = HttpResponseError) -> Any:
    """Return an error of azure-core."""
    return make(cls, "text", status_code=status, response=thing(status_code=status, headers=headers))


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (408, ("TIMEOUT", True, "unknown")),
        (429, ("NETWORK", True, "unknown")),
        (500, ("UNKNOWN", True, "unknown")),
        (502, ("NETWORK", True, "unknown")),
        (503, ("NETWORK", True, "unknown")),
        (504, ("TIMEOUT", True, "unknown")),
        (400, ("INVALID_PARAM", False, "unknown")),
        (401, ("PERMISSION_DENIED", False, "none")),
        (403, ("PERMISSION_DENIED", False, "none")),
        (404, ("INVALID_PARAM", False, "unknown")),
        (409, ("UNKNOWN", False, "unknown")),
        (412, ("INVALID_PARAM", False, "unknown")),
        (501, ("INVALID_PARAM", False, "unknown")),
        (507, ("DISK_FULL", False, "unknown")),
        (304, ("UNKNOWN", False, "unknown")),
        (None, ("UNKNOWN", False, "unknown")),
    ],
)
def test_azure_statuses(status: object, expected: tuple[str, bool, str]) -> None:
    """What azure-core's own policy retries, no more."""
    assert judge(azure(status)) == expected


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "4"}, 4.0),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"x-ms-retry-after-ms": "250", "Retry-After": "4"}, 0.25),
        ({}, None),
    ],
)
def test_azure_hints(headers: object, seconds: float | None) -> None:
    """The hint of the answer, in its own unit."""
    assert classify(azure(429, headers)).retry_after == seconds


@pytest.mark.parametrize(
    ("name", "base", "code", "retryable", "effect"),
    [
        ("ServiceRequestError", AzureError, "NETWORK", True, "unknown"),
        ("ServiceRequestTimeoutError", ServiceRequestError, "TIMEOUT", True, "unknown"),
        ("ServiceResponseError", AzureError, "CONNECTION_LOST", True, "unknown"),
        ("ServiceResponseTimeoutError", ServiceResponseError, "TIMEOUT", True, "unknown"),
        ("IncompleteReadError", HttpResponseError, "CONNECTION_LOST", True, "unknown"),
        ("DecodeError", HttpResponseError, "DATA_CORRUPTION", False, "unknown"),
        ("ClientAuthenticationError", HttpResponseError, "PERMISSION_DENIED", False, "none"),
        ("StreamConsumedError", AzureError, "NOT_INITIALIZED", False, "none"),
        ("StreamClosedError", AzureError, "NOT_INITIALIZED", False, "none"),
        ("ResponseNotReadError", AzureError, "NOT_INITIALIZED", False, "none"),
        ("AzureError", AzureError, "UNKNOWN", False, "unknown"),
    ],
)
def test_azure_classes(name: str, base: type, code: str, retryable: bool, effect: str) -> None:
    """A request that was not sent has no effect; one whose answer was lost may have one."""
    assert judge(fake(f"azure.core.exceptions.{name}", base)("text")) == (code, retryable, effect)


def test_azure_says_why() -> None:
    """The error inside counts: a bad certificate stays bad, and what came after sending keeps its effect."""
    assert ruled(make(ServiceRequestError, inner_exception=REFUSED)) == ("stdlib.errno.ECONNREFUSED", True)
    assert judge(make(ServiceRequestError, inner_exception=BAD_CERTIFICATE))[:2] == ("PERMISSION_DENIED", False)
    assert judge(make(ServiceRequestError, inner_exception=RESET)) == ("CONNECTION_LOST", True, "unknown")
    assert judge(make(ServiceResponseError, inner_exception=REFUSED)) == ("NETWORK", True, "unknown")
    assert judge(make(AzureError, inner_exception=TimeoutError())) == ("TIMEOUT", True, "unknown")
    login = fake("azure.core.exceptions.ClientAuthenticationError", HttpResponseError)
    assert judge(azure(429, cls=login)) == ("NETWORK", True, "unknown")


# ---- openai, anthropic


@pytest.fixture(params=["openai", "anthropic"])
def library(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each client that Stainless has generated."""
    return request.param


def answered(library: str, status: object, headers: object = None, retries: str = "0", **attributes: object) -> Any:
    """Return the error that an answer of a model's server becomes."""
    cls = fake(f"{library}._exceptions.APIStatusError", fake(f"{library}._exceptions.APIError"))
    request = thing(headers={"x-stainless-retry-count": retries})
    response = thing(status_code=status, headers=headers or {})
    return make(cls, "text", status_code=status, response=response, request=request, **attributes)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (408, ("TIMEOUT", True, "unknown")),
        (409, ("UNKNOWN", True, "unknown")),
        (429, ("NETWORK", True, "none")),
        (500, ("UNKNOWN", True, "unknown")),
        (501, ("INVALID_PARAM", True, "unknown")),
        (502, ("NETWORK", True, "unknown")),
        (503, ("NETWORK", True, "unknown")),
        (504, ("TIMEOUT", True, "unknown")),
        (529, ("NETWORK", True, "unknown")),
        (599, ("UNKNOWN", True, "unknown")),
        (400, ("INVALID_PARAM", False, "unknown")),
        (401, ("PERMISSION_DENIED", False, "none")),
        (403, ("PERMISSION_DENIED", False, "none")),
        (404, ("INVALID_PARAM", False, "unknown")),
        (413, ("INVALID_PARAM", False, "unknown")),
        (422, ("INVALID_PARAM", False, "unknown")),
        (None, ("UNKNOWN", False, "unknown")),
    ],
)
def test_model_statuses(library: str, status: object, expected: tuple[str, bool, str]) -> None:
    """The clients' own list: 408, 409, 429 and everything from 500 up."""
    assert judge(answered(library, status)) == expected


@pytest.mark.parametrize(
    ("status", "headers", "retryable", "seconds"),
    [
        (429, {"retry-after": "20"}, True, 20.0),
        (429, {"retry-after-ms": "1500", "retry-after": "20"}, True, 1.5),
        (529, {"retry-after": "20"}, True, 20.0),
        (400, {"retry-after": "20"}, False, None),
        (400, {"retry-after": "20", "x-should-retry": "true"}, True, 20.0),
        (503, {"retry-after": "20", "x-should-retry": "false"}, False, None),
        (503, {"x-should-retry": "perhaps"}, True, None),
    ],
)
def test_model_hints(library: str, status: int, headers: object, retryable: bool, seconds: float | None) -> None:
    """The server says when, and may say whether: its word counts before the status."""
    verdict = classify(answered(library, status, headers))
    assert (verdict.retryable, verdict.retry_after) == (retryable, seconds)
    assert verdict.code is ({400: ErrorCode.INVALID_PARAM}.get(status) or ErrorCode.NETWORK)


def test_model_quota() -> None:
    """A quota that is used up comes as 429 too, and does not come back by waiting."""
    error = answered("openai", 429, code="insufficient_quota")
    assert judge(error) == ("PERMISSION_DENIED", False, "none")


def test_model_client_has_retried_already(library: str) -> None:
    """What the client has retried in vain is not retried on top."""
    assert judge(answered(library, 503, retries="2"))[:2] == ("RETRY_EXHAUSTED", False)
    assert judge(answered(library, 404, retries="2"))[:2] == ("INVALID_PARAM", False)
    cls = fake(f"{library}._exceptions.APIConnectionError")
    error = make(cls, request=thing(headers={"x-stainless-retry-count": "2"}), cause=REFUSED)
    assert judge(error)[:2] == ("RETRY_EXHAUSTED", False)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("overloaded_error", ("NETWORK", True, "unknown")),
        ("rate_limit_error", ("NETWORK", True, "none")),
        ("api_error", ("UNKNOWN", True, "unknown")),
        ("timeout_error", ("TIMEOUT", True, "unknown")),
        ("invalid_request_error", ("UNKNOWN", False, "unknown")),
        (None, ("UNKNOWN", False, "unknown")),
    ],
)
def test_model_errors_within_a_stream(kind: object, expected: tuple[str, bool, str]) -> None:
    """An error within a stream comes under the stream's status, 200: what it is called counts."""
    assert judge(answered("anthropic", 200, type=kind)) == expected


def test_model_connections(library: str) -> None:
    """A connection error has no answer: the HTTP client's error, which is its cause, says what it was."""
    base = fake(f"{library}._exceptions.APIConnectionError", fake(f"{library}._exceptions.APIError"))
    timeout = fake(f"{library}._exceptions.APITimeoutError", base)
    assert judge(base("x")) == ("NETWORK", True, "unknown")
    assert judge(timeout("x")) == ("TIMEOUT", True, "unknown")
    for root in ("httpx", "httpx2"):
        connect = fake(f"{root}.ConnectError", fake(f"{root}.NetworkError"))
        unsent = fake(f"{root}.ConnectTimeout", fake(f"{root}.TimeoutException"))
        broken = fake(f"{root}.RemoteProtocolError")
        assert judge(make(base, cause=make(connect, cause=REFUSED))) == ("NETWORK", True, "none")
        assert judge(make(base, cause=make(connect, cause=BAD_CERTIFICATE)))[:2] == ("PERMISSION_DENIED", False)
        assert judge(make(base, cause=broken("x"))) == ("CONNECTION_LOST", True, "unknown")
        assert judge(make(timeout, cause=unsent("x"))) == ("TIMEOUT", True, "none")


@pytest.mark.parametrize(
    ("name", "code", "retryable"),
    [
        ("openai.APIResponseValidationError", "DATA_CORRUPTION", False),
        ("anthropic.APIResponseValidationError", "DATA_CORRUPTION", False),
        ("openai.LengthFinishReasonError", "INVALID_PARAM", False),
        ("openai.ContentFilterFinishReasonError", "INVALID_PARAM", False),
        ("anthropic.RetryableError", "UNKNOWN", True),
        ("anthropic.CredentialsError", "PERMISSION_DENIED", False),
    ],
)
def test_model_classes(name: str, code: str, retryable: bool) -> None:
    """What has no status means what its class says."""
    assert judge(fake(name)("x"))[:2] == (code, retryable)


@pytest.mark.parametrize(
    "cls",
    [ClientError, RpcError, GoogleAPICallError, HttpResponseError, ServiceResponseError, fake("openai.APIStatusError")],
    ids=lambda cls: cls.__name__,
)
def test_hostile_attributes(cls: type[Any]) -> None:
    """Whatever the attributes hold, there is a verdict."""
    names = "response status_code code grpc_status_code details request kwargs inner_exception trailing_metadata"
    verdict = classify(make(cls, "x", **dict.fromkeys(names.split(), Hostile())))
    assert isinstance(verdict.code, ErrorCode)


SAFE: dict[str, Callable[[], Any]] = {
    "AMQP-like 5xx in .code": lambda: google("503"),
    "expired token in a 400": lambda: aws("ExpiredToken", 400),
    "a conditional write that lost": lambda: aws("ConditionalCheckFailedException", 400),
    "botocore on top of botocore": lambda: aws("Throttling", 400, MaxAttemptsReached=True, RetryAttempts=4),
    "cancellation read as timeout": lambda: rpc(StatusCode.CANCELLED),
    "a server's bug": lambda: rpc(StatusCode.UNKNOWN),
    "a deadline behind Google's gateway": lambda: google(504, StatusCode.DEADLINE_EXCEEDED),
    "Google's own retries at their end": lambda: fake("google.api_core.exceptions.RetryError")("x", google(503)),
    "a certificate in a connection error": lambda: make(ServiceRequestError, inner_exception=BAD_CERTIFICATE),
    "credentials in an OSError-like class": lambda: fake("botocore.exceptions.NoCredentialsError", OSError)("x"),
}


@pytest.mark.parametrize("name", SAFE)
def test_dangerous_false_positives(name: str) -> None:
    """What looks transient and is not safe is not retried."""
    assert not classify(SAFE[name]()).retryable
