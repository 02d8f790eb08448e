"""Running a test of the suite again, with faults in one function, and without the suite's reports hearing of it."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from retrywrap.decide.context import RetryContext
from retrywrap.decide.policy import RetryPolicy
from retrywrap.errors import ConfigurationError
from retrywrap.run import inventory
from retrywrap.testing.clock import VirtualClock
from retrywrap.testing.faults import Injection, injecting
from retrywrap.testing.observe import observe
from retrywrap.testing.state import isolated_registry, kept_budgets
from retrywrap.testing.verdicts import Place, Run

__all__ = ["Rerun", "Watch", "transient_error"]

_TEXT = "injected by retrywrap"
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
    """The plugin that hears, while a test runs again, what comes of it."""

    def __init__(self) -> None:
        self.going_on = False
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
        budgets = kept_budgets(_budget(proxy) for proxy in inventory.proxies())
        self.going_on = True
        try:
            with _unheard(item.config), budgets, VirtualClock(), isolated_registry(), observe() as events, faulty:
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
        finally:
            self.going_on = False
        error, self._error = self._error, None
        return Run(error, self._skipped, fault.errors, events.of(place.operation), fault.reached)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, call: pytest.CallInfo[None]) -> Iterator[None]:
        """Keep what a test fails with."""
        report: Any = yield
        if self.going_on and call.excinfo is not None:
            if report.skipped:
                self._skipped = self._skipped or shown_reason(call.excinfo.value)
            elif self._error is None:
                self._error = call.excinfo.value
            if report.when == "call":  # pytest counts subtests that failed beside the reports
                report.outcome, report.longrepr = "passed", None
        return report  # type: ignore[no-any-return]  # pytest's


def _budget(proxy: Any) -> object:
    try:
        return proxy._self_spec.policy().budget
    except ConfigurationError:  # its policy is not defined
        return None


def shown_reason(error: BaseException) -> str:
    """Return why a test was skipped."""
    return str(error).partition("\n")[0] or "without a reason"


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
