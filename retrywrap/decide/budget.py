"""Retry budgets: what all operations together may spend on retries. Each decision is one atomic step, and none waits.

A budget that has nothing left refuses at once: to wait for a token inside a retry loop would deadlock the callers that
could earn it.
"""

from __future__ import annotations

import math
from types import MemberDescriptorType
from typing import Any, NoReturn, Protocol, Self

from retrywrap.decide.checks import check_bool, check_clock, check_number, check_seconds, shown
from retrywrap.locks import new_lock

__all__ = ["Budget", "RatioBudget", "RetryBudget", "as_budget", "forget_names", "named_budget"]

_SLOTS = 10
_SHORTEST = 0.001
_ROUNDING = 1 + 1e-9  # 100 operations at ratio 0.29 pay for 29 retries, though 29 / 0.29 is a little over 100 in floats
# Of a quota, what thousands of payments make of it by rounding: 0.3 tokens are three retries at 0.1 each, though
# 0.3 - 0.1 - 0.1 is a little less than 0.1; and no more than a thousandth of a payment.
_DRIFT, _LEAST = 1e-9, 1e-3


class Budget(Protocol):
    """What a retry budget does. One object is shared by all operations that draw from it, in any thread.

    No method blocks. ``now`` is a monotonic clock's seconds.
    """

    @property
    def available(self) -> float:
        """What is left, in the budget's own unit, as of the last call."""
        ...

    def begin(self, now: float) -> None:
        """Note that an operation begins: its first attempt.

        Args:
            now: The clock's seconds.
        """

    def withdraw(self, now: float, throttled: bool) -> float | None:
        """Pay for one retry.

        Args:
            now: The clock's seconds.
            throttled: The other side asks for less load.

        Returns:
            What was paid; None: refused, nothing was paid.
        """

    def succeeded(self, paid: float | None) -> None:
        """Note that an operation succeeded.

        Args:
            paid: What its last retry had cost; None: it succeeded at once.
        """

    def restore(self, paid: float) -> None:
        """Give back what was paid for a retry that is not made after all.

        Args:
            paid: What `withdraw` returned for it.
        """


