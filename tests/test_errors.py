"""retrywrap's own exceptions: their tree, what they carry, and that they survive pickling and copying."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from retrywrap import errors
from retrywrap.errors import ConfigurationError, DeadlineExceeded, RetryExhausted, RetryUsageError, RetryWrapError
from retrywrap.testing import VirtualClock

FACTS = {
    "operation": "backup.upload",
    "reason": "timed_out",
    "attempts": 4,
    "elapsed": 12.5,
    "code": -6,
    "result": {"status": 503},
}
COPIES: list[Callable[[BaseException], BaseException]] = [
    copy.copy,
    copy.deepcopy,
    *(
        lambda error, protocol=protocol: pickle.loads(pickle.dumps(error, protocol))
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    ),
]


@pytest.mark.parametrize("again", COPIES)
def test_retry_exhausted_survives_copying(again: Callable[[BaseException], BaseException]) -> None:
    """Pickled with any protocol, copied or deep-copied, it keeps its text, each attribute, and its notes."""
    error = RetryExhausted("gave up", **FACTS)
    error.add_note("a note")
    copied = again(error)
    assert type(copied) is RetryExhausted
    assert copied is not error
    assert str(copied) == "gave up"
    assert {name: getattr(copied, name) for name in FACTS} == FACTS
    assert copied.__notes__ == ["a note"]


@pytest.mark.parametrize("again", COPIES)
@pytest.mark.parametrize("kind", [RetryWrapError, DeadlineExceeded, RetryUsageError, ConfigurationError])
def test_the_others_survive_copying(
    kind: type[RetryWrapError], again: Callable[[BaseException], BaseException]
) -> None:
    """So does each other exception, with its whole text."""
    copied = again(kind("the text"))
    assert type(copied) is kind
    assert copied.args == ("the text",)


def _give_up() -> None:
    from retrywrap import retry_scope, return_codes

    with VirtualClock():
        retry_scope(max=2, interval=5, results=return_codes, name="in a worker").call(lambda: -7)


def test_retry_exhausted_comes_out_of_a_process_pool_whole() -> None:
    """What gave up in a worker process arrives in the parent with all that it says."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool, pytest.raises(RetryExhausted) as caught:
        pool.submit(_give_up).result(60)
    error = caught.value
    assert (error.operation, error.reason, error.attempts) == ("in a worker", "exhausted", 3)
    assert (error.elapsed, error.code, error.result) == (10.0, -7, -7)


def test_retry_exhausted_needs_a_message_alone() -> None:
    """Made by hand, it stands for what the plugin calls RETRY_EXHAUSTED."""
    error = RetryExhausted("gave up")
    assert (error.operation, error.reason, error.attempts, error.elapsed) == ("", "exhausted", 0, 0.0)
    assert (error.code, error.result) == (-12, None)


@pytest.mark.parametrize(
    ("kind", "bases"),
    [
        (RetryWrapError, (Exception,)),
        (RetryExhausted, (RetryWrapError,)),
        (DeadlineExceeded, (RetryWrapError, TimeoutError)),
        (RetryUsageError, (RetryWrapError, RuntimeError)),
        (ConfigurationError, (RetryWrapError, ValueError)),
    ],
)
def test_each_is_what_callers_would_catch(kind: type[Exception], bases: tuple[type[Exception], ...]) -> None:
    """All are RetryWrapError, and what has a builtin relative is caught by that name as well."""
    assert kind.__bases__ == bases


def test_the_tree_in_the_docstring_is_complete() -> None:
    """The tree that the module draws names each exception that it defines, and no other."""
    defined = {name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, Exception)}
    drawn = set(re.findall(r"^[│├└─ ]*(\w+Error|\w+Exceeded|\w+Exhausted)\b", errors.__doc__ or "", re.MULTILINE))
    assert drawn == defined == set(errors.__all__)
