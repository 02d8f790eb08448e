"""Many operations at once, in a tree of scopes, with shared budgets: each decision against the plain model.

What happens to which operation, and when, is drawn step by step: a wait of one may end while another one fails, a scope
may be cancelled or end at any moment, and time passes as it likes.

The bookkeeping, exactly: every failed attempt is an error, and every attempt after the first that has ended is a retry.
So errors = retries + operations that failed and did not recover (ended, or under way) - retries that were interrupted.
"""

from __future__ import annotations

from fractions import Fraction
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from modelling import runner
from modelling.model import Model
from modelling.parts import Failure, Link, Run
from modelling.rounds import examples
from modelling.waits import waits

from retrywrap import ErrorCode, RatioBudget, Registry, RetryBudget, RetryContext, RetryPolicy, RetryState, Verdict
from retrywrap.decide.allowance import PROCESS, Allowance, Standing
from retrywrap.decide.events import RetryEvent

CHANCE = 0.5
RESULTS = {
    "bad": Verdict(ErrorCode.NETWORK, retryable=True),
    "worse": Verdict(ErrorCode.PERMISSION_DENIED),
}

quarters = st.integers(0, 16).map(lambda n: n / 4)
intervals = st.one_of(
    st.just(0),
    quarters,
    st.lists(quarters, max_size=3),
    st.tuples(st.just("exponential"), quarters, st.sampled_from([1.5, 8]), st.sampled_from([None, "full", "equal"])),
    st.tuples(st.just("decorrelated"), quarters, st.sampled_from([3, 60])),
)
rules = st.fixed_dictionaries(
    {"max": st.sampled_from([5, 4, 3, 2, 1, 0]), "interval": intervals},
    optional={
        "timeout": st.integers(0, 40).map(lambda n: n / 4),
        "budget": st.integers(0, 1),
        "on": st.sampled_from(["value", "strange"]),
        "idempotent": st.sampled_from([True, True, True, False]),
    },
)
endless = st.fixed_dictionaries(
    {"max": st.none(), "interval": st.sampled_from([1, 2.5]), "timeout": st.sampled_from([3, 9])}
)
scopes = st.tuples(
    st.sampled_from([3, 5, 2, 1, 0, None]), st.sampled_from([None, None, None, 9, 2.5]), st.sampled_from([None, 0, 1])
)


class Operation:
    """One operation on both sides."""

    def __init__(self, context: RetryContext, run: Run, around: tuple[Link, ...]) -> None:
        self.context, self.run = context, run
        self.pauses = waits(run.policy["interval"], lambda: CHANCE)
        self.around = around
        self.asleep: Fraction | None = None
        self.due: Fraction | None = None
        self.waited = Fraction(0)
        self.events: list[RetryEvent] = []
        self.begun_at: Fraction = run.started or Fraction(0)
        self.calls = 1
        self.over = False


