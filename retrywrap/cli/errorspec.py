"""What a user may mean by an error on the command line: an exception with arguments, a code, an errno's name."""

from __future__ import annotations

import ast
import builtins
import difflib
import errno
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from retrywrap.classifiers.guard import read
from retrywrap.classifiers.redact import is_masked, safe_message
from retrywrap.cli.imports import missing_part, tried
from retrywrap.cli.usage import UsageError
from retrywrap.codes import ErrorCode
from retrywrap.decide.checks import shown

__all__ = ["read_error"]

_HELP = "give an exception (OSError(28), requests.exceptions.Timeout), a code (-6, NETWORK), an errno (ENOSPC)"
_LONGEST = 1000
_ERRNOS = {name: number for name, number in vars(errno).items() if isinstance(number, int)}
_NAME = re.compile(r"[A-Za-z_][\w.]*")
_NUMBER = re.compile(r"[+-]?[0-9]+")


def read_error(text: str) -> BaseException | ErrorCode:
    """Return the error that a text names.

    Nothing of the text is evaluated: arguments are literals, lists, errnos by name and other exceptions, and a name is
    imported, never called but for the exception's own constructor. What the constructor does not take by name becomes
    an attribute, as libraries set them: ``sqlite3.OperationalError("database is locked", sqlite_errorcode=5)``.

    Raises:
        UsageError: It names nothing that is known, or the exception cannot be made of these arguments.
    """
    text = text.strip()
    if len(text) > _LONGEST:
        raise UsageError(f"{shown(text)} is longer than the {_LONGEST} characters that an error may have: {_HELP}")
    if _NUMBER.fullmatch(text):
        return ErrorCode(int(text))
    upper = text.upper().removeprefix("BACKUP_ERROR_").removeprefix("BACKUP_")
    if upper in ErrorCode.__members__:
        return ErrorCode[upper]
    if text.upper() in _ERRNOS:
        number = _ERRNOS[text.upper()]
        return OSError(number, os.strerror(number))
    return _exception(text)


def _exception(text: str) -> BaseException:
    if _NAME.fullmatch(text):
        return _make_bare(_find(text))
    try:
        call = ast.parse(text, mode="eval").body
        if not isinstance(call, ast.Call):
            raise _not_understood(text)
        kind = _kind(call)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise _not_understood(text) from None
    try:
        return _make(kind, call)
    except RecursionError:
        raise _not_understood(text) from None
    except UsageError:
        if is_masked(text):  # a part of the arguments alone would not be told to be a secret
            raise _not_understood(text) from None
        raise


def _not_understood(text: str) -> UsageError:
    return UsageError(f"{shown(text)} is no error that is understood: {_HELP}")


def _kind(call: ast.Call) -> type[BaseException]:
    """Return the exception class that a call names."""
    name = ast.unparse(call.func)
    if not _NAME.fullmatch(name):
        raise _not_understood(name)
    return _find(name)


def _make(kind: type[BaseException], call: ast.Call) -> BaseException:
    """Return the exception that a call makes."""
    arguments = [_value(argument) for argument in call.args]
    named = {word.arg or "**": _value(word.value) for word in call.keywords}
    made, error = tried(lambda: _made(kind, arguments, named))
    if error is not None:
        why = f"{type(error).__name__}: {safe_message(error)}"
        raise UsageError(f"{ast.unparse(call.func)} cannot be made of these arguments: {why}")
    return made  # type: ignore[no-any-return]  # an exception's class makes it


def _made(kind: type[BaseException], arguments: list[Any], named: dict[str, Any]) -> BaseException:
    if issubclass(kind, OSError) and len(arguments) == 1 and type(arguments[0]) is int:
        arguments = [arguments[0], os.strerror(arguments[0])]  # OSError(28) alone has no errno, but surely means it
    if not named:
        return kind(*arguments)
    try:
        return kind(*arguments, **named)
    except TypeError:
        error = kind(*arguments)
        for name, value in named.items():
            setattr(error, name, value)
        return error


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Call():
            return _make(_kind(node), node)
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [_value(item) for item in items]
        case ast.Attribute(value=ast.Name(id="errno"), attr=name) | ast.Name(id=name) if name in _ERRNOS:
            return _ERRNOS[name]
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError):
        raise _not_understood(ast.unparse(node)) from None


def _find(name: str) -> type[BaseException]:
    """Return the exception class of a dotted name, of builtins where there is no dot."""
    parts = name.split(".")
    if len(parts) == 1:
        parts.insert(0, "builtins")
    with _here():
        for cut in range(len(parts) - 1, 0, -1):
            found = _imported(".".join(parts[:cut]))
            if found is not None:
                return _walk(found, parts[cut:], name)
    raise UsageError(f"{name}: no module {parts[0]!r} is installed, nor in the current folder; {_HELP}")


@contextmanager
def _here() -> Iterator[None]:
    """Let modules of the current folder be found, as the last, so that they hide none."""
    before = list(sys.path)
    sys.path.append("")  # which is the current folder, also where that is gone
    try:
        yield
    finally:
        sys.path[:] = before


def _imported(module: str) -> Any:
    """Return a module; None where there is none of that name."""
    found, error = tried(lambda: import_module(module))
    if error is None or missing_part(error, module):
        return found
    kind = "" if isinstance(error, ModuleNotFoundError) else f"{type(error).__name__}: "
    raise UsageError(f"{module} cannot be imported: {kind}{safe_message(error)}")


def _walk(found: Any, rest: list[str], name: str) -> type[BaseException]:
    scope = found
    for part in rest:
        scope, found = found, read(found, part)  # which may be a module that imports at this moment, and fails
    if isinstance(found, type) and issubclass(found, BaseException):
        return found
    raise UsageError(f"{name} is no exception class; {_near(rest[-1], scope) or _HELP}")


def _near(last: str, scope: Any) -> str:
    """Return what may have been meant by a name that is no exception's in a module or a class; empty for nothing."""
    members = {key: value for key, value in (read(scope, "__dict__") or {}).items() if isinstance(key, str)}
    known = [key for key, value in members.items() if isinstance(value, type) and issubclass(value, BaseException)]
    if scope is builtins:
        known += [*ErrorCode.__members__, *_ERRNOS]
    folded = {key.lower(): key for key in known}
    near = [folded[key] for key in difflib.get_close_matches(last.lower(), folded)]
    return f"did you mean {' or '.join(near)}?" if near else ""


def _make_bare(kind: type[BaseException]) -> BaseException:
    """Return an instance of a class, past its own constructor where that wants arguments.

    Raises:
        UsageError: There is no way past it, as with groups, which always have members.
    """
    made, error = tried(kind)
    if error is not None:
        made, error = tried(lambda: kind.__new__(kind))
    if error is not None:
        needs = f"{type(error).__name__}: {safe_message(error)}"
        raise UsageError(f"{kind.__qualname__} needs its arguments, in parentheses ({needs})")
    return made  # type: ignore[no-any-return]  # an exception's class makes it
