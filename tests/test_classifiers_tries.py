"""What an HTTP client's error says of requests before the one that failed, told by the way that it came up."""

from __future__ import annotations

import concurrent.futures.process
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from retrywrap.classifiers import classify

REFUSED = ConnectionRefusedError(111, "Connection refused")


def fake(name: str, *bases: type) -> type[Exception]:
    """Return a class that looks like a library's: ``"httpx.ConnectTimeout"``."""
    module, _, own = name.rpartition(".")
    return type(own, bases or (Exception,), {"__module__": module})


TIMEOUT = fake("httpx.ConnectTimeout")
MAX_RETRY = fake("urllib3.exceptions.MaxRetryError")
NEW_CONNECTION = fake("urllib3.exceptions.NewConnectionError")


def holding(error: Exception, **names: object) -> Exception:
    """Return an error with attributes."""
    error.__dict__.update(names)
    return error


class Entry(NamedTuple):
    """An entry of urllib3's history."""

    error: Exception | None


def through(place: str, code: str, **names: Any) -> Callable[[Exception], Exception]:
    """Return what raises an error out of a function of a library's module, and returns the error.

    Args:
        place: The function: ``"httpx._client.send"``.
        code: What it does before, a line.
        **names: What the line may use.
    """
    module, _, function = place.rpartition(".")
    space: dict[str, Any] = {**names, "__name__": module}
    exec(f"def {function}(error, again=0):\n    {code}\n    raise error", space)

    def run(error: Exception) -> Exception:
        with pytest.raises(type(error)) as info:
            space[function](error)
        return info.value

    return run


def effect(error: Exception) -> str:
    """Return what is said of an error's effect."""
    return classify(error).effect


@pytest.mark.parametrize(
    ("place", "code", "expected"),
    [
        ("requests.sessions.send", "pass", "none"),
        ("requests.sessions.resolve_redirects", "pass", "unknown"),
        ("urllib.request.http_error_302", "pass", "unknown"),
        ("somebody.else.resolve_redirects", "pass", "none"),
        *(
            (f"{module}._client._send_handling_redirects", code, expected)
            for module in ("httpx", "httpx2")
            for code, expected in (
                ("history = []", "none"),
                ("history = ['an answer']", "unknown"),
                ("history = ()", "unknown"),
                ("pass", "unknown"),
            )
        ),
        ("aiohttp.client._request", "history = []", "none"),
        ("aiohttp.client._request", "history = ['an answer']", "unknown"),
        ("aiohttp.client._request", "history, method, retry_persistent_connection = [], 'GET', True", "none"),
        ("aiohttp.client._request", "history, method, retry_persistent_connection = [], 'get', False", "unknown"),
        ("aiohttp.client._request", "history, method, retry_persistent_connection = [], 'POST', False", "none"),
        ("aiohttp.client._request", "history, method, retry_persistent_connection = [], None, False", "unknown"),
        ("xmlrpc.client.request", "i = 0", "none"),
        ("xmlrpc.client.request", "i = 1", "unknown"),
        ("xmlrpc.client.request", "pass", "unknown"),
        ("urllib3.connectionpool.urlopen", "pass", "none"),
        ("urllib3.connectionpool.urlopen", "if not again: urlopen(error, 1)", "unknown"),
        ("urllib3.poolmanager.urlopen", "if not again: urlopen(error, 1)", "unknown"),
    ],
)
def test_ways_up(place: str, code: str, expected: str) -> None:
    """The client's own functions show whether an answer came before; where they do not, it may have."""
    assert effect(through(place, code)(TIMEOUT("x"))) == expected


def test_one_call_that_is_passed_twice() -> None:
    """An error that is raised anew comes through the same call twice: that is no second request."""
    error = NEW_CONNECTION("x")
    again = "try:\n        raise error\n    except Exception:\n        raise error.with_traceback(error.__traceback__)"
    assert effect(through("urllib3.connectionpool.urlopen", again)(error)) == "none"


def test_a_proxy_manager() -> None:
    """Two functions of one name are no recursion."""
    inner: dict[str, Any] = {"__name__": "urllib3.poolmanager"}
    exec("def urlopen(error):\n    raise error", inner)
    outer = through("urllib3.poolmanager.urlopen", "inner(error)", inner=inner["urlopen"])
    assert effect(outer(NEW_CONNECTION("x"))) == "none"


def test_an_error_that_never_came_up() -> None:
    """An error that was only made means what its class does."""
    assert effect(TIMEOUT("x")) == "none"


def test_an_error_from_another_process() -> None:
    """It has lost its way up."""
    error = TIMEOUT("x")
    error.__cause__ = concurrent.futures.process._RemoteTraceback("lines")
    assert effect(error) == "unknown"


def test_a_way_too_long() -> None:
    """Where not all of it is read, nothing is sure."""

    def deep(left: int, error: Exception) -> None:
        if left:
            deep(left - 1, error)
        raise error

    found = {}
    for depth in (500, 950, 1100):
        error = TIMEOUT("x")
        with pytest.raises(TIMEOUT):
            in_slices(deep, depth, error)
        found[depth] = effect(error)
    assert found == {500: "none", 950: "none", 1100: "unknown"}
    tries = holding(MAX_RETRY("x"), reason=REFUSED)
    with pytest.raises(MAX_RETRY):
        in_slices(deep, 1100, tries)
    assert effect(tries) == "unknown"