class ContextMachine(RuleBasedStateMachine):
    """Any number of operations, scopes and budgets."""

    @initialize(
        capacity=st.sampled_from([14, 30, 60]),
        ratio=st.sampled_from([0, 0.5]),
        scopes=st.lists(scopes, min_size=1, max_size=3),
        policies=st.lists(rules | endless, min_size=3, max_size=6),
    )
    def start(self, capacity: int, ratio: float, scopes: list[Any], policies: list[Any]) -> None:
        budgets = [["quota", capacity, 14, 5], ["ratio", ratio, 10, 0.25]]
        self.model = Model({"chance": CHANCE, "budgets": budgets, "interruptions": [], "steps": []})
        self.budgets: list[Any] = [RetryBudget(capacity, 14, 5), RatioBudget(ratio, ttl=10, reserve=0.25)]
        self.capacity = capacity
        self.scopes: list[tuple[Allowance, tuple[Link, ...]]] = [(PROCESS, ())]
        self.operations: list[Operation] = []
        self.registry = Registry()
        self.interrupted = 0
        self._known = runner.known()
        self._known.__enter__()
        for n, scope in enumerate(scopes):
            self.open_one(n, *scope)
        for n, policy in enumerate(policies):
            self.begin_one(n, policy)

    def teardown(self) -> None:
        if hasattr(self, "_known"):
            self._known.__exit__(None, None, None)
        PROCESS.reopen()

    @property
    def now(self) -> float:
        return float(self.model.now)

    def pick(self, which: int, *, waiting: bool) -> Operation | None:
        found = [o for o in self.operations if not o.over and (o.due is not None) == waiting]
        return found[which % len(found)] if found else None

    # --- scopes

    @rule(which=st.integers(0, 9), scope=scopes)
    def open_scope(self, which: int, scope: tuple[int | None, float | None, int | None]) -> None:
        self.open_one(which, *scope)

    def open_one(self, which: int, most: int | None, timeout: float | None, budget: int | None) -> None:
        parent, links = self.scopes[which % len(self.scopes)]
        name = f"scope{len(self.scopes)}"
        deadline = None if timeout is None else self.model.now + Fraction(timeout)
        real = Allowance(parent, name=name, deadline=None if deadline is None else float(deadline))
        real.count(most, None if budget is None else self.budgets[budget])
        paying = None if budget is None else self.model.budgets[budget]
        self.scopes.append((real, (Link(name=name, most=most, deadline=deadline, budget=paying), *links)))

    @precondition(lambda self: len(self.scopes) > 1)
    @rule(which=st.integers(0, 9), really=st.integers(0, 3))
    def cancel(self, which: int, really: int) -> None:
        if really < 3:
            return
        real, links = self.scopes[1:][which % (len(self.scopes) - 1)]
        real.cancel()
        links[0].cancelled = True

    @precondition(lambda self: len(self.scopes) > 1)
    @rule(which=st.integers(0, 9))
    def close(self, which: int) -> None:
        """What stands under it already goes on to; nothing new does."""
        real, links = self.scopes.pop(1 + which % (len(self.scopes) - 1))
        real.close()
        self.scopes = [
            (r, tuple(link for link in ls if link is not links[0])) for r, ls in self.scopes
        ]  # those inside it are open still

    @precondition(lambda self: len(self.operations) > 7)
    @rule()
    def shut_down(self) -> None:
        PROCESS.cancel()
        self.model.shut = True

    @rule(seconds=quarters)
    def time_passes(self, seconds: float) -> None:
        self.model.now += Fraction(seconds)

    # --- operations

    @rule(which=st.integers(0, 9), policy=rules | rules | endless)
    def begin(self, which: int, policy: dict[str, Any]) -> None:
        self.begin_one(which, policy)

    def begin_one(self, which: int, policy: dict[str, Any]) -> None:
        scope, around = self.scopes[which % len(self.scopes)]
        name = f"op{len(self.operations)}"
        given = {**policy, "interval": runner.interval(policy["interval"])}
        if "budget" in given:
            given["budget"] = self.budgets[given["budget"]]
            self.budgets[policy["budget"]].begin(self.now)
            self.model.budgets[policy["budget"]].begin(self.model.now)
        if "on" in given:
            given["on"] = runner.NAMED[given["on"]]
        context = RetryContext(RetryPolicy(**given), operation=name, limits=Standing(scope), random=lambda: CHANCE)
        assert context.state is RetryState.IDLE
        context.begin(self.now)
        run = Run(name, name, policy, 0)
        run.started = self.model.now
        if "timeout" in policy:
            around = (Link(deadline=self.model.now + Fraction(policy["timeout"])), *around)
        run.around = around
        self.operations.append(Operation(context, run, around))

    def hear(self, operation: Operation, event: RetryEvent, reason: str | None, **expected: Any) -> None:
        """Compare an event with what must be in it, and go on as it says."""
        run = operation.run
        facts = {
            "name": f"retry.{reason or 'scheduled'}",
            "operation": run.name,
            "attempt": run.attempts,
            "max": run.policy["max"],
            "elapsed": self.model.now - operation.begun_at,
            "wait": None,
            "scope": next((link.name for link in run.around if link.name), None),
            "code": run.last.code if run.last else 0,
            "retry_after": run.last.hint if run.last else None,
            **expected,
        }
        assert {name: getattr(event, name) for name in facts} == facts
        assert event.final == (reason is not None)
        self.registry.handle(event)
        operation.events.append(event)
        if reason is not None:
            operation.over = True
            assert operation.context.state is (RetryState.SUCCESS if reason == "recovered" else RetryState.FAILED)
        else:
            operation.asleep = self.model.now
            operation.due = self.model.now + Fraction(event.wait or 0)
            assert operation.context.state is RetryState.RETRYING

    @rule(which=st.integers(0, 9), kind=st.sampled_from(["reset", "refused", "busy", "hint", "bad"]))
    def fail_again(self, which: int, kind: str) -> None:
        self.fail(which, kind)

    @rule(which=st.integers(0, 9), kind=st.sampled_from(["reset", "refused", "busy", "hint", "bad"]))
    def fail_and_resume(self, which: int, kind: str) -> None:
        """As a loop does that nothing happens to."""
        operation = self.fail_one(which, kind)
        if operation is not None and not operation.over:
            self.resume_this(operation, early=False, late=0.0)

    @rule(which=st.integers(0, 9), kind=st.sampled_from([*runner.ORDINARY, "reset", "busy", "hint", "bad", "worse"]))
    def fail(self, which: int, kind: str) -> None:
        self.fail_one(which, kind)

    def fail_one(self, which: int, kind: str) -> Operation | None:
        operation = self.pick(which, waiting=False)
        if operation is None:
            return None
        run = operation.run
        run.attempts += 1
        run.last = Failure(kind)
        reason, wait = self.model.decide(run, operation.pauses, is_result=kind in RESULTS)
        if kind in RESULTS:
            event = operation.context.returned(RESULTS[kind], self.now)
        else:
            event = operation.context.failed(runner.ERRORS[kind](), self.now)  # type: ignore[arg-type]  # none of these is none
        assert event is not None
        if reason is None:
            run.retries += 1
        expected = {"wait": None if reason else wait, "is_error": True, "is_retry": run.attempts > 1}
        self.hear(operation, event, reason, **expected)
        assert operation.context.current_retry == run.retries
        return operation

    @rule(which=st.integers(0, 9))
    def succeed(self, which: int) -> None:
        operation = self.pick(which, waiting=False)
        if operation is None:
            return
        run = operation.run
        event = operation.context.returned(None, self.now)
        run.attempts += 1
        if run.attempts == 1:
            assert event is None
            assert operation.context.state is RetryState.SUCCESS
            operation.over = True
            budget = self.model.budget(run.policy)
            if budget:
                budget.succeeded(None)
            return
        assert event is not None
        for budget, price in run.paid:
            budget.succeeded(price)
        self.hear(operation, event, "recovered", is_error=False, is_retry=True)

    @rule(which=st.integers(0, 9), early=st.booleans(), late=quarters | st.just(0.0))
    def resume(self, which: int, early: bool, late: float) -> None:
        """The wait ends: in time, too late, or early, because it was cut short."""
        operation = self.pick(which, waiting=True)
        if operation is not None:
            self.resume_this(operation, early, late)

    def resume_this(self, operation: Operation, early: bool, late: float) -> None:
        assert operation.due is not None
        if not early:
            self.model.now = max(self.model.now, operation.due) + Fraction(late)
        operation.waited += min(self.model.now, operation.due) - (operation.asleep or 0)
        operation.due = None
        event = operation.context.resumed(self.now)
        deadline = self.model.deadline(operation.around)
        reason = None
        if self.model.cancelled(operation.around):
            reason = "cancelled"
        elif deadline is not None and self.model.now > deadline:
            reason = "timed_out"
        if reason is None:
            assert event is None
            operation.calls += 1
            return
        assert event is not None
        self.model.give_back(operation.run)
        self.hear(operation, event, reason, is_error=False, is_retry=False)

    @rule(which=st.integers(0, 9), waiting=st.booleans())
    def interrupt(self, which: int, waiting: bool) -> None:
        operation = self.pick(which, waiting=waiting)
        if operation is None or not operation.events:
            return
        run = operation.run
        operation.due = None
        event = operation.context.interrupted(self.now, during_attempt=not waiting)
        if waiting:
            self.model.give_back(run)
        else:
            run.attempts += 1
            self.interrupted += 1
        self.hear(operation, event, "cancelled", is_error=False, is_retry=not waiting)

    # --- what always holds

    @invariant()
    def budgets_hold(self) -> None:
        if not hasattr(self, "budgets"):
            return
        for real, model in zip(self.budgets, self.model.budgets, strict=True):
            assert real.available == model.available
        assert 0 <= self.budgets[0].available <= self.capacity

    @invariant()
    def scopes_hold(self) -> None:
        for real, links in getattr(self, "scopes", [])[1:]:
            assert real.used == links[0].used
            assert real.used >= 0
            assert real.max is None or real.used <= real.max

    @invariant()
    def operations_hold(self) -> None:
        for operation in getattr(self, "operations", []):
            policy = operation.run.policy
            assert policy["max"] is None or operation.calls <= policy["max"] + 1
            assert operation.context.attempts == operation.run.attempts <= operation.calls
            if "timeout" in policy:
                assert operation.waited <= policy["timeout"]
            ends = [event for event in operation.events if event.final]
            assert len(ends) == (operation.over and bool(operation.events))

    @invariant()
    def counts_hold(self) -> None:
        if not hasattr(self, "registry"):
            return
        stats = self.registry.stats()
        failed = [o for o in self.operations if o.events and o.events[-1].reason != "recovered"]
        assert stats.errors == stats.retries + len(failed) - self.interrupted
        assert stats.errors == sum(event.is_error for o in self.operations for event in o.events)
        assert stats.failed == sum(o.over for o in failed)


