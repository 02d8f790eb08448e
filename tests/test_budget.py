"""Retry budgets: what they admit, what they return, and that nothing is admitted twice."""

from __future__ import annotations

import copy
import math
import pickle
import random
import re
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from watched import WatchedLock

from retrywrap.decide import budget as budgets
from retrywrap.decide.budget import (
    Budget,
    RatioBudget,
    RetryBudget,
    as_budget,
    forget_names,
    named_budget,
)
from retrywrap.decide.checks import shown


def spend(budget: Budget, now: float = 0.0, *, throttled: bool = False) -> int:
    """Withdraw until the budget refuses; how often it did not."""
    count = 0
    while budget.withdraw(now, throttled) is not None:
        count += 1
    return count


def test_a_retry_costs_14_tokens_and_a_throttled_one_5() -> None:
    """A full quota of 500 pays for 35 retries, or for 100 after throttling, and returns what was paid."""
    budget = RetryBudget()
    assert budget.available == 500
    assert budget.withdraw(0.0, False) == 14
    assert budget.available == 486
    assert RetryBudget().withdraw(0.0, True) == 5
    assert spend(RetryBudget()) == 35
    assert spend(RetryBudget(), throttled=True) == 100


def test_a_refused_retry_costs_nothing() -> None:
    """Where the cost is more than what is left, nothing is taken; exactly what is left is enough."""
    budget = RetryBudget(capacity=29, cost=14, throttling_cost=1)
    assert spend(budget) == 2
    assert budget.available == 1
    assert budget.withdraw(0.0, False) is None
    assert budget.available == 1
    assert budget.withdraw(0.0, True) == 1
    assert budget.available == 0


def test_successes_fill_the_quota_up_to_its_capacity() -> None:
    """A success at once returns 1, a success after retries the last cost only; the bucket never overflows."""
    budget = RetryBudget(capacity=100)
    for _ in range(4):
        budget.withdraw(0.0, False)
    budget.begin(0.0)
    assert budget.available == 44
    budget.succeeded(None)
    assert budget.available == 45
    budget.succeeded(14)
    assert budget.available == 59
    budget.succeeded(5)
    assert budget.available == 64
    budget.restore(14)
    assert budget.available == 78
    budget.restore(14)
    budget.succeeded(14)
    assert budget.available == 100
    budget.succeeded(None)
    assert budget.available == 100


def test_any_payment_can_be_given_back() -> None:
    """What a retry cost may be less than 1, and comes back as it was."""
    budget = RetryBudget(capacity=2, cost=0.25, throttling_cost=0.5)
    assert budget.withdraw(0.0, False) == 0.25
    assert budget.withdraw(0.0, True) == 0.5
    budget.restore(0.25)
    assert budget.available == 1.5
    budget.succeeded(0.5)
    assert budget.available == 2
    budget = RatioBudget(2.0, reserve=0.1)
    budget.restore(0.5)
    budget.succeeded(0.5)
    assert spend(budget) == 1


def test_a_quota_for_a_single_retry_is_one() -> None:
    """A capacity of exactly what a retry costs pays for one."""
    assert spend(RetryBudget(capacity=14)) == 1
    assert spend(RetryBudget(capacity=14, cost=5, throttling_cost=14), throttled=True) == 1


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"capacity": 0}, ValueError, "capacity must be above 0; got 0"),
        ({"cost": 0}, ValueError, "cost must be above 0"),
        ({"throttling_cost": 0.0}, ValueError, "throttling_cost must be above 0"),
        ({"capacity": -1}, ValueError, "capacity"),
        ({"cost": math.nan}, ValueError, "cost"),
        ({"capacity": math.inf}, ValueError, "capacity"),
        ({"cost": True}, TypeError, "cost"),
        ({"capacity": "500"}, TypeError, "capacity.*got '500'"),
        ({"capacity": 10}, ValueError, "capacity must be at least what a retry costs, 14, .* got 10"),
        ({"throttling_cost": 501}, ValueError, "capacity must be at least what a retry costs, 501"),
    ],
)
def test_a_quota_that_could_never_pay_is_refused(arguments: Any, error: type[Exception], text: str) -> None:
    """Numbers that are none, and a capacity below the price of one retry, are refused by name."""
    with pytest.raises(error, match=text):
        RetryBudget(**arguments)


