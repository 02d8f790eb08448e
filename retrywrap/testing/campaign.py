"""``pytest --retry-inject``: each decorated function that a suite reaches is made to fail, one function per run.

First the suite runs as ever, and notes which tests reach which function. Then, for each function, some of these tests
run again, twice each, in virtual time: once with one transient error at the first call, which a retry should survive;
once with an error at every call, to see whether the retries end, and wait.

The oracles are those of WASABI (Stoica et al., "If At First You Don't Succeed, Try, Try, Again…?", SOSP 2024): 90
injections or more into one operation: it has no cap; two retries or more without a wait: it has no delay; a test that
fails with an exception other than the injected one: what is retried was not made ready to run again.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import pytest
from _pytest.runner import runtestprotocol

from retrywrap.decide.context import RetryContext
from retrywrap.decide.events import SCHEDULED
from retrywrap.decide.policy import RetryPolicy
from retrywrap.run import inventory
from retrywrap.testing.clock import VirtualClock
from retrywrap.testing.faults import Injection, injecting
from retrywrap.testing.observe import Events, observe
from retrywrap.testing.state import isolated_registry

__all__ = ["Campaign", "Finding", "Place"]

NO_CAP = 90
NO_DELAY = 2
_TEXT = "injected by retrywrap"

SURVIVED, BROKE, UNCAPPED, UNDELAYED = "survived", "broke", "no cap", "no delay"
LET_OUT, ONCE, NEVER = "let out", "not retried", "never reached"
BAD = (BROKE, UNCAPPED, UNDELAYED)
_ORDER = (BROKE, UNCAPPED, UNDELAYED, LET_OUT, ONCE, SURVIVED, NEVER)


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
        return f"{self.operation} ({os.path.relpath(self.file)}:{self.line})" if self.file else self.operation


class Finding(NamedTuple):
    """What came of one function.

    Attributes:
        verdict: One of the words above.
        place: The function.
        tests: How many tests were run again for it.
        why: A sentence; empty where there is nothing to say.
    """

    verdict: str
    place: Place
    tests: int
    why: str


class _Watch(Injection):
    """Notes which functions are called."""

    def __init__(self) -> None:
        super().__init__(())
        self.reached: dict[Place, RetryPolicy] = {}

    def next_fault(self, proxy: Any) -> float:
        place = Place.of(proxy)
        if place not in self.reached:
            self.reached[place] = proxy._self_spec.policy()
        return 0.0


class _Fault(Injection):
    """Makes the calls of one function fail: the first, or all of them up to a number."""

    def __init__(self, place: Place, make: type[Exception] | Any, most: int) -> None:
        super().__init__(())
        self.place, self.make, self.most = place, make, most
        self.errors: list[BaseException] = []

    def next_fault(self, proxy: Any) -> float:
        if len(self.errors) < self.most and Place.of(proxy) == self.place:
            self.errors.append(self.make())
            raise self.errors[-1]
        return 0.0


class _Run(NamedTuple):
    """What came of one test that was run again."""

    error: BaseException | None
    injected: list[BaseException]
    events: Events


def transient_error(policy: RetryPolicy) -> Any:
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
            return make
    return None


class Campaign:
    """The plugin that runs it.

    Args:
        tests: How many tests are run again for each function.
    """

    def __init__(self, tests: int) -> None:
        self.tests = tests
        self.findings: list[Finding] = []
        self._watch = _Watch()
        self._reached: dict[Place, list[tuple[float, pytest.Item]]] = {}
        self._policies: dict[Place, RetryPolicy] = {}
        self._failed: set[str] = set()
        self._seconds: dict[str, float] = {}
        self._again = False
        self._error: BaseException | None = None
        self._stack = ExitStack()

    @pytest.hookimpl
    def pytest_sessionstart(self) -> None:
        """Watch every decorated function from now on: those that are decorated by the collection, too."""
        self._stack.enter_context(injecting(inventory.proxies(), self._watch, later=True))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Note what a test reaches."""
        self._watch.reached = {}
        result = yield
        for place, policy in self._watch.reached.items():
            self._policies[place] = policy
            self._reached.setdefault(place, []).append((self._seconds.get(item.nodeid, 0.0), item))
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
        """Keep how long a test took, whether it failed, and with what."""
        report: Any = yield
        if self._again:
            if report.failed and self._error is None and call.excinfo is not None:
                self._error = call.excinfo.value
        else:
            self._seconds[item.nodeid] = self._seconds.get(item.nodeid, 0.0) + report.duration
            if not report.passed:
                self._failed.add(item.nodeid)
        return report  # type: ignore[no-any-return]  # pytest's

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Iterator[None]:
        """Run the suite, then the campaign."""
        result = yield
        if not session.config.option.collectonly:
            self._again = True
            self._stack.close()
            places = sorted(self._reached)
            self.findings = [self._try(place) for place in places]
            never = {Place.of(proxy) for proxy in inventory.proxies()} - set(places)
            self.findings += [Finding(NEVER, place, 0, "") for place in sorted(never)]
        return result

    def _try(self, place: Place) -> Finding:
        passed = [
            (seconds, item)
            for seconds, item in self._reached[place]
            if item.nodeid not in self._failed and item.get_closest_marker("no_retry_inject") is None
        ]
        items = [item for _, item in sorted(passed, key=lambda each: (each[0], each[1].nodeid))[: self.tests]]
        policy = self._policies[place]
        make = transient_error(policy)
        if not items:
            return Finding(NEVER, place, 0, "no test that could be run again reaches it")
        if make is None:
            return Finding(ONCE, place, 0, f"no error that was tried is retried ({policy!r})")
        found = [self._judge(place, make, item) for item in items]
        worst = min(found, key=lambda each: _ORDER.index(each[0]))
        return Finding(worst[0], place, len(items), worst[1])

    def _judge(self, place: Place, make: Any, item: pytest.Item) -> tuple[str, str]:
        for_ever = self._run(item, _Fault(place, make, NO_CAP + 10))
        attempts = max([event.attempt for event in for_ever.events if event.operation == place.operation], default=0)
        if attempts >= NO_CAP:
            return UNCAPPED, f"{item.nodeid}: {attempts} attempts of one operation, and no end"
        waits = [
            event.wait for event in for_ever.events if event.name == SCHEDULED and event.operation == place.operation
        ]
        unwaited = waits.count(0.0)
        if unwaited >= NO_DELAY:
            return UNDELAYED, f"{item.nodeid}: {unwaited} retries without a wait"
        once = self._run(item, _Fault(place, make, 1))
        if not once.injected:
            return SURVIVED, f"{item.nodeid} did not reach it when it ran again"
        if once.error is not None and not _comes_from(once.error, once.injected):
            return BROKE, f"{item.nodeid}: {_shown(once.error)}, after {_shown(once.injected[0])}"
        if once.error is not None:
            return LET_OUT, f"{item.nodeid}: {_shown(once.error)}"
        return SURVIVED, ""

    def _run(self, item: pytest.Item, fault: _Fault) -> _Run:
        self._error = None
        initialize = getattr(item, "_initrequest", None)
        if initialize is not None:
            initialize()
        faulty = injecting(inventory.proxies(), fault, later=True)
        with VirtualClock(), isolated_registry(), observe() as events, faulty:
            runtestprotocol(item, log=False, nextitem=None)
        error, self._error = self._error, None
        return _Run(error, fault.errors, events)

    @pytest.hookimpl
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print what was found."""
        terminalreporter.section("faults injected into what is retried")
        for finding in sorted(self.findings, key=lambda each: (_ORDER.index(each.verdict), each.place)):
            tests = f"{finding.tests} test{'s' * (finding.tests != 1)}" if finding.tests else "-"
            bad = finding.verdict in BAD
            terminalreporter.write_line(f"{finding.verdict:13}  {tests:>8}  {finding.place}", red=bad)
            if finding.why:
                terminalreporter.write_line(f"{'':13}  {'':8}  {finding.why}")
        counts = [f"{count} {word}" for word in _ORDER if (count := self._count(word))]
        terminalreporter.write_line(", ".join(counts) or "no function decorated with retrywrap.with_retry was found")

    def _count(self, word: str) -> int:
        return sum(finding.verdict == word for finding in self.findings)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Let the run fail where a function did other than it should."""
        if session.exitstatus == pytest.ExitCode.OK and any(map(self._count, BAD)):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _comes_from(error: BaseException, injected: list[BaseException]) -> bool:
    """Whether an error is one of the injected, or was raised from one, or has one in its group."""
    pending, seen = [error], set[int]()
    while pending:
        current = pending.pop()
        if any(current is each for each in injected):
            return True
        if id(current) in seen:
            continue
        seen.add(id(current))
        pending += [other for other in (current.__cause__, current.__context__) if other is not None]
        if isinstance(current, BaseExceptionGroup):
            pending += current.exceptions
    return False


def _shown(error: BaseException) -> str:
    lines = str(error).splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:200]}" if lines[0] else type(error).__name__
