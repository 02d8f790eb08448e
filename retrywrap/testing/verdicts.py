"""What the campaign says of a function, and the oracles by which it says so.

The oracles are those of WASABI (Stoica et al., "If At First You Don't Succeed, Try, Try, Again…?", SOSP 2024): 90
injections or more into one function: it has no cap; two retries or more without a wait: it has no delay; a test that
fails with an exception other than the injected one: what is retried was not made ready to run again.
"""

from __future__ import annotations

import dis
import os
import sysconfig
from collections.abc import Iterable, Iterator
from traceback import walk_tb
from types import CodeType, TracebackType
from typing import Any, NamedTuple

from retrywrap.classifiers.guard import read, text_of
from retrywrap.decide.notes import Note
from retrywrap.decide.policy import RetryPolicy
from retrywrap.run import inventory
from retrywrap.testing.observe import Observed

__all__ = [
    "BAD",
    "NO_CAP",
    "ORDER",
    "Finding",
    "Place",
    "Run",
    "comes_from",
    "has_no_cap",
    "has_no_delay",
    "mishandled",
    "shown_end",
    "shown_error",
    "stumbled",
    "summed",
    "timed_out",
]

NO_CAP = 90
NO_DELAY = 2

BROKE, UNCAPPED, UNDELAYED, TWICE = "broke", "no cap", "no delay", "not idempotent"
LET_OUT, ONCE, SURVIVED, UNTRIED, NEVER = "let out", "not retried", "survived", "not tried", "never reached"
BAD = (BROKE, UNCAPPED, UNDELAYED, TWICE)
ORDER = (*BAD, LET_OUT, ONCE, SURVIVED, UNTRIED, NEVER)

_MISTAKES = (AttributeError, NameError, TypeError)
_MISTAKES_UNLESS_RAISED = (LookupError, ArithmeticError, ValueError, StopIteration)
_RAISE = dis.opmap["RAISE_VARARGS"]
_MOCKS = os.path.join("unittest", "mock.py")
_STANDARD_LIBRARY = sysconfig.get_path("stdlib") + os.sep


class Place(NamedTuple):
    """Which function: the same one when it is decorated anew, as inside a test."""

    operation: str
    file: str
    line: int

    @classmethod
    def of(cls, proxy: Any) -> Place:
        """Return the place of a decorated function."""
        file, line = inventory.place_of(proxy)
        return cls(proxy._self_spec.name, file or "", line or 0)

    def __str__(self) -> str:
        if not self.file:
            return self.operation
        here = os.getcwd() + os.sep
        return f"{self.operation} ({self.file.removeprefix(here)}:{self.line})"


class Finding(NamedTuple):
    """What came of one function.

    Attributes:
        verdict: One of the words above.
        place: The function.
        tests: In how many tests that came of it.
        tried: How many tests were run again with faults in it.
        why: A sentence; empty where there is nothing to say.
    """

    verdict: str
    place: Place
    tests: int
    tried: int
    why: str

    @property
    def counted(self) -> str:
        """The tests, as the report shows them."""
        return f"{self.tests} of {self.tried} test{'s' * (self.tried != 1)}" if self.tried else "-"


class Run(NamedTuple):
    """What came of one test that was run again.

    Attributes:
        error: What it failed with first; None where it did not.
        skipped: Why it was skipped; empty where it was not.
        injected: The errors that were injected.
        operations: What the function's operations did.
        reached: The functions that it called.
    """

    error: BaseException | None
    skipped: str
    injected: list[BaseException]
    operations: list[Observed]
    reached: set[Place]


def has_no_cap(run: Run, policy: RetryPolicy, calls: int) -> str:
    """Return why a function that failed at every call has no cap; nothing where it has one.

    Args:
        run: What came of it.
        policy: The function's policy.
        calls: How often the test calls the function where nothing is injected: what calls a function a hundred times
            meets a hundred faults, and retries nothing.
    """
    waited = max((sum(each.waits) for each in run.operations), default=0.0)
    if policy.timeout is not None and waited >= policy.timeout / 10:  # its end is near
        return ""
    attempts = max((each.attempts for each in run.operations), default=0)
    if attempts >= NO_CAP:
        return f"{attempts} attempts of one operation, and no end (max={policy.max}, timeout={policy.timeout})"
    if len(run.injected) >= NO_CAP * calls:
        return (
            f"{len(run.injected)} faults in {len(run.operations)} operations, and no end: what calls it (without "
            f"faults, {calls} time{'s' * (calls != 1)}) goes on calling it"
        )
    return ""


def has_no_delay(run: Run) -> str:
    """Return why a function that failed at every call has no delay; nothing where it has one.

    Args:
        run: What came of it.
    """
    unwaited = max((each.waits.count(0.0) for each in run.operations), default=0)
    return f"{unwaited} retries of one operation without a wait" if unwaited >= NO_DELAY else ""