def test_a_ratio_budget_allows_one_retry_for_five_operations() -> None:
    """Without a reserve, a retry costs five operations at a ratio of 0.2."""
    budget = RatioBudget(0.2, reserve=0)
    assert spend(budget) == 0
    for _ in range(14):
        budget.begin(0.0)
    assert budget.available == 14
    assert budget.withdraw(0.0, True) == 5
    assert budget.available == 9
    assert spend(budget) == 1
    budget.succeeded(None)
    budget.succeeded(5)
    assert budget.available == 4


@pytest.mark.parametrize("ratio", [0.29, 0.07, 0.1, 0.3, 1 / 3, 0.7, 1.0, 2.0, 1.1])
def test_a_ratio_is_met_to_the_last_retry(ratio: float) -> None:
    """Rounding of floats costs nobody a retry and gives nobody one: 100 operations at 0.29 pay for 29."""
    budget = RatioBudget(ratio, reserve=0)
    for _ in range(100):
        budget.begin(0.0)
    assert spend(budget) == math.floor(100 * ratio + 1e-6)


def test_the_reserve_allows_retries_without_any_operations() -> None:
    """Ten per second over ten seconds are a hundred retries, with a ratio or without one."""
    assert spend(RatioBudget()) == 100
    only_reserve = RatioBudget(0, reserve=2)
    only_reserve.begin(0.0)
    assert only_reserve.available == 20
    assert spend(only_reserve) == 20


def test_operations_and_retries_are_forgotten_after_the_ttl() -> None:
    """The window slides in ten steps: what is older than the ttl neither pays nor costs."""
    budget = RatioBudget(1.0, ttl=10, reserve=0.1)
    budget.begin(0.5)
    budget.begin(1.5)
    assert spend(budget, 1.5) == 3
    assert spend(budget, 9.9) == 0
    budget.begin(10.5)
    assert budget.available == 0
    assert spend(budget, 11.5) == 1 + 1
    assert spend(budget, 10_000.0) == 1


def test_time_may_go_backwards() -> None:
    """A step back is treated as no time at all; a jump of more than the ttl makes the window go on from there."""
    budget = RatioBudget(1.0, ttl=10, reserve=0)
    budget.begin(5.0)
    budget.begin(3.0)
    assert spend(budget, 14.9) == 2
    budget.begin(1000.0)
    budget.begin(2.0)
    assert spend(budget, 11.0) == 2
    assert spend(budget, 12.5) == 0
    budget.begin(12.5)
    assert spend(budget, 22.5) == 0


def test_the_window_slides_in_ten_steps() -> None:
    """What happens in the first tenth of the ttl is forgotten after one ttl, and what happens later, a step later."""
    budget = RatioBudget(1.0, ttl=10, reserve=0)
    budget.begin(0.95)
    budget.begin(1.05)
    budget.begin(9.99)
    assert budget.available == 3
    budget.begin(10.0)
    assert budget.available == 3
    budget.begin(10.99)
    assert budget.available == 4
    budget.begin(11.0)
    assert budget.available == 4


def test_a_step_back_within_the_ttl_is_no_other_clock() -> None:
    """Time that goes back by a whole ttl, and no more, waits until it is where it was."""
    budget = RatioBudget(1.0, ttl=10, reserve=0)
    budget.begin(20.5)
    budget.begin(10.5)
    budget.begin(20.9)
    assert budget.available == 3


def test_clocks_may_take_over_again_and_again() -> None:
    """After each change the window goes on from there, and forgets in time."""
    budget = RatioBudget(1.0, ttl=10, reserve=0)
    for last in (1000.0, 50.0, 40.0):
        budget.begin(last)
        budget.begin(0.5)
        assert budget.available == 2
        budget.begin(30.0)
        assert budget.available == 1


def test_the_newest_payment_is_given_back_first() -> None:
    """A payment is given back once, and of several the newest: it would have counted longest."""
    budget = RatioBudget(1.0, ttl=10, reserve=0.2)
    for now in (0.5, 5.5):
        assert budget.withdraw(now, False) == 1
    budget.begin(6.5)
    budget.restore(1.0)
    assert budget.available == 2
    budget.begin(10.5)
    assert budget.available == 4


