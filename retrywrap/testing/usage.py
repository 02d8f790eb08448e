"""Who uses this kit: its parts say so, and whoever wants to know which tests look at retries themselves listens."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["listeners", "tell"]

listeners: list[Callable[[str], None]] = []
"""Called with the name of the part that is used."""


def tell(part: str) -> None:
    """Say that a part of the kit is used.

    Args:
        part: Its name, as users know it.
    """
    for listener in listeners:
        listener(part)
