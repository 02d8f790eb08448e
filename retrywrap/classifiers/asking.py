"""Asking somebody else's classifier: whatever it does or returns, no `Exception` comes out, and no nonsense."""

from __future__ import annotations

import inspect
import math
from typing import Any, cast, get_args

from retrywrap.classifiers.guard import exact_int, is_error, read, type_name
from retrywrap.classifiers.redact import safe_text
from retrywrap.classifiers.rows import UNKNOWN
from retrywrap.classifiers.verdict import Classifier, Effect, Verdict
from retrywrap.codes import ErrorCode
from retrywrap.reports import report_once

__all__ = ["ask", "check_classifier", "check_verdict", "judge_result", "name_of"]

_LONGEST_REPR = 100
_DEFAULT_RULES = ("user", "code", UNKNOWN.rule)  # what `Verdict` and `Verdict.of` put where the classifier says nothing


def ask(classifier: Classifier, value: object, origin: str = "user") -> Verdict | None:
    """Return what a classifier says of an error or a result; None: not its business.

    Of an error, a verdict may come without a message: the chain puts the error's own.

    Args:
        classifier: If it raises, or returns what no classifier returns, that is logged once as an error of the logger
            ``retrywrap``, and counts as None.
        value: The error or the result.
        origin: How the classifier came here: how the rule's name begins, unless it gives its own.
    """
    try:
        return _understood(classifier(value), value, f"{origin}.{name_of(classifier)}")
    except Exception:
        report_once(classifier, f"the classifier {name_of(classifier)} failed; taken as 'not mine'")
        return None


def judge_result(judge: Classifier, result: object) -> Verdict | None:
    """Return what ``results=`` says of a returned value; None: success.

    A value that could not be judged is not handed out as if it were good: it is a failure that is not retried.

    Args:
        judge: If it raises, or returns what no classifier returns, that is logged once, too.
        result: The value.
    """
    name = name_of(judge)
    try:
        verdict = _understood(judge(result), result, f"user.{name}")
    except Exception as error:
        report_once(judge, f"results={name} failed; the result that it could not judge is taken as a failure")
        problem = safe_text(f"results={name} could not judge the returned {type_name(type(result))}: {_said(error)}")
        return Verdict(ErrorCode.UNKNOWN, problem, rule="results.failed")
    return None if verdict is None or verdict.code == 0 else verdict


def _said(error: Exception) -> str:
    try:
        return f"{type_name(type(error))}: {error}"
    except Exception:  # an error whose text fails is an error all the same
        return type_name(type(error))


def _understood(answer: object, value: object, rule: str) -> Verdict | None:
    if answer is None or answer is False:
        return None
    if answer is True:
        return Verdict(ErrorCode.UNKNOWN, _text(value), retryable=True, rule=rule)
    if inspect.iscoroutine(answer):
        answer.close()
    if isinstance(answer, ErrorCode):
        answer = Verdict(answer, retryable=answer.retryable, rule=rule)
    if not isinstance(answer, Verdict):
        raise TypeError(f"a Verdict, an ErrorCode, True or None was expected; got {_shown(answer)}")
    if answer.rule == UNKNOWN.rule and is_error(value):
        return None  # a chain that does not know an error leaves it to the next one; a result has no next one
    verdict = check_verdict(answer)
    if verdict.code == 0 and is_error(value):
        raise ValueError("an exception is no success; for 'do not retry' give another code and retryable=False")
    rule = rule if verdict.rule in _DEFAULT_RULES else safe_text(verdict.rule)
    return verdict._replace(message=safe_text(verdict.message) or _text(value), rule=rule)


def _text(value: object) -> str:
    """Return what to say of a result: only its type, for it may be anything. Of an error, the chain says its text."""
    return "" if is_error(value) else safe_text(f"the returned {type_name(type(value))} was called a failure")


def check_verdict(verdict: Verdict) -> Verdict:
    """Return a verdict whose fields are what they must be; a plain int as the code becomes an `ErrorCode`.

    Raises:
        TypeError: A field has the wrong type.
        ValueError: A field is out of range.
    """
    code = exact_int(verdict.code)
    if code is None:
        raise TypeError(f"code must be an ErrorCode; got {_shown(verdict.code)}")
    for name in ("message", "rule"):
        if type(getattr(verdict, name)) is not str:
            raise TypeError(f"{name} must be a str; got {_shown(getattr(verdict, name))}")
    for name in ("retryable", "forbid", "throttled"):
        if type(getattr(verdict, name)) is not bool:
            raise TypeError(f"{name} must be True or False; got {_shown(getattr(verdict, name))}")
    if verdict.effect not in get_args(Effect):
        raise ValueError(f'effect must be "none" or "unknown"; got {_shown(verdict.effect)}')
    hint = verdict.retry_after
    if hint is not None and (type(hint) is bool or not isinstance(hint, int | float)):
        raise TypeError(f"retry_after must be seconds as an int or a float, or None; got {_shown(hint)}")
    if hint is not None and not 0 <= hint < math.inf:
        raise ValueError(f"retry_after must be 0 or more seconds, and finite; got {_shown(hint)}")
    return verdict if type(verdict.code) is ErrorCode else verdict._replace(code=ErrorCode(code))


def check_classifier(value: Any, name: str) -> Classifier:
    """Return a function that can be asked.

    Raises:
        TypeError: It is none; the text says what was expected as the parameter `name`.
    """
    if isinstance(value, type) and issubclass(value, BaseException):
        raise TypeError(
            f"{name} must be a function that takes an error; got the exception class {type_name(value)}: give it as "
            "on=, or to retrywrap.classifiers.register together with its code"
        )
    if isinstance(value, type) or not callable(value):
        raise TypeError(
            f"{name} must be a function that takes an error and returns a Verdict or None; got {_shown(value)}"
        )
    if inspect.iscoroutinefunction(value) or inspect.iscoroutinefunction(type(value).__call__):
        raise TypeError(
            f"{name} must be a plain function: it decides at once; got the coroutine function {_shown(value)}"
        )
    if inspect.isgeneratorfunction(value) or inspect.isasyncgenfunction(value):
        raise TypeError(f"{name} must be a function that returns an answer; got the generator function {_shown(value)}")
    return cast("Classifier", value)


def name_of(thing: Any) -> str:
    """Return the name of a function, or of the class of a callable object."""
    name = read(thing, "__qualname__")
    return safe_text(name if type(name) is str else type_name(type(thing)))


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_REPR else text[: _LONGEST_REPR - 1] + "…"
