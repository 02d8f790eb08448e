"""What a parameter that does not exist is called here: loaded when somebody has mistaken one."""

from __future__ import annotations

import difflib
from collections.abc import Collection

from retrywrap.decide.checks import shown

__all__ = ["unknown_parameter"]

# The names under which tenacity, backoff, retrying, urllib3 and others have what is called otherwise here.
_ELSEWHERE = {
    "max": "attempt attempts count limit max_attempts max_retries max_tries maximum n retries stop times total tries",
    "interval": "backoff delay initial_delay pause seconds sleep wait wait_fixed wait_gen",
    "timeout": "deadline max_delay max_time max_wait_time stop_max_delay total_timeout",
    "on": "catch error errors exc exception exceptions retry retry_on retry_on_exception retry_if when",
    "results": "predicate result retry_if_result retry_on_result",
    "before_retry": "before before_sleep callback on_backoff on_retry prepare",
    "attempts": "attempt calls count retries times total tries",
    "waits": "delay delays interval intervals seconds sleep sleeps",
    "codes": "error errors exc exception exceptions kinds",
    "outcome": "end reason result state status stop",
    "reraise": "raise_on_giveup retry_error_cls",
}
_COUNTED = {
    "max": ", which counts retries after the first call",
    "attempts": ", which counts the first call, too",
}

_BELONGS = {
    "jitter": 'it belongs to the backoff, as in interval=exponential(1, jitter="full")',
    "cap": "it belongs to the backoff, as in interval=exponential(1, cap=20)",
    "giveup": "what is not to be retried is said by on= as a predicate, or by a classifier with forbid=True",
    "logger": "events go to structlog, or to the logger retrywrap; retrywrap.subscribe hears them all",
}


def unknown_parameter(name: object, known: Collection[str]) -> str:
    """Return what to say of a parameter that does not exist: what it is called here, and all that do exist.

    Args:
        name: The name that was tried.
        known: The names that exist.
    """
    listed, tried = f"its parameters are {', '.join(known)}", shown(name)
    elsewhere = _BELONGS.get(str(name).lower())
    if elsewhere is not None:
        return f"has no parameter {tried}: {elsewhere} ({listed})"
    theirs = str(name).lower()
    ours = next((each for each, many in _ELSEWHERE.items() if each in known and theirs in many.split()), "")
    if not ours:
        ours = next(iter(difflib.get_close_matches(str(name), known, n=1)), "")
    if not ours:
        return f"has no parameter {tried}; {listed}"
    counted = _COUNTED.get(ours, "")
    return f"has no parameter {tried}: did you mean {ours}={counted}? ({listed})"
