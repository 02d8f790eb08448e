"""What is measured: the forms of a callable, times what becomes of a call, as source that is compiled for a contender.

As in `timeit`, the statement stands in the loop itself: a lambda around it would cost as much as what is measured.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from itertools import cycle, repeat
from textwrap import indent
from typing import Any, NamedTuple

from contenders import BARE, CLOSURE, HAND, LOGGING_LOOP, LOOP, Contender
from handwritten import CALLS
from stage import Events

__all__ = ["EVENTS", "MATRIX", "SLEEPS", "Run", "Scenario", "empty", "everything", "fresh"]


class Run(NamedTuple):
    """An operation, ready to be called a number of times."""

    times: Callable[[int], Any]
    turn: Callable[[], int]

    def check(self) -> None:
        """Make one call, and see that it made as many attempts as everybody's.

        Raises:
            AssertionError: It made more or fewer.
        """
        self.times(1)
        turns = [self.turn() for _ in range(CALLS)]
        assert turns == list(_TURNS), f"the operation failed other than it should: {turns}"


_TURNS = range(CALLS - 1, -1, -1)  # how many failures are to come, the next one included


class Form(NamedTuple):
    """How the operation is defined and called."""

    name: str
    first: str = ""  # of its parameters
    kind: Callable[[Any], Any] | None = None  # what is put around the decorated function in its class
    call: str = "operation"


class Outcome(NamedTuple):
    """What becomes of a call."""

    name: str
    argument: str
    body: str


FUNCTION = Form("function")
COROUTINE = Form("coroutine")
BLOCK = Form("block")
FORMS = (
    FUNCTION,
    Form("method", "self, ", lambda function: function, "service.operation"),
    Form("classmethod", "cls, ", classmethod, "Service.operation"),
    Form("staticmethod", "", staticmethod, "Service.operation"),
    COROUTINE,
    BLOCK,
)
SUCCESS = Outcome("success at once", "1", "return value")
RECOVERED = Outcome(
    "two failures, then success", "turn", "if value():\n    raise ConnectionResetError('reset by peer')\nreturn extra"
)
EXHAUSTED = Outcome(
    "exhausted",
    "turn",
    "raise ConnectionResetError('for the last time' if value() == 0 else 'reset by peer')",
)
OUTCOMES = (SUCCESS, RECOVERED, EXHAUSTED)


class Scenario(NamedTuple):
    """One thing that is measured for every contender that can do it."""

    form: Form
    outcome: Outcome
    events: Events = Events.QUIET
    sleepless: bool = True

    @property
    def name(self) -> str:
        """What it is called in a report."""
        more = "" if self.sleepless else ", sleep(0) left in"
        more += "" if self.events is Events.QUIET else f", events {self.events.value}"
        return f"{self.form.name}, {self.outcome.name}{more}"

    @property
    def reference(self) -> Contender:
        """Whose time is 1: the closure, which has nothing to retry, or the loop, which has."""
        return CLOSURE if self.outcome is SUCCESS and self.form is not BLOCK else LOOP

    def contenders(self, libraries: Iterable[Contender]) -> list[Contender]:
        """Return who can do it, in the order of the report."""
        hand = HAND if self.events is Events.QUIET else (LOOP, LOGGING_LOOP)
        some = [*hand, *libraries]
        if self.events is not Events.QUIET:
            some = [one for one in some if one in hand or one.name in {"retrywrap", "stamina"}]
        if not self.sleepless:  # opnieuw cannot be told not to wait
            some = [one for one in some if one.name != "opnieuw"]
        return [one for one in some if self._can(one)]

    def _can(self, contender: Contender) -> bool:
        if contender is CLOSURE:
            return self.outcome is SUCCESS and self.form is not BLOCK
        if contender is BARE:
            return True
        forms = {COROUTINE: contender.decorate_async, BLOCK: contender.block}
        return forms.get(self.form, contender.decorate) is not None

    def runs(self, contender: Contender, loop: asyncio.AbstractEventLoop, threads: int = 1) -> list[Run]:
        """Return functions that make a number of calls of one operation: one for each thread, with its own failures."""
        names = self._operation(contender)
        keyword = "await " if self.form is COROUTINE else ""
        call = f"{keyword}{self.form.call}({self.outcome.argument}, extra=2)"
        if self.form is BLOCK and contender.block is not None:
            options = ", ".join(f"{key}=_{key}" for key in contender.block.options)
            call = f"for attempt in attempts({options}):\n    with attempt:\n        {call}"
        if self.outcome is not SUCCESS and contender is BARE:
            call = (
                f"for attempt in range({CALLS}):\n    try:\n        {call}\n        break\n"
                "    except ConnectionError:\n        pass"
            )
        elif self.outcome is EXHAUSTED:
            call = f"try:\n{indent(call, '    ')}\nexcept Exception:\n    pass"
        return [_compiled(call, names, loop, self.form is COROUTINE) for _ in range(threads)]

    def _operation(self, contender: Contender) -> dict[str, Any]:
        asynchronous = self.form is COROUTINE
        names: dict[str, Any] = {"__name__": __name__}
        head = f"{'async ' if asynchronous else ''}def operation({self.form.first}value, extra=1):\n"
        exec(head + indent(self.outcome.body, "    "), names)
        if self.form is BLOCK:
            if contender.block is not None:
                names["attempts"] = contender.block.attempts()
                names |= {f"_{key}": value for key, value in contender.block.options.items()}
        else:
            decorate = contender.decorate_async if asynchronous else contender.decorate
            assert decorate is not None, f"{contender.name} has no {self.form.name}"
            names["operation"] = decorate(names["operation"])
        if self.form.kind is not None:
            names["Service"] = type("Service", (), {"operation": self.form.kind(names["operation"])})
            names["service"] = names["Service"]()
        return names


def _compiled(statement: str, names: dict[str, Any], loop: asyncio.AbstractEventLoop, asynchronous: bool) -> Run:
    """Return a function that executes a statement a number of times."""
    own = {**names, "repeat": repeat, "turn": cycle(_TURNS).__next__}
    head = f"{'async ' if asynchronous else ''}def run(times):\n    for _ in repeat(None, times):\n"
    exec(head + indent(statement, " " * 8), own)
    run: Any = own["run"]
    return Run((lambda times: loop.run_until_complete(run(times))) if asynchronous else run, own["turn"])


def fresh() -> Callable[..., int]:
    """Return a function that nobody has seen before: some contenders keep what they know of a function."""

    def operation(value: int, extra: int = 1) -> int:
        """Do nothing much."""
        return value

    return operation


def empty(loop: asyncio.AbstractEventLoop, asynchronous: bool = False) -> Run:
    """Return the loop without anything in it."""
    return _compiled("pass", {}, loop, asynchronous)


MATRIX = [Scenario(form, outcome) for outcome in OUTCOMES for form in FORMS]
SLEEPS = [Scenario(form, RECOVERED, sleepless=False) for form in (FUNCTION, COROUTINE)]
EVENTS = [
    Scenario(FUNCTION, outcome, events)
    for outcome in (RECOVERED, EXHAUSTED)
    for events in (Events.FILTERED, Events.JSON)
]


def everything() -> list[Scenario]:
    """Return every scenario, once."""
    return [*MATRIX, *SLEEPS, *EVENTS]
