"""Locks that say when they are held: where no race can be provoked, what needs one must be seen to have it."""

from __future__ import annotations

from typing import Any

__all__ = ["WatchedLock", "guarded"]


class WatchedLock:
    """Takes the place of a lock, in one thread.

    Attributes:
        taken: How often it was taken.
        held: Whether it is held now.
    """

    def __init__(self) -> None:
        self.taken = 0
        self.held = False

    def acquire(self, *, blocking: bool = True) -> bool:
        """Take it, as nobody else does."""
        self.taken += 1
        self.held = True
        return True

    def release(self) -> None:
        """Give it back.

        Raises:
            RuntimeError: It is not held.
        """
        if not self.held:
            raise RuntimeError("release of a lock that nobody took")
        self.held = False

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


def guarded(kind: type, attribute: str) -> Any:
    """Return a subclass that keeps, in ``changes``, whether its lock was held at each change of an attribute."""

    def read(self: Any) -> Any:
        return self.kept

    def change(self: Any, value: Any) -> None:
        self.kept = value
        if isinstance(self._lock, WatchedLock):
            self.changes.append(self._lock.held)

    return type(kind.__name__, (kind,), {attribute: property(read, change), "changes": [], "_lock": None})
