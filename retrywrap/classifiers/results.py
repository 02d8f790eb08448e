"""What a returned value means where no classifier was given for it."""

from __future__ import annotations

from typing import cast

from retrywrap.classifiers.guard import exact_int, type_name
from retrywrap.classifiers.http import by_attributes
from retrywrap.classifiers.tables import by_type
from retrywrap.classifiers.verdict import Verdict
from retrywrap.codes import ErrorCode

__all__ = ["judge_result", "refuse_class"]

_LARGEST_CODE = 2**31


def refuse_class(result: object) -> None:
    """Refuse an exception class, which somebody may give in place of an exception.

    Raises:
        TypeError: It is one.
    """
    if issubclass(type(result), type) and issubclass(cast("type", result), BaseException):
        name = type_name(cast("type", result))
        raise TypeError(f"an exception is classified, not its class; got the class {name}: give an instance, {name}(…)")


def judge_result(result: object) -> Verdict:
    """Return the verdict on a returned value: a number is one of the taxonomy's codes; an HTTP answer is its status.

    A library's own type, such as an MQTT return code, means what its table says. Any other number is never read as an
    HTTP status, an errno or an exit status. Everything else is a success.
    """
    told = by_type(result)
    if told is not None:
        return told
    number = exact_int(result)
    if number is not None:
        code = number if abs(number) < _LARGEST_CODE else ErrorCode.UNKNOWN
        return Verdict.of(code, rule="code")
    verdict = by_attributes(result)
    if verdict is None:
        return Verdict.of(ErrorCode.SUCCESS, rule="result")
    return verdict._replace(message=f"HTTP status {verdict.rule.split('.')[1]}")
