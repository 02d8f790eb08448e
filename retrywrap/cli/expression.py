"""Reads a backoff as Python writes it, such as ``exponential(0.1, cap=20)``, without ever evaluating anything else."""

from __future__ import annotations

import ast
from typing import Any

from retrywrap.classifiers.redact import is_masked
from retrywrap.cli.usage import UsageError
from retrywrap.decide.backoff import Backoff, as_backoff, decorrelated, exponential, fibonacci, fixed, linear
from retrywrap.decide.checks import shown

__all__ = ["read_backoff"]

_FACTORIES = {
    "fixed": fixed,
    "linear": linear,
    "exponential": exponential,
    "decorrelated": decorrelated,
    "fibonacci": fibonacci,
    "as_backoff": as_backoff,
}
_METHODS = frozenset({"then", "take", "capped", "jittered"})
_LONGEST = 1000


def read_backoff(text: str, option: str) -> Backoff:
    """Return the backoff that an expression describes.

    Args:
        text: Calls of the five factories, ``+``, ``*``, and the methods then, take, capped and jittered, all with plain
            numbers; or a number or a list of numbers.
        option: The option that it was given for.

    Raises:
        UsageError: It is anything else, or a number in it is out of range.
    """
    try:
        if len(text) > _LONGEST:
            raise ValueError(f"it is longer than {_LONGEST} characters")
        return as_backoff(_value(ast.parse(text.strip(), mode="eval").body))
    except SyntaxError as error:
        reason = f"it is no expression ({error.msg})"
    except (TypeError, ValueError) as error:
        reason = "it is none" if is_masked(text) else str(error)
    except (RecursionError, MemoryError):
        reason = "it is nested too deeply"
    raise UsageError(f"{option} {shown(text)}: {reason}; write for example 'exponential(0.1, cap=20)'")


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=int() | float() | str() | None as value):
            return value
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [_value(item) for item in items]
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return -number
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _backoff(left) + _backoff(right)
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return _product(_value(left), _value(right))
        case ast.Call(func=function, args=arguments, keywords=keywords):
            named = {keyword.arg or "**": _value(keyword.value) for keyword in keywords}
            return _function(function)(*map(_value, arguments), **named)
        case ast.Name(id=name) if name in _FACTORIES:
            raise ValueError(f"{name} needs its arguments, in parentheses")
    raise ValueError(f"{shown(ast.unparse(node)[:40])} is not allowed in it")


def _backoff(node: ast.expr) -> Backoff:
    value = _value(node)
    if not isinstance(value, Backoff):
        raise ValueError(f"{shown(ast.unparse(node)[:40])} is no backoff; fixed(…) makes one of a number")
    return value


def _product(left: Any, right: Any) -> Backoff:
    if isinstance(left, Backoff) == isinstance(right, Backoff):
        raise ValueError("* takes a backoff and a number")
    product: Backoff = left * right
    return product


def _function(node: ast.expr) -> Any:
    match node:
        case ast.Name(id=name) if name in _FACTORIES:
            return _FACTORIES[name]
        case ast.Attribute(value=receiver, attr=name) if name in _METHODS:
            return getattr(_backoff(receiver), name)
    expected = f"the functions {', '.join(list(_FACTORIES)[:5])} and the methods {', '.join(sorted(_METHODS))}"
    raise ValueError(f"{shown(ast.unparse(node)[-40:])} is unknown; there are {expected}")
