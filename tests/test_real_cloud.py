"""The real clients of clouds, models and RPC against small servers on loopback; each is skipped where it is missing."""

from __future__ import annotations

import contextlib
import http.server
import importlib
import json
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import pytest
from servers.common import free_port, library, serving

from retrywrap import with_retry
from retrywrap.classifiers import classify
from retrywrap.classifiers.cloud import TABLE

Answer = tuple[int, dict[str, str], bytes]


@contextlib.contextmanager
def web(*answers: Answer) -> Iterator[str]:
    """Serve these answers in turn, the last of them for good; a status of 0 hangs up instead. Yields the URL."""
    left = list(answers)

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, headers, body = left.pop(0) if len(left) > 1 else left[0]
            self.close_connection = True
            if status:
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body)), "Connection": "close"}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_HEAD = answer

        def log_message(self, format: str, *args: object) -> None:
            pass

    with serving(Handler) as port:
        yield f"http://127.0.0.1:{port}"


def caught(operation: Callable[[], Any]) -> Exception:
    """Return what an operation raises."""
    with pytest.raises(Exception) as info:  # noqa: PT011  # which one is what the test looks at
        operation()
    assert isinstance(info.value, Exception)
    return info.value


def judge(error: Exception) -> tuple[str, str, bool, str]:
    """Return the error's class, the code, whether it is retryable, and the effect."""
    verdict = classify(error)
    return type(error).__name__, verdict.code.name, verdict.retryable, verdict.effect


@pytest.mark.parametrize(
    ("root", "modules"),
    [
        ("botocore", "botocore.exceptions"),
        ("boto3", "boto3.exceptions"),
        ("s3transfer", "s3transfer.exceptions"),
        ("grpc", "grpc"),
        ("google", "google.api_core.exceptions google.auth.exceptions"),
        ("azure", "azure.core.exceptions"),
        ("openai", "openai"),
        ("anthropic", "anthropic anthropic._exceptions"),
    ],
)
def test_classes_exist(root: str, modules: str) -> None:
    """Each class that has a row is one of the library's: a name that is none would never be asked for."""
    found = [library(module) for module in modules.split()]
    names = [key.partition(".")[2] for key in TABLE if key.startswith(f"{root}.")]
    assert names
    assert [name for name in names if not any(hasattr(module, name) for module in found)] == []


# ---- botocore


@pytest.fixture(scope="module")
def s3() -> Callable[..., Any]:
    """Makes a client of S3 that does not retry by itself."""
    session = library("botocore.session").Session()
    config = library("botocore.config")

    def make(url: str, attempts: int = 1, mode: str = "standard") -> Any:
        return session.create_client(
            "s3",
            "us-east-1",
            endpoint_url=url,
            aws_access_key_id="k",
            aws_secret_access_key="s",
            config=config.Config(
                retries={"total_max_attempts": attempts, "mode": mode}, s3={"addressing_style": "path"}, read_timeout=5
            ),
        )

    return make


def wrong(code: str, status: int, **headers: str) -> Answer:
    """Return an answer of S3 that says what went wrong."""
    return status, headers, f"<Error><Code>{code}</Code><Message>m</Message></Error>".encode()


@pytest.mark.parametrize(
    ("answer", "expected", "rule"),
    [
        (wrong("SlowDown", 503), ("NETWORK", True, "none"), "SlowDown"),
        (wrong("RequestTimeout", 400), ("TIMEOUT", True, "unknown"), "RequestTimeout"),
        (wrong("InternalError", 500), ("UNKNOWN", True, "unknown"), "500"),
        (wrong("AccessDenied", 403), ("PERMISSION_DENIED", False, "none"), "AccessDenied"),
        (wrong("ExpiredToken", 400), ("PERMISSION_DENIED", False, "none"), "ExpiredToken"),
        (wrong("NoSuchKey", 404), ("INVALID_PARAM", False, "unknown"), "404"),
        (wrong("PreconditionFailed", 412), ("INVALID_PARAM", False, "unknown"), "412"),
    ],
)
@pytest.mark.parametrize("mode", ["standard", "legacy"])
def test_s3_answers(
    s3: Callable[..., Any], mode: str, answer: Answer, expected: tuple[str, bool, str], rule: str
) -> None:
    """The service's code, else the status; with its own retries off, botocore leaves the decision to the row."""
    with web(answer) as url:
        error = caught(lambda: s3(url, mode=mode).get_object(Bucket="b", Key="k"))
    assert judge(error)[1:] == expected
    assert classify(error).rule == f"cloud.botocore.{rule}"


