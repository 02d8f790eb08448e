"""HTTP statuses, the server's hints, and where the clients keep both."""

from __future__ import annotations

import email.message
import enum
import http.client
import io
import time
import urllib.error
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrywrap.classifiers import classify, parse_retry_after
from retrywrap.classifiers.http import by_attributes, by_status
from retrywrap.codes import ErrorCode

YEAR = 31_536_000.0

TABLE = [
    (400, "INVALID_PARAM", False, "unknown"),
    (401, "PERMISSION_DENIED", False, "none"),
    (403, "PERMISSION_DENIED", False, "none"),
    (404, "INVALID_PARAM", False, "unknown"),
    (407, "PERMISSION_DENIED", False, "none"),
    (408, "TIMEOUT", True, "unknown"),
    (409, "UNKNOWN", False, "unknown"),
    (412, "INVALID_PARAM", False, "unknown"),
    (421, "NETWORK", True, "none"),
    (423, "UNKNOWN", False, "unknown"),
    (425, "NETWORK", True, "none"),
    (429, "NETWORK", True, "none"),
    (499, "INVALID_PARAM", False, "unknown"),
    (500, "UNKNOWN", False, "unknown"),
    (501, "INVALID_PARAM", False, "unknown"),
    (502, "NETWORK", True, "unknown"),
    (503, "NETWORK", True, "unknown"),
    (504, "TIMEOUT", True, "unknown"),
    (505, "INVALID_PARAM", False, "unknown"),
    (507, "DISK_FULL", False, "unknown"),
    (520, "UNKNOWN", False, "unknown"),
    (529, "NETWORK", True, "unknown"),
    (599, "UNKNOWN", False, "unknown"),
]


class Thing:
    """An object with the attributes that it is given."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


class Failed(Exception):
    """An exception with the attributes that it is given."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__("failed")
        self.__dict__.update(attributes)


@pytest.mark.parametrize(("status", "code", "retryable", "effect"), TABLE)
def test_table(status: int, code: str, retryable: bool, effect: str) -> None:
    """Each status means what the table says, and its rule is named after it."""
    verdict = by_status(status)
    assert verdict is not None
    assert (verdict.code.name, verdict.retryable, verdict.effect) == (code, retryable, effect)
    assert verdict.rule == f"http.{status}"
    assert verdict.throttled == (status in {429, 503, 529})


@pytest.mark.parametrize("status", [0, 200, 302, 399, 600, -503, "503", 503.0, True, None])
def test_what_is_no_error_status(status: object) -> None:
    """Only an int between 400 and 599 is an HTTP error."""
    assert by_status(status) is None
    assert classify(Failed(status_code=status)).rule == "unknown"


