"""`retrywrap inventory MODULE`: every function of a module, or package, that is retried, with its policy."""

from __future__ import annotations

import difflib
import functools
import json
import os
import pkgutil
import sys
from contextlib import redirect_stdout
from importlib import import_module
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from retrywrap.classifiers.guard import read, tame_name, type_name
from retrywrap.classifiers.redact import safe_message
from retrywrap.cli.imports import is_of, missing_part, tried
from retrywrap.cli.usage import UsageError
from retrywrap.decide.checks import shown
from retrywrap.errors import ConfigurationError
from retrywrap.record.logfile import escape
from retrywrap.run.inventory import decorated, in_order, proxies, site

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable
    from types import ModuleType

    from retrywrap.record.sites import Site

__all__ = ["add_parser", "run"]

_LISTED = 5


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand ``inventory``."""
    parser = subparsers.add_parser(
        "inventory",
        help="list the functions that are retried",
        description="Import a module, or a package with all its modules, and list every decorated function in it: its "
        "operation, its policy, where it stands, and whether it ran or failed meanwhile. Modules are looked for in the "
        "current folder first. One inside that cannot be imported is named, and makes the status 1.",
    )
    parser.add_argument("module", metavar="MODULE", help="as one imports it: app, app.storage; not a path")
    parser.add_argument("--json", action="store_true", help="a JSON array")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the decorated functions of a module; return the exit status."""
    name: str = arguments.module
    _check_name(name)
    sys.path.insert(0, os.getcwd())
    with redirect_stdout(sys.stderr):  # what modules print is no part of the list
        if "." in name:
            _imported(name.rpartition(".")[0], asked=name)  # what that decorates is its own
        before = {id(proxy) for proxy in proxies()}
        broken = _import_all(_imported(name))
    held = _held_by(name)
    found = in_order(
        each
        for each, proxy in ((site(proxy), proxy) for proxy in proxies())
        if is_of(each.module, name)
        or (id(proxy) in held and not _stands_in(each, proxy))
        or (each.file is None and id(proxy) not in before)
    )
    for each, error in broken.items():
        print(f"retrywrap: {_refused(each, error)}", file=sys.stderr)
    if arguments.json:
        print(json.dumps([_row(each) for each in found], indent=2))
    else:
        _print(found, name, len(broken))
    return 1 if broken else 0


def _check_name(name: str) -> None:
    """Say how a module is named, where it is not."""
    if all(part.isidentifier() for part in name.split(".")) and not os.path.isfile(name):
        return
    try:
        hint = _module_at(name)
    except ValueError:  # no path can be of such a name, nor can it be shown
        hint = ""
    example = hint or "app, or app.storage"
    raise UsageError(f"MODULE must be a module's name, as one imports it: {example}; got {shown(name)}")


def _module_at(path: str) -> str:
    """Return the names of the modules that a path means; an empty text where there are none."""
    path = os.path.relpath(path or os.curdir)
    dotted = path.removesuffix(".py").removesuffix(f"{os.sep}__init__").replace(os.sep, ".")
    if all(part.isidentifier() for part in dotted.split(".")):
        return dotted
    found = sorted(each.name for each in pkgutil.iter_modules([path]) if each.name != "setup")
    return _some(found)


def _some(names: list[str]) -> str:
    """Return the first of some names."""
    return ", ".join(map(tame_name, names[:_LISTED])) + (", …" if len(names) > _LISTED else "")


def _print(found: list[Site], name: str, broken: int) -> None:
    rows = [(escape(each.operation), escape(_policy(each)), escape(_place(each)) + _past(each)) for each in found]
    widths = [max([len(row[column]) for row in rows], default=0) for column in (0, 1)]
    for operation, policy, place in rows:
        print(f"{operation:{widths[0]}}  {policy:{widths[1]}}  {place}")
    but = f", without {broken} module{'s' * (broken != 1)} that cannot be imported" if broken else ""
    ran = [each.ran for each in found]
    idle = "" if None in ran else f"{ran.count(False)} never ran, "  # pure Python cannot tell what succeeded at once
    past = f": {idle}{sum(not each.failed for each in found)} never failed" if found else ""
    print(f"{len(found)} decorated function{'s' * (len(found) != 1)} in {name}{but}{past}")


def _past(site: Site) -> str:
    """Return what already happened to a function, where importing the module called it."""
    return ", failed" if site.failed else ", ran" if site.ran else ""


