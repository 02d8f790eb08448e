"""Running a test of the suite again, with faults in one function, and without the suite's reports hearing of it."""

from __future__ import annotations

import errno
import unittest
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from retrywrap.classifiers.guard import text_of
from retrywrap.decide.context import RetryContext
from retrywrap.decide.policy import RetryPolicy
from retrywrap.run import inventory
from retrywrap.testing.clock import VirtualClock
from retrywrap.testing.faults import Injection, injecting
from retrywrap.testing.observe import observe
from retrywrap.testing.state import isolated_registry, kept_budgets
from retrywrap.testing.verdicts import Place, Run

__all__ = ["Rerun", "Watch", "transient_error"]

_TEXT = "injected by retrywrap"
_SKIPS = (pytest.skip.Exception, pytest.xfail.Exception, unittest.SkipTest)
_HEARD = (
    "pytest_exception_interact",
    "pytest_runtest_logfinish",
    "pytest_runtest_logreport",
    "pytest_runtest_logstart",
    "pytest_warning_recorded",
)


class Watch(Injection):
    """Notes which functions are called, and how often."""

    def __init__(self) -> None:
        super().__init__(())
        self.reached: dict[Place, int] = {}
        self.policies: dict[Place, RetryPolicy] = {}

    def next_fault(self, proxy: Any) -> float:
        """Note a call.

        Args:
            proxy: The decorated function that is called.
        """
        place = Place.of(proxy)
        self.reached[place] = self.reached.get(place, 0) + 1
        if place not in self.policies:
            self.policies[place] = proxy._self_spec.policy()
        return 0.0


class _Fault(Injection):
    """Makes the calls of one function fail: the first, or all of them up to a number."""

    def __init__(self, place: Place, make: Callable[[], Exception], most: int, *, late: bool) -> None:
        super().__init__(())
        self.place, self.make, self.most, self.late = place, make, most, late
        self.errors: list[BaseException] = []
        self.reached: set[Place] = set()

    def next_fault(self, proxy: Any) -> float:
        self.reached.add(Place.of(proxy))
        if not self.late:
            self._fail(proxy)
        return 0.0

    def finish(self, proxy: Any) -> None:
        if self.late:
            self._fail(proxy)

    def _fail(self, proxy: Any) -> None:
        if len(self.errors) < self.most and Place.of(proxy) == self.place:
            self.errors.append(self.make())
            raise self.errors[-1]


def transient_error(policy: RetryPolicy) -> Callable[[], Exception] | None:
    """Return what makes an error that a policy retries; None where it retries none of those that are tried.

    Args:
        policy: The policy.
    """
    makers: list[Any] = [lambda kind=kind: kind(_TEXT) for kind in policy.on_types]
    makers += [
        lambda: ConnectionRefusedError(errno.ECONNREFUSED, _TEXT),  # surely without effect
        lambda: ConnectionResetError(errno.ECONNRESET, _TEXT),
        lambda: TimeoutError(errno.ETIMEDOUT, _TEXT),
        lambda: OSError(errno.EIO, _TEXT),
    ]
    for make in makers:
        try:
            error = make()
        except Exception:  # its type wants other arguments
            continue
        trial = RetryContext(policy.replace(before_retry=None, budget=None))
        trial.begin(0.0)
        if not trial.failed(error, 0.0).final:
            return make  # type: ignore[no-any-return]  # each makes an exception
    return None


class Rerun:
    """The plugin that hears, while a test runs again, what comes of it.

    Attributes:
        going_on: Whether a test runs again just now.
        may_fail: The tests that are expected to fail, and did not.
    """

    def __init__(self) -> None:
        self.going_on = False
        self.may_fail: set[str] = set()
        self._error: BaseException | None = None
        self._skipped = ""

    def run(
        self, item: pytest.Item, place: Place, make: Callable[[], Exception], most: int, *, late: bool = False
    ) -> Run:
        """Run a test again, as the suite ran it.

        Args:
            item: The test.
            place: The function that fails.
            make: What makes the errors.
            most: How many calls fail, from the first on.
            late: Whether they fail when their work is done, and not before it begins.
        """
        self._error, self._skipped = None, ""
        fault = _Fault(place, make, most, late=late)
        faulty = injecting(inventory.proxies(), fault, later=True)
        self.going_on = True
        try:
            with (
                _unheard(item.config),
                kept_budgets(),
                VirtualClock(),
                isolated_registry(),
                observe() as events,
                faulty,
            ):
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
        finally:
            self.going_on = False
        error, self._error = self._error, None
        return Run(error, self._skipped, fault.errors, events.of(place.operation), fault.reached)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
        """Keep what a test fails with, and tell no other hook of it: they are all inside of this one."""
        raised = _taken(item, call)
        report: Any = yield
        raised = raised or call.excinfo  # what another plugin makes of a phase that passed
        if raised is not None:
            self._keep(item, raised.value)
            # pytest counts subtests that failed beside the reports, and goes on after a set-up that passed.
            report.outcome, report.longrepr = "skipped" if report.when == "setup" else "passed", None
        return report  # type: ignore[no-any-return]  # pytest's

    def _keep(self, item: pytest.Item, error: BaseException) -> None:
        if isinstance(error, _SKIPS) or item.nodeid in self.may_fail:
            self._skipped = self._skipped or shown_reason(error)
        elif self._error is None:
            self._error = error


def _taken(item: pytest.Item, call: pytest.CallInfo[None]) -> pytest.ExceptionInfo[BaseException] | None:
    """Return what a phase ended by, which nobody else finds there any more; None where it passed."""
    raised, call.excinfo = call.excinfo, None
    held = getattr(item, "_excinfo", None)  # unittest's errors, which pytest would take from there
    if isinstance(held, list) and held and isinstance(held[0], pytest.ExceptionInfo):
        raised = held[0]
        held.clear()
    return raised


def shown_reason(error: BaseException) -> str:
    """Return why a test was skipped."""
    return text_of(error).partition("\n")[0] or "without a reason"


@contextmanager
def _unheard(config: pytest.Config) -> Iterator[None]:
    """Let nobody hear of reports, those of subtests included, which pytest hands out itself.

    The lists are emptied in place, because the callers that a folder's tests have, by its conftest, are views of them.
    """
    lists = [getattr(config.hook, name)._hookimpls for name in _HEARD]
    before = [list(each) for each in lists]
    for each in lists:
        each.clear()
    try:
        yield
    finally:
        for each, kept in zip(lists, before, strict=True):
            each[:] = kept
