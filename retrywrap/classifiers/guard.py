"""Reading from objects that may be hostile: whatever they do, no `Exception` comes out of here.

What is no `Exception` (Ctrl-C, `SystemExit`, cancellation) does come out, on purpose: a signal handler may raise it in
the midst of any read, and to swallow it would be to lose a shutdown.
"""

from __future__ import annotations

from typing import Any

__all__ = ["call", "dotted_name", "exact_int", "is_error", "key_of", "lineage", "read", "text_of", "type_name"]

# The slots of `type` itself, because a metaclass may lie about them or raise.
_MRO = type.__dict__["__mro__"].__get__
_MODULE = type.__dict__["__module__"].__get__
_QUALNAME = type.__dict__["__qualname__"].__get__


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
    """Return a class's qualified name, without its module."""
    name: str = _QUALNAME(cls)
    return name


def dotted_name(cls: type) -> str:
    """Return a class's name after that of its module: ``http.client.IncompleteRead``."""
    try:
        module: Any = _MODULE(cls)
    except AttributeError:  # it was made where there is no module name
        module = None
    return f"{module}.{_QUALNAME(cls)}" if issubclass(type(module), str) else type_name(cls)


def key_of(cls: type) -> tuple[str, str]:
    """Return the root of a class's module, and the key of its table row: ``("http", "http.IncompleteRead")``."""
    try:
        module: Any = _MODULE(cls)
    except AttributeError:  # it was made where there is no module name
        module = None
    root = str.partition(module, ".")[0] if issubclass(type(module), str) else ""
    return root, f"{root}.{_QUALNAME(cls)}"


def text_of(error: BaseException) -> str:
    """Return ``str(error)`` as a plain string; a text that says so where there is none to be had."""
    try:
        text = str(error)
    except Exception as broken:
        return f"{type_name(type(error))} (no text: its __str__ raised {type_name(type(broken))})"
    # A subclass of str may do anything when it is asked for its length or a part.
    return text if type(text) is str else str.__str__(text)