def _held_by(name: str) -> set[int]:
    """Return which decorated functions are attributes of a module's, of its inner modules', or of their classes."""
    held: set[int] = set()
    for key, module in list(sys.modules.items()):
        pending, seen = [module] if is_of(key, name) else [], set[int]()
        while pending:
            for each in list((read(pending.pop(), "__dict__") or {}).values()):
                held.add(id(decorated(each)))
                # What a lazy object says of its class runs code: its type does not.
                is_own = issubclass(type(each), type) and read(each, "__module__") == key
                if is_own and id(each) not in seen:
                    seen.add(id(each))
                    pending.append(each)
    return held


def _stands_in(site: Site, proxy: Any) -> bool:
    """Whether a function is decorated where it is defined, so that who has it besides has imported it from there."""
    found: Any = sys.modules.get(site.module)
    for part in site.qualname.split("."):
        found = read(found, part)
    return decorated(found) is proxy


def _import_all(package: ModuleType) -> dict[str, BaseException]:
    """Import all modules of a package; return those that cannot be, with the reasons."""
    broken: dict[str, BaseException] = {}
    for each in pkgutil.iter_modules(getattr(package, "__path__", ()), f"{package.__name__}."):
        if each.name.endswith(".__main__"):  # to import it is to run the program
            continue
        module, error = tried(functools.partial(import_module, each.name))
        if error is None:
            broken |= _import_all(module)
        else:
            broken[each.name] = error
    return broken


def _imported(name: str, *, asked: str | None = None) -> ModuleType:
    module, error = tried(lambda: import_module(name))
    if isinstance(error, ConfigurationError):  # says what is wrong itself
        raise error
    if error is not None:
        missing = missing_part(error, name)
        hint = _hint(missing, asked or name) if missing else ""
        raise UsageError(_refused(asked or name, error) + hint) from error
    return module  # type: ignore[no-any-return]  # it is one


def _hint(missing: str, asked: str) -> str:
    """Return what to say of a module that is not there: what has nearly its name, or what there is."""
    package, _, last = missing.rpartition(".")
    if package:
        inside = _modules(getattr(sys.modules.get(package), "__path__", ()))
        near = [f"{package}.{each}" for each in difflib.get_close_matches(last, inside)]
        where = package
    else:
        if last in _modules(["src"]):
            return f"; it stands in src: PYTHONPATH=src retrywrap inventory {asked}"
        inside = _modules([os.getcwd()])
        near = difflib.get_close_matches(last, inside) or difflib.get_close_matches(last, _modules(sys.path))
        where = "the current folder (Python's path was looked through as well)"
    if near:
        return f"; did you mean {' or '.join(near)}?"
    return f"; modules in {where}: {_some(inside)}" if inside else ""


def _modules(folders: Iterable[str]) -> list[str]:
    return sorted({each.name for each in pkgutil.iter_modules(folders)})


def _refused(name: str, error: BaseException) -> str:
    return f"{tame_name(name)} cannot be imported: {type_name(type(error))}: {safe_message(error)}"


def _policy(site: Site) -> str:
    if site.policy is None:
        return f"policy {shown(site.policy_name)}, which is not defined"
    given = site.policy.settings()
    interval = given.pop("interval", site.policy.backoff)
    if isinstance(interval, int | float):  # as where nobody gave it
        interval = site.policy.backoff
    settings = {"max": site.policy.max, "interval": interval, **given}
    text = ", ".join(f"{name}={_setting(value)}" for name, value in settings.items())
    return text if site.policy_name is None else f"{text} (policy {shown(site.policy_name)})"


def _setting(value: object) -> str:
    """Return a setting as it stands in the source: types and functions by their names, not by their addresses."""
    if isinstance(value, tuple):
        return f"({', '.join(map(_setting, value))}{',' * (len(value) == 1)})"
    if isinstance(value, type):
        return type_name(value)
    return tame_name(value.__qualname__) if isinstance(value, FunctionType | MethodType) else shown(value)


def _place(site: Site) -> str:
    return "-" if site.file is None else f"{os.path.relpath(site.file)}:{site.line}"


def _row(site: Site) -> dict[str, Any]:
    facts = site._asdict()
    stats = facts.pop("stats")
    counts = {"calls": stats.calls, "errors": stats.errors, "retries": stats.retries, "failures": stats.failed}
    policy = None if site.policy is None else _policy(site)
    return {**facts, "policy": policy, "ran": site.ran, "failed": site.failed, **counts}
