"""Programs as plain data: trees of operations in scopes whose attempts end as is written down beforehand.

A program says nothing of what follows. `modelling.model` tells that from the documentation's rules, and
`modelling.runner` has retrywrap do it. All times are multiples of 1/4 s and all random numbers of 1/4, so that no sum
is rounded, and whatever both sides say can be compared exactly.

A *step* is a list that begins with one of:

- ``advance`` seconds: the attempt takes that long;
- ``call`` operation: its error, if any, comes out here; ``catch``: it does not; ``wrap`` operation, error: another
  error is raised from it; ``keep`` operation: the first error that is kept is what the outcome ``kept`` raises;
- ``with`` scope, steps: they run inside;
- ``cancel`` n: the n-th scope that is in use, from the innermost; ``shutdown``;
- ``remaining``: what is left is noted down;
- ``end`` outcome: how the attempt ends: an error's kind, or a value.

Operations are dicts: ``form`` (``function``: decorated; ``call`` and ``block``: by a scope of their own; ``inside``
and ``loop``: the same by the innermost scope that is entered), ``policy``, and ``attempts``: the steps of each attempt;
the last are those of all that follow.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from hypothesis import strategies as st

__all__ = ["ERRORS", "VALUES", "Program", "program_of", "programs", "without_time"]

Program = dict[str, Any]

ERRORS = (
    "reset",  # retryable; it may have had an effect
    "refused",  # retryable, surely without effect
    "busy",  # retryable, and less load is asked for
    "hint",  # retryable, in 7 s
    "value",  # known, not retryable
    "strange",  # no rule knows it
    "forbidden",  # nothing may retry it
    "kept",  # the object that was kept before
    "halt",  # no Exception
)
VALUES = ("good", "bad", "worse")  # bad: to be retried where results= judges; worse: a failure for good
_FAILING = ("reset", "refused", "busy", "hint", "bad", "kept")
_FIRST = ("good", *_FAILING * 3, *ERRORS, *VALUES)
_LATER = ("good",) * 8 + _FIRST
_FORMS = ("function", "function", "function", "call", "block", "inside", "loop")


class _Writer:
    """Writes a program by chance."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.count = 0

    def one(self, *choices: Any) -> Any:
        """Return one of these; what is written by a function, only where it is chosen."""
        chosen = choices[self.random.randrange(len(choices))]
        return chosen() if callable(chosen) else chosen

    def seldom(self) -> bool:
        return self.random.randrange(4) == 3

    def quarters(self, most: int = 16) -> float:
        return self.random.randint(0, most) / 4

    def several(self, least: int, most: int, write: Callable[[], Any]) -> list[Any]:
        return [write() for _ in range(self.random.randint(least, most))]

    def name(self, kind: str) -> str:
        self.count += 1
        return f"{kind}{self.count}"

    def interval(self) -> Any:
        return self.one(
            0,
            0,
            self.quarters,
            lambda: self.several(0, 3, self.quarters),
            lambda: ["exponential", self.quarters(), self.one(1.5, 8), self.one(None, "full", "equal")],
            lambda: ["linear", self.quarters(), self.quarters(), self.one(2, 100)],
            lambda: ["fibonacci", self.quarters(), self.one(1.25, 60)],
            lambda: ["decorrelated", self.quarters(), self.one(3, 60)],
        )

    def policy(self, *, bare: bool = False) -> dict[str, Any]:
        given: dict[str, Any] = {"max": self.random.randint(0, 3), "interval": self.interval()}
        choices: dict[str, Callable[[], Any]] = {
            "timeout": lambda: self.quarters(32),
            "budget": lambda: self.one(0, 1),
            "on": lambda: self.one("value", "strange", "exhausted", "late", lambda: ["wait", self.quarters()]),
            "results": lambda: True,
            "idempotent": lambda: False,
            "nested": lambda: "multiply",
            "reraise": lambda: False,
            "before_retry": lambda: self.several(1, 3, lambda: self.one("good", "good", "reset", "value", "halt")),
        }
        if not bare:
            given |= {name: write() for name, write in choices.items() if self.seldom()}
        if "timeout" in given and self.seldom():
            given |= {"max": None, "interval": 1 + self.quarters()}  # one without a cap needs time to pass
        return given

    def attempt(self, depth: int, outcomes: tuple[str, ...]) -> list[Any]:
        choices = [lambda: ["advance", self.quarters()], lambda: ["remaining"]]
        if depth:
            choices += [lambda: self.call(depth)] * 3 + [lambda: self.inside(depth)] * 2
        if self.random.randrange(16) == 15:
            choices.append(lambda: self.one(["cancel", 0], ["cancel", 1], ["shutdown"]))
        return [*self.several(0, 2, lambda: self.one(*choices)), ["end", self.one(*outcomes)]]

    def call(self, depth: int, *kinds: str) -> list[Any]:
        kind = self.one(*(kinds or ("call", "call", "catch", "keep", "wrap")))
        return [kind, self.operation(depth), *([self.one("reset", "refused", "value")] if kind == "wrap" else [])]

    def inside(self, depth: int) -> list[Any]:
        given = self.policy() | {"name": self.name("scope")}
        return ["with", given, self.several(1, 2, lambda: self.call(depth, "catch", "call", "keep", "wrap"))]

    def operation(self, depth: int) -> dict[str, Any]:
        return {
            "name": self.name("op"),
            "form": self.one(*_FORMS),
            "registry": self.one(0, 0, 1),
            "policy": self.policy(bare=self.one(True, False)),
            "attempts": [self.attempt(depth - 1, _FIRST), *self.several(0, 2, lambda: self.attempt(depth - 1, _LATER))],
        }

    def budget(self) -> list[Any]:
        return self.one(
            lambda: ["quota", self.one(14, 20, 40, 500), self.one(14, 5.5), 5],
            lambda: ["ratio", self.one(0.5, 0.25, 0), 10, self.one(0.125, 0.5)],
        )

    def interruption(self) -> list[Any]:
        what = self.one(["advance", 0.5], ["advance", 3.0], ["cancel", 0], ["cancel", 1], ["shutdown"])
        return [self.random.randint(1, 12), what]

    def top(self) -> list[Any]:
        depth = self.random.randint(1, 3)
        return self.one(lambda: self.call(depth, "catch", "keep", "call"), lambda: self.inside(depth))

    def program(self) -> Program:
        return {
            "chance": self.one(0.0, 0.25, 0.5, 0.75),
            "budgets": [self.budget(), self.budget()],
            "interruptions": self.several(0, 3, self.interruption) if self.seldom() else [],
            "steps": self.several(1, 3, self.top),
        }


def program_of(seed: int) -> Program:
    """Return the program of a number: `modelling.reduce` makes a small one of it that still goes wrong."""
    return _Writer(Random(seed)).program()


def _takes_time(part: Any) -> bool:
    """Whether this is a step that does, or an interruption."""
    if not isinstance(part, list) or not part:
        return False
    return part[0] == "advance" or (isinstance(part[0], int) and part[1:] != [] and _takes_time(part[1]))


def without_time(program: Any) -> Any:
    """Return the same program with nothing in it that takes time: no waits, no timeouts, no hints."""
    if isinstance(program, dict):
        kept = {name: without_time(value) for name, value in program.items() if name != "timeout"}
        if "interval" in kept:
            kept |= {"interval": 0, "max": 2 if kept["max"] is None else kept["max"]}
        if isinstance(kept.get("on"), list):
            del kept["on"]
        return kept
    if isinstance(program, list):
        return [without_time(part) for part in program if not _takes_time(part)]
    return "reset" if program == "hint" else program


def programs() -> st.SearchStrategy[Program]:
    """Return a strategy for programs; ``interruptions`` say what a listener does at which event of all.

    Only the seed is hypothesis' own, because to have it choose every step is ten times slower.
    """
    return st.integers(0, 2**48).map(program_of)
