"""The real HTTP clients against small servers on loopback; each client is skipped where it is missing."""

from __future__ import annotations

import asyncio
import http.client
import importlib
import socket
import urllib.request
import xmlrpc.client
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from servers.attempts import Attempts
from servers.common import library, need
from servers.http import CUT, HANG_UP, STALL, Web, encrypted, last_words, web

from retrywrap.classifiers import Verdict, classify

PATIENCE = 0.3
CONNECT_PATIENCE = 5
BODY = b"amount=5"

Send = Callable[..., Any]


def body_of(method: str) -> bytes | None:
    """Return what a request carries."""
    return BODY if method == "POST" else None


def load(name: str) -> Any:
    """Return a client library, or skip."""
    library(name)
    return importlib.import_module(name)


def by_requests(method: str, url: str, proxy: str | None = None) -> None:
    """Send with requests."""
    with load("requests").Session() as session:
        session.trust_env = False
        session.proxies = {} if proxy is None else {"https": proxy}
        answer = session.request(method, url, data=body_of(method), timeout=(CONNECT_PATIENCE, PATIENCE))
        answer.raise_for_status()


def by_httpx(method: str, url: str, proxy: str | None = None, name: str = "httpx") -> None:
    """Send with httpx."""
    client = load(name)
    timeout = client.Timeout(CONNECT_PATIENCE, read=PATIENCE)
    with client.Client(follow_redirects=True, trust_env=False, proxy=proxy, timeout=timeout) as session:
        session.request(method, url, content=body_of(method)).raise_for_status()


def by_httpx2(method: str, url: str, proxy: str | None = None) -> None:
    """Send with httpx2, which is httpx by another name."""
    by_httpx(method, url, proxy, "httpx2")


def by_httpx_async(method: str, url: str, proxy: str | None = None) -> None:
    """Send with httpx's other client."""
    client = load("httpx")
    timeout = client.Timeout(CONNECT_PATIENCE, read=PATIENCE)

    async def send() -> None:
        async with client.AsyncClient(follow_redirects=True, trust_env=False, proxy=proxy, timeout=timeout) as session:
            answer = await session.request(method, url, content=body_of(method))
            answer.raise_for_status()

    asyncio.run(send())


def by_aiohttp(method: str, url: str, proxy: str | None = None) -> None:
    """Send with aiohttp."""
    aiohttp = load("aiohttp")
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_PATIENCE, sock_read=PATIENCE)

    async def send() -> None:
        async with (
            aiohttp.ClientSession(timeout=timeout, raise_for_status=True) as session,
            session.request(method, url, data=body_of(method), proxy=proxy) as answer,
        ):
            await answer.read()

    asyncio.run(send())


def by_urllib3(method: str, url: str, proxy: str | None = None) -> None:
    """Send with urllib3, which tries again by itself, and does not mind a status."""
    urllib3 = load("urllib3")
    timeout = urllib3.Timeout(connect=CONNECT_PATIENCE, read=PATIENCE)
    with urllib3.PoolManager() if proxy is None else urllib3.ProxyManager(proxy) as pool:
        pool.request(method, url, body=body_of(method), timeout=timeout)


def by_urllib(method: str, url: str, proxy: str | None = None) -> None:
    """Send with urllib.request, which has one timeout for all."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({} if proxy is None else {"https": proxy}))
    with opener.open(urllib.request.Request(url, body_of(method), method=method), timeout=PATIENCE) as answer:
        answer.read()


def by_http_client(method: str, url: str, proxy: str | None = None) -> None:
    """Send with http.client, which neither follows a redirection nor minds a status."""
    parts = urlsplit(url)
    at = urlsplit(url if proxy is None else proxy)
    assert at.hostname is not None
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(at.hostname, at.port, timeout=PATIENCE)
    if proxy is not None:
        assert parts.hostname is not None
        connection.set_tunnel(parts.hostname, parts.port)
    try:
        connection.request(method, parts.path or "/", body_of(method))
        connection.getresponse().read()
    finally:
        connection.close()


CLIENTS: dict[str, Send] = {
    "requests": by_requests,
    "httpx": by_httpx,
    "httpx async": by_httpx_async,
    "httpx2": by_httpx2,
    "aiohttp": by_aiohttp,
    "urllib3": by_urllib3,
    "urllib": by_urllib,
    "http.client": by_http_client,
}
FOLLOWERS = [name for name in CLIENTS if name != "http.client"]
# Those that raise an answer's status.
STRICT = [name for name in FOLLOWERS if name != "urllib3"]
# Those whose error says which method the request had.
TELLING = [name for name in STRICT if name != "urllib"]

every_client = pytest.mark.parametrize("client", CLIENTS)
followers = pytest.mark.parametrize("client", FOLLOWERS)


@pytest.fixture
def closed() -> Iterator[int]:
    """A port where nobody listens, and that nobody else is given meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture
