"""One classification that looks inside an error: what was seen already, how deep it is, and the notes for `explain`."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from retrywrap.classifiers.guard import type_name
from retrywrap.classifiers.redact import safe_text
from retrywrap.classifiers.rows import UNKNOWN, Row
from retrywrap.classifiers.verdict import Verdict

__all__ = ["Step", "Walk"]

_DEEPEST = 30
_MOST_ERRORS = 1000
_NONE_SEEN: dict[int, tuple[BaseException, Verdict]] = {}


class Step(NamedTuple):
    """One step on the way to a verdict.

    Attributes:
        rule: The dotted name of what looked at the error.
        answer: What it said; None: nothing.
        note: What it is, and what came of it, in words.
    """

    rule: str
    answer: Verdict | None
    note: str


Asks: TypeAlias = "Callable[[BaseException, Walk], Verdict]"


class Walk:
    """Looks at the errors inside an error, each of them once, however they refer to each other.

    Args:
        ask: Asks the whole chain about one error.
        error: The error in question.
        steps: Where to note what happens; None: nowhere.
    """

    __slots__ = ("_ask", "_depth", "_first", "_seen", "steps")

    def __init__(self, ask: Asks, error: BaseException, steps: list[Step] | None = None) -> None:
        self._ask = ask
        self._depth = 0
        self._first = error
        # The errors are kept with the answers, so that none is freed, and its id given to another, during the walk.
        self._seen: dict[int, tuple[BaseException, Verdict]] = _NONE_SEEN  # most errors hold no other
        self.steps = steps

    def __call__(self, other: object, via: str) -> Verdict | None:
        """Return the chain's verdict on an error inside; None where it is no `Exception`, unknown, or too deep inside.

        Args:
            other: What may be an error.
            via: The attribute that holds it.
        """
        if not issubclass(type(other), Exception):
            return None
        if self._seen is _NONE_SEEN:
            self._seen = {id(self._first): (self._first, UNKNOWN)}
        seen = self._seen.get(id(other))
        if seen is None:
            seen = self._look(other, via)  # type: ignore[arg-type]  # an Exception, by the type itself
        return None if seen[1].rule == UNKNOWN.rule else seen[1]

    def _look(self, other: BaseException, via: str) -> tuple[BaseException, Verdict]:
        found = (other, UNKNOWN)
        if self._depth >= _DEEPEST or len(self._seen) >= _MOST_ERRORS:
            self._say(via, None, f"holds a {type_name(type(other))}; too deep inside, not looked at")
            return found
        self._say(via, None, f"holds a {type_name(type(other))}")
        self._seen[id(other)] = found
        self._depth += 1
        found = self._seen[id(other)] = (other, self._ask(other, self))
        self._depth -= 1
        return found

    def note(self, row: Row, answer: Verdict | None) -> None:
        """Note what a row said."""
        if answer is None:
            self._say(row.rule, None, f"{row.note}: not its business")
            return
        retry = "never retry" if answer.forbid else "retry" if answer.retryable else "do not retry"
        self._say(row.rule, answer, f"{row.note}: {answer.code.name}, {retry}")

    def _say(self, rule: str, answer: Verdict | None, note: str) -> None:
        if self.steps is not None:
            self.steps.append(Step(rule, answer, safe_text(note)))
