"""`Chain`: classifiers that are asked in order, and the plan for each class of errors, which is made once."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import NamedTuple

from retrywrap.classifiers.asking import ask, check_classifier, name_of
from retrywrap.classifiers.guard import is_error, type_name
from retrywrap.classifiers.redact import safe_message
from retrywrap.classifiers.registration import book, function_row
from retrywrap.classifiers.results import judge_result, refuse_class
from retrywrap.classifiers.rows import UNKNOWN, Row
from retrywrap.classifiers.tables import forbidden, shortened
from retrywrap.classifiers.verdict import Classifier, Verdict
from retrywrap.classifiers.walk import Step, Walk
from retrywrap.reports import report_once

__all__ = ["Chain", "is_known"]


class _Plan(NamedTuple):
    """The rows to ask about one class. Holds the class weakly, and the mark of the registrations it was made from.

    Attributes:
        rows: All that are asked, in order.
        quick: The same with a short way to the same answers, for when nobody wants to know the way.
        answer: What the first row always says: then nobody else is asked.
    """

    cls: weakref.ref[type]
    mark: object
    rows: tuple[Row, ...]
    quick: tuple[Row, ...]
    answer: Verdict | None


class Chain:
    """Asks classifiers in order; the first that answers wins. A chain is a classifier itself, one that always answers.

    What is no `Exception`, and a cancellation, is refused before anybody is asked. An error that no classifier of the
    chain knows is unknown: not retryable, with the rule ``"unknown"``.

    >>> from retrywrap import ErrorCode
    >>> def quota(error):
    ...     return ErrorCode.DISK_FULL if "quota" in str(error) else None
    >>> Chain(quota)(RuntimeError("over quota")).code.name
    'DISK_FULL'
    >>> Chain(quota)(ConnectionResetError()).rule
    'unknown'

    Args:
        *classifiers: Functions, or chains, that are asked in this order.
        base: The chain that is asked after them; None: nobody is, so that not even the tables are.

    Raises:
        TypeError: Something is no classifier.
    """

    __slots__ = ("_parts", "_plans", "base", "classifiers")

    def __init__(self, *classifiers: Classifier, base: Chain | None = None) -> None:
        if base is not None and not isinstance(base, Chain):
            raise TypeError(f"base must be a Chain, which is asked after the classifiers, or None; got {base!r:.100}")
        self.classifiers = tuple(check_classifier(classifier, "classifier") for classifier in classifiers)
        self.base = base
        self._parts: tuple[Row | Chain, ...] = tuple(
            part if isinstance(part, Chain) else function_row(part, "user")
            for part in (*self.classifiers, *(() if base is None else (base,)))
        )
        self._plans: dict[int, _Plan] = {}

    def __call__(self, error_or_result: object) -> Verdict:
        """Return the verdict on an exception, or on what an operation returned.

        Args:
            error_or_result: An exception (an instance), or any value.

        Raises:
            TypeError: An exception class was given.
        """
        if not issubclass(type(error_or_result), BaseException):  # `is_error`, written out where it is asked each time
            return self._of_result(error_or_result)
        error: BaseException = error_or_result  # type: ignore[assignment]  # by the type itself
        code, message, retryable, retry_after, effect, rule, forbid, throttled = verdict = self._guarded(error, None)
        if message:
            return verdict
        fields = (code, safe_message(error), retryable, retry_after, effect, rule, forbid, throttled)
        return tuple.__new__(Verdict, fields)  # half the cost of the call

    def extend(self, *classifiers: Classifier) -> Chain:
        """Return a chain that asks these first, then this one.

        Args:
            *classifiers: Functions, or chains.
        """
        return Chain(*classifiers, base=self) if classifiers else self

    def explain(self, error_or_result: object) -> list[Step]:
        """Return the way to the verdict, which is the last step: who was asked, in order, and what came of it.

        Args:
            error_or_result: An exception (an instance), or any value.

        Raises:
            TypeError: An exception class was given.
        """
        steps: list[Step] = []
        if is_error(error_or_result):
            error: BaseException = error_or_result  # type: ignore[assignment]  # by the type itself
            verdict = self._guarded(error, Walk(self._ask, error, steps))
            verdict = verdict if verdict.message else verdict._replace(message=safe_message(error))
        else:
            verdict = self._of_result(error_or_result)
        note = "the verdict" if is_known(verdict) else "nobody knows it: not retried"
        return [*steps, Step(verdict.rule, verdict, note)]

    def _of_result(self, result: object) -> Verdict:
        refuse_class(result)
        for classifier in self._functions():
            verdict = ask(classifier, result)
            if verdict is not None:
                return verdict
        return judge_result(result)

    def _functions(self) -> Iterator[Classifier]:
        """Yield the classifiers of this chain that were given by hand: they may know results as well."""
        for part in (*self.classifiers, *(() if self.base is None else (self.base,))):
            if isinstance(part, Chain):
                yield from part._functions()
            else:
                yield part

    def _guarded(self, error: BaseException, walk: Walk | None) -> Verdict:
        try:
            return self._ask(error, walk)
        except Exception:  # a fault in a table of ours must not hide the operation's error
            report_once(type(self)._guarded, f"retrywrap's own classification of a {type_name(type(error))} failed")
            return UNKNOWN

    def _ask(self, error: BaseException, walk: Walk | None) -> Verdict:
        cls = type(error)
        plan = self._plans.get(id(cls))
        if plan is None or plan[1] is not book.mark or plan[0]() is not cls:  # by place: half the cost of the names
            plan = self._make_plan(cls)
        _, _, rows, quick, answer = plan
        if answer is not None and walk is None:
            return answer
        note = None if walk is None or walk.steps is None else walk.note
        for row in rows if note else quick:
            rule, _, answer, judge, through, _ = row
            if answer is None:
                if judge is not None:
                    answer = judge(error)
                else:
                    if walk is None:
                        walk = Walk(self._ask, error)
                    answer = through(error, walk)
                if answer is not None and not answer.rule:
                    answer = answer._replace(rule=rule)
            if note is not None:
                note(row, answer)
            if answer is not None:
                return answer
        return UNKNOWN

    def _rows_of(self, cls: type[BaseException]) -> tuple[Row, ...]:
        """Return all who are asked about the errors of a class, in order; `_ask` has this written out, for speed."""
        plan = self._plans.get(id(cls))
        if plan is None or plan.mark is not book.mark or plan.cls() is not cls:
            plan = self._make_plan(cls)
        return plan.rows

    def _make_plan(self, cls: type[BaseException]) -> _Plan:
        key = id(cls)
        plans = self._plans
        mark = book.mark  # taken first: a plan that a registration overtakes is then made anew
        rows = forbidden(cls) or tuple(sorted(self._rows_for(cls), key=_does_not_forbid))
        gone = weakref.ref(cls, lambda _: plans.pop(key, None))
        plan = _Plan(gone, mark, rows, shortened(rows, cls), rows[0].answer if rows else None)
        plans[key] = plan
        return plan

    def _rows_for(self, cls: type[BaseException]) -> Iterator[Row]:
        for part in self._parts:
            if isinstance(part, Chain):
                yield from part._rows_for(cls)
            else:
                yield part

    def __repr__(self) -> str:
        names = [repr(part) if isinstance(part, Chain) else name_of(part) for part in self.classifiers]
        return f"Chain({', '.join([*names, f'base={self.base!r}'])})"

    def __reduce__(self) -> tuple[Callable[..., Chain], tuple[object, ...]]:
        return _chain, (self.classifiers, self.base)


def _chain(classifiers: tuple[Classifier, ...], base: Chain | None) -> Chain:
    return Chain(*classifiers, base=base)


def _does_not_forbid(row: Row) -> bool:
    """Sort what always forbids before all that may say otherwise: nothing overrides it."""
    return row.answer is None or not row.answer.forbid


def is_known(verdict: Verdict) -> bool:
    """Return whether any rule knew the error.

    Args:
        verdict: What a chain said of it.
    """
    return verdict.rule != UNKNOWN.rule
