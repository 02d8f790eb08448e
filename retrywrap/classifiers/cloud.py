"""What the errors of cloud and RPC clients mean: botocore, grpc, google-api-core, azure-core, openai, anthropic.

Several of these clients retry by themselves. Where an error says that they did, in vain, it is `RETRY_EXHAUSTED`: turn
their retries off, and these rows decide.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from retrywrap.classifiers.guard import call, exact_int, key_of, lineage, read
from retrywrap.classifiers.http import by_status, parse_retry_after
from retrywrap.classifiers.rows import Codes, Entry, Look, Through, again, by_code, each, inside, never, table
from retrywrap.classifiers.rpc import NEVER_AGAIN, retry_delay, server_hint, status_name
from retrywrap.classifiers.verdict import Verdict
from retrywrap.codes import ErrorCode

__all__ = ["CODES", "TABLE"]

_LONGEST_CODE = 100

_LOST = again(ErrorCode.CONNECTION_LOST)
_UNREACHED = again(ErrorCode.NETWORK, "none")
_TIMEOUT = again(ErrorCode.TIMEOUT)
_NOT_SENT = again(ErrorCode.TIMEOUT, "none")
_THROTTLED = again(ErrorCode.NETWORK, "none", throttled=True)
_INVALID = never(ErrorCode.INVALID_PARAM)
_REFUSED = never(ErrorCode.INVALID_PARAM, "none")
_DENIED = never(ErrorCode.PERMISSION_DENIED, "none")
_CORRUPT = never(ErrorCode.DATA_CORRUPTION)
_USELESS = never(ErrorCode.NOT_INITIALIZED, "none")
_WORN_OUT = never(ErrorCode.RETRY_EXHAUSTED)


def _listed(library: str, listed: Collection[int], status: object, headers: object) -> Verdict | None:
    """Judge a status by a vendor's own list of what is worth another attempt."""
    verdict = by_status(status, headers)
    if verdict is None:
        return None
    rule = f"cloud.{library}.{verdict.rule.split('.')[1]}"
    if exact_int(status) in listed:
        return verdict._replace(retryable=True, rule=rule)
    return never(verdict.code, verdict.effect, rule=rule)


def _hinted(verdict: Verdict, hint: float | None) -> Verdict:
    return verdict if hint is None or not verdict.retryable else verdict._replace(retry_after=hint)


# ---- botocore


def _named(library: str, *parts: tuple[Verdict, str]) -> Mapping[str, Verdict]:
    """Return verdicts by the names that stand beside them, each with a rule."""
    return by_code(f"cloud.{library}", *((verdict, names.split()) for verdict, names in parts))


# The service's own code counts before the status: a RequestTimeout comes as 400, and so do most throttlings.
# Source: botocore/retries/standard.py (transient and throttled codes); AWS, "Common Error Types".
_SERVICE_CODES = _named(
    "botocore",
    (
        _THROTTLED,
        "Throttling ThrottlingException ThrottledException RequestThrottledException RequestThrottled "
        "TooManyRequestsException ProvisionedThroughputExceededException RequestLimitExceeded BandwidthLimitExceeded "
        "LimitExceededException SlowDown PriorRequestNotComplete EC2ThrottledException",
    ),
    (again(ErrorCode.UNKNOWN), "TransactionInProgressException"),
    (_TIMEOUT, "RequestTimeout RequestTimeoutException"),
    (
        _DENIED,
        "AccessDenied AccessDeniedException AuthFailure ExpiredToken ExpiredTokenException IncompleteSignature "
        "InvalidAccessKeyId InvalidClientTokenId InvalidSignatureException InvalidToken MissingAuthenticationToken "
        "NotAuthorized OptInRequired SignatureDoesNotMatch UnauthorizedOperation UnrecognizedClientException",
    ),
)
# Services give the word a tail, or a name of their own before it.
_THROTTLING = re.compile(r"Throttling.*|.*ThrottlingException")
_throttling = _THROTTLED._replace(rule="cloud.botocore.Throttling*")
_AWS_STATUSES = frozenset({429, 500, 502, 503, 504})


def _item(mapping: object, name: str) -> Any:
    return dict.get(mapping, name) if issubclass(type(mapping), dict) else None  # type: ignore[call-overload]  # by its type


