"""The classifiers that installed distributions bring, by the entry-point group ``retrywrap.classifiers``."""

from __future__ import annotations

from collections.abc import Iterator
from threading import get_ident

from retrywrap.classifiers.asking import check_classifier
from retrywrap.classifiers.registration import book, function_row
from retrywrap.classifiers.rows import Row
from retrywrap.locks import importing
from retrywrap.reports import report_once

__all__ = ["GROUP", "plugin_rows", "reload_entry_points"]

GROUP = "retrywrap.classifiers"

_loading: set[int] = set()
_culprits: dict[str, str] = {}


def plugin_rows() -> tuple[Row, ...]:
    """Return the rows that ask the classifiers of entry points; loads them the first time.

    No lock is held meanwhile, since what is imported may register classifiers, or wait for another thread. Two threads
    may both load, to the same end. To code that fails while it is being loaded there are none.
    """
    plugins = book.state.plugins
    me = get_ident()
    if plugins is not None or me in _loading:
        return plugins or ()
    _loading.add(me)
    try:
        plugins = tuple(_load())
    finally:
        _loading.discard(me)
    book.set_plugins(plugins)
    return plugins


def reload_entry_points() -> None:
    """Forget what was loaded, so that the next failure loads it anew."""
    book.set_plugins(None)


def _load() -> Iterator[Row]:
    try:
        with importing:
            from importlib.metadata import entry_points

            found = sorted(entry_points(group=GROUP), key=lambda entry: (entry.name, entry.value))
    except Exception:  # the metadata of any installed distribution may be broken
        report_once(_load, f"the entry points of the group {GROUP} cannot be read; going on without them")
        return
    for entry in found:
        try:
            classifier = check_classifier(entry.load(), f"the entry point {entry.name} = {entry.value}")
        except Exception:
            name = f"{entry.name} = {entry.value}"
            who = _culprits.setdefault(name, name)  # entry points are made anew each time; this stays
            report_once(who, f"the entry point {name} of {GROUP} failed; going on without it")
            continue
        yield function_row(classifier, "plugin")