def server() -> Iterator[Web]:
    """A server whose paths are called for what they do."""
    answers = {
        "busy": (503, {"Retry-After": "7"}),
        "throttled": (429, {}),
        "broken": (500, {}),
        "denied": (401, {}),
        "cut": CUT,
        "hang-up": HANG_UP,
        "stall": STALL,
        "absent": (404, {}),
    }
    with web(**answers) as server:
        yield server


def verdict_of(client: str, method: str, url: str, proxy: str | None = None) -> Verdict:
    """Return the verdict on what a client raises."""
    with pytest.raises(Exception) as info:  # noqa: PT011 - each test looks at what it is
        CLIENTS[client](method, url, proxy)
    verdict = classify(info.value)
    if isinstance(info.value, urllib.request.HTTPError):
        info.value.close()
    return verdict


def judge(client: str, method: str, url: str, proxy: str | None = None) -> tuple[str, bool, str]:
    """Return code, whether it is retryable, and the effect."""
    verdict = verdict_of(client, method, url, proxy)
    return verdict.code.name, verdict.retryable, verdict.effect


@every_client
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_refused(client: str, method: str, closed: int) -> None:
    """Nobody listens: it is tried again, and surely nothing happened, however often the client itself tried."""
    assert judge(client, method, f"http://127.0.0.1:{closed}/") == ("NETWORK", True, "none")


@every_client
def test_refused_is_retried_without_idempotence(client: str, closed: int) -> None:
    """What idempotent=False is for: a POST that was never sent is sent again."""
    attempts = Attempts(lambda call: CLIENTS[client]("POST", f"http://127.0.0.1:{closed}/"), max=2, idempotent=False)
    attempts.fail()
    assert attempts.calls == 3


@pytest.mark.parametrize("client", STRICT)
def test_busy(client: str, server: Web) -> None:
    """The server's hint counts."""
    verdict = verdict_of(client, "GET", server.url("/busy"))
    assert (verdict.code.name, verdict.retryable, verdict.effect) == ("NETWORK", True, "unknown")
    assert (verdict.retry_after, verdict.throttled) == (7.0, True)


@pytest.mark.parametrize("client", STRICT)
def test_a_broken_server(client: str, server: Web) -> None:
    """A 500 is tried again where the method is known, and harmless."""
    assert judge(client, "GET", server.url("/broken")) == ("UNKNOWN", client in TELLING, "unknown")
    assert judge(client, "POST", server.url("/broken")) == ("UNKNOWN", False, "unknown")


@pytest.mark.parametrize("client", STRICT)
def test_final_answers(client: str, server: Web) -> None:
    """What the server does not have, or does not give, is not asked for again."""
    assert judge(client, "GET", server.url("/absent"))[:2] == ("INVALID_PARAM", False)
    assert judge(client, "GET", server.url("/denied")) == ("PERMISSION_DENIED", False, "none")


@every_client
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_hang_up(client: str, method: str, server: Web) -> None:
    """The server took the request, and hung up: nobody knows what happened."""
    assert judge(client, method, server.url("/hang-up")) == ("CONNECTION_LOST", True, "unknown")


@every_client
def test_cut(client: str, server: Web) -> None:
    """The answer ended in the middle."""
    assert judge(client, "POST", server.url("/cut")) == ("CONNECTION_LOST", True, "unknown")


@every_client
def test_no_answer_in_time(client: str, server: Web) -> None:
    """The answer did not come."""
    assert judge(client, "POST", server.url("/stall")) == ("TIMEOUT", True, "unknown")


@every_client
def test_tls_to_a_server_without(client: str, server: Web) -> None:
    """A server that speaks no TLS will not learn it."""
    assert judge(client, "POST", server.url("/", "https"))[:2] == ("INVALID_PARAM", False)


@every_client
def test_a_bad_certificate(client: str, tmp_path: Path) -> None:
    """A certificate that nobody has signed stays bad; nothing was sent."""
    need(binaries=["openssl"])
    with encrypted(tmp_path) as port:
        assert judge(client, "POST", f"https://127.0.0.1:{port}/") == ("PERMISSION_DENIED", False, "none")


@every_client
@pytest.mark.parametrize(
    ("status", "code", "retryable"),
    [
        (407, "PERMISSION_DENIED", False),
        (403, "PERMISSION_DENIED", False),
        (500, "UNKNOWN", False),
        (502, "NETWORK", True),
        (503, "NETWORK", True),
        (504, "TIMEOUT", True),
    ],
)
def test_a_proxy_that_makes_no_tunnel(client: str, status: int, code: str, retryable: bool) -> None:
    """The proxy's status counts; the server has got nothing."""
    with web(CONNECT=(status, {})) as proxy:
        assert judge(client, "POST", "https://example.invalid/", proxy.url("")) == (code, retryable, "none")


@every_client
def test_a_proxy_that_is_not_there(client: str, closed: int) -> None:
    """A proxy that nobody reaches gets nothing to hand on."""
    assert judge(client, "POST", "https://example.invalid/", f"http://127.0.0.1:{closed}") == ("NETWORK", True, "none")