def test_a_restored_retry_can_be_made_again() -> None:
    """Restoring gives back the newest payment that still counts, and nothing where none does."""
    budget = RatioBudget(1.0, ttl=10, reserve=0.2)
    assert spend(budget, 0.5) == 2
    budget.restore(1.0)
    assert budget.available == 1
    assert spend(budget, 5.5) == 1
    budget.restore(1.0)
    assert spend(budget, 10.5) == 2
    budget.restore(1.0)
    budget.restore(1.0)
    budget.restore(1.0)
    assert budget.available == 2


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"ratio": -0.1}, ValueError, "ratio must be a finite number, 0 or more; got -0.1"),
        ({"ratio": math.inf}, ValueError, "ratio"),
        (
            {"ratio": 5e-324},
            ValueError,
            "ratio must be 0, or a number such as 0.2; got 5e-324, too small to count with",
        ),
        ({"ratio": None}, TypeError, "ratio"),
        ({"ttl": 0}, ValueError, "ttl must be 0.001 seconds or more; got 0"),
        ({"ttl": "10"}, TypeError, "ttl"),
        ({"reserve": -1}, ValueError, "reserve"),
        ({"reserve": math.nan}, ValueError, "reserve"),
        ({"ratio": 0, "reserve": 0}, ValueError, "ratio=0 with reserve=0 would never allow a retry"),
        ({"ratio": 0, "reserve": 0.05}, ValueError, "would never allow a retry"),
    ],
)
def test_a_ratio_that_cannot_be_is_refused(arguments: Any, error: type[Exception], text: str) -> None:
    """Numbers that are none, and a budget that would never allow anything, are refused by name."""
    with pytest.raises(error, match=text):
        RatioBudget(**arguments)


def test_the_least_budgets_that_can_be() -> None:
    """A ttl of a millisecond, and a reserve of one retry in a ttl, are enough."""
    assert spend(RatioBudget(1.0, ttl=0.001, reserve=1000)) == 1
    assert spend(RatioBudget(0, ttl=1, reserve=1)) == 1
    assert spend(RatioBudget(0, ttl=1, reserve=1.5)) == 1


class QuotaMachine(RuleBasedStateMachine):
    """A `RetryBudget` beside the plainest model of the rules."""

    def __init__(self) -> None:
        super().__init__()
        self.budget = RetryBudget(capacity=60)
        self.tokens = 60.0
        self.last: float | None = None

    @rule(throttled=st.booleans())
    def withdraw(self, throttled: bool) -> None:
        cost = 5 if throttled else 14
        expected = cost if cost <= self.tokens else None
        assert self.budget.withdraw(0.0, throttled) == expected
        if expected is not None:
            self.tokens -= cost
            self.last = expected

    @rule()
    def succeed_at_once(self) -> None:
        self.budget.begin(0.0)
        self.budget.succeeded(None)
        self.tokens = min(60, self.tokens + 1)

    @precondition(lambda self: self.last is not None)
    @rule(restored=st.booleans())
    def settle(self, restored: bool) -> None:
        assert self.last is not None
        (self.budget.restore if restored else self.budget.succeeded)(self.last)
        self.tokens = min(60, self.tokens + self.last)
        self.last = None

    @invariant()
    def agrees_with_the_model(self) -> None:
        assert self.budget.available == self.tokens
        assert 0 <= self.tokens <= 60


class RatioMachine(RuleBasedStateMachine):
    """A `RatioBudget` beside a model that keeps every event with its time."""

    def __init__(self) -> None:
        super().__init__()
        self.budget = RatioBudget(0.5, ttl=10, reserve=0.3)
        self.now = 100.0
        self.operations: list[int] = []
        self.retries: list[int] = []

    def slot(self) -> int:
        return int(self.now)

    def counted(self, events: list[int]) -> int:
        return sum(1 for slot in events if self.slot() - slot < 10)

    @rule(seconds=st.floats(0, 4) | st.floats(0, 30))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(behind=st.sampled_from([0.0, 0.0, 0.5, 3.0]))
    def begin(self, behind: float) -> None:
        self.budget.begin(self.now)
        self.budget.begin(self.now - behind)
        self.operations += [self.slot(), self.slot()]

    @rule(throttled=st.booleans())
    def withdraw(self, throttled: bool) -> None:
        allowed = 3 + self.counted(self.operations) * 0.5
        expected = 2.0 if self.counted(self.retries) + 1 <= allowed else None
        assert self.budget.withdraw(self.now, throttled) == expected
        if expected is not None:
            self.retries.append(self.slot())

    @precondition(lambda self: self.counted(self.retries) > 0)
    @rule()
    def restore(self) -> None:
        self.budget.restore(2.0)
        self.retries.remove(max(self.retries))

    @rule()
    def look(self) -> None:
        self.budget.begin(self.now)
        self.operations.append(self.slot())
        left = 6 + self.counted(self.operations) - 2 * self.counted(self.retries)
        assert self.budget.available == pytest.approx(left)


