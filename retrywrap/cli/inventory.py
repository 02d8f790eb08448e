"""`retrywrap inventory MODULE`: every function of a module, or package, that is retried, with its policy."""

from __future__ import annotations

import json
import os
import pkgutil
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from retrywrap.cli.usage import UsageError
from retrywrap.decide.checks import shown
from retrywrap.errors import ConfigurationError
from retrywrap.run.inventory import in_order, proxies, site

if TYPE_CHECKING:
    import argparse
    from types import ModuleType

    from retrywrap.record.sites import Site

__all__ = ["add_parser", "run"]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand ``inventory``."""
    parser = subparsers.add_parser(
        "inventory",
        help="list the functions that are retried",
        description="Import a module, or a package with all its modules, and list every decorated function in it: its "
        "operation, its policy, and where it stands. Modules are looked for in the current folder first.",
    )
    parser.add_argument("module", metavar="MODULE", help="as one imports it: app, app.storage")
    parser.add_argument("--json", action="store_true", help="a JSON array")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the decorated functions of a module; return the exit status."""
    name: str = arguments.module
    sys.path.insert(0, os.getcwd())
    if "." in name:
        _imported(name.rpartition(".")[0], asked=name)  # what that decorates is its own
    before = {id(proxy) for proxy in proxies()}
    _import_all(name)
    listed = [(site(proxy), id(proxy) not in before) for proxy in proxies()]
    found = in_order(each for each, is_new in listed if _belongs(each, name, is_new=is_new))
    if arguments.json:
        print(json.dumps([_row(each) for each in found], indent=2))
        return 0
    rows = [(each.operation, _policy(each), _place(each)) for each in found]
    widths = [max([len(row[column]) for row in rows], default=0) for column in (0, 1)]
    for operation, policy, place in rows:
        print(f"{operation:{widths[0]}}  {policy:{widths[1]}}  {place}")
    print(f"{len(found)} decorated function{'s' * (len(found) != 1)} in {name}")
    return 0


def _belongs(site: Site, name: str, *, is_new: bool) -> bool:
    """Whether a function is a module's own; of one without a place (a builtin), whether importing it decorated that."""
    return site.module == name or site.module.startswith(f"{name}.") or (is_new and site.file is None)


def _import_all(name: str) -> None:
    module = _imported(name)
    for each in pkgutil.walk_packages(getattr(module, "__path__", ()), f"{name}.", onerror=_refuse):
        if not each.name.endswith(".__main__"):  # to import it is to run the program
            _imported(each.name)


def _imported(name: str, *, asked: str | None = None) -> ModuleType:
    try:
        return import_module(name)
    except ConfigurationError:  # says what is wrong itself
        raise
    except (Exception, SystemExit) as error:
        _refuse(asked or name, error)
        raise AssertionError("unreachable") from None  # pragma: no cover - for the type checker


def _refuse(name: str, error: BaseException | None = None) -> None:
    error = sys.exc_info()[1] if error is None else error
    raise UsageError(f"{name} cannot be imported: {type(error).__name__}: {error}") from error


def _policy(site: Site) -> str:
    if site.policy is None:
        return f"policy {site.policy_name!r}, which is not defined"
    given = site.policy.settings()
    settings = {"max": site.policy.max, "interval": given.pop("interval", site.policy.backoff), **given}
    text = ", ".join(f"{name}={shown(value)}" for name, value in settings.items())
    return text if site.policy_name is None else f"{text} (policy {site.policy_name!r})"


def _place(site: Site) -> str:
    return "-" if site.file is None else f"{os.path.relpath(site.file)}:{site.line}"


def _row(site: Site) -> dict[str, Any]:
    facts = site._asdict()
    del facts["stats"]
    return {**facts, "policy": None if site.policy is None else _policy(site)}
