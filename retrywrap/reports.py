"""Reports, once each, what went wrong in code that must never change an outcome: hooks, classifiers, the error log."""

from __future__ import annotations

import sys
import weakref
from typing import Any

from retrywrap.locks import importing

__all__ = ["forget", "report_once"]

_MOST = 1000
_reported: dict[int, weakref.ref[Any] | None] = {}


def report_once(who: object, text: str, *, error: bool = True) -> None:
    """Log a sentence through the logger ``retrywrap``, once per `who`.

    Args:
        who: The culprit; its identity decides what "once" means.
        text: A sentence that names it.
        error: Whether it is an error, and the exception being handled belongs to it; False: a warning.
    """
    if _is_known(who):
        return
    if len(_reported) >= _MOST:  # bounded memory matters more than one report too many
        _reported.clear()
    try:
        _reported[id(who)] = weakref.ref(who)
    except TypeError:  # of a type without weak references; to hold it would be to keep it alive
        _reported[id(who)] = None
    try:
        with importing:
            import logging

        if error:
            logging.getLogger("retrywrap").error(text + _what_happened())
        else:
            logging.getLogger("retrywrap").warning(text)
    except Exception:  # a broken logging handler must not do what the culprit was kept from doing
        return


def _what_happened() -> str:
    """Return the traceback of the exception being handled, its message redacted.

    Its context is the operation's own error, whose text is for nobody's eyes as it is.
    """
    broken = sys.exc_info()[1]
    if broken is None:
        return ""
    with importing:
        import traceback

        from retrywrap.classifiers.guard import dotted_name
        from retrywrap.classifiers.redact import safe_message
    frames = "".join(traceback.format_tb(broken.__traceback__))
    return f"\nTraceback (most recent call last):\n{frames}{dotted_name(type(broken))}: {safe_message(broken)}"


def _is_known(who: object) -> bool:
    """Whether it was reported; the identity of the dead may come again, and is not theirs any more."""
    if id(who) not in _reported:
        return False
    reference = _reported[id(who)]
    return reference is None or reference() is who


def forget() -> None:
    """Forget who was reported."""
    _reported.clear()
