"""What a scope leaves to the operations inside it: retries, time, budget, and the news that it was cancelled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING

from retrywrap.locks import new_lock

if TYPE_CHECKING:
    from retrywrap.decide.budget import Budget

__all__ = ["ALONE", "PROCESS", "Allowance", "Standing", "standing"]


class Allowance:
    """One link of the chain of allowances around an operation; the last link is `PROCESS`.

    Deadlines nest by minimum when a link is made; retries are drawn from every link that counts them.

    Attributes:
        name: The scope's name; None for a link that only carries a deadline.
        max: Retries that all operations inside may make together; None: not counted.
        own_deadline: The clock's seconds at which this link's time is over; None: no limit of its own.
        closed: What it was made for is over; code that still stands under it is not limited by it any more.
        budget: The scope's retry budget; None: none.
        parent: The link around this one.
        used: Retries drawn so far.
    """

    __slots__ = ("_cancelled", "_lock", "_wakers", "budget", "closed", "max", "name", "own_deadline", "parent", "used")

    def __init__(
        self,
        parent: Allowance | None,
        *,
        name: str | None = None,
        deadline: float | None = None,
    ) -> None:
        self.parent = parent
        self.name = name
        self.max: int | None = None
        self.own_deadline = deadline
        self.closed = False
        self.budget: Budget | None = None
        self.used = 0
        self._lock: AbstractContextManager[object] | None = None
        self._cancelled = False
        self._wakers: set[Callable[[], None]] = set()

    def count(self, max: int | None, budget: Budget | None) -> None:
        """Limit the retries of all operations inside, before any of them begins."""
        self.max = max
        self.budget = budget
        self._lock = None if max is None else new_lock()

    def links(self) -> Iterator[Allowance]:
        """Yield this link and those around it, innermost first, but those that are closed."""
        link: Allowance | None = self
        while link is not None:
            if not link.closed:
                yield link
            link = link.parent

    @property
    def deadline(self) -> float | None:
        """The clock's seconds at which time is over, of this link and all around it; None: no limit."""
        deadlines = (link.own_deadline for link in self.links())
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def close(self) -> None:
        """End it: code that still stands under it, because its end came elsewhere, is not limited by it any more."""
        self.closed = True

    def cancelled_by(self) -> Allowance | None:
        """Return the link that was cancelled: this one or one around it."""
        return next((link for link in self.links() if link._cancelled), None)

    @property
    def cancelled(self) -> bool:
        """Whether this link or one around it was cancelled."""
        return self.cancelled_by() is not None

    def draw(self) -> bool:
        """Take one retry from this link alone; False where none is left. One atomic step."""
        if self._lock is None:
            return True
        with self._lock:
            if self.max is not None and self.used >= self.max:
                return False
            self.used += 1
            return True

    def restore(self) -> None:
        """Give back a retry that was drawn from this link and is not made after all."""
        if self._lock is not None:
            with self._lock:
                self.used -= 1

    def cancel(self) -> None:
        """End every wait under this link, now and later.

        Takes no lock, so that a signal handler may call it: the flag goes up first, then the sleepers are woken; a
        sleeper leaves its waker first and looks at the flag then.
        """
        self._cancelled = True
        for wake in list(self._wakers):
            with suppress(RuntimeError):  # awake already, or its event loop is closed: both mean that nobody waits
                wake()

    def reopen(self) -> None:
        """Take `cancel` back, for the waits to come."""
        self._cancelled = False

    def add_waker(self, wake: Callable[[], None]) -> None:
        """Have `wake` called when this link or one around it is cancelled."""
        for link in self.links():
            link._wakers.add(wake)

    def remove_waker(self, wake: Callable[[], None]) -> None:
        """Undo `add_waker`."""
        for link in self.links():
            link._wakers.discard(wake)


class Standing(Allowance):
    """What an operation stands under: the links that were open when it failed first, which stay in force for it.

    A scope that ends meanwhile goes on limiting it, and can still cancel it.
    """

    __slots__ = ("_standing",)

    def __init__(self, limits: Allowance) -> None:  # what a link has besides is asked of the links alone
        self._standing = tuple(limits.links())

    def links(self) -> Iterator[Allowance]:
        """Yield the links, innermost first."""
        return iter(self._standing)

    def cancelled_by(self) -> Allowance | None:
        """Return the link that was cancelled."""
        for link in self._standing:
            if link._cancelled:
                return link
        return None

    def cancel(self) -> None:
        """End every wait under the innermost link."""
        self._standing[0].cancel()


PROCESS = Allowance(None)
"""The outermost link: cancelled by `retrywrap.shutdown`."""

ALONE = Standing(PROCESS)
"""What most operations stand under: no scope is around them, so that nothing is drawn, and no time is limited."""


def standing(limits: Allowance) -> Standing:
    """Return what an operation stands under that fails first where these allowances are around it."""
    return ALONE if limits is PROCESS else Standing(limits)
