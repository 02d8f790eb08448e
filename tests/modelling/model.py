"""A plain interpreter of `modelling.program`'s programs: what the documentation says must happen, step by step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

from modelling.budgets import Quota, Ratio
from modelling.parts import Failure, Halted, Link, Raised, Run
from modelling.program import VALUES, Program
from modelling.waits import waits

__all__ = ["Model"]


class Model:
    """Interprets one program; afterwards `story` and the rest say what happened."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.now = Fraction(0)
        self.waits: list[Fraction] = []
        self.story: list[Any] = []
        self.heard: list[list[Any]] = [[], []]
        self.at_once: Counter[str] = Counter()
        self.budgets = [Quota(*b[1:]) if b[0] == "quota" else Ratio(*b[1:]) for b in program["budgets"]]
        self.shut = False
        self.kept: Failure | None = None
        self.notes = 0
        self.hooks: Counter[str] = Counter()
        self.scopes: list[Link] = []
        self.events = 0

    def run(self) -> None:
        """Interpret the program."""
        try:
            self.body(self.program["steps"], ())
        except Raised as raised:
            self.ended(raised.failure)
        except Halted:
            self.story.append(["halted"])

    def ended(self, failure: Failure) -> None:
        """Write down what came out."""
        notes = [] if failure is self.kept else [text for _, _, text in failure.notes]
        cause = failure.cause.kind if failure.cause else None
        self.story.append(["caught", failure.kind, cause, notes])

    # --- steps

    def body(self, steps: Any, around: tuple[Link, ...]) -> str:
        """Make the steps of one attempt; return its value."""
        for kind, *rest in steps:
            if kind == "end":
                if rest[0] in VALUES:
                    return str(rest[0])
                self.fail(rest[0])
            getattr(self, f"do_{kind}")(around, *rest)
        return "good"

    def fail(self, kind: str) -> None:
        """Raise."""
        if kind == "halt":
            raise Halted
        if kind == "kept":
            raise Raised(self.kept or Failure("reset"))
        raise Raised(Failure(kind))

    def do_advance(self, around: Any, seconds: float) -> None:
        """Time passes."""
        self.now += Fraction(seconds)

    def do_remaining(self, around: Any) -> None:
        """Say what is left."""
        deadline = self.deadline(around)
        self.story.append(["remaining", None if deadline is None else max(Fraction(0), deadline - self.now)])

    def do_cancel(self, around: Any, which: int) -> None:
        """Cancel a scope that is in use."""
        if which < len(self.scopes):
            self.scopes[-1 - which].cancelled = True

    def do_shutdown(self, around: Any) -> None:
        """End all waits."""
        self.shut = True

    def do_call(self, around: Any, operation: Any) -> None:
        """Let the error out."""
        self.operate(operation, around)

    def do_catch(self, around: Any, operation: Any) -> None:
        """Let no error out."""
        try:
            self.operate(operation, around)
        except Raised as raised:
            self.ended(raised.failure)

    def do_keep(self, around: Any, operation: Any) -> None:
        """Keep the first error."""
        try:
            self.operate(operation, around)
        except Raised as raised:
            self.kept = self.kept or raised.failure
            self.ended(raised.failure)

    def do_wrap(self, around: Any, operation: Any, kind: str) -> None:
        """Raise another error from it."""
        try:
            self.operate(operation, around)
        except Raised as raised:
            raise Raised(Failure(kind, raised.failure)) from None

    def do_with(self, around: Any, scope: Any, steps: Any) -> None:
        """Enter a scope."""
        budget = self.budget(scope)
        deadline = self.now + Fraction(scope["timeout"]) if "timeout" in scope else None
        link = Link(name=scope["name"], most=scope["max"], deadline=deadline, budget=budget, policy=scope)
        if budget:
            budget.begin(self.now)
        with self.using(link, scope["name"]):
            self.body(steps, (link, *around))

    @contextmanager
    def using(self, link: Link, name: str) -> Iterator[None]:
        """Use a scope, and say afterwards what it has recorded."""
        self.scopes.append(link)
        try:
            yield
        finally:
            self.scopes.pop()
            self.story.append(["scope", name, sum(e[8] for e in link.heard), sum(e[9] for e in link.heard)])

    # --- operations

    def budget(self, policy: Any) -> Any:
        """Return a policy's budget."""
        return self.budgets[policy["budget"]] if "budget" in policy else None

    @staticmethod
    def deadline(around: Any) -> Any:
        """Deadlines nest by minimum."""
        return min((link.deadline for link in around if link.deadline is not None), default=None)

    def cancelled(self, around: Any) -> bool:
        """Whether anything around was."""
        return self.shut or any(link.cancelled for link in around)

    def operate(self, operation: Any, around: tuple[Link, ...]) -> str:
        """Run an operation of any form."""
        form, policy, name, whose = operation["form"], operation["policy"], operation["name"], operation["name"]
        registry = operation["registry"]
        scope = next((link for link in around if link.policy), None)
        if form in ("inside", "loop") and scope is not None:
            policy, name, whose, registry = scope.policy, scope.name, f"scope {scope.name}", 0
        timed = [Link(deadline=self.now + Fraction(policy["timeout"]))] if "timeout" in policy else []
        run = Run(name, whose, policy, registry)
        inside = run.around = (*timed, *around)
        if form == "function":
            value = self.begun(run, operation, inside)
        elif form in ("inside", "loop") and scope is not None:
            self.in_time(form, around[around.index(scope) :])
            value = self.begun(run, operation, inside)
        else:
            own = Link()
            run.around = (own, *inside)
            with self.using(own, name):
                self.in_time(form, inside)
                value = self.begun(run, operation, run.around if form in ("call", "inside") else inside)
        if run.attempts == 1 and form == "function":
            self.at_once[name] += 1
        return value

    def in_time(self, form: str, limits: tuple[Link, ...]) -> None:
        """Refuse a call by a scope whose time is over."""
        over = self.deadline(limits)
        if form in ("call", "inside") and over is not None and self.now > over:
            raise Raised(Failure("late"))

    def begun(self, run: Run, operation: Any, inside: tuple[Link, ...]) -> str:
        """Start the clock and tell the budget, where either is asked for; then make attempts."""
        run.since = self.notes
        budget = self.budget(run.policy)
        if budget:
            budget.begin(self.now)
        if "timeout" in run.policy or budget:
            run.started = self.now
        return self.attempts(run, operation, inside)

    def attempts(self, run: Run, operation: Any, inside: tuple[Link, ...]) -> str:
        """Make attempt after attempt."""
        policy, bodies = run.policy, operation["attempts"]
        pauses = waits(policy["interval"], lambda: self.program["chance"])
        made = 0
        while True:
            caught: Raised | None = None
            try:
                if run.attempts and "before_retry" in policy:
                    self.hook(run)
                self.story.append(["attempt", operation["name"], self.now])
                made += 1
                value = self.body(bodies[min(made, len(bodies)) - 1], inside)
                if value == "good" or "results" not in policy:
                    self.succeeded(run)
                    return value
                failure = Failure(value)
            except Raised as raised:
                caught, failure = raised, raised.failure
            except Halted:
                run.attempts += 1
                if run.attempts > 1:
                    self.tell(run, "cancelled", error=False, retry=True)
                raise
            if run.started is None:
                run.started = self.now
            run.attempts += 1
            run.last = failure
            reason, wait = self.decide(run, pauses, is_result=caught is None)
            if reason is None:
                run.retries += 1
                self.tell(run, None, error=True, retry=run.attempts > 1, wait=wait)
                if wait and not self.cancelled(run.around):
                    self.waits.append(wait)
                    self.now += wait
                deadline = self.deadline(run.around)
                if self.cancelled(run.around):
                    reason = "cancelled"
                elif deadline is not None and self.now > deadline:
                    reason = "timed_out"
                else:
                    continue
                self.give_back(run)
                self.tell(run, reason, error=False, retry=False)
            else:
                self.tell(run, reason, error=True, retry=run.attempts > 1)
            self.let_out(run, reason, caught)

    def hook(self, run: Run) -> None:
        """Call before_retry."""
        self.story.append(["hook", run.name, run.retries, run.attempts])
        outcomes = run.policy["before_retry"]
        outcome = outcomes[self.hooks[run.name] % len(outcomes)]
        self.hooks[run.name] += 1
        if outcome != "good":
            self.fail(outcome)

    def succeeded(self, run: Run) -> None:
        """An attempt succeeded."""
        run.attempts += 1
        if run.attempts == 1:
            budget = self.budget(run.policy)
            if budget:
                budget.succeeded(None)
            return
        for budget, price in run.paid:
            budget.succeeded(price)
        self.tell(run, "recovered", error=False, retry=True)

    def decide(self, run: Run, pauses: Any, *, is_result: bool) -> tuple[str | None, Any]:
        """Apply the laws of docs/architecture.md, in their order."""
        failure, policy = run.last, run.policy
        assert failure is not None
        if failure.kind == "forbidden":
            return "rejected", None
        on, wanted = policy.get("on"), False
        exact: Any = None
        if not is_result and on is not None:
            if isinstance(on, str):
                wanted = failure.kind == on
            elif failure.kind == "value":
                wanted, exact = True, Fraction(on[1])
            else:
                wanted = failure.kind == "strange"
        if not failure.retryable and not wanted:
            run.unknown = failure.kind == "strange"
            return "rejected", None
        if policy.get("idempotent") is False and not failure.harmless:
            return "rejected", None
        if "nested" not in policy and not is_result and failure.gave_up_after(run.since):
            return "nested_refused", None
        if self.cancelled(run.around):
            return "cancelled", None
        if policy["max"] is not None and run.retries >= policy["max"]:
            return "exhausted", None
        wait = next(pauses, None)
        if wait is None:
            return "exhausted", None
        if exact is not None:
            wait = exact
        elif failure.hint is not None:
            wait = min(max(Fraction(failure.hint), wait), wait + 5)
        deadline = self.deadline(run.around)
        if deadline is not None and (self.now >= deadline or self.now + wait > deadline):
            return "timed_out", None
        return self.draw(run, failure), wait

    def draw(self, run: Run, failure: Failure) -> str | None:
        """Draw from every scope and budget, or from none."""
        run.drawn, run.paid = [], []
        for link in run.around:
            if link.most is not None:
                if link.used >= link.most:
                    self.give_back(run)
                    return "exhausted"
                link.used += 1
                run.drawn.append(link)
        budgets: list[Any] = []
        for budget in (self.budget(run.policy), *(link.budget for link in run.around)):
            if budget is not None and not any(budget is other for other in budgets):
                budgets.append(budget)
        for budget in budgets:
            price = budget.withdraw(self.now, failure.throttled)
            if price is None:
                self.give_back(run)
                return "budget_denied"
            run.paid.append((budget, price))
        return None

    @staticmethod
    def give_back(run: Run) -> None:
        """Give back what was drawn."""
        for link in run.drawn:
            link.used -= 1
        for budget, price in run.paid:
            budget.restore(price)
        run.drawn, run.paid = [], []

    def let_out(self, run: Run, reason: str, caught: Raised | None) -> None:
        """Let the last error out, with its note."""
        times = "1 attempt" if run.attempts == 1 else f"{run.attempts} attempts"
        text = f"retrywrap: {run.name} {reason.replace('_', ' ')} after {times}"
        failures = []
        if caught is not None:
            self.notes += 1
            caught.failure.note(run.whose, reason, run.attempts, text)
            failures.append(caught.failure)
        if caught is None or run.policy.get("reraise") is False:
            self.notes += 1
            failures.append(Failure("exhausted", failures[-1] if failures else None))
        if reason == "exhausted" and run.attempts > 1:
            for failure in failures:
                failure.given_up.append(self.notes)
        if failures[0] is not failures[-1] or caught is None:
            raise Raised(failures[-1]) from None
        raise caught

    def tell(self, run: Run, reason: str | None, *, error: bool, retry: bool, wait: Any = None) -> None:
        """Publish an event; before the end by an error that no rule knows, one of its own."""
        last = run.last
        assert last is not None
        assert run.started is not None
        elapsed = self.now - run.started

        def event(name: str, reason: str | None, *counts: bool) -> list[Any]:
            scope = next((link.name for link in run.around if link.name), None)
            told = [name, run.name, reason, last.code, run.attempts, run.policy["max"], wait, elapsed]
            return [*told, *counts, scope, last.hint]

        if run.unknown:
            self.publish(run, event("retry.unknown_error", None, False, False))
        self.publish(run, event(f"retry.{reason or 'scheduled'}", reason, error, retry))

    def publish(self, run: Run, event: list[Any]) -> None:
        """Bring an event to all that listen; the last of them interrupts."""
        self.heard[run.registry].append(event)
        for link in run.around:
            link.heard.append(event)
        self.story.append(["event", *event])
        self.events += 1
        for number, (what, *rest) in self.program["interruptions"]:
            if number == self.events:
                getattr(self, f"do_{what}")((), *rest)
