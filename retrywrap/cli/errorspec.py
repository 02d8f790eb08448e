"""What a user may mean by an error on the command line: an exception with arguments, a code, an errno's name."""

from __future__ import annotations

import ast
import errno
import os
import re
from importlib import import_module
from typing import Any

from retrywrap.classifiers.guard import read
from retrywrap.classifiers.redact import is_masked, safe_message
from retrywrap.cli.usage import UsageError
from retrywrap.codes import ErrorCode
from retrywrap.decide.checks import shown

__all__ = ["read_error"]

_HELP = "give an exception (OSError(28), requests.exceptions.Timeout), a code (-6, NETWORK), an errno (ENOSPC)"
_LONGEST = 1000
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
    if text.upper() in errno.errorcode.values():
        number: int = getattr(errno, text.upper())
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
    try:
        if issubclass(kind, OSError) and len(arguments) == 1 and type(arguments[0]) is int:
            arguments = [arguments[0], os.strerror(arguments[0])]  # OSError(28) alone has no errno, but surely means it
        return _made(kind, arguments, named)
    except Exception as error:
        why = f"{type(error).__name__}: {safe_message(error)}"
        raise UsageError(f"{ast.unparse(call.func)} cannot be made of these arguments: {why}") from None


def _made(kind: type[BaseException], arguments: list[Any], named: dict[str, Any]) -> BaseException:
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
        case ast.Attribute(value=ast.Name(id="errno"), attr=name) if hasattr(errno, name):
            return getattr(errno, name)
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError):
        raise _not_understood(ast.unparse(node)) from None


def _find(name: str) -> type[BaseException]:
    """Return the exception class of a dotted name, of builtins where there is no dot."""
    parts = name.split(".")
    if len(parts) == 1:
        parts.insert(0, "builtins")
    for cut in range(len(parts) - 1, 0, -1):
        module = ".".join(parts[:cut])
        try:
            found: Any = import_module(module)
        except ModuleNotFoundError as missing:
            if missing.name is None or not (module == missing.name or module.startswith(missing.name + ".")):
                raise UsageError(f"{module} cannot be imported: {missing}") from None
            continue
        except (Exception, SystemExit) as error:
            raise UsageError(f"{module} cannot be imported: {type(error).__name__}: {safe_message(error)}") from None
        return _walk(found, parts[cut:], name)
    where = f"in its own folder, python -m retrywrap explain {name} finds it"
    raise UsageError(f"{name}: no module {parts[0]!r} is installed here ({where}); {_HELP}")


def _walk(found: Any, rest: list[str], name: str) -> type[BaseException]:
    for part in rest:
        found = read(found, part)  # which may be a module that imports at this moment, and fails
    if isinstance(found, type) and issubclass(found, BaseException):
        return found
    raise UsageError(f"{name} is no exception class; {_HELP}")


def _make_bare(kind: type[BaseException]) -> BaseException:
    """Return an instance of a class, past its own constructor where that wants arguments.

    Raises:
        UsageError: There is no way past it, as with groups, which always have members.
    """
    try:
        return kind()
    except Exception:
        try:
            return kind.__new__(kind)
        except Exception as error:
            needs = f"{type(error).__name__}: {safe_message(error)}"
            raise UsageError(f"{kind.__qualname__} needs its arguments, in parentheses ({needs})") from None
