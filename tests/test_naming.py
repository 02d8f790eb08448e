"""What is said of a parameter that does not exist: what it is called here."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from retrywrap import (
    RetryPolicy,
    configure,
    decorrelated,
    exponential,
    fibonacci,
    fixed,
    linear,
    retry_scope,
    with_retry,
)
from retrywrap.decide.checks import shown_seconds


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("stop", "max"),
        ("max_attempts", "max"),
        ("tries", "max"),
        ("Retries", "max"),
        ("wait", "interval"),
        ("delay", "interval"),
        ("max_time", "timeout"),
        ("retry_on_exception", "on"),
        ("exceptions", "on"),
        ("retry_on_result", "results"),
        ("before_sleep", "before_retry"),
        ("intervall", "interval"),
        ("attempt_timout", "attempt_timeout"),
    ],
)
def test_the_names_of_other_libraries_are_known(theirs: str, ours: str) -> None:
    """With the name that it has here, for the decorator and the scope alike."""
    for door in (with_retry, retry_scope):
        with pytest.raises(
            TypeError, match=rf"has no parameter '{theirs}': did you mean {ours}=.*its parameters are max,"
        ):
            door(**{theirs: 3})


def test_max_is_said_to_count_retries() -> None:
    """Who comes from a library that counts attempts must hear that this one does not."""
    with pytest.raises(TypeError, match="which counts retries after the first call"):
        with_retry(max_attempts=3)  # type: ignore[call-overload]  # which is the mistake


@pytest.mark.parametrize(
    ("theirs", "hint"),
    [
        ("jitter", "it belongs to the backoff, as in interval=exponential"),
        ("giveup", "what is not to be retried is said by on= as a predicate"),
        ("logger", "retrywrap.subscribe hears them all"),
    ],
)
def test_what_stands_elsewhere_is_said(theirs: str, hint: str) -> None:
    """Where there is no parameter of the kind, the message says what there is."""
    with pytest.raises(TypeError, match=hint):
        with_retry(**{theirs: 3})


def test_a_name_like_nothing_has_the_list() -> None:
    """No guess where there is none to make."""
    with pytest.raises(TypeError, match=r"^with_retry\(\) has no parameter 'zzz'; its parameters are max, interval, "):
        with_retry(zzz=3)  # type: ignore[call-overload]  # which is the mistake


ITS = r"\(its parameters are "


@pytest.mark.parametrize(
    ("call", "given", "said"),
    [
        (exponential, "initial", r"^exponential\(\) .*did you mean base=\?"),
        (exponential, "multiplier", r"^exponential\(\) .*base= is what the waits begin with"),
        (fixed, "delay", r"^fixed\(\) .*did you mean seconds=\?"),
        (linear, "initial", r"^linear\(\) .*did you mean start=\?"),
        (partial(fixed, 5), "delay", r"^fixed\(\) .*did you mean seconds=\? " + ITS + r"seconds\)$"),
        (partial(fixed, 5), "jitter", r"spread by \.jittered\(\), as in fixed\(5\)\.jittered"),
        (partial(linear, 1), "increment", r"^linear\(\) .*mean step=\? " + ITS + r"start, step, cap\)$"),
        (partial(linear, 1), "jitter", r"spread by \.jittered\(\)"),
        (
            partial(exponential, 1),
            "max",
            r"^exponential\(\) .*mean cap=\? " + ITS + "base, cap, factor, jitter",
        ),
        (partial(exponential, 1), "exp_base", r"did you mean factor=\? "),
        (
            partial(exponential, 1),
            "multiplier",
            r"base= is what the waits begin with, as tenacity",
        ),
        (partial(decorrelated, 1), "max_delay", r"^decorrelated\(\) .*mean cap=\? " + ITS + r"base, cap\)$"),
        (partial(fibonacci, 1), "initial", r"^fibonacci\(\) .*mean base=\? " + ITS + r"base, cap, jitter\)$"),
        (RetryPolicy, "tries", r"^RetryPolicy\(\) .*mean max=, which counts retries .*idempotent, nested"),
        (RetryPolicy().replace, "tries", r"^RetryPolicy\(\) .*mean max=, which counts retries"),
        (
            configure,
            "max",
            r"^configure\(\) .*mean error_retry_max=, which counts retries .*_size, events, ",
        ),
        (configure, "delay", r"did you mean error_retry_interval=\? .*, policies\)$"),
        (configure, "log_dir", r"did you mean error_store_path=\? "),
        (configure, "timeout", r'it belongs to a policy, as in configure\(policies=\{"slow": \{"timeout": 60\}\}\)'),
    ],
)
def test_all_that_take_parameters_know_them(call: Any, given: str, said: str) -> None:
    """Backoffs, policies and the configuration have hints of their own, and list their own parameters."""
    with pytest.raises(TypeError, match=said):
        call(**{given: 3})


def test_parameters_without_names_are_refused() -> None:
    """retry_scope(3) says how it is written."""
    with pytest.raises(TypeError, match=r"by name, as in retry_scope\(max=3\); got 3"):
        retry_scope(3)  # type: ignore[call-arg]  # which is the mistake
    with pytest.raises(TypeError, match=r"got 3 \(parameters go by name, as in @with_retry\(max=3\)\)"):
        with_retry(3)  # type: ignore[type-var]  # which is the mistake


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0"),
        (5.07e-06, "0"),
        (0.0123, "0.012"),
        (9.9999, "10"),
        (12.345, "12.3"),
        (99.96, "100"),
        (1234.5, "1234"),
        (86400.0, "86400"),
        (1e300, "1e+300"),
    ],
)
def test_seconds_are_shown_as_people_write_them(seconds: float, text: str) -> None:
    """Three digits, no finer than milliseconds, no exponent before there are thirty years."""
    assert shown_seconds(seconds) == text
