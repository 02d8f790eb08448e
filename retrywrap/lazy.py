"""Names of a package that are loaded when they are first used."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any

__all__ = ["lazily"]


def lazily(
    package: str,
    where: Mapping[str, str],
    listed: Iterable[str],
    *,
    first: str | None = None,
    modules: Iterable[str] = (),
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return a package's ``__getattr__`` and ``__dir__``.

    Args:
        package: Its name.
        where: By the name of what it has: the module in it that defines that.
        listed: What ``dir`` tells besides.
        first: A module in it that is to be there before anything else is; None: there is none.
        modules: Those of its modules that are found as its attributes without an import of their own.
    """

    def get(name: str) -> Any:
        if name in where:
            if first is not None:
                import_module(f"{package}.{first}")
            found = getattr(import_module(f"{package}.{where[name]}"), name)
            setattr(sys.modules[package], name, found)
            return found
        if name in modules:
            return import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *listed, *modules})

    return get, names