def _by_service_code(error: Any) -> Verdict | None:
    """What the service's own code says, otherwise the HTTP status."""
    response = read(error, "response")
    metadata = _item(response, "ResponseMetadata")
    code = _item(_item(response, "Error"), "Code")
    verdict = None
    if type(code) is str and len(code) <= _LONGEST_CODE:
        # Within an event stream the same codes begin with a small letter.
        name = code[:1].upper() + code[1:]
        verdict = _SERVICE_CODES.get(name) or (_throttling if _THROTTLING.fullmatch(name) else None)
    headers = _item(metadata, "HTTPHeaders")
    if verdict is None:
        verdict = _listed("botocore", _AWS_STATUSES, _item(metadata, "HTTPStatusCode"), headers)
    elif headers is not None:
        verdict = _hinted(verdict, parse_retry_after(headers))
    if verdict is None or not verdict.retryable or not exact_int(_item(metadata, "RetryAttempts")):
        return verdict
    if _item(metadata, "MaxAttemptsReached") is True:
        return never(ErrorCode.RETRY_EXHAUSTED, rule="cloud.botocore.MaxAttemptsReached")
    return verdict._replace(effect="unknown")  # the client has tried before, and only the last attempt is told


def _in_kwargs(default: Verdict) -> Through:
    """Return an entry that looks for the error which botocore has put into its text.

    botocore tries again by itself, and only the last attempt is told: an earlier one may have lost its reply.
    """

    def through(error: Any, look: Look) -> Verdict:
        """What the error inside says; an earlier attempt of the client's own may have had an effect."""
        inner = _item(read(error, "kwargs"), "error")
        return (look(inner, "error") or default)._replace(effect="unknown")

    return Through(through)


def _of_transfer(error: Any, look: Look) -> Verdict | None:
    """What the client's error says that the upload failed with."""
    context = read(error, "__context__")
    if any(key_of(base)[0] == "botocore" for base in lineage(type(context))):
        return look(context, "__context__")
    return None


def _by_waiter(error: Any) -> Verdict | None:
    """RETRY_EXHAUSTED where it has asked as often as it may."""
    reason = _item(read(error, "kwargs"), "reason")
    return _WORN_OUT if type(reason) is str and reason.startswith("Max attempts exceeded") else None


# Source: botocore/exceptions.py and httpsession.py. What they inherit from the requests within botocore has the same
# root, and so the same keys.
_BOTOCORE: Mapping[str, Entry] = {
    "botocore.ClientError": _by_service_code,
    "botocore.EndpointConnectionError": _in_kwargs(_UNREACHED),
    "botocore.ProxyConnectionError": _in_kwargs(_UNREACHED),
    "botocore.SSLError": _in_kwargs(_INVALID),
    "botocore.ConnectTimeoutError": _TIMEOUT,
    "botocore.ConnectionError": again(ErrorCode.NETWORK),
    "botocore.ReadTimeoutError": _TIMEOUT,
    "botocore.ConnectionClosedError": _LOST,
    "botocore.ResponseStreamingError": _LOST,
    "botocore.IncompleteReadError": _LOST,
    "botocore.HTTPClientError": _in_kwargs(again(ErrorCode.NETWORK)),
    "botocore.ChecksumError": _CORRUPT,
    "botocore.FlexibleChecksumError": _CORRUPT,
    **each(
        "botocore",
        "NoCredentialsError PartialCredentialsError CredentialRetrievalError NoAuthTokenError "
        "TokenRetrievalError SSOError LoginError RefreshWithMFAUnsupportedError",
        _DENIED,
    ),
    **each(
        "botocore",
        "ParamValidationError ValidationError MissingParametersError DataNotFoundError "
        "UnknownRegionError BaseEndpointResolverError EndpointProviderError ProfileNotFound ConfigNotFound "
        "ConfigParseError InvalidConfigError UnseekableStreamError",
        _REFUSED,
    ),
    "botocore.WaiterError": _by_waiter,
    "boto3.S3UploadFailedError": Through(_of_transfer),
    "boto3.RetriesExceededError": _WORN_OUT,
    "s3transfer.RetriesExceededError": _WORN_OUT,
}

# ---- grpc

_CANCELLED = never(ErrorCode.UNKNOWN)._replace(forbid=True)
# A server that could not be reached is UNAVAILABLE as well, but so is one that passes on what another told it: the
# effect is unknown. Source: grpc/doc/statuscodes.md.
_STATUSES = _named(
    "grpc",
    (_CANCELLED, "CANCELLED"),
    (never(ErrorCode.UNKNOWN), "UNKNOWN INTERNAL"),
    # It may be a quota, or a message that is too large: only a hint tells.
    (never(ErrorCode.NETWORK), "RESOURCE_EXHAUSTED"),
    (_INVALID, "INVALID_ARGUMENT NOT_FOUND ALREADY_EXISTS FAILED_PRECONDITION OUT_OF_RANGE UNIMPLEMENTED"),
    (_TIMEOUT, "DEADLINE_EXCEEDED"),
    (_DENIED, "PERMISSION_DENIED UNAUTHENTICATED"),
    (again(ErrorCode.UNKNOWN), "ABORTED"),
    (again(ErrorCode.NETWORK, throttled=True), "UNAVAILABLE"),
    (_CORRUPT, "DATA_LOSS"),
)
_EXHAUSTED = again(ErrorCode.NETWORK, rule="cloud.grpc.RESOURCE_EXHAUSTED.hint", throttled=True)


