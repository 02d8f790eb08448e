"""Modules and classes that a user names: they may raise anything when they are loaded, and may not be there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["is_of", "missing_part", "tried"]


def tried(make: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    """Call what runs code of the user's; return its result, or what it raised.

    That may be no `Exception`: a module of tests that skips itself, or one that ends the program.

    Args:
        make: Called without arguments.

    Raises:
        KeyboardInterrupt: Ctrl-C is no error of the code.
    """
    try:
        return make(), None
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return None, error


def is_of(module: str, name: str) -> bool:
    """Return whether a module is another one, or inside of it."""
    return module == name or module.startswith(f"{name}.")


def missing_part(error: BaseException, module: str) -> str:
    """Return which is not there, a module or a package around it; an empty text where its import failed otherwise.

    Args:
        error: What its import raised: also where something that it imports is not there, under any name.
        module: Its name.
    """
    name = error.name if isinstance(error, ModuleNotFoundError) else None
    return name if isinstance(name, str) and is_of(module, name) else ""