def mishandled(run: Run) -> bool:
    """Return whether a test failed by a mistake in code that handled the injected error.

    A missing key, a division by zero, a text that is no number are mistakes where an operation failed so, or what the
    standard library makes of one; code that says ``raise KeyError(name)`` means it, and translates the error.

    Args:
        run: What came of it.
    """
    return any(not _is_cause(error, run.injected) and comes_from(error, run.injected) for error in _mistakes(run.error))


def stumbled(run: Run, place: Place, tests: str) -> bool:
    """Return whether a test failed by a mistake beside the function: what has to go on without its call, cannot.

    Beside it is its own file, and what stands in the same folder and not in that of the tests, where helpers of theirs
    stand as well.

    Args:
        run: What came of it, with an error at every call.
        place: The function.
        tests: The file of the test.
    """
    beside, among_tests = os.path.dirname(place.file) + os.sep, os.path.dirname(tests) + os.sep
    for error in _mistakes(run.error):
        if comes_from(error, run.injected):
            continue
        files = [frame.f_code.co_filename for frame, _ in walk_tb(error.__traceback__)]
        own = [file for file in files if not _is_standard(file) and not _is_installed(file)]
        last = own[-1] if own else ""
        if last == place.file != tests or (last.startswith(beside) and not last.startswith(among_tests)):
            return True
    return False


def _mistakes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, or those in its group, that only a mistake in the code makes."""
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _mistakes(each)
    elif isinstance(error, _MISTAKES) or (isinstance(error, _MISTAKES_UNLESS_RAISED) and not _is_meant(error)):
        yield error


def _last_frame(error: BaseException) -> TracebackType | None:
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    return last


def _is_meant(error: BaseException) -> bool:
    """Return whether a ``raise`` statement made an error, and not an operation, or the standard library."""
    last = _last_frame(error)
    return last is None or _is_meant_at(last.tb_frame.f_code, last.tb_lasti)


def _is_meant_at(code: CodeType, place: int) -> bool:
    file = code.co_filename
    return file.endswith(_MOCKS) or (code.co_code[place] == _RAISE and not _is_standard(file))  # a mock was told to


def _is_standard(file: str) -> bool:
    return file.startswith("<frozen ") or (file.startswith(_STANDARD_LIBRARY) and not _is_installed(file))


def _is_installed(file: str) -> bool:
    return f"{os.sep}site-packages{os.sep}" in file or f"{os.sep}dist-packages{os.sep}" in file


def timed_out(error: BaseException) -> bool:
    """Return whether it was pytest-timeout that ended a test, which fails it as `pytest.fail` does.

    Args:
        error: What the test failed with.
    """
    return type(error).__name__ == "Failed" and text_of(error).startswith("Timeout")


def comes_from(error: BaseException, injected: list[BaseException]) -> bool:
    """Return whether an error is one of the injected, or was raised from or during one, or has one in its group.

    An error of the same type is the same failure: the code under test had one of its own to come.
    """
    same = any(type(error) is type(each) for each in injected)
    return same or _reaches(error, injected, ("__cause__", "__context__"))


def _is_cause(error: BaseException, injected: list[BaseException]) -> bool:
    return _reaches(error, injected, ("__cause__",))


def _reaches(error: BaseException, injected: list[BaseException], links: Iterable[str]) -> bool:
    pending, seen = [error], set[int]()
    while pending:
        current = pending.pop()
        if any(current is each for each in injected):
            return True
        if id(current) in seen:
            continue
        seen.add(id(current))
        pending += [other for link in links if (other := getattr(current, link)) is not None]
        if isinstance(current, BaseExceptionGroup):
            pending += current.exceptions
    return False


def summed(place: Place, found: list[tuple[str, str]]) -> Finding:
    """Return what came of a function, all in all: the worst that came of it in any test.

    Args:
        place: The function.
        found: The verdict and why, for each test.
    """
    verdict, why = min(found, key=lambda each: ORDER.index(each[0]))
    verdicts = [each for each, _ in found]
    tried = len(found) - verdicts.count(UNTRIED)
    return Finding(verdict, place, verdicts.count(verdict), tried, why)


def shown_end(run: Run, place: Place) -> str:
    """Return why the function's retries let an error out, for the end of a line; nothing where they did not.

    Args:
        run: What came of it.
        place: The function.
    """
    for error in (run.error, *run.injected):
        notes = read(error, "__notes__")
        for note in notes if type(notes) is list else ():
            if type(note) is Note and note.operation == place.operation:
                return "; " + note.removeprefix("retrywrap: ")
    return ""


def shown_error(error: BaseException) -> str:
    """Return an error for the report: its type, and the first line of its text."""
    lines = text_of(error).splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:200]}" if lines[0] else type(error).__name__