def policy_by(random: Random) -> dict[str, Any]:
    """Return a policy with waits that are short beside its timeout."""
    waits = random.choice([0, 0.5, 1, [0.25] * random.randint(0, 3), ["exponential", 0.5, 8, "full"]])
    given: dict[str, Any] = {"max": random.randint(0, 4), "interval": waits}
    if random.random() < 0.4:
        given["timeout"] = random.randint(0, 24) / 4
    if random.random() < 0.4:
        given["budget"] = random.randint(0, 1)
    if random.random() < 0.1:
        given["idempotent"] = False
    return given


@given(st.integers(0, 2**64 - 1))
@examples(100)
def test_long_walks(seed: int) -> None:
    """The same in hundreds of steps, each of them by chance, where operations mostly go on.

    A failure is shown with its seed, which ``@example`` takes to walk that way again.
    """
    random = Random(seed)
    machine = ContextMachine()
    scopes = [(random.choice([None, 0, 2, 5]), random.choice([None, None, 8.0]), random.choice([None, 0, 1]))] * 2
    policies = [policy_by(random) for _ in range(6)]
    machine.start(random.choice([14, 30, 60]), random.choice([0, 0.5]), scopes, policies)
    retried = ["reset", "refused", "busy", "hint", "bad"]
    steps: list[tuple[int, Any]] = [
        (20, lambda: machine.fail_and_resume(random.randrange(10), random.choice(retried))),
        (12, lambda: machine.fail(random.randrange(10), random.choice(retried))),
        (2, lambda: machine.fail(random.randrange(10), random.choice(runner.ORDINARY))),
        (12, lambda: machine.resume(random.randrange(10), random.random() < 0.1, random.choice([0, 0, 0.5, 2.0]))),
        (5, lambda: machine.succeed(random.randrange(10))),
        (2, lambda: machine.interrupt(random.randrange(10), random.random() < 0.5)),
        (6, lambda: machine.begin_one(random.randrange(10), policy_by(random))),
        (2, lambda: machine.open_one(random.randrange(10), random.randint(0, 4), random.choice([None, 4.0]), None)),
        (4, lambda: machine.time_passes(0.25)),
        (1, lambda: machine.close(random.randrange(10)) if len(machine.scopes) > 1 else None),
        (1, lambda: machine.cancel(random.randrange(10), 3) if len(machine.scopes) > 1 else None),
    ]
    weights = [weight for weight, _ in steps]
    try:
        for _, step in random.choices(steps, weights, k=200):
            step()
            machine.budgets_hold()
            machine.scopes_hold()
        machine.operations_hold()
        machine.counts_hold()
    finally:
        machine.teardown()


TestContextMachine = ContextMachine.TestCase
TestContextMachine.settings = examples(25, steps=50)
