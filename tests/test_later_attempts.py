"""What holds of the first attempt holds of later ones: sync, async, and where an awaitable comes after a failure."""

from __future__ import annotations

import asyncio
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
