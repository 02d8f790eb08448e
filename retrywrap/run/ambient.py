"""The ambient scope: which allowance the running code stands under, carried by a context variable."""

from __future__ import annotations

from contextlib import suppress
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING

from retrywrap.decide.allowance import PROCESS, Allowance
from retrywrap.run import clock

if TYPE_CHECKING:
    from retrywrap.record.hooks import Recorder

__all__ = ["Recording", "ambient", "leave", "recorders", "remaining", "shutdown"]

ambient: ContextVar[Allowance] = ContextVar("retrywrap", default=PROCESS)


class Recording(Allowance):
    """The link of a scope that also listens to what happens inside."""

    __slots__ = ("__weakref__", "recorder")

    recorder: Recorder


def leave(token: Token[Allowance], link: Allowance, *, over: bool = False) -> None:
    """Stand under what was ambient before.

    Generators may leave in another order than they entered, and in another context, which the event loop closes them
    in: there, what was entered last and is not over stays in force.

    Args:
        token: What entering `link` returned.
        link: What was entered.
        over: What it was made for is over.
    """
    if over:
        link.close()
    if ambient.get() is link:
        with suppress(ValueError):
            ambient.reset(token)
    innermost = ambient.get()
    while innermost.closed and innermost.parent is not None:
        innermost = innermost.parent
    if innermost is not ambient.get():
        ambient.set(innermost)


def recorders(limits: Allowance) -> list[Recorder]:
    """Return who listens along a chain of allowances, innermost first."""
    return [link.recorder for link in limits.links() if isinstance(link, Recording)]


def remaining() -> float | None:
    """Return the seconds left to the running operation: the least of all deadlines around it, never below 0.0.

    Returns:
        None where no deadline is set around the caller.
    """
    deadline = ambient.get().deadline
    return None if deadline is None else max(0.0, deadline - clock.current().now())


def shutdown() -> None:
    """End every wait of retrywrap in this process, now and from now on: each operation lets its last error out at once.

    Operations that begin later run once. Safe to call from a signal handler.
    """
    PROCESS.cancel()
