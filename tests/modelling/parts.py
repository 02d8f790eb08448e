"""What the plain model is made of: failures and their notes, what is around an operation, what it remembers."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

__all__ = ["FACTS", "Failure", "Halted", "Link", "Raised", "Run"]

# kind: code, retryable, surely without effect, throttled, the server's hint
FACTS: dict[str, tuple[int, bool, bool, bool, int | None]] = {
    "reset": (-11, True, False, False, None),
    "refused": (-6, True, True, False, None),
    "busy": (-6, True, True, True, None),
    "hint": (-6, True, False, False, 7),
    "value": (-1, False, False, False, None),
    "strange": (-99, False, False, False, None),
    "forbidden": (-9, False, False, False, None),
    "exhausted": (-12, False, False, False, None),
    "late": (-7, False, True, False, None),
    "bad": (-6, True, False, False, None),
    "worse": (-9, False, False, False, None),
}


class Failure:
    """An error object, or a value that was judged a failure."""

    def __init__(self, kind: str, cause: Failure | None = None) -> None:
        self.kind = kind
        self.code, self.retryable, self.harmless, self.throttled, self.hint = FACTS[kind]
        self.cause = cause
        self.notes: list[tuple[str, int, str]] = []  # whose, how much it tells of retries that are used up, text
        self.given_up: list[int] = []

    def gave_up_after(self, moment: int) -> bool:
        """Whether an operation exhausted its retries on this, or on what caused it, after a moment."""
        found = any(number > moment for number in self.given_up)
        return found or (self.cause is not None and self.cause.gave_up_after(moment))

    def note(self, whose: str, why: str, attempts: int, text: str) -> None:
        """Leave a note in the place of an older one of the same layer, unless that one tells more."""
        tells = (1 + (attempts > 1)) if why == "exhausted" else 0
        self.notes = [note for note in self.notes if note[0] != whose or note[1] > tells]
        self.notes.append((whose, tells, text))


class Raised(Exception):
    """An error on its way out."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.kind)
        self.failure = failure


class Halted(BaseException):
    """What is no Exception."""


class Link:
    """What is around an operation: a scope, or only a deadline."""

    def __init__(self, *, name: str | None = None, most: int | None = None, deadline: Any = None, budget: Any = None,
                 policy: Any = None) -> None:  # fmt: skip
        self.name, self.most, self.deadline, self.budget, self.policy = name, most, deadline, budget, policy
        self.used = 0
        self.cancelled = False
        self.heard: list[Any] = []


class Run:
    """One operation that is under way."""

    def __init__(self, name: str, whose: str, policy: Any, registry: int) -> None:
        self.name, self.whose, self.policy, self.registry = name, whose, policy, registry
        self.started: Fraction | None = None
        self.since = 0
        self.attempts = self.retries = 0
        self.unknown = False
        self.around: tuple[Link, ...] = ()
        self.last: Failure | None = None
        self.drawn: list[Link] = []
        self.paid: list[tuple[Any, Any]] = []
