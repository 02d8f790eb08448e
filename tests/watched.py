"""A lock that says how often it was taken: where no race can be provoked, whoever needs it must be seen to take it."""

from __future__ import annotations

__all__ = ["WatchedLock"]


class WatchedLock:
    """Takes the place of a lock, in one thread.

    Attributes:
        taken: How often it was taken.
        held: Whether it is held now.
    """

    def __init__(self) -> None:
        self.taken = 0
        self.held = False

    def __enter__(self) -> None:
        self.taken += 1
        self.held = True

    def __exit__(self, *_: object) -> None:
        self.held = False
