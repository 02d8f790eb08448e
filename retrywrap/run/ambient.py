"""The ambient scope: which allowance the running code stands under, carried by a context variable."""

from __future__ import annotations

from contextvars import ContextVar
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


def leave(before: Allowance, link: Allowance | None) -> None:
    """Stand under what was ambient before; to be called where entering `link` may have been interrupted, too.

    Generators may leave in another order than they entered, and in another context, which the event loop closes them
    in: there, what was entered last and is not over stays in force. Whoever knows that `link` is over sets its
    ``closed`` first, by itself: that is done before Ctrl-C can come, so that it limits nothing from then on.

    Args:
        before: What was ambient.
        link: What was entered; None: nothing.
    """
    if ambient.get() is link:
        ambient.set(before)
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
