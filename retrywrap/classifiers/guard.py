"""Reading from objects that may be hostile: whatever they do, no `Exception` comes out of here.

What is no `Exception` (Ctrl-C, `SystemExit`, cancellation) does come out, on purpose: a signal handler may raise it in
the midst of any read, and to swallow it would be to lose a shutdown.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "call",
    "dotted_name",
    "exact_int",
    "is_error",
    "key_of",
    "lineage",
    "read",
    "tame_name",
    "text_of",
    "type_name",
]

# The slots of `type` itself, because a metaclass may lie about them or raise.
_MRO = type.__dict__["__mro__"].__get__
_MODULE = type.__dict__["__module__"].__get__
_QUALNAME = type.__dict__["__qualname__"].__get__

_LONGEST_NAME = 200


def read(thing: object, name: str) -> Any:
    """Return an attribute; None where it is absent or cannot be read."""
    try:
        return getattr(thing, name, None)
    except Exception:  # a property that raises has nothing to say
        return None


def call(thing: object, name: str, *args: object) -> Any:
    """Return what a method returns; None where there is none, or it raises."""
    try:
        return getattr(thing, name)(*args)
    except Exception:  # a method that raises has nothing to say
        return None


def is_error(thing: object) -> bool:
    """Return whether something is an exception; unlike `isinstance`, never asks the object itself."""
    return issubclass(type(thing), BaseException)


def exact_int(value: object) -> int | None:
    """Return an int, of whatever subclass, as a plain one; None for everything else, and for a bool."""
    if type(value) is int:
        return value
    if issubclass(type(value), int) and type(value) is not bool:
        return int.__index__(value)  # type: ignore[arg-type]  # the line above says that it is an int
    return None


def lineage(cls: type) -> tuple[type, ...]:
    """Return a class and its bases in the order of its MRO."""
    bases: tuple[type, ...] = _MRO(cls)
    return bases


def type_name(cls: type) -> str:
    """Return a class's qualified name, without its module, on one line and bounded."""
    return tame_name(_QUALNAME(cls))


def dotted_name(cls: type) -> str:
    """Return a class's name after that of its module: ``http.client.IncompleteRead``; on one line and bounded."""
    module = _module_of(cls)
    return f"{tame_name(module)}.{type_name(cls)}" if module else type_name(cls)


def tame_name(name: str) -> str:
    """Return what a class or a function calls itself as it may stand in a line: that can be any text."""
    name = str.__str__(name)
    if len(name) <= _LONGEST_NAME and name.isprintable():
        return name
    escaped = name[:_LONGEST_NAME].encode("unicode_escape").decode("ascii")
    return escaped if len(name) <= _LONGEST_NAME >= len(escaped) else f"{escaped[: _LONGEST_NAME - 1]}…"


def _module_of(cls: type) -> str:
    """Return the name of a class's module; "" where it was made without one."""
    try:
        module: Any = _MODULE(cls)
    except AttributeError:
        return ""
    return str.__str__(module) if issubclass(type(module), str) else ""


def key_of(cls: type) -> tuple[str, str]:
    """Return the root of a class's module, and the key of its table row: ``("http", "http.IncompleteRead")``."""
    root = _module_of(cls).partition(".")[0]
    return root, f"{root}.{str.__str__(_QUALNAME(cls))}"


def text_of(error: BaseException) -> str:
    """Return ``str(error)`` as a plain string; a text that says so where there is none to be had."""
    try:
        text = str(error)
    except Exception as broken:
        return f"{type_name(type(error))} (no text: its __str__ raised {type_name(type(broken))})"
    # A subclass of str may do anything when it is asked for its length or a part.
    return text if type(text) is str else str.__str__(text)
