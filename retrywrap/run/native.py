"""Which build runs: the fast path in C, or pure Python.

The extension module is built where there is a compiler. It is not used where the environment variable
``RETRYWRAP_PURE`` is set to anything but 0 or nothing, or where wrapt's objects are not what it can rely on: where
wrapt itself runs in pure Python, say.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import FunctionType
from typing import Any

import wrapt

__all__ = ["Types", "__build__", "fast", "new_tally", "types"]


def _load() -> Any:
    if os.environ.get("RETRYWRAP_PURE", "0") not in ("", "0"):
        return None
    try:
        from retrywrap.run import _fast
    except ImportError:  # it was not built
        return None
    try:
        _fast.make_type(wrapt.FunctionWrapper, "retrywrap.run.proxy.Trial", "method")
    except TypeError:  # it refuses itself
        return None
    return _fast


Types = tuple[Any, Any, Any]

fast: Any = _load()
"""The extension module; None where pure Python runs."""


__build__ = "pure Python" if fast is None else "C"
"""What runs: ``"C"``, or ``"pure Python"``."""


def new_tally() -> Any:
    """Return what counts the operations that succeeded at once; None where they are not counted."""
    return None if fast is None else fast.Tally()


def types(module: str, manners: Mapping[str, Any]) -> Types:
    """Return the extension's types for what binds as a function, what does not bind, and what binds in its own way.

    Args:
        module: Where they belong.
        manners: What each of them can do; its functions are given to the types.
    """
    made: Types = tuple(
        fast.make_type(wrapt.FunctionWrapper, f"{module}.{name}", binding)
        for name, binding in (("Retried", "method"), ("_Unbound", "none"), ("_Binding", "own"))
    )
    for each in made:
        for name, value in manners.items():
            if type(value) is FunctionType:
                setattr(each, name, value)
    return made
