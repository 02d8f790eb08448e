"""What a user may mean by an error on the command line: an exception with arguments, a code, an errno's name."""

from __future__ import annotations

import ast
import errno
import os
import re
from importlib import import_module
from typing import Any

from retrywrap.cli.usage import UsageError
from retrywrap.codes import ErrorCode

__all__ = ["read_error"]

_HELP = "give an exception (OSError(28), requests.exceptions.Timeout), a code (-6, NETWORK), an errno (ENOSPC)"
_NAME = re.compile(r"[A-Za-z_][\w.]*")
_NUMBER = re.compile(r"[+-]?[0-9]+")


def read_error(text: str) -> BaseException | ErrorCode:
    """Return the error that a text names.

    Nothing of the text is evaluated: arguments are literals, and a name is imported, never called but for the
    exception's own constructor.

    Raises:
        UsageError: It names nothing that is known, or the exception cannot be made of these arguments.
    """
    text = text.strip()
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
    name, arguments, named = _parse(text)
    kind = _find(name)
    if arguments is None:
        return _make_bare(kind)
    if issubclass(kind, OSError) and len(arguments) == 1 and type(arguments[0]) is int and not named:
        arguments = [arguments[0], os.strerror(arguments[0])]  # OSError(28) alone has no errno, but is surely meant to
    try:
        return kind(*arguments, **named)
    except Exception as error:
        raise UsageError(f"{name} cannot be made of these arguments: {type(error).__name__}: {error}") from None


def _parse(text: str) -> tuple[str, list[Any] | None, dict[str, Any]]:
    """Return name and literal arguments; None for no parentheses at all."""
    if _NAME.fullmatch(text):
        return text, None, {}
    try:
        call = ast.parse(text, mode="eval").body
        if not isinstance(call, ast.Call) or not _NAME.fullmatch(ast.unparse(call.func)):
            raise ValueError
        arguments = [ast.literal_eval(argument) for argument in call.args]
        named = {word.arg: ast.literal_eval(word.value) for word in call.keywords if word.arg}
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise UsageError(f"{text!r} is no error that is understood: {_HELP}") from None
    return ast.unparse(call.func), arguments, named


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
        except Exception as error:
            raise UsageError(f"{module} cannot be imported: {type(error).__name__}: {error}") from None
        return _walk(found, parts[cut:], name)
    raise UsageError(f"{name}: no module {parts[0]!r} is installed here; {_HELP}")


def _walk(found: Any, rest: list[str], name: str) -> type[BaseException]:
    for part in rest:
        found = getattr(found, part, None)
    if isinstance(found, type) and issubclass(found, BaseException):
        return found
    raise UsageError(f"{name} is no exception class; {_HELP}")


def _make_bare(kind: type[BaseException]) -> BaseException:
    """Return an instance of a class, past its own constructor where that wants arguments."""
    try:
        return kind()
    except Exception:
        return kind.__new__(kind)
