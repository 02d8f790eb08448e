"""What a user means by a function or a name: the operation's name, and what else may have been meant by a wrong one."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Collection

from retrywrap.decide.checks import shown
from retrywrap.run import inventory
from retrywrap.run.inventory import decorated, is_decorated
from retrywrap.run.kinds import operation_name

__all__ = ["meant", "name_of"]


def name_of(target: object) -> str:
    """Return the name of the operation that a decorated function, or a method of one, is recorded as.

    Args:
        target: That, or the name itself.

    Raises:
        TypeError: It is neither.
    """
    if isinstance(target, str):
        return target
    spec = getattr(decorated(target), "_self_spec", None)
    if spec is None:
        what = operation_name(target) if callable(target) else shown(target)
        raise TypeError(
            f"target must be a function decorated with with_retry, or an operation's name; got {what}{_instead(target)}"
        )
    name: str = spec.name
    return name


def _instead(target: object) -> str:
    """Return what to give in the place of something that is near a decorated function; nothing where it is not."""
    if isinstance(target, type):
        own = [key for key, member in vars(target).items() if is_decorated(member)]
        return f", a class: did you mean {' or '.join(f'{target.__name__}.{key}' for key in own[:3])}?" if own else ""
    if isinstance(target, functools.partial) and is_decorated(target.func):
        return " inside a functools.partial: give the function itself"
    if isinstance(target, property) and hasattr(target.fget, "_self_spec"):
        return ", a property: give its function, which is its attribute fget"
    if any(proxy.__wrapped__ is target for proxy in inventory.proxies()):
        return ", the function that is decorated: give the decorated one, not what it wraps"
    return ""


def meant(name: str, known: Collection[str]) -> str:
    """Return what to say of a name that is not known: which ones may have been meant; nothing where none is near.

    Args:
        name: The name.
        known: Those that there are.
    """
    last = name.rpartition(".")[2]
    lasts: dict[str, list[str]] = {}
    for each in known:  # people write the last part alone, and the first parts make all names of a module alike
        lasts.setdefault(each.rpartition(".")[2].lower(), []).append(each)
    near = lasts.get(last.lower(), [])
    near = near or [each for key in difflib.get_close_matches(last.lower(), lasts, n=3) for each in lasts[key]]
    near = near or difflib.get_close_matches(name, known, n=3)
    return f"did you mean {' or '.join(map(repr, sorted(near)[:3]))}?" if near else ""