@followers
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirected_to_nowhere(client: str, status: int, closed: int) -> None:
    """A POST was applied, and what the client was sent on to refuses: the POST is not applied again."""
    with web(pay=(status, {"Location": f"http://127.0.0.1:{closed}/done"})) as server:
        attempts = Attempts(lambda call: CLIENTS[client]("POST", server.url("/pay")), idempotent=False)
        error = attempts.fail()
        assert classify(error).effect == "unknown"
        assert server.requests == ["POST /pay"]
        if isinstance(error, urllib.request.HTTPError):  # urllib sends no body on
            error.close()


@pytest.mark.parametrize("client", STRICT)
@pytest.mark.parametrize("place", ["throttled", "denied"])
def test_redirected_to_a_refusal(client: str, place: str, server: Web) -> None:
    """A POST was applied, and what the client was sent on to says no: that says nothing of the POST."""
    server.answers["/pay"] = (303, {"Location": f"/{place}"})
    assert verdict_of(client, "POST", server.url("/pay")).effect == "unknown"
    assert verdict_of(client, "POST", server.url(f"/{place}")).effect == "none"


@followers
def test_redirected_to_a_bad_certificate(client: str, tmp_path: Path) -> None:
    """What the client finds where it was sent on to says nothing of what it sent before."""
    need(binaries=["openssl"])
    with encrypted(tmp_path) as port, web(pay=(303, {"Location": f"https://127.0.0.1:{port}/"})) as server:
        assert judge(client, "POST", server.url("/pay")) == ("PERMISSION_DENIED", False, "unknown")


def test_urllib3_hides_a_lost_reply() -> None:
    """The first try lost its reply, and the last one is refused: only urllib3's history tells."""
    load("urllib3")
    with last_words() as (port, requests):
        assert judge("urllib3", "GET", f"http://127.0.0.1:{port}/") == ("NETWORK", True, "unknown")
    assert len(requests) == 1


def test_urllib3_without_tries_of_its_own(closed: int) -> None:
    """One try is one try."""
    urllib3 = load("urllib3")
    with urllib3.PoolManager(retries=False) as pool, pytest.raises(urllib3.exceptions.NewConnectionError) as info:
        pool.request("POST", f"http://127.0.0.1:{closed}/")
    assert classify(info.value).effect == "none"


@pytest.mark.parametrize(("answered", "effect"), [(None, "none"), (0, "unknown")])
def test_requests_with_tries_of_its_own(answered: int | None, effect: str, closed: int) -> None:
    """An adapter that tries again hides a lost reply just so."""
    requests = load("requests")

    def send(port: int) -> Verdict:
        with requests.Session() as session:
            session.trust_env = False
            session.mount("http://", requests.adapters.HTTPAdapter(max_retries=3))
            with pytest.raises(requests.ConnectionError) as info:
                session.get(f"http://127.0.0.1:{port}/", timeout=5)
        return classify(info.value)

    if answered is None:
        verdict = send(closed)
    else:
        with last_words(answered) as (port, _):
            verdict = send(port)
    assert (verdict.code.name, verdict.retryable, verdict.effect) == ("NETWORK", True, effect)


def test_urllib3_returns_a_refusal_after_a_redirection(server: Web) -> None:
    """A status that is returned says no more of the request before than one that is raised."""
    server.answers["/pay"] = (303, {"Location": "/throttled"})
    with load("urllib3").PoolManager() as pool:
        for path, effect in (("/pay", "unknown"), ("/throttled", "none")):
            verdict = classify(pool.request("POST", server.url(path), body=BODY))
            assert (verdict.rule, verdict.retryable, verdict.effect) == ("http.429", True, effect)


@pytest.mark.parametrize("lost", [False, True])
def test_xmlrpc_sends_again(lost: bool, closed: int) -> None:
    """It sends a call a second time where the server hangs up, and shows only what came of that."""

    def call(port: int) -> Verdict:
        with (
            xmlrpc.client.ServerProxy(f"http://127.0.0.1:{port}/") as proxy,
            pytest.raises(ConnectionRefusedError) as info,
        ):
            proxy.pay(5)
        return classify(info.value)

    if lost:
        with last_words() as (port, requests):
            verdict = call(port)
        assert len(requests) == 1
    else:
        verdict = call(closed)
    assert (verdict.code.name, verdict.retryable, verdict.effect) == ("NETWORK", True, "unknown" if lost else "none")


def test_aiohttp_sends_again_on_a_new_connection() -> None:
    """A kept connection broke, aiohttp tried anew, and was refused: the first request may have been applied."""
    aiohttp = load("aiohttp")

    async def send(port: int) -> Exception:
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/"):
                pass
            with pytest.raises(aiohttp.ClientConnectorError) as info:
                await session.get(f"http://127.0.0.1:{port}/")
        return info.value

    with last_words(answered=1) as (port, requests):
        verdict = classify(asyncio.run(send(port)))
    assert (verdict.code.name, verdict.retryable, verdict.effect) == ("NETWORK", True, "unknown")
    assert len(requests) == 2