TestQuotaMachine = QuotaMachine.TestCase
TestRatioMachine = RatioMachine.TestCase
TestQuotaMachine.settings = TestRatioMachine.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)


@pytest.fixture
def short_switches() -> Iterator[None]:
    """Threads take turns as often as the interpreter can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def in_threads(function: Callable[[], None], count: int = 8) -> None:
    """Run a function in threads that begin together."""
    barrier = threading.Barrier(count)

    def body() -> None:
        barrier.wait()
        function()

    threads = [threading.Thread(target=body) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.usefixtures("short_switches")
@pytest.mark.parametrize(
    ("make", "allowed"),
    [(lambda: RetryBudget(capacity=14 * 500), 500), (lambda: RatioBudget(0, reserve=50), 500)],
)
def test_threads_are_never_admitted_more_than_allowed(make: Callable[[], Budget], allowed: int) -> None:
    """Eight threads that withdraw at once get exactly what one alone would get."""
    budget = make()
    paid: list[float] = []

    def withdraw_often() -> None:
        for _ in range(150):
            price = budget.withdraw(0.0, False)
            if price is not None:
                paid.append(price)

    in_threads(withdraw_often)
    assert len(paid) == allowed


@pytest.mark.usefixtures("short_switches")
def test_threads_lose_no_tokens() -> None:
    """What eight threads withdraw and restore, and what their successes earn, adds up exactly."""
    budget = RetryBudget(capacity=100_000, cost=14)
    for _ in range(1000):
        budget.withdraw(0.0, False)

    def work() -> None:
        for _ in range(200):
            price = budget.withdraw(0.0, False)
            assert price is not None
            budget.restore(price)
            budget.succeeded(None)

    in_threads(work)
    assert budget.available == 100_000 - 14_000 + 8 * 200


@pytest.mark.usefixtures("short_switches")
def test_threads_lose_no_deposits() -> None:
    """Operations that begin in eight threads are all counted."""
    budget = RatioBudget(0.5, reserve=0)

    def begin_often() -> None:
        for _ in range(300):
            budget.begin(0.0)

    in_threads(begin_often)
    assert budget.available == 2400
    assert spend(budget) == 1200


@pytest.mark.parametrize("budget", [RetryBudget(), RatioBudget()], ids=repr)
@pytest.mark.parametrize("step", ["withdraw", "restore", "begin", "available"])
def test_each_step_is_one(budget: Any, step: str) -> None:
    """Whatever changes or reads more than one number does it with the lock held; what needs no lock takes none."""
    budget.withdraw(0.0, False)
    budget._lock = lock = WatchedLock()
    found = {
        "withdraw": lambda: budget.withdraw(0.0, False),
        "restore": lambda: budget.restore(1.0),
        "begin": lambda: budget.begin(0.0),
        "available": lambda: budget.available,
    }[step]()
    assert found is None or found > 0
    needless = isinstance(budget, RetryBudget) and step in {"begin", "available"}
    assert lock.taken == (0 if needless else 1)


@pytest.mark.parametrize(
    ("capacity", "cost", "retries"), [(0.3, 0.1, 3), (0.7, 0.1, 7), (53, 5.3, 10), (1000, 0.1, 10000)]
)
def test_a_quota_pays_as_many_retries_as_its_numbers_say(capacity: float, cost: float, retries: int) -> None:
    """Though tenths are no exact floats, so that what is left comes out a little too small; and not one more."""
    budget = RetryBudget(capacity, cost, cost)
    assert spend(budget) == retries
    assert 0.0 <= budget.available < 1e-8
    budget._available = cost * 0.998
    assert budget.withdraw(0.0, False) is None


@pytest.mark.parametrize(("capacity", "left"), [(1.0, 0.09995), (1e6, 0.09985), (1e9, 0.0), (1e9, 0.0998)])
def test_rounding_is_no_credit(capacity: float, left: float) -> None:
    """It explains a billionth of the capacity at most, and a thousandth of what a retry costs."""
    budget = RetryBudget(capacity, 0.1, 0.1)
    budget._available = left
    assert budget.withdraw(0.0, False) is None
    budget._available = 0.1 * (1 - 1e-10)
    assert budget.withdraw(0.0, False) == 0.1


def test_what_rounding_explained_is_owed() -> None:
    """Who lives from hand to mouth never gets more than came in, however often it pays."""
    budget = RetryBudget(2e6, 2.0, 1.0005)
    spend(budget)
    budget.withdraw(0.0, True)
    paid = earned = 0.0
    for _ in range(10_000):
        budget.succeeded(None)
        earned += 1.0
        paid += budget.withdraw(0.0, True) or 0.0
        assert budget.available >= 0.0
    assert earned - 2.5 < paid <= earned + 0.0011


def test_all_that_a_subclass_has_is_put_back() -> None:
    """Its slots, as far as they are set, its attributes, and those of the budget that it is."""

    class Slotted(RetryBudget):
        __slots__ = ("refused", "unset")

    class Counting(Slotted):
        pass

    budget: Any = Counting()
    budget.refused, budget.asked = 1, 2
    saved = budget._saved()
    assert "_lock" not in saved
    budget.refused, budget.asked, budget.unset = 3, 4, 5
    assert spend(budget) == 35
    budget._put_back(saved)
    assert (budget.refused, budget.asked, spend(budget)) == (1, 2, 35)


@pytest.mark.parametrize("make", [RetryBudget, RatioBudget])
def test_what_a_budget_had_can_be_put_back(make: Callable[[], Any]) -> None:
    """As often as wanted, whatever was spent meanwhile, in one step under the lock each."""
    budget, twin = make(), make()
    for each in (budget, twin):
        each.begin(0.0)
        each.withdraw(0.0, False)
    budget._lock = lock = WatchedLock()
    saved = budget._saved()
    assert lock.taken == 1
    for _ in range(2):
        assert spend(budget) > 10
        budget.begin(3.0)
        taken = lock.taken
        budget._put_back(saved)
        assert lock.taken == taken + 1
        assert budget.available == twin.available
    assert spend(budget) == spend(twin)


def test_a_full_quota_takes_no_lock() -> None:
    """Successes at once, which are nearly all, do not wait for each other."""
    budget: Any = RetryBudget()
    budget._lock = lock = WatchedLock()
    budget.succeeded(None)
    assert lock.taken == 0
    assert budget.available == 500


class Unlimited:
    """No budget at all, for comparison."""

    available = math.inf

    def begin(self, now: float) -> None:
        """Nothing."""

    def withdraw(self, now: float, throttled: bool) -> float | None:
        return 0.0

    def succeeded(self, paid: float | None) -> None:
        """Nothing."""

    def restore(self, paid: float) -> None:
        """Nothing."""


@pytest.mark.parametrize(
    ("make", "p", "load", "success"),
    [
        (Unlimited, 0.1, 1.11, 0.999),
        (Unlimited, 0.5, 1.75, 0.872),
        (Unlimited, 1.0, 3.00, 0.0),
        (RetryBudget, 0.1, 1.11, 0.999),
        (RetryBudget, 0.5, 1.08, 0.539),
        (RetryBudget, 1.0, 1.00, 0.0),
        (lambda: RatioBudget(reserve=0), 0.1, 1.11, 0.999),
        (lambda: RatioBudget(reserve=0), 0.5, 1.20, 0.600),
        (lambda: RatioBudget(reserve=0), 1.0, 1.20, 0.0),
    ],
    ids=[f"{name}-{p}" for name in ("none", "aws", "finagle") for p in (0.1, 0.5, 1.0)],
)
def test_budgets_bound_the_load_as_published(make: Callable[[], Budget], p: float, load: float, success: float) -> None:
    """Twenty thousand operations with at most two retries, each attempt failing with probability p."""
    budget, chance, calls, successes = make(), random.Random(1), 0, 0
    for n in range(20_000):
        now, paid = n / 1000, None
        budget.begin(now)
        for attempt in range(3):
            calls += 1
            if chance.random() >= p:
                successes += 1
                budget.succeeded(paid)
                break
            paid = budget.withdraw(now, False) if attempt < 2 else None
            if paid is None:
                break
    assert calls / 20_000 == pytest.approx(load, abs=0.015)
    assert successes / 20_000 == pytest.approx(success, abs=0.012)


@pytest.mark.parametrize("budget", [RetryBudget(), RatioBudget()], ids=repr)
def test_a_budget_is_never_silently_duplicated(budget: Budget) -> None:
    """A copy is the budget itself; pickling, which would make a second one, is refused and says what to do."""
    assert copy.copy(budget) is budget
    assert copy.deepcopy({"budget": budget})["budget"] is budget
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        kind = type(budget).__name__
        with pytest.raises(TypeError, match=rf"^a {kind} does not pickle, .* give budget= a name"):
            pickle.dumps(budget, protocol)


def test_reprs_are_the_constructing_expressions() -> None:
    """A budget shows how it was made."""
    assert repr(RetryBudget(100, throttling_cost=2.5)) == "RetryBudget(capacity=100, cost=14, throttling_cost=2.5)"
    assert repr(RatioBudget(0.1, ttl=5)) == "RatioBudget(0.1, ttl=5, reserve=10)"


def test_a_name_stands_for_one_budget() -> None:
    """The first use of a name makes a standard quota, and every later one gets the same."""
    budget = named_budget("test-budget-first")
    assert isinstance(budget, RetryBudget)
    assert budget.available == 500
    assert named_budget("test-budget-first") is budget
    assert as_budget("test-budget-first") is budget
    assert named_budget("test-budget-second") is not budget


def test_a_known_name_is_found_without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a name that is new, and forgetting them, takes the lock; looking a known one up does not."""
    lock = WatchedLock()
    monkeypatch.setattr(budgets, "_lock", lock)
    first = named_budget("test-budget-known")
    assert lock.taken == 1
    assert named_budget("test-budget-known") is first
    assert lock.taken == 1
    forget_names()
    assert lock.taken == 2