def _by_grpc(error: Any) -> Verdict | None:
    """What its status says (code), and the server's hint."""
    if call(error, "is_active") is True:  # its status is not there yet, and to ask for it would be to wait
        return None
    verdict = _STATUSES.get(status_name(call(error, "code")))
    return None if verdict is None else _with_pushback(verdict, server_hint(error))


def _with_pushback(verdict: Verdict, hint: float | None) -> Verdict:
    if hint == NEVER_AGAIN:
        return never(verdict.code, verdict.effect, rule="cloud.grpc.pushback") if verdict.retryable else verdict
    if hint is not None and verdict.rule == "cloud.grpc.RESOURCE_EXHAUSTED":
        verdict = _EXHAUSTED
    return _hinted(verdict, hint)


_GRPC: Mapping[str, Entry] = {
    "grpc.RpcError": _by_grpc,
    "grpc.FutureTimeoutError": _TIMEOUT,
    "grpc.FutureCancelledError": _CANCELLED,
}

# ---- google-api-core

# Source: google/api_core/retry/retry_base.py, if_transient_error; a 502 or 504 may have been applied.
_GOOGLE_STATUSES = frozenset({429, 500, 503})
# Where the status code of gRPC says more than that of HTTP, or there is none of the latter.
_GOOGLE_RPC: Mapping[str, Verdict] = {
    name: _STATUSES[name]._replace(rule=f"cloud.google.{name}")
    for name in ("ABORTED", "CANCELLED", "DATA_LOSS", "UNKNOWN")
}


def _by_google(error: Any) -> Verdict | None:
    """What the status of gRPC says, otherwise that of HTTP."""
    response = read(error, "response")
    status = status_name(read(error, "grpc_status_code"))
    verdict = _GOOGLE_RPC.get(status)
    if verdict is None:
        verdict = _listed("google", _GOOGLE_STATUSES, read(error, "code"), read(response, "headers"))
    if verdict is None or not verdict.retryable:
        return verdict
    if status == "RESOURCE_EXHAUSTED":
        if "message larger than max" in _text(read(error, "message")):  # the client's own limit
            return never(ErrorCode.INVALID_PARAM, rule="cloud.google.message_size")
        verdict = verdict._replace(effect="unknown")
    hint = retry_delay(read(error, "details"))
    return _hinted(_with_pushback(verdict, server_hint(response)), hint)


def _text(value: object) -> str:
    return value if type(value) is str else ""


def _by_google_auth(error: Any) -> Verdict:
    """NETWORK where it says that it may be retried, otherwise PERMISSION_DENIED."""
    return _UNREACHED if read(error, "retryable") is True else _DENIED


_GOOGLE: Mapping[str, Entry] = {
    "google.GoogleAPICallError": _by_google,
    "google.RetryError": _WORN_OUT,
    "google.TransportError": inside("args", "__cause__", default=_UNREACHED),
    "google.GoogleAuthError": _by_google_auth,
}

# ---- azure-core

# Source: azure/core/pipeline/policies/_retry.py, RetryPolicyBase._RETRY_CODES.
_AZURE_STATUSES = frozenset({408, 429, 500, 502, 503, 504})


def _by_azure(error: Any) -> Verdict | None:
    """What the HTTP status says (status_code)."""
    headers = read(read(error, "response"), "headers")
    verdict = _listed("azure", _AZURE_STATUSES, read(error, "status_code"), headers)
    # The client's own RetryPolicy may have tried before, and only the last attempt is told.
    return verdict._replace(effect="unknown") if verdict is not None and verdict.retryable else verdict


def _by_azure_login(error: Any) -> Verdict:
    """What the HTTP status says (status_code), otherwise PERMISSION_DENIED."""
    return _by_azure(error) or _DENIED