class _Shared:
    """What all budgets have in common: one object is one budget, whatever tries to copy it."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = new_lock()

    def _saved(self) -> dict[str, Any]:
        """Return what it has, for `_put_back`: a test may spend it, and nobody else is to miss it."""
        with self._lock:
            # Not what __slots__ says: it may be one str, a private name is another there, and __weakref__ is no value.
            named = (pair for cls in type(self).__mro__ for pair in vars(cls).items())
            members = {name for name, it in named if type(it) is MemberDescriptorType} - {"_lock"}
            slots = {name for name in members if hasattr(self, name)}
            found = {name: getattr(self, name) for name in slots} | getattr(self, "__dict__", {})
        return {name: list(value) if isinstance(value, list) else value for name, value in found.items()}

    def _put_back(self, saved: dict[str, Any]) -> None:
        """Have again what it had.

        Args:
            saved: What `_saved` returned.
        """
        with self._lock:
            for name, value in saved.items():
                setattr(self, name, list(value) if isinstance(value, list) else value)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        kind = type(self).__name__
        raise TypeError(
            f"a {kind} does not pickle, because its copy would be a second budget: give budget= a name, which each "
            "process understands as a budget of its own"
        )


class RetryBudget(_Shared):
    """The AWS SDKs' retry quota: a bucket of tokens, from which retries are paid and which successes fill again.

    A success at once returns 1 token; a success after retries returns what the last of them had cost, no more; a
    failure returns nothing. The bucket is full in the beginning and never holds more than ``capacity``.

    Source: the AWS SDKs' standard retry mode 2.1.

    Args:
        capacity: Tokens that it holds at most.
        cost: Tokens for a retry.
        throttling_cost: Tokens for a retry after an error by which the other side asked for less load.

    Raises:
        TypeError: An argument is no number.
        ValueError: An argument is not above 0, or ``capacity`` is less than a retry costs.
    """

    __slots__ = ("_available", "capacity", "cost", "throttling_cost")

    def __init__(self, capacity: float = 500, cost: float = 14, throttling_cost: float = 5) -> None:
        super().__init__()
        for name, value in (("capacity", capacity), ("cost", cost), ("throttling_cost", throttling_cost)):
            if check_number(value, name, 0) == 0:
                raise ValueError(f"{name} must be above 0; got {shown(value)}")
        if capacity < max(cost, throttling_cost):
            raise ValueError(
                f"capacity must be at least what a retry costs, {shown(max(cost, throttling_cost))}, or none could be "
                f"paid; got {shown(capacity)}"
            )
        self.capacity = capacity
        self.cost = cost
        self.throttling_cost = throttling_cost
        self._available = capacity

    @property
    def available(self) -> float:
        """Tokens that are left."""
        return max(0.0, self._available)

    def begin(self, now: float) -> None:
        """Note that an operation begins, which changes nothing here.

        Args:
            now: The clock's seconds.
        """
        check_clock(now)

    def withdraw(self, now: float, throttled: bool) -> float | None:
        """Pay for one retry.

        Args:
            now: The clock's seconds, which make no difference here.
            throttled: Whether it costs ``throttling_cost`` instead of ``cost``.

        Returns:
            The tokens that were paid; None: refused, because too few are left.
        """
        check_clock(now)
        cost = self.throttling_cost if check_bool(throttled, "throttled") else self.cost
        with self._lock:
            if cost - min(self.capacity * _DRIFT, cost * _LEAST) > self._available:
                return None
            self._available -= cost  # below 0 where rounding was forgiven, which is not forgiven again
        return cost

    def succeeded(self, paid: float | None) -> None:
        """Put back 1 token for a success at once, else what the last retry had cost.

        Args:
            paid: What the operation's last retry had cost; None: it succeeded at once.
        """
        self.restore(1.0 if paid is None else paid)

    def restore(self, paid: float) -> None:
        """Give back what was paid for a retry that is not made after all.

        Args:
            paid: What `withdraw` returned for it.
        """
        paid = check_number(paid, "paid", 0)
        if self._available == self.capacity:  # full: the usual case, which needs no lock
            return
        with self._lock:
            self._available = min(self._available + paid, self.capacity)

    def __repr__(self) -> str:
        return f"RetryBudget(capacity={self.capacity}, cost={self.cost}, throttling_cost={self.throttling_cost})"


class RatioBudget(_Shared):
    """Finagle's retry budget: retries may be a share of the operations of the last seconds, and a few besides.

    Each operation deposits 1, each retry costs ``1 / ratio``; both are forgotten after ``ttl`` seconds, in ten steps.

    Source: ``RetryBudget`` of Twitter's Finagle (``percentCanRetry``, ``ttl``, ``minRetriesPerSec``).

    Args:
        ratio: Retries for each operation: 0.2 is one for five. 0: only the reserve.
        ttl: Seconds for which operations and retries count.
        reserve: Retries per second that are possible without any operations.

    Raises:
        TypeError: An argument is no number.
        ValueError: An argument is out of range, or neither ``ratio`` nor ``reserve`` allows any retry.
    """

    __slots__ = ("_cost", "_deposits", "_floor", "_newest", "_offset", "_retries", "ratio", "reserve", "ttl")

    def __init__(self, ratio: float = 0.2, *, ttl: float = 10.0, reserve: float = 10.0) -> None:
        super().__init__()
        self.ratio = check_number(ratio, "ratio", 0)
        self.ttl = check_seconds(ttl, "ttl")
        self.reserve = check_number(reserve, "reserve", 0)
        if self.ttl < _SHORTEST:
            raise ValueError(f"ttl must be {_SHORTEST} seconds or more; got {shown(ttl)}")
        if self.ratio == 0 and self.reserve * self.ttl < 1:
            raise ValueError(f"ratio=0 with reserve={self.reserve:g} would never allow a retry; raise one of them")
        self._cost = 1 / self.ratio if self.ratio else 1.0
        self._floor = self.reserve * self.ttl * self._cost
        if not math.isfinite(self._floor):
            raise ValueError(f"ratio must be 0, or a number such as 0.2; got {shown(ratio)}, too small to count with")
        self._deposits = [0] * _SLOTS
        self._retries = [0] * _SLOTS
        self._newest = 0
        self._offset = 0

    @property
    def available(self) -> float:
        """What is left, in operations: a retry costs ``1 / ratio`` of them.

        Below 0 for a while where operations are forgotten before the retries that they paid for.
        """
        with self._lock:
            return self._floor + sum(self._deposits) - sum(self._retries) * self._cost

    def begin(self, now: float) -> None:
        """Deposit for an operation that begins.

        Args:
            now: The clock's seconds.
        """
        check_clock(now)
        if self.ratio:
            with self._lock:
                self._deposits[self._slot(now)] += 1

    def withdraw(self, now: float, throttled: bool) -> float | None:
        """Pay for one retry.

        Args:
            now: The clock's seconds.
            throttled: Whether the other side asks for less load, which makes no difference here.

        Returns:
            What was paid, in operations; None: refused, because too little is left.
        """
        check_clock(now)
        check_bool(throttled, "throttled")
        with self._lock:
            slot = self._slot(now)
            if (sum(self._retries) + 1) * self._cost > (self._floor + sum(self._deposits)) * _ROUNDING:
                return None
            self._retries[slot] += 1
        return self._cost

    def succeeded(self, paid: float | None) -> None:
        """Note that an operation succeeded, which changes nothing here.

        Args:
            paid: What the operation's last retry had cost; None: it succeeded at once.
        """
        if paid is not None:
            check_number(paid, "paid", 0)

    def restore(self, paid: float) -> None:
        """Give back what was paid for a retry that is not made after all: the newest payment that still counts.

        Args:
            paid: What `withdraw` returned for it.
        """
        check_number(paid, "paid", 0)
        with self._lock:
            for age in range(_SLOTS):
                slot = (self._newest - age) % _SLOTS
                if self._retries[slot]:
                    self._retries[slot] -= 1
                    return

    def _slot(self, now: float) -> int:
        """Return the slot of this moment, after emptying those whose time is over."""
        number = int(now * _SLOTS // self.ttl) + self._offset
        if number < self._newest - _SLOTS:  # another clock has taken over: time goes on from where it stood
            self._offset += self._newest - number
        elif number > self._newest:
            for n in range(max(self._newest + 1, number - _SLOTS + 1), number + 1):
                self._deposits[n % _SLOTS] = self._retries[n % _SLOTS] = 0
            self._newest = number
        return self._newest % _SLOTS

    def __repr__(self) -> str:
        return f"RatioBudget({self.ratio:g}, ttl={self.ttl:g}, reserve={self.reserve:g})"


_lock = new_lock()
_named: dict[str, Budget] = {}


def named_budget(name: str) -> Budget:
    """Return the process's budget of that name; a `RetryBudget()` where it is not defined yet."""
    _check_name(name)
    known = _named.get(name)
    if known is not None:
        return known
    fresh = RetryBudget()  # made before the lock is taken, because it makes a lock of its own
    with _lock:
        return _named.setdefault(name, fresh)


def forget_names() -> None:
    """Forget all names, as in a fresh process; who holds a budget by now goes on with it."""
    with _lock:
        _named.clear()


def as_budget(value: Any) -> Budget | None:
    """Return the budget that a parameter ``budget`` means.

    Args:
        value: A budget, the name of one, or None for none.

    Raises:
        TypeError: It is none of these.
        ValueError: It is an empty name.
    """
    if value is None:
        return None
    if isinstance(value, str):
        return named_budget(value)
    return _check_budget(value)


def _check_budget(value: Any) -> Budget:
    methods = ("begin", "withdraw", "succeeded", "restore")
    if isinstance(value, type) or not all(callable(getattr(value, method, None)) for method in methods):
        raise TypeError(
            f"budget must be None, a name, or an object with {', '.join(methods)}, such as RetryBudget(); "
            f"got {shown(value)}"
        )
    budget: Budget = value
    return budget


def _check_name(name: object) -> None:
    if not isinstance(name, str):
        raise TypeError(f"a budget's name must be a str; got {shown(name)}")
    if not name:
        raise ValueError("a budget's name must not be empty")
