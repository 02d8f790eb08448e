"""Retry budgets as their documentation has them, with lists and fractions."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

__all__ = ["Quota", "Ratio"]


class Quota:
    """The AWS SDKs' quota: a retry costs so much, a success at once earns 1, a later one what its last retry cost."""

    def __init__(self, capacity: Any = 500, cost: Any = 14, throttling_cost: Any = 5) -> None:
        self.capacity, self.cost, self.throttling_cost = map(Fraction, (capacity, cost, throttling_cost))
        self.left = self.capacity

    def begin(self, now: Any) -> None:
        """An operation that begins changes nothing."""

    def withdraw(self, now: Any, throttled: bool) -> Fraction | None:
        """Pay, or refuse."""
        price = self.throttling_cost if throttled else self.cost
        if price > self.left:
            return None
        self.left -= price
        return price

    def succeeded(self, paid: Any) -> None:
        """Earn."""
        self.restore(1 if paid is None else paid)

    def restore(self, paid: Any) -> None:
        """Take back, up to the brim."""
        self.left = min(self.capacity, self.left + Fraction(paid))

    @property
    def available(self) -> Fraction:
        """What is left."""
        return self.left


class Ratio:
    """Finagle's: every operation and every retry of the last ``ttl`` seconds, in tenths, and a reserve."""

    def __init__(self, ratio: Any = Fraction(1, 5), ttl: Any = 10, reserve: Any = 10) -> None:
        self.ratio, self.ttl, self.reserve = map(Fraction, (ratio, ttl, reserve))
        self.began: list[int] = []
        self.retried: list[int] = []
        self.latest = 0

    def _look(self, now: Any) -> int:
        """Return the newest tenth that anybody saw; what is ten of them old is forgotten."""
        self.latest = max(self.latest, int(Fraction(now) * 10 / self.ttl // 1))
        self.began = [tenth for tenth in self.began if tenth > self.latest - 10]
        self.retried = [tenth for tenth in self.retried if tenth > self.latest - 10]
        return self.latest

    def begin(self, now: Any) -> None:
        """Deposit; without a ratio no deposit is worth anything, and nobody looks."""
        if self.ratio:
            tenth = self._look(now)
            self.began.append(tenth)

    @property
    def _allowed(self) -> Fraction:
        return self.reserve * self.ttl + self.ratio * len(self.began)

    def withdraw(self, now: Any, throttled: bool) -> Fraction | None:
        """Pay, or refuse."""
        tenth = self._look(now)
        if len(self.retried) + 1 > self._allowed:
            return None
        self.retried.append(tenth)
        return self._price

    def succeeded(self, paid: Any) -> None:
        """A success changes nothing."""

    def restore(self, paid: Any) -> None:
        """Take the newest payment back that counts still."""
        if self.retried:
            self.retried.remove(max(self.retried))

    @property
    def _price(self) -> Fraction:
        return 1 / self.ratio if self.ratio else Fraction(1)

    @property
    def available(self) -> Fraction:
        """What is left as of the last look, in operations."""
        return (self._allowed - len(self.retried)) * self._price
