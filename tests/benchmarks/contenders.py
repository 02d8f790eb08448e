"""Who is compared: each library in the fastest reasonable configuration that it documents, at three calls, no waits.

A library that is not installed is missing, not an error. Imports are measured too, so that nothing is imported here
before it is asked for.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeAlias

import handwritten
from handwritten import CALLS

__all__ = [
    "BARE",
    "CLOSURE",
    "HAND",
    "LIBRARIES",
    "LOGGING_LOOP",
    "LOOP",
    "Contender",
    "Decorate",
    "Library",
    "installed",
]

Decorate: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]


class Block(NamedTuple):
    """What stands in the head of a block: ``for attempt in attempts(**options)``."""

    attempts: Callable[[], Callable[..., Iterable[Any]]]  # asked once, because it may load something
    options: dict[str, Any]


class Contender(NamedTuple):
    """One way to call what may fail; None stands where a library does not have the form."""

    name: str
    decorate: Decorate | None
    decorate_async: Decorate | None = None
    block: Block | None = None


class Library(NamedTuple):
    """Where a contender comes from."""

    module: str
    distribution: str
    make: Callable[[str], Contender]

    def load(self, name: str) -> Contender:
        """Import it.

        Raises:
            ImportError: It is not installed.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what a peer says of this Python is its own affair
            return self.make(name)