@pytest.mark.parametrize("status", [500, 506, 520, 599])
@pytest.mark.parametrize("method", ["GET", "get", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"])
def test_server_error_on_an_idempotent_method(status: int, method: str) -> None:
    """A 500, and any 5xx that no table knows, is retryable where the method is idempotent; the effect stays unknown."""
    verdict = by_status(status, None, method)
    assert verdict is not None
    assert (verdict.code, verdict.retryable, verdict.effect) == (ErrorCode.UNKNOWN, True, "unknown")
    assert verdict.rule == f"http.{status}.idempotent"


@pytest.mark.parametrize("method", ["POST", "PATCH", "CONNECT", "", None, 5, b"GET"])
def test_server_error_on_any_other_method(method: object) -> None:
    """On a method that is not idempotent, or unknown, a 500 is not retried."""
    verdict = by_status(500, None, method)
    assert verdict is not None
    assert (verdict.retryable, verdict.rule) == (False, "http.500")


@pytest.mark.parametrize(
    "headers",
    [
        {"Retry-After": "7"},
        {"retry-after": " 7 "},
        {"RETRY-AFTER": 7},
        {b"Retry-After": b"7"},
        [("Retry-After", "7")],
        [(b"retry-after", b"7"), ("Retry-After", "9")],
        {"retry-after-ms": "7000", "Retry-After": "9"},
        {"x-ms-retry-after-ms": "7000"},
        {"X-Amz-Retry-After": "7000"},
        {"x-ms-retry-after-ms": "9", "retry-after-ms": "7000"},
        {"retry-after-ms": "soon", "Retry-After": "7"},
        {"retry-after-ms": "7000.0"},
    ],
)
def test_seconds_to_wait(headers: object) -> None:
    """The hint is found under each name, in any case, in text and bytes, milliseconds before seconds."""
    assert parse_retry_after(headers) == 7.0


def test_an_email_message_as_headers() -> None:
    """The headers of http.client, which urllib hands out, are read too."""
    headers = http.client.parse_headers(io.BytesIO(b"Retry-After: 3\r\nX: y\r\n\r\n"))
    assert parse_retry_after(headers) == 3.0


class Text(str):
    """A str of a class of its own, as some clients hand them out."""


@pytest.mark.parametrize(
    ("name", "value"), [(b"Retry-After", b"5"), (Text("Retry-After"), Text("5")), ("Retry-After", 5)]
)
def test_a_hint_in_whatever_holds_text(name: object, value: object) -> None:
    """Names and values may be bytes, or of a class that derives from str; a value may be a number."""
    assert parse_retry_after({name: value}) == 5.0


@pytest.mark.parametrize(
    "value",
    ["-1", "1.5", "+5", "1e3", "soon", "", " ", "NaN", "inf", "0x10", "١٢", "5 5", "Sun, 99 Nov 2094 08:49:37 GMT",
     "Sun, 06 Foo 2094 08:49:37 GMT", "Sunday", "06 Nov 2094 08:49:37",
     "2094-11-06 08:49:37", "Sun, 06 Nov 99999999 08:49:37 GMT", None, [], 2.5],
)  # fmt: skip
def test_garbage_is_no_hint(value: object) -> None:
    """What is neither whole seconds nor a date, or is negative, counts as no hint."""
    assert parse_retry_after({"Retry-After": value}) is None


@pytest.mark.parametrize("headers", [None, 5, "Retry-After: 5", {}, [1], [("a",)], object(), {"Other": "5"}])
def test_headers_without_a_hint(headers: object) -> None:
    """No headers, other headers, and what cannot be headers at all hold no hint."""
    assert parse_retry_after(headers) is None


@pytest.mark.parametrize(
    "date", ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
)
def test_dates(date: str) -> None:
    """The three forms of an HTTP-date count from the time given; one that is over means at once."""
    then = 784_111_777.0
    assert parse_retry_after({"Retry-After": date}, then - 90) == 90.0
    assert parse_retry_after({"Retry-After": date}, then) == 0.0
    assert parse_retry_after({"Retry-After": date}, then + 1) == 0.0


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the time zone cannot be set")
def test_a_date_is_in_universal_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A date without a zone, as one form of it is, is not in the zone of this machine."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert parse_retry_after({"Retry-After": "Sun Nov  6 08:49:37 1994"}, 784_111_770.0) == 7.0
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_date_counts_from_the_system_clock() -> None:
    """Without a time given, the system's clock says what time it is."""
    future = formatdate(4_000_000_000, usegmt=True)
    assert parse_retry_after({"Retry-After": future}) == YEAR
    assert parse_retry_after({"Retry-After": "Sun, 06 Nov 1994 08:49:37 GMT"}) == 0.0


@pytest.mark.parametrize("value", ["9" * 12, "9" * 90, "9" * 5000, "Sun, 06 Nov 9994 08:49:37 GMT"])
def test_a_hostile_hint_is_capped(value: str) -> None:
    """However long a server asks to wait, the hint is at most a year, and finite."""
    assert parse_retry_after({"Retry-After": value}, 0.0) == YEAR
    assert parse_retry_after({"retry-after-ms": "9" * 90}) == YEAR


def test_headers_without_an_end() -> None:
    """Only so many headers are looked at."""

    def endless() -> Any:
        while True:
            yield "X", "y"

    assert parse_retry_after(endless()) is None


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["Retry-After", "retry-after-ms"]), st.text() | st.integers() | st.binary()))
def test_any_value_gives_a_sane_hint(headers: dict[str, object]) -> None:
    """Whatever the header holds: None, or seconds between none and a year."""
    seconds = parse_retry_after(headers)
    assert seconds is None or 0.0 <= seconds <= YEAR


