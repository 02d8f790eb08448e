"""The inventory: every decorated function that is alive, found again without anybody's list of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from types import MethodType
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from retrywrap.errors import ConfigurationError
from retrywrap.record.registry import Registry, Stats
from retrywrap.record.sites import Site
from retrywrap.run.kinds import core, is_async

if TYPE_CHECKING:
    from retrywrap.run.spec import OperationSpec

__all__ = ["binders", "decorated", "in_order", "known", "note", "place_of", "proxies", "site", "sites", "watchers"]

# By place, because a proxy is equal to what it wraps, which may be equal to others, or not hashable.
known: WeakValueDictionary[int, Any] = WeakValueDictionary()


watchers: list[Callable[[Any], None]] = []
"""Called with each function that is decorated from now on."""

binders: list[Callable[[Any, Any], None]] = []
"""Called with each function that binds in its own way, and what it has just been bound to."""


def note(proxy: Any) -> None:
    """Take a decorated function into the inventory."""
    known[id(proxy)] = proxy
    for watcher in watchers:
        watcher(proxy)


def decorated(target: Any) -> Any:
    """Return the decorated function inside a bound method, classmethod or staticmethod; else what it was given."""
    while issubclass(type(target), MethodType | classmethod | staticmethod):  # a proxy has its wrapped object's class
        target = target.__func__
    return target


def is_decorated(target: Any) -> bool:
    """Return whether something is a decorated function, or a method of one."""
    return hasattr(decorated(target), "_self_spec")


def proxies() -> list[Any]:
    """Return every decorated function that is alive, in the order in which they were decorated."""
    return list(known.values())


def sites(registry: Registry) -> list[Site]:
    """Return what is known of the functions that are recorded in a registry, by name and place."""
    return in_order(site(proxy) for proxy in proxies() if proxy._self_spec.registry is registry)


def in_order(found: Iterable[Site]) -> list[Site]:
    """Return sites by name and place."""
    return sorted(found, key=lambda each: (each.operation, each.module, each.qualname, each.line or 0))


def place_of(proxy: Any) -> tuple[str | None, int | None]:
    """Return the file and the line where a decorated function is defined; None where it has no code of its own."""
    code = getattr(_inner(proxy), "__code__", None)
    return (None, None) if code is None else (code.co_filename, code.co_firstlineno)


def _inner(proxy: Any) -> Any:
    return inspect.unwrap(core(proxy.__wrapped__))


def site(proxy: Any) -> Site:
    """Return what is known of a decorated function."""
    spec: OperationSpec = proxy._self_spec
    wrapped, inner = proxy.__wrapped__, _inner(proxy)
    file, line = place_of(proxy)
    named = wrapped if hasattr(wrapped, "__qualname__") else inner if hasattr(inner, "__qualname__") else type(wrapped)
    try:
        policy = spec.policy()
    except ConfigurationError:
        policy = None
    try:
        stats = spec.registry.stats(spec.name)
    except KeyError:  # there are more names than the registry keeps apart
        stats = Stats()
    return Site(
        operation=spec.name,
        module=str(getattr(named, "__module__", None) or ""),
        qualname=str(named.__qualname__),
        file=file,
        line=line,
        asynchronous=is_async(wrapped),
        policy=policy,
        policy_name=spec.base if isinstance(spec.base, str) else None,
        stats=stats,
    )