def _same(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


async def _no_wait(_: float) -> None:
    """Do not even give way to other tasks."""


def _module(name: str) -> Any:
    return importlib.import_module(name)


_OPTIONS: dict[str, Any] = {"max": CALLS - 1, "interval": 0}  # as ours and the hand-written one call them
BARE = Contender("bare call", _same, _same)
CLOSURE = Contender("hand-written closure", handwritten.closure, handwritten.closure_async)
LOOP = Contender(
    "hand-written loop", handwritten.loop, handwritten.loop_async, Block(lambda: handwritten.Attempts, _OPTIONS)
)
LOGGING_LOOP = Contender("hand-written loop that logs", handwritten.logging_loop)
HAND = (BARE, CLOSURE, LOOP)


def _retrywrap(name: str) -> Contender:
    ours = _module("retrywrap")

    def decorate(function: Callable[..., Any]) -> Any:
        return ours.with_retry(**_OPTIONS)(function)

    return Contender(name, decorate, decorate, Block(lambda: ours.retry_scope, _OPTIONS))


def _redis(name: str) -> Contender:
    """It has no decorator: around its `call_with_retry` stands the closure that a decorator would be."""
    no_backoff = _module("redis.backoff").NoBackoff
    sync, asynchronous = _module("redis.retry").Retry, _module("redis.asyncio.retry").Retry

    def heard(error: Exception) -> None:
        """Do nothing on a failure, which the library insists on telling."""

    async def heard_async(error: Exception) -> None:
        """Do nothing on a failure."""

    def decorate(function: Callable[..., Any]) -> Any:
        retry = sync(no_backoff(), CALLS - 1, supported_errors=(ConnectionError,))
        return lambda *args, **kwargs: retry.call_with_retry(lambda: function(*args, **kwargs), heard)

    def decorate_async(function: Callable[..., Any]) -> Any:
        retry = asynchronous(no_backoff(), CALLS - 1, supported_errors=(ConnectionError,))

        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            return await retry.call_with_retry(lambda: function(*args, **kwargs), heard_async)

        return wrapper

    return Contender(name, decorate, decorate_async)


def _tenaz(name: str) -> Contender:
    tenaz = _module("tenaz")
    options = {"max_attempts": CALLS, "backoff": 0.0, "jitter": False, "retry_on": ConnectionError}

    def decorate(function: Callable[..., Any]) -> Any:
        return tenaz.retry(**options)(function)

    return Contender(name, decorate, decorate, Block(lambda: tenaz.retrying, options))


def _opnieuw(name: str) -> Contender:
    """With a window of no seconds it never retries: the window is a second, and the stage takes the waits out."""
    retry = _module("opnieuw").retry

    def decorate(function: Callable[..., Any]) -> Any:
        return retry(
            retry_on_exceptions=ConnectionError, max_calls_total=CALLS, retry_window_after_first_call_in_seconds=1
        )(function)

    return Contender(name, decorate, decorate)


def _google(name: str) -> Contender:
    """It has no maximum: what is to be exhausted says itself, by a word in its error, that it was the last time."""
    retry = _module("google.api_core.retry")
    options = {"initial": 0.0, "maximum": 0.0, "timeout": None}

    def again(error: Exception) -> bool:
        return isinstance(error, ConnectionError) and error.args[0] != "for the last time"

    def decorate(function: Callable[..., Any]) -> Any:
        return retry.Retry(predicate=again, **options)(function)

    def decorate_async(function: Callable[..., Any]) -> Any:
        return retry.AsyncRetry(predicate=again, **options)(function)

    return Contender(name, decorate, decorate_async)


def _backoff(name: str) -> Contender:
    backoff = _module("backoff")
    options = {"max_tries": CALLS, "interval": 0, "jitter": None, "logger": None}

    def decorate(function: Callable[..., Any]) -> Any:
        return backoff.on_exception(backoff.constant, ConnectionError, **options)(function)

    return Contender(name, decorate, decorate)


def _retrying(name: str) -> Contender:
    retry = _module("retrying").retry

    def decorate(function: Callable[..., Any]) -> Any:
        return retry(stop_max_attempt_number=CALLS, wait_fixed=0, retry_on_exception=(ConnectionError,))(function)

    return Contender(name, decorate)


def _tenacity(name: str) -> Contender:
    tenacity = _module("tenacity")

    def options() -> dict[str, Any]:
        return {
            "stop": tenacity.stop_after_attempt(CALLS),
            "wait": tenacity.wait_none(),
            "retry": tenacity.retry_if_exception_type(ConnectionError),
            "reraise": True,
        }

    def decorate(function: Callable[..., Any]) -> Any:
        return tenacity.retry(sleep=lambda _: None, **options())(function)

    def decorate_async(function: Callable[..., Any]) -> Any:
        return tenacity.retry(sleep=_no_wait, **options())(function)

    return Contender(
        name, decorate, decorate_async, Block(lambda: tenacity.Retrying, {"sleep": lambda _: None, **options()})
    )


def _stamina(name: str) -> Contender:
    stamina = _module("stamina")
    options = {"on": ConnectionError, "attempts": CALLS, "timeout": None}
    options |= {"wait_initial": 0.0, "wait_max": 0.0, "wait_jitter": 0.0}

    def decorate(function: Callable[..., Any]) -> Any:
        return stamina.retry(**options)(function)

    return Contender(name, decorate, decorate, Block(lambda: stamina.retry_context, options))


LIBRARIES = {
    "retrywrap": Library("retrywrap", "retrywrap", _retrywrap),
    "redis-py's Retry": Library("redis.retry", "redis", _redis),
    "tenaz": Library("tenaz", "tenaz", _tenaz),
    "opnieuw": Library("opnieuw", "opnieuw", _opnieuw),
    "google-api-core": Library("google.api_core.retry", "google-api-core", _google),
    "backoff": Library("backoff", "backoff", _backoff),
    "retrying": Library("retrying", "retrying", _retrying),
    "tenacity": Library("tenacity", "tenacity", _tenacity),
    "stamina": Library("stamina", "stamina", _stamina),
}


def installed() -> tuple[list[Contender], list[str]]:
    """Return the contenders of the libraries that are installed, and the names of the others."""
    found, missing = [], []
    for name, library in LIBRARIES.items():
        try:
            found.append(library.load(name))
        except ImportError:
            missing.append(name)
    return found, missing