@pytest.mark.parametrize("status", [403, 429, 503, 500, 404])
def test_the_hint_comes_with_the_verdict(status: int) -> None:
    """Each error status carries the hint, so that who opts in to retry a 403 waits as the server asks."""
    verdict = by_status(status, {"retry-after": "12"})
    assert verdict is not None
    assert verdict.retry_after == 12.0


def test_attributes_of_the_answer_come_first() -> None:
    """`response.status_code`, then `status_code`, then `status`; the headers are those of whatever held the status."""
    answer = Thing(status_code=429, headers={"Retry-After": "3"})
    verdict = classify(Failed(response=answer, status_code=404, status=501, headers={"Retry-After": "9"}))
    assert (verdict.rule, verdict.retry_after) == ("http.429", 3.0)
    assert classify(Failed(status_code=404, status=501)).rule == "http.404"
    verdict = classify(Failed(response=None, status=503, headers={"Retry-After": "9"}))
    assert (verdict.rule, verdict.retry_after) == ("http.503", 9.0)


def test_a_status_that_is_no_error_does_not_hide_another() -> None:
    """An answer with status 200, or with a text as its status, leaves the word to the next attribute."""
    assert classify(Failed(response=Thing(status_code=200), status=503)).rule == "http.503"
    assert classify(Failed(response=Thing(status_code="503"), status_code=504)).rule == "http.504"


def test_an_enum_is_an_int() -> None:
    """`http.HTTPStatus` counts as the number that it is."""
    assert classify(Failed(status_code=http.HTTPStatus.BAD_GATEWAY)).rule == "http.502"
    assert classify(Failed(status_code=enum.Enum("Code", {"A": 502})(502))).rule == "unknown"


def test_an_answer_that_is_false_is_an_answer() -> None:
    """The answers of requests are false when their status is an error; nobody asks."""

    class Answer(Thing):
        def __bool__(self) -> bool:
            return False

    assert classify(Failed(response=Answer(status_code=503))).rule == "http.503"


def test_the_method_of_requests_and_httpx() -> None:
    """The method stands in the answer's request, or in the error's."""
    assert classify(Failed(response=Thing(status_code=500, request=Thing(method="GET")))).retryable
    assert not classify(Failed(response=Thing(status_code=500, request=Thing(method="POST")))).retryable
    assert classify(Failed(response=Thing(status_code=500), request=Thing(method="PUT"))).retryable


def test_the_method_of_aiohttp() -> None:
    """The method of an aiohttp error stands in its request_info; a `.code` that warns is never read."""

    class Response(Failed):
        @property
        def code(self) -> int:
            raise DeprecationWarning("use status")

    assert classify(Response(status=500, request_info=Thing(method="GET"))).rule == "http.500.idempotent"
    assert classify(Response(status=500, request_info=Thing(method="POST"))).rule == "http.500"


def test_a_request_that_cannot_be_read() -> None:
    """Where httpx has no request, reading it raises; then the method is unknown."""

    class Response(Thing):
        @property
        def request(self) -> Any:
            raise RuntimeError("The request instance has not been set on this response.")

    assert classify(Failed(response=Response(status_code=500))).rule == "http.500"
    assert classify(Failed(response=Response(status_code=503, headers={"Retry-After": "1"}))).retry_after == 1.0


def test_an_answer_that_was_returned() -> None:
    """An answer carries its method itself, as that of aiohttp does, or in its request."""
    verdict = by_attributes(Thing(status=500, method="HEAD"))
    assert verdict is not None
    assert verdict.rule == "http.500.idempotent"


def test_neither_code_nor_errno_is_a_status() -> None:
    """AMQP's reply codes and others collide with HTTP's; only the three attributes count."""
    assert classify(Failed(code=503, errno=503, reply_code=503, returncode=503)).rule == "unknown"


def test_http_error_of_urllib() -> None:
    """urllib's HTTPError keeps its status in `.code`, and the hint in its headers."""
    headers = email.message.Message()
    headers["Retry-After"] = "30"
    error = urllib.error.HTTPError("http://h/", 503, "Service Unavailable", headers, None)
    verdict = classify(error)
    error.close()
    assert (verdict.rule, verdict.retry_after, verdict.throttled) == ("http.503", 30.0, True)
    assert verdict.message == "HTTP Error 503: Service Unavailable"
