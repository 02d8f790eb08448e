"""HTTP: what a status means, when the server wants to be asked again, and where clients keep both."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from retrywrap.classifiers.guard import exact_int, read
from retrywrap.classifiers.rows import again, never
from retrywrap.classifiers.verdict import Effect, Verdict
from retrywrap.codes import ErrorCode
from retrywrap.locks import importing

__all__ = ["BY_STATUS", "IDEMPOTENT", "by_attributes", "by_proxy_status", "by_status", "parse_retry_after"]

IDEMPOTENT = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PUT", "TRACE"})
"""The methods that may be sent again without harm. Source: RFC 9110, section 9.2.2."""

_LONGEST_HINT = 31_536_000.0  # a year, in seconds
_MOST_HEADERS = 1000
_LONGEST_HEADER = 100
_MILLISECONDS = ("retry-after-ms", "x-ms-retry-after-ms", "x-amz-retry-after")
_NAMES = frozenset({"retry-after", *_MILLISECONDS})
_LENGTHS = frozenset(map(len, _NAMES))
_DIGITS = re.compile(r"[0-9]+")
_DECIMAL = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_STATUS = re.compile(r"[0-9]{3} ?")
_DATE = re.compile(r"[A-Z][a-z]{2,8},? [\w :-]{12,30}")


def _rows() -> dict[int, Verdict]:
    """Return the table by status. Source: RFC 9110, RFC 6585 (429), RFC 8470 (425), RFC 4918 (423, 507)."""
    rows = {status: never(ErrorCode.INVALID_PARAM) for status in (*range(400, 500), 501, 505)}
    rows |= {status: again(ErrorCode.TIMEOUT) for status in (408, 504)}
    rows |= {status: never(ErrorCode.PERMISSION_DENIED, "none") for status in (401, 403, 407)}
    rows |= {status: never(ErrorCode.UNKNOWN) for status in (409, 423)}
    rows |= {status: again(ErrorCode.NETWORK, "none") for status in (421, 425)}
    rows |= {status: again(ErrorCode.NETWORK, _rejected(status), throttled=True) for status in (429, 503, 529)}
    rows[502] = again(ErrorCode.NETWORK)
    rows[507] = never(ErrorCode.DISK_FULL)
    return {status: verdict._replace(rule=f"http.{status}") for status, verdict in rows.items()}


def _rejected(status: int) -> Effect:
    return "none" if status == 429 else "unknown"


BY_STATUS: Mapping[int, Verdict] = _rows()
"""The table by status; a status of the server's, 500 to 599, that is not in it is judged by the request's method."""


def by_status(status: object, headers: object = None, method: object = None) -> Verdict | None:
    """Return what an HTTP status means; None for what is none between 400 and 599.

    Args:
        status: The status, which must be an int.
        headers: The answer's headers, for the server's hint.
        method: The request's method. A 500, and any 5xx that no table knows, is retryable only if this is known and
            idempotent: vendors disagree on what it says of the request.
    """
    number = exact_int(status)
    if number is None or not 400 <= number <= 599:
        return None
    verdict = BY_STATUS.get(number) or _server_error(number, method)
    hint = None if headers is None else parse_retry_after(headers)
    return verdict if hint is None else verdict._replace(retry_after=hint)


def by_proxy_status(text: object, start: str = "") -> Verdict | None:
    """Return what it means that a proxy made no tunnel: whatever its status says, the server got no request.

    Args:
        text: The error's: ``"407 Proxy Authentication Required"``.
        start: What stands before the status.
    """
    if type(text) is not str or not text.startswith(start):
        return None
    word = text[len(start) : len(start) + 4]
    verdict = by_status(int(word)) if _STATUS.fullmatch(word) else None
    return None if verdict is None else verdict._replace(effect="none", rule=f"{verdict.rule}.proxy")


def _server_error(status: int, method: object) -> Verdict:
    idempotent = type(method) is str and method.upper() in IDEMPOTENT
    rule = f"http.{status}.idempotent" if idempotent else f"http.{status}"
    return Verdict(ErrorCode.UNKNOWN, retryable=idempotent, rule=rule)


def by_attributes(thing: object) -> Verdict | None:
    """What the HTTP status says that an error, or an answer, carries; None where it carries none.

    Looks at ``response.status_code``, ``status_code`` and ``status``, where only an int counts. Never asks whether an
    answer is true: an answer of requests with an error status is not.
    """
    response = read(thing, "response")
    for carrier, name in ((response, "status_code"), (thing, "status_code"), (thing, "status")):
        status = None if carrier is None else read(carrier, name)
        number = None if status is None else exact_int(status)  # most have none, and a question to None costs
        if number is not None and 400 <= number <= 599:
            method = None if number in BY_STATUS else _method(response, thing)
            verdict = by_status(number, read(carrier, "headers"), method)
            return verdict if verdict is None or verdict.effect != "none" else _unless_redirected(carrier, verdict)
    return None


def _unless_redirected(carrier: object, verdict: Verdict) -> Verdict:
    """Return the verdict on an answer; where a redirection led to it, the request before may have been applied."""
    for history in (read(carrier, "history"), read(read(carrier, "retries"), "history")):  # the latter is urllib3's
        if type(history) in (list, tuple) and history:
            return verdict._replace(effect="unknown")
    return verdict


def _method(*carriers: object) -> Any:
    for carrier in carriers:
        for name in ("request", "request_info"):
            method = read(read(carrier, name), "method")
            if type(method) is str:
                return method
    return read(carriers[-1], "method")


def parse_retry_after(headers: object, now: float | None = None) -> float | None:
    """Return how many seconds a server asks to wait.

    Looks at ``retry-after-ms``, ``x-ms-retry-after-ms`` and ``x-amz-retry-after`` (milliseconds), then at
    ``Retry-After`` (whole seconds, or an HTTP-date; RFC 9110, section 10.2.3).

    Args:
        headers: A mapping, or pairs, of names in any case to text or bytes.
        now: Seconds since the epoch, which a date is counted from; by default the system's clock says.

    Returns:
        Seconds, at most a year; 0.0 for a date that is over; None where there is no such header, or it is unreadable
        or negative.

    Raises:
        TypeError: `now` is no number.
        ValueError: `now` is NaN or infinite.
    """
    if now is not None and (type(now) not in (int, float) or not -math.inf < now < math.inf):
        kind = TypeError if type(now) not in (int, float) else ValueError
        raise kind(f"now must be seconds since the epoch, a finite number, or None; got {now!r:.80}")
    try:
        found = _relevant(headers)
    except Exception:  # the headers may be anything
        return None
    if not found:
        return None
    for name in _MILLISECONDS:
        seconds = _number(found[name], _DECIMAL) if name in found else None
        if seconds is not None:
            return min(seconds / 1000, _LONGEST_HINT)
    text = found.get("retry-after", "")
    seconds = _number(text, _DIGITS)
    if seconds is None and _DATE.fullmatch(text):
        seconds = _until(text, time.time() if now is None else now)
    return None if seconds is None else min(seconds, _LONGEST_HINT)


def _relevant(headers: Any) -> Mapping[str, str]:
    pairs: Iterable[tuple[Any, Any]] = headers.items() if hasattr(headers, "items") else headers
    found: dict[str, str] = {}
    for name, value in islice(pairs, _MOST_HEADERS):
        if type(name) is str and len(name) not in _LENGTHS:  # an answer has many headers, and few of ours
            continue
        key = _text(name).lower()
        if key in _NAMES:
            found.setdefault(key, _text(value)[:_LONGEST_HEADER].strip())
    return found


def _text(value: object) -> str:
    if type(value) is str:
        return value
    if isinstance(value, bytes):
        return bytes(value).decode("latin-1")
    if isinstance(value, str):
        return str.__str__(value)
    return str(value) if type(value) in {int, float} else ""


def _number(text: str, form: re.Pattern[str]) -> float | None:
    return float(text) if form.fullmatch(text) else None


def _until(date: str, now: float) -> float | None:
    with importing:
        from datetime import UTC
        from email.utils import parsedate_to_datetime

    try:
        moment = parsedate_to_datetime(date)
    except (OverflowError, ValueError):  # such as the 99th of a month
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, moment.timestamp() - now)