def in_slices(deep: Callable[[int, Exception], None], depth: int, error: Exception) -> None:
    """Make a traceback of some depth, which may be more than the interpreter's stack takes."""
    while depth > 0:
        try:
            deep(min(depth, 300), error)
        except Exception:
            depth -= 300
    raise error


def test_frames_that_were_cleared() -> None:
    """A cleared frame tells nothing."""
    error = through("aiohttp.client._request", "history = []")(TIMEOUT("x"))
    traceback.clear_frames(error.__traceback__)
    assert effect(error) == "unknown"


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ((REFUSED,), "none"),
        ((REFUSED, REFUSED), "none"),
        ((REFUSED,) * 100, "none"),
        ((REFUSED,) * 101, "unknown"),
        ((ConnectionResetError(104, "x"), REFUSED), "unknown"),
        ((None, REFUSED), "unknown"),  # an answer: a redirection, or a status that is tried again
        ((), "unknown"),
    ],
)
def test_the_tries_of_urllib3(history: tuple[Exception | None, ...], expected: str) -> None:
    """Without effect is only what no try had an effect of."""
    error = holding(MAX_RETRY("x"), reason=REFUSED)
    entries = tuple(Entry(each) for each in history)
    raised = through("urllib3.util.retry.increment", "history = entries", entries=entries)(error)
    verdict = classify(raised)
    assert (verdict.rule, verdict.retryable, verdict.effect) == ("stdlib.errno.ECONNREFUSED", True, expected)


def test_tries_that_nothing_tells_of() -> None:
    """Without urllib3's history nobody knows how often it tried."""
    for raised in (lambda error: error, through("urllib3.connectionpool.urlopen", "history = ('x',)")):
        assert effect(raised(holding(MAX_RETRY("x"), reason=REFUSED))) == "unknown"
    assert classify(MAX_RETRY("x")).rule == "unknown"


@pytest.mark.parametrize(
    ("text", "code", "retryable", "expected"),
    [
        ("407 Proxy Authentication Required", "PERMISSION_DENIED", False, "none"),
        ("407", "PERMISSION_DENIED", False, "none"),
        ("503 Service Unavailable", "NETWORK", True, "none"),
        ("504 Gateway Timeout", "TIMEOUT", True, "none"),
        ("4070", "NETWORK", True, "none"),
        ("302 Found", "NETWORK", True, "none"),
        ("Proxy Server could not connect: Connection refused.", "NETWORK", True, "none"),
        ("Invalid username/password", "PERMISSION_DENIED", False, "none"),
        (503, "NETWORK", True, "none"),
    ],
)
def test_tunnels_of_httpx(text: object, code: str, retryable: bool, expected: str) -> None:
    """A proxy that makes no tunnel says why in a text, and has handed nothing on."""
    for name in ("httpx.ProxyError", "httpcore.ProxyError"):
        verdict = classify(fake(name)(text))
        assert (verdict.code.name, verdict.retryable, verdict.effect) == (code, retryable, expected)
    assert classify(fake("httpx.ProxyError")()).code.name == "NETWORK"


@pytest.mark.parametrize(
    ("text", "rule", "retryable"),
    [
        ("Tunnel connection failed: 407 Proxy Authentication Required", "http.407.proxy", False),
        ("Tunnel connection failed: 503 Busy", "http.503.proxy", True),
        ("Tunnel connection failed: 302 Found", "unknown", False),
        ("Tunnel connection failed: what?", "unknown", False),
    ],
)
def test_tunnels_of_http_client(text: str, rule: str, retryable: bool) -> None:
    """The standard library says it in an OSError without a number."""
    verdict = classify(OSError(text))
    assert (verdict.rule, verdict.retryable) == (rule, retryable)
    assert verdict.effect == ("unknown" if rule == "unknown" else "none")


def test_tunnels_of_aiohttp() -> None:
    """aiohttp keeps the proxy's status; an answer that is no HTTP came from the proxy too."""
    proxy = fake("aiohttp.ClientHttpProxyError", fake("aiohttp.ClientResponseError"))
    error = proxy("x")
    assert classify(error).rule == "unknown"
    verdict = classify(holding(error, status=503))
    assert (verdict.retryable, verdict.effect) == (True, "none")


@pytest.mark.parametrize(("history", "expected"), [((), "none"), ([], "none"), (["an answer"], "unknown"), (3, "none")])
def test_answers_after_a_redirection(history: object, expected: str) -> None:
    """What an answer says of its own request says nothing of the requests before it."""
    assert effect(holding(fake("somebody.Error")("x"), status_code=429, history=history)) == expected
    tries = holding(Exception(), history=history)
    assert effect(holding(fake("somebody.Error")("x"), status_code=429, retries=tries)) == expected