def _azure_attempt(default: Verdict) -> Through:
    """Return an entry for a request that got no answer: even one that was not sent, this time, may have been before."""

    def through(error: Any, look: Look) -> Verdict:
        """What the error inside says; this attempt, or an earlier one of the client's own, may have had an effect."""
        return (look(read(error, "inner_exception"), "inner_exception") or default)._replace(effect="unknown")

    return Through(through)


# Source: azure/core/exceptions.py.
_AZURE: Mapping[str, Entry] = {
    "azure.ServiceRequestTimeoutError": _azure_attempt(_TIMEOUT),
    "azure.ServiceRequestError": _azure_attempt(again(ErrorCode.NETWORK)),
    "azure.ServiceResponseTimeoutError": _TIMEOUT,
    "azure.ServiceResponseError": _azure_attempt(_LOST),
    "azure.IncompleteReadError": _LOST,
    "azure.DecodeError": _CORRUPT,
    "azure.ClientAuthenticationError": _by_azure_login,
    "azure.HttpResponseError": _by_azure,
    "azure.StreamConsumedError": _USELESS,
    "azure.StreamClosedError": _USELESS,
    "azure.ResponseNotReadError": _USELESS,
    "azure.AzureError": inside("inner_exception"),
}

# ---- openai, anthropic

# Source: _base_client.py of both, _should_retry.
_STAINLESS_STATUSES = frozenset({408, 409, 429, *range(500, 600)})
# An error within a stream comes under the stream's own status, 200. Source: Anthropic, "Errors".
_STREAM_ERRORS = {"rate_limit_error": 429, "api_error": 500, "timeout_error": 504, "overloaded_error": 529}


def _by_answer(library: str) -> Callable[[Any], Verdict | None]:
    def judge(error: Any) -> Verdict | None:
        """What the status says, unless the server itself says whether to retry."""
        status = exact_int(read(error, "status_code"))
        headers = read(read(error, "response"), "headers")
        if status == 200:
            status = _STREAM_ERRORS.get(_text(read(error, "type")))
        verdict = _listed(library, _STAINLESS_STATUSES, status, headers)
        if verdict is None:
            return None
        if _text(read(error, "code")) == "insufficient_quota":  # comes as 429, and stays until somebody pays
            return never(ErrorCode.PERMISSION_DENIED, "none", rule=f"cloud.{library}.insufficient_quota")
        told = call(headers, "get", "x-should-retry")
        if told == "true":
            verdict = _hinted(verdict._replace(retryable=True), parse_retry_after(headers))
        elif told == "false":
            verdict = never(verdict.code, verdict.effect, rule=f"cloud.{library}.x-should-retry")
        return _unless_worn_out(library, error, verdict)

    return judge


def _unless_worn_out(library: str, error: object, verdict: Verdict) -> Verdict:
    count = call(read(read(error, "request"), "headers"), "get", "x-stainless-retry-count")
    if verdict.retryable and type(count) is str and count != "0":
        return never(ErrorCode.RETRY_EXHAUSTED, verdict.effect, rule=f"cloud.{library}.retry-count")
    return verdict


def _by_connection(library: str, code: ErrorCode) -> Through:
    default = again(code)

    def through(error: Any, look: Look) -> Verdict:
        """What the error of the HTTP client says, otherwise that it is worth another attempt."""
        return _unless_worn_out(library, error, look(read(error, "__cause__"), "__cause__") or default)

    return Through(through)


def _stainless(library: str) -> Mapping[str, Entry]:
    """Return the rows of a client which Stainless has generated. Source: its _exceptions.py."""
    return {
        f"{library}.APIStatusError": _by_answer(library),
        f"{library}.APITimeoutError": _by_connection(library, ErrorCode.TIMEOUT),
        f"{library}.APIConnectionError": _by_connection(library, ErrorCode.NETWORK),
        f"{library}.APIResponseValidationError": _CORRUPT,
    }


_OTHERS: Mapping[str, Entry] = {
    "openai.LengthFinishReasonError": _INVALID,
    "openai.ContentFilterFinishReasonError": _INVALID,
    "anthropic.RetryableError": again(ErrorCode.UNKNOWN),
    "anthropic.CredentialsError": _DENIED,
}

TABLE = table(
    _BOTOCORE, _GRPC, _GOOGLE, _AZURE, _stainless("openai"), _stainless("anthropic"), _OTHERS, prefix="cloud."
)
"""Rows of the classes of botocore, boto3, grpc, google-api-core, azure-core, openai and anthropic."""

CODES = (
    Codes("botocore", "service code", _SERVICE_CODES),
    Codes("grpc", "status", _STATUSES),
    Codes("google", "gRPC status", _GOOGLE_RPC),
)
