"""What a parameter that does not exist is called here: loaded when somebody has mistaken one."""

from __future__ import annotations

import difflib
from collections.abc import Collection

from retrywrap.decide.checks import shown

__all__ = ["nearest", "nearest_parameter", "unknown_parameter"]

_COUNTS = "attempt attempts count limit max_attempts max_retries max_tries maximum n retries stop times total tries"
_PAUSES = "backoff delay initial_delay pause seconds sleep wait wait_fixed wait_gen"
_BEGINS = "delay initial initial_delay initial_interval interval min minimum wait"

# The names under which tenacity, backoff, retrying, urllib3 and others have what is called otherwise here.
_ELSEWHERE = {
    "max": _COUNTS,
    "interval": _PAUSES,
    "timeout": "deadline max_time max_wait_time stop_max_delay total_timeout",
    "on": "catch error errors exc exception exceptions retry retry_on retry_on_exception retry_if when",
    "results": "predicate result retry_if_result retry_on_result",
    "before_retry": "before before_sleep callback on_backoff on_retry prepare",
    "attempts": "attempt calls count retries times total tries",
    "waits": "delay delays interval intervals seconds sleep sleeps",
    "codes": "error errors exc exception exceptions kinds",
    "outcome": "end reason result state status stop",
    "reraise": "raise_on_giveup retry_error_cls",
    "error_retry_max": f"max {_COUNTS}",
    "error_retry_interval": f"interval {_PAUSES}",
    "error_store_path": "directory error_log folder log log_dir log_path path store",
    "error_buffer_size": "buffer buffer_size history size",
    "enable": "disable enabled",
    "base": f"{_BEGINS} seconds start",
    "start": f"{_BEGINS} base seconds",
    "seconds": f"{_BEGINS} base start",
    "cap": "ceiling limit max max_delay max_interval max_value max_wait maximum upper",
    "factor": "exp_base growth power rate ratio",
    "step": "delta increment",
    "jitter": "rand random randomize spread",
}
_COUNTED = {
    "max": ", which counts retries after the first call",
    "attempts": ", which counts the first call, too",
    "error_retry_max": ", which counts retries after the first call",
}

_SPREAD = 'any backoff is spread by .jittered(), as in fixed(5).jittered("full")'
_OF_POLICIES = "timeout attempt_timeout on classifier results idempotent nested before_retry budget reraise"
_IN_A_POLICY = 'it belongs to a policy, as in configure(policies={"slow": {"timeout": 60}})'

# What is said otherwise altogether: by the parameters beside which it is looked for.
_BELONGS = {
    "interval": {
        "jitter": 'it belongs to the backoff, as in interval=exponential(1, jitter="full")',
        "cap": "it belongs to the backoff, as in interval=exponential(1, cap=20)",
        "giveup": "what is not to be retried is said by on= as a predicate, or by a classifier with forbid=True",
        "max_delay": "the longest wait is the backoff's, interval=exponential(1, cap=20); timeout= is for the whole",
        "logger": "events go to structlog, or to the logger retrywrap; retrywrap.subscribe hears them all",
    },
    "factor": {
        "multiplier": "base= is what the waits begin with, as tenacity's multiplier; factor= multiplies each by more",
    },
    "seconds": {"jitter": _SPREAD},
    "cap": {"jitter": _SPREAD},
    "policies": dict.fromkeys(_OF_POLICIES.split(), _IN_A_POLICY),
}


def nearest(name: str, known: Collection[str], cutoff: float = 0.6) -> str:
    """Return the known name that is nearest to one that is not; an empty text where none is near.

    Args:
        name: The name that was tried.
        known: The names that exist.
        cutoff: How near it has to be, from 0 to 1, as `difflib` measures that.
    """
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=cutoff)), "")


def nearest_parameter(name: str, known: Collection[str]) -> str:
    """Return what a parameter that does not exist is called here; an empty text where nothing is near.

    Args:
        name: The name that was tried.
        known: The names that exist.
    """
    theirs = name.lower()
    ours = next((each for each, many in _ELSEWHERE.items() if each in known and theirs in many.split()), "")
    return ours or nearest(name, known)


def unknown_parameter(name: object, known: Collection[str]) -> str:
    """Return what to say of a parameter that does not exist: what it is called here, and all that do exist.

    Args:
        name: The name that was tried.
        known: The names that exist.
    """
    listed, tried = f"its parameters are {', '.join(known)}", shown(name)
    theirs = str(name).lower()
    elsewhere = next((hints[theirs] for beside, hints in _BELONGS.items() if beside in known and theirs in hints), "")
    if elsewhere:
        return f"has no parameter {tried}: {elsewhere} ({listed})"
    ours = nearest_parameter(str(name), known)
    if not ours:
        return f"has no parameter {tried}; {listed}"
    counted = _COUNTED.get(ours, "")
    return f"has no parameter {tried}: did you mean {ours}={counted}? ({listed})"