def test_s3_hints_and_retries(s3: Callable[..., Any]) -> None:
    """A hint comes by the headers; an upload that is told to slow down succeeds in the end."""
    with web(wrong("SlowDown", 503, **{"Retry-After": "7"})) as url:
        assert classify(caught(lambda: s3(url).get_object(Bucket="b", Key="k"))).retry_after == 7.0
    with web(wrong("SlowDown", 503, **{"x-amz-retry-after": "1"}), wrong("SlowDown", 503), (200, {}, b"")) as url:
        upload = with_retry(max=5, interval=0)(lambda: s3(url).put_object(Bucket="b", Key="k", Body=b"text"))
        assert upload()["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_s3_has_retried_already(s3: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """What botocore has retried by itself is not retried on top."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    for mode in ("standard", "legacy"):
        with web(wrong("SlowDown", 503)) as url:
            error = caught(lambda url=url, mode=mode: s3(url, 2, mode).get_object(Bucket="b", Key="k"))
        assert judge(error)[1:3] == ("RETRY_EXHAUSTED", False)


def test_s3_connections(s3: Callable[..., Any]) -> None:
    """Refused, no such host, hung up."""
    error = caught(lambda: s3(f"http://127.0.0.1:{free_port()}").get_object(Bucket="b", Key="k"))
    assert judge(error) == ("EndpointConnectionError", "NETWORK", True, "unknown")
    assert classify(error).rule == "stdlib.errno.ECONNREFUSED"
    error = caught(lambda: s3("http://no-such-host.invalid").get_object(Bucket="b", Key="k"))
    assert type(error).__name__ == "EndpointConnectionError"
    assert classify(error).rule.startswith("stdlib.socket.")
    with web((0, {}, b"")) as url:
        error = caught(lambda: s3(url).get_object(Bucket="b", Key="k"))
    assert judge(error) == ("ConnectionClosedError", "CONNECTION_LOST", True, "unknown")


def test_s3_uploads_of_boto3(s3: Callable[..., Any], tmp_path: Any) -> None:
    """boto3 wraps the client's error of an upload into one of its own."""
    boto3 = library("boto3.s3.transfer")
    (tmp_path / "file").write_bytes(b"text")
    with web(wrong("SlowDown", 503)) as url, boto3.S3Transfer(s3(url)) as transfer:
        error = caught(lambda: transfer.upload_file(str(tmp_path / "file"), "b", "k"))
    assert judge(error) == ("S3UploadFailedError", "NETWORK", True, "none")


# ---- openai, anthropic


@pytest.fixture(params=["openai", "anthropic"])
def ask(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Asks a model, by a client that does not retry by itself."""
    module = library(request.param)

    def ask(url: str, retries: int = 0) -> Any:
        if request.param == "openai":
            with module.OpenAI(api_key="k", base_url=url, max_retries=retries, timeout=5) as client:
                return client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
        with module.Anthropic(api_key="k", base_url=url, max_retries=retries, timeout=5) as client:
            return client.messages.create(model="m", max_tokens=1, messages=[{"role": "user", "content": "hi"}])

    return ask


def said(status: int, kind: str = "error", code: str | None = None, **headers: str) -> Answer:
    """Return an answer of a model's server that says what went wrong."""
    body = {"type": "error", "error": {"type": kind, "code": code, "message": "m"}}
    return status, {"Content-Type": "application/json", **headers}, json.dumps(body).encode()


@pytest.mark.parametrize(
    ("status", "retryable"),
    [
        *((status, False) for status in (400, 401, 403, 404, 422)),
        *((status, True) for status in (408, 409, 429, 500, 502, 503, 529)),
    ],
)
def test_model_statuses(ask: Callable[..., Any], status: int, retryable: bool) -> None:
    """The clients' own list of what is worth another attempt, and the server's hint."""
    with web(said(status, **{"retry-after-ms": "1500"})) as url:
        verdict = classify(caught(lambda: ask(url)))
    assert (verdict.retryable, verdict.retry_after) == (retryable, 1.5 if retryable else None)
    assert verdict.rule.endswith(f".{status}")


def test_model_server_says_whether(ask: Callable[..., Any]) -> None:
    """The server's word counts before the status."""
    with web(said(503, **{"x-should-retry": "false"})) as url:
        assert not classify(caught(lambda: ask(url))).retryable
    with web(said(400, **{"x-should-retry": "true"})) as url:
        assert classify(caught(lambda: ask(url))).retryable


def test_model_connections(ask: Callable[..., Any]) -> None:
    """Refused, hung up: the HTTP client's error is the cause."""
    error = caught(lambda: ask(f"http://127.0.0.1:{free_port()}"))
    assert judge(error) == ("APIConnectionError", "NETWORK", True, "none")
    with web((0, {}, b"")) as url:
        error = caught(lambda: ask(url))
    assert judge(error) == ("APIConnectionError", "CONNECTION_LOST", True, "unknown")


def test_model_client_has_retried_already(ask: Callable[..., Any]) -> None:
    """What the client has retried by itself is not retried on top."""
    with web(said(503, **{"retry-after-ms": "1"})) as url:
        error = caught(lambda: ask(url, retries=1))
    assert judge(error)[1:3] == ("RETRY_EXHAUSTED", False)


def test_openai_quota() -> None:
    """A quota that is used up is a 429 that waiting does not end."""
    openai = library("openai")
    with (
        web(said(429, code="insufficient_quota")) as url,
        openai.OpenAI(api_key="k", base_url=url, max_retries=0) as client,
    ):
        error = caught(client.models.list)
    assert judge(error) == ("RateLimitError", "PERMISSION_DENIED", False, "none")


def test_anthropic_error_within_a_stream() -> None:
    """An overloaded server says so within a stream whose status is 200."""
    anthropic = library("anthropic")
    event = b'event: error\ndata: {"type": "error", "error": {"type": "overloaded_error", "message": "m"}}\n\n'
    with (
        web((200, {"Content-Type": "text/event-stream"}, event)) as url,
        anthropic.Anthropic(api_key="k", base_url=url, max_retries=0) as client,
    ):
        messages = [{"role": "user", "content": "hi"}]
        error = caught(lambda: list(client.messages.create(model="m", max_tokens=1, messages=messages, stream=True)))
    assert judge(error)[1:] == ("NETWORK", True, "unknown")


# ---- azure-core


@pytest.fixture
def azure() -> Callable[[str], Any]:
    """Sends a request through a pipeline without a retry policy, and raises what azure-core's clients raise."""
    core = library("azure.core")
    rest = library("azure.core.rest")
    exceptions = library("azure.core.exceptions")
    library("requests")

    def send(url: str) -> Any:
        with core.PipelineClient(url, policies=[]) as client:
            response = client.send_request(rest.HttpRequest("GET", url))
            if response.status_code >= 400:
                raise exceptions.HttpResponseError(response=response)
            return response

    return send


@pytest.mark.parametrize(
    ("status", "retryable"),
    [
        (404, False),
        (401, False),
        (408, True),
        (429, True),
        (500, True),
        (501, False),
        (502, True),
        (503, True),
        (504, True),
    ],
)
def test_azure_statuses(azure: Callable[[str], Any], status: int, retryable: bool) -> None:
    """azure-core's own list of what is worth another attempt, and the server's hint."""
    with web((status, {"x-ms-retry-after-ms": "250"}, b"")) as url:
        verdict = classify(caught(lambda: azure(url)))
    assert (verdict.retryable, verdict.retry_after) == (retryable, 0.25 if retryable else None)


def test_azure_connections(azure: Callable[[str], Any]) -> None:
    """A request that was not sent may have been sent before, by the client's own policy; an answer may be lost."""
    error = caught(lambda: azure(f"http://127.0.0.1:{free_port()}"))
    assert judge(error) == ("ServiceRequestError", "NETWORK", True, "unknown")
    with web((0, {}, b"")) as url:
        error = caught(lambda: azure(url))
    assert judge(error) == ("ServiceResponseError", "CONNECTION_LOST", True, "unknown")


# ---- grpc, google-api-core


@pytest.fixture
def grpc_server() -> Iterator[str]:
    """A server whose method's name says what it does: a status, and with a dot the pushback. Yields its address."""
    grpc = library("grpc")

    class Handler(grpc.GenericRpcHandler):
        def service(self, details: Any) -> Any:
            status, _, pushback = details.method.rpartition("/")[2].partition(".")

            def fail(request: bytes, context: Any) -> bytes:
                if pushback:
                    context.set_trailing_metadata((("grpc-retry-pushback-ms", pushback),))
                if status == "SLOW":
                    context.add_callback(ended.set)
                    ended.wait(20)
                context.abort(grpc.StatusCode[status], "text")
                return b""

            return grpc.unary_unary_rpc_method_handler(fail)

    ended = threading.Event()
    pool = futures.ThreadPoolExecutor(4)
    server = grpc.server(pool, handlers=[Handler()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    ended.set()
    server.stop(0).wait()
    pool.shutdown()


def rpc(address: str, method: str, **options: Any) -> Exception:
    """Return what a call raises."""
    grpc = importlib.import_module("grpc")
    # Without this, the client itself retries what the server pushes back.
    with grpc.insecure_channel(address, options=[("grpc.enable_retries", 0)]) as channel:
        return caught(lambda: channel.unary_unary(f"/service/{method}")(b"", **options))


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("UNAVAILABLE", ("NETWORK", True, None)),
        ("ABORTED", ("UNKNOWN", True, None)),
        ("INTERNAL", ("UNKNOWN", False, None)),
        ("UNKNOWN", ("UNKNOWN", False, None)),
        ("DATA_LOSS", ("DATA_CORRUPTION", False, None)),
        ("FAILED_PRECONDITION", ("INVALID_PARAM", False, None)),
        ("UNAUTHENTICATED", ("PERMISSION_DENIED", False, None)),
        ("CANCELLED", ("UNKNOWN", False, None)),
        ("RESOURCE_EXHAUSTED", ("NETWORK", False, None)),
        ("RESOURCE_EXHAUSTED.1500", ("NETWORK", True, 1.5)),
        ("UNAVAILABLE.20", ("NETWORK", True, 0.02)),
        ("UNAVAILABLE.-1", ("NETWORK", False, None)),
    ],
)
def test_grpc_statuses(grpc_server: str, method: str, expected: tuple[str, bool, float | None]) -> None:
    """The status, and what the server pushes back; google-api-core's error of it has the same hint."""
    error = rpc(grpc_server, method)
    verdict = classify(error)
    assert (verdict.code.name, verdict.retryable, verdict.retry_after) == expected


def test_grpc_connections(grpc_server: str) -> None:
    """Refused, and not in time."""
    assert judge(rpc(f"127.0.0.1:{free_port()}", "any"))[1:] == ("NETWORK", True, "unknown")
    assert judge(rpc(grpc_server, "SLOW", timeout=0.1))[1:] == ("TIMEOUT", True, "unknown")


def test_google_errors_of_calls(grpc_server: str) -> None:
    """google-api-core makes its own errors of gRPC's: what its own retries would take counts, with the same hint."""
    exceptions = library("google.api_core.exceptions")
    found = {}
    for method in (
        "UNAVAILABLE.20",
        "UNAVAILABLE.-1",
        "INTERNAL",
        "RESOURCE_EXHAUSTED",
        "ABORTED",
        "DEADLINE_EXCEEDED",
    ):
        error = exceptions.from_grpc_error(rpc(grpc_server, method))
        found[method] = (type(error).__name__, *classify(error)[2:4])
    assert found == {
        "UNAVAILABLE.20": ("ServiceUnavailable", True, 0.02),
        "UNAVAILABLE.-1": ("ServiceUnavailable", False, None),
        "INTERNAL": ("InternalServerError", True, None),
        "RESOURCE_EXHAUSTED": ("ResourceExhausted", True, None),
        "ABORTED": ("Aborted", True, None),
        "DEADLINE_EXCEEDED": ("DeadlineExceeded", False, None),
    }


def test_google_rest_errors() -> None:
    """Over HTTP the delay stands in the body."""
    requests = library("requests")
    exceptions = library("google.api_core.exceptions")
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"}
    body = json.dumps({"error": {"code": 429, "message": "m", "details": [info]}}).encode()
    with web((429, {"Content-Type": "application/json"}, body)) as url:
        error = exceptions.from_http_response(requests.get(url, timeout=5))
    assert classify(error)[2:4] == (True, 34.5)
    for status, retryable in ((500, True), (502, False), (503, True), (504, False), (404, False)):
        assert classify(exceptions.from_http_status(status, "m")).retryable is retryable
    cause = exceptions.ServiceUnavailable("m")
    assert judge(exceptions.RetryError("m", cause))[1:3] == ("RETRY_EXHAUSTED", False)


def test_google_retry_info_of_real_messages() -> None:
    """A delay that a server packed with the real library is read without it."""
    details = library("google.rpc.error_details_pb2")
    status_pb2 = library("google.rpc.status_pb2")
    info = details.RetryInfo()
    info.retry_delay.FromMilliseconds(2500)
    status = status_pb2.Status(code=8, message="m")
    status.details.add().Pack(details.DebugInfo(detail="x"))
    status.details.add().Pack(info)
    trailers = (("grpc-status-details-bin", status.SerializeToString()),)
    grpc = library("grpc")

    class Failed(grpc.RpcError):
        __module__ = "grpc"

        def code(self) -> Any:
            return grpc.StatusCode.RESOURCE_EXHAUSTED

        def trailing_metadata(self) -> Any:
            return trailers

    assert classify(Failed())[2:4] == (True, 2.5)
    exceptions = library("google.api_core.exceptions")
    assert classify(exceptions.ServiceUnavailable("m", details=[info])).retry_after == 2.5
