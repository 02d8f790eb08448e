"""Retry budgets of any size, under any order of what operations do, against plain models of their sources' rules."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from modelling.budgets import Quota, Ratio
from modelling.rounds import examples

from retrywrap import RatioBudget, RetryBudget


def exact(number: float) -> Fraction:
    """Return the number that was typed, which a float may miss by a little."""
    return Fraction(str(number))


class BudgetMachine(RuleBasedStateMachine):
    """Several operations pay, give back, succeed and fail in any order; what they paid is settled whenever."""

    real: Any
    model: Any

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.paid: list[float] = []
        self.succeeding = 0

    @rule(seconds=st.sampled_from([0, 0.5, 1, 3, 12]) | st.integers(0, 200).map(lambda n: n / 8))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(times=st.integers(1, 12))
    def begin(self, times: int) -> None:
        for _ in range(times):
            self.real.begin(self.now)
            self.model.begin(exact(self.now))
        self.look()

    @rule(throttled=st.booleans(), times=st.integers(1, 5))
    def withdraw(self, throttled: bool, times: int) -> None:
        for _ in range(times):
            price, expected = self.real.withdraw(self.now, throttled), self.model.withdraw(exact(self.now), throttled)
            assert (price is None) == (expected is None)
            if price is not None:
                assert price == pytest.approx(float(expected))
                assert self.real.available >= -1e-9
                self.paid.append(price)
        self.look()

    @precondition(lambda self: self.paid)
    @rule(which=st.integers(0, 99), how=st.sampled_from(["restore", "succeeded", "failed"]))
    def settle(self, which: int, how: str) -> None:
        price = self.paid.pop(which % len(self.paid))
        if how != "failed":  # which returns nothing
            getattr(self.real, how)(price)
            getattr(self.model, how)(exact(price))
        self.look()

    @rule(times=st.sampled_from([1, 1, 10]))
    def succeed_at_once(self, times: int) -> None:
        for _ in range(times):
            self.real.succeeded(None)
            self.model.succeeded(None)
        self.look()

    def look(self) -> None:
        assert self.real.available == pytest.approx(float(self.model.available), abs=1e-9)


class QuotaMachine(BudgetMachine):
    """The AWS quota."""

    @initialize(
        capacity=st.integers(14, 100) | st.just(500),
        cost=st.sampled_from([14, 1, 5.5, 0.1]),
        throttling_cost=st.sampled_from([5, 14, 0.3]),
    )
    def make(self, capacity: float, cost: float, throttling_cost: float) -> None:
        self.real = RetryBudget(capacity, cost, throttling_cost)
        self.model = Quota(*map(exact, (capacity, cost, throttling_cost)))

    def look(self) -> None:
        """Never over its bound, nor under zero."""
        super().look()
        assert -1e-9 <= self.real.available <= self.real.capacity


class RatioMachine(BudgetMachine):
    """Finagle's.

    It never pays what it has not; but what is left may sink below zero afterwards, while the deposits that a payment
    was made from are forgotten, and the payment is not yet.
    """

    @initialize(
        ratio=st.sampled_from([0.2, 0.29, 0.1, 1, 2.5, 0]),
        ttl=st.sampled_from([10, 1, 2.5, 60]),
        reserve=st.sampled_from([10, 1, 0.75, 0]),
    )
    def make(self, ratio: float, ttl: float, reserve: float) -> None:
        if ratio == 0 and reserve * ttl < 1:
            reserve = 1.5 / ttl  # a decimal, as the model needs it
        self.real = RatioBudget(ratio, ttl=ttl, reserve=reserve)
        self.model = Ratio(*map(exact, (ratio, ttl, reserve)))

    @rule(seconds=st.integers(1, 8).map(lambda n: n / 8))
    def somebody_is_behind(self, seconds: float) -> None:
        """A thread that took the time before others did comes after them: it counts as now."""
        before, self.now = self.now, max(0.0, self.now - seconds * self.real.ttl / 10)
        self.begin(1)
        self.withdraw(False, 1)
        self.now = before


TestQuotaMachine = QuotaMachine.TestCase
TestRatioMachine = RatioMachine.TestCase
TestQuotaMachine.settings = TestRatioMachine.settings = examples(30, steps=40)
