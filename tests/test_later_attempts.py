"""What holds of the first attempt holds of later ones: sync, async, and where an awaitable comes after a failure."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from typing import Any

import pytest

from retrywrap import RetryContext, RetryExhausted, return_codes, with_retry
from retrywrap.testing import VirtualClock

KINDS = ("sync", "async", "awaitable")


def made(kind: str, body: Callable[..., Any], **parameters: Any) -> Callable[..., Any]:
    """Return a plain function that runs `body` by an operation of this kind, with retries."""
    if kind == "sync":
        return with_retry(**parameters)(body)

    async def later(*args: Any, **named: Any) -> Any:
        return body(*args, **named)

    if kind == "async":
        decorated = with_retry(**parameters)(later)
        return lambda *args, **named: asyncio.run(decorated(*args, **named))
    calls: list[int] = []

    def mixed(*args: Any, **named: Any) -> Any:
        calls.append(1)
        return body(*args, **named) if len(calls) == 1 else later(*args, **named)

    operation = with_retry(**parameters)(mixed)

    async def run(*args: Any, **named: Any) -> Any:
        return await operation(*args, **named)

    return lambda *args, **named: asyncio.run(run(*args, **named))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [None, "items"])
@pytest.mark.parametrize("raises", [False, True])
def test_an_argument_that_a_later_attempt_used_up(
    kind: str, name: str | None, raises: bool, clock: VirtualClock
) -> None:
    """A generator that was not begun is as good at the next attempt; once it was, it ends the operation."""
    attempts: list[int] = []

    def body(items: Any) -> int:
        attempts.append(1)
        if len(attempts) == 1:
            raise ConnectionResetError("gone")
        next(items)
        if raises:
            raise ConnectionResetError("gone")
        return -6

    call = made(kind, body, max=5, interval=1, results=return_codes)
    items = (n for n in range(9))
    with pytest.raises((RetryExhausted, ConnectionResetError)) as caught:
        call(items) if name is None else call(items=items)
    place = "'items'" if name else "1"
    told = caught.value.__notes__[-1] if raises else str(caught.value)
    assert f"rejected after 2 attempts in 1 s: argument {place} is a one-shot generator" in told
    assert len(attempts) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_the_hook_gets_the_context_before_each_retry(kind: str, clock: VirtualClock) -> None:
    """Plain functions and coroutine functions alike hear how far the operation came."""
    heard: list[tuple[type, int]] = []
    attempts: list[int] = []

    def body() -> str:
        attempts.append(1)
        if len(attempts) < 4:
            raise ConnectionResetError("gone")
        return "ok"

    def hook(context: RetryContext) -> None:
        heard.append((type(context), context.attempts))

    async def ahook(context: RetryContext) -> None:
        hook(context)

    assert made(kind, body, max=5, interval=1, before_retry=ahook if kind == "async" else hook)() == "ok"
    assert heard == [(RetryContext, 1), (RetryContext, 2), (RetryContext, 3)]


@pytest.mark.parametrize("kind", KINDS[:2])
@pytest.mark.parametrize("parameters", [{}, {"timeout": 60}], ids=repr)
@pytest.mark.parametrize(
    ("before", "after", "named"), [((), (), {}), ((1,), (), {}), ((), (1,), {}), ((), (), {"a": 1}), ((), (), {"z": 1})]
)
@pytest.mark.parametrize("as_keyword", [False, True])
def test_one_used_up_argument_is_enough(
    kind: str,
    parameters: dict[str, Any],
    before: tuple[int, ...],
    after: tuple[int, ...],
    named: dict[str, int],
    as_keyword: bool,
) -> None:
    """Wherever it stands among others, and however simple the policy is that would retry at once."""
    attempts: list[int] = []

    def body(*args: Any, **named: Any) -> None:
        attempts.append(1)
        next(each for each in (*args, *named.values()) if not isinstance(each, int)).__next__()
        raise ConnectionResetError("gone")

    items = (n for n in range(9))
    call = made(kind, body, max=5, interval=0, **parameters)
    with pytest.raises(ConnectionResetError) as caught:
        call(*before, *after, **{"m": items}, **named) if as_keyword else call(*before, items, *after, **named)
    assert "is a one-shot generator, which a retry would see used up" in caught.value.__notes__[-1]
    assert attempts == [1]


class SilentError(OSError):
    """Says the same whatever its number is."""

    def __str__(self) -> str:
        return "something went wrong"


def test_errors_that_say_the_same_are_told_apart_by_their_number() -> None:
    """One that may pass is retried at once; one that will not, of the same class and text, is not, in either order."""
    for number, attempts in ((errno.ECONNRESET, 3), (errno.ENOENT, 1), (errno.ECONNRESET, 3)):
        made_calls: list[int] = []

        @with_retry(max=2, interval=0)
        def operation(number: int = number, made_calls: list[int] = made_calls) -> None:
            made_calls.append(1)
            raise SilentError(number, "x")

        with pytest.raises(SilentError):
            operation()
        assert len(made_calls) == attempts