def test_names_can_be_forgotten() -> None:
    """After that a name stands for nothing, and its next use makes another budget."""
    before = named_budget("test-budget-forgotten")
    forget_names()
    assert named_budget("test-budget-forgotten") is not before


@pytest.mark.usefixtures("short_switches")
def test_threads_that_first_use_a_name_get_the_same_budget() -> None:
    """Of eight threads that use a new name at once, none gets a budget of its own."""
    for n in range(20):
        seen: list[Budget] = []
        in_threads(lambda name=f"test-budget-race-{n}", seen=seen: seen.append(named_budget(name)))  # type: ignore[misc]  # defaults bind the loop's values
        assert len(set(map(id, seen))) == 1


def test_as_budget_takes_none_a_name_or_any_budget() -> None:
    """None stays None; an object with the protocol stays itself, whoever wrote it."""
    assert as_budget(None) is None
    own = Unlimited()
    assert as_budget(own) is own


class Halved(Unlimited):
    """Has a part of the protocol only."""

    restore = None  # type: ignore[assignment]  # the test's point


@pytest.mark.parametrize("value", [5, True, object(), RetryBudget, ["a"], b"name", Halved()])
def test_what_is_no_budget_is_refused(value: Any) -> None:
    """A number, a class instead of an object, or anything without the methods names the parameter and the methods."""
    text = rf"^budget must be .* begin, withdraw, succeeded, restore.*; got {re.escape(shown(value))}$"
    with pytest.raises(TypeError, match=text):
        as_budget(value)


def test_names_that_are_none_are_refused() -> None:
    """A name is a str that is not empty."""
    with pytest.raises(ValueError, match="name must not be empty"):
        named_budget("")
    with pytest.raises(TypeError, match="name must be a str; got 5"):
        named_budget(5)  # type: ignore[arg-type]  # the test's point
