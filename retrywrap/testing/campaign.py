"""``pytest --retry-inject``: each decorated function that a suite reaches is made to fail, one function per run.

First the suite runs as ever, and notes which tests reach which function. Then some of these tests run again, in virtual
time: once without any error, before one is injected anywhere, to see whether they can run again at all; then, for each
function, once with an error at every call, to see whether the retries end, and wait; once with one transient error at
the first call, which a retry should survive; and once more without any, to see whether the fault has stayed behind.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import pytest

from retrywrap.run import inventory
from retrywrap.testing import usage
from retrywrap.testing import verdicts as words
from retrywrap.testing.faults import injecting
from retrywrap.testing.rerun import Rerun, Watch, transient_error
from retrywrap.testing.verdicts import Finding, Place, Run, shown_error

__all__ = ["Campaign"]

_WATCHING = ("retry_events", "retry_registry")
_ELSEWHERE_TOO = ("inject", "Events", "VirtualClock.waits")  # in fixtures, too: nobody uses them by the way
_SHOWN = 3
_STEPS = [0.01 * 4**n for n in range(10)]  # seconds: wide enough that chance does not choose the tests
_ALONE = "whether what goes on around it, a retry or a loop, bears its failure was not tried"


class _Reached(NamedTuple):
    """That a test reaches a function, how often, and in how many seconds."""

    seconds: float
    item: pytest.Item
    calls: int

    @property
    def rank(self) -> tuple[int, str, int, str]:
        """The place in the order in which tests are taken: the quick first, and those alike as they are written."""
        file, line, _ = self.item.location
        return bisect(_STEPS, self.seconds), file, line or 0, self.item.nodeid


class _Chosen(NamedTuple):
    """The tests that are run again with faults in a function, and what came of those that cannot be."""

    tests: list[_Reached]
    found: list[tuple[str, str]]


class Campaign:
    """The plugin that runs it.

    Args:
        tests: How many tests are run again for each function.
        late: Whether a call fails, too, when its work is done.
    """

    def __init__(self, tests: int, *, late: bool = False) -> None:
        self.tests, self.late = tests, late
        self.findings: list[Finding] = []
        self.rerun = Rerun()
        self._watch = Watch()
        self._reached: dict[Place, list[_Reached]] = {}
        self._not_to_run: dict[str, str] = {}
        self._seconds: dict[str, float] = {}
        self._controls: dict[str, Run] = {}
        self._left_behind = ""
        self._so_far = ""
        self._uses: list[str] = []
        self._in_call = False
        self._ran = self._deselected = 0
        self._not_run = "no test ran"
        self._stack = ExitStack()

    @pytest.hookimpl
    def pytest_sessionstart(self) -> None:
        """Watch every decorated function from now on: those that are decorated by the collection, too."""
        self._stack.enter_context(injecting(inventory.proxies(), self._watch, later=True))

    @pytest.hookimpl
    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        """Count the tests of which it is not known what they reach."""
        self._deselected += len(items)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Note what a test reaches, and whether it looks at retries itself."""
        if self.rerun.going_on:
            return (yield)
        self._ran += 1
        self._watch.reached = {}
        self._uses = [
            name for name in _WATCHING if name in getattr(getattr(item, "_fixtureinfo", None), "argnames", ())
        ]
        usage.listeners.append(self._note_use)
        try:
            result = yield
        finally:
            usage.listeners.remove(self._note_use)
        if item.get_closest_marker("no_retry_inject") is not None:
            self._not_to_run[item.nodeid] = "marked no_retry_inject"
        elif self._uses:
            self._not_to_run.setdefault(
                item.nodeid, f"looking at retries itself ({', '.join(dict.fromkeys(self._uses))})"
            )
        seconds = self._seconds.get(item.nodeid, 0.0)
        for place, calls in self._watch.reached.items():
            self._reached.setdefault(place, []).append(_Reached(seconds, item, calls))
        return result

    def _note_use(self, part: str) -> None:
        if self._in_call or part in _ELSEWHERE_TOO:
            self._uses.append("observe" if part == "Events" else part)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Iterator[None]:
        """Tell what the test itself does from what its fixtures do."""
        self._in_call = True
        try:
            return (yield)
        finally:
            self._in_call = False

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Iterator[None]:
        """Keep how long a test took, and whether it failed."""
        report: Any = yield
        if not self.rerun.going_on:
            self._seconds[item.nodeid] = self._seconds.get(item.nodeid, 0.0) + report.duration
            if hasattr(report, "wasxfail"):
                self.rerun.may_fail.add(item.nodeid)
            if not report.passed:
                self._not_to_run[item.nodeid] = "skipped" if report.skipped else "failed"
        return report  # type: ignore[no-any-return]  # pytest's

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Iterator[None]:
        """Run the suite, then the campaign."""
        try:
            result = yield
        except BaseException as error:
            self._not_run = f"the suite was not run to its end ({shown_error(error)})"
            raise
        self._stack.close()
        if not session.config.option.collectonly and self._ran:
            # Not before each folder's conftest is there: what is registered last is outermost.
            session.config.pluginmanager.register(self.rerun, "retrywrap-rerun")
            self._run_all()
        return result

    def _run_all(self) -> None:
        places = sorted(self._reached)
        self._so_far = f"0 of {len(places)} functions were tried"
        chosen = [self._choose(place) for place in places]
        for number, place in enumerate(places):
            self._so_far = f"{number} of {len(places)} functions were tried"
            self.findings.append(self._try(place, chosen[number]))
        never = sorted({Place.of(proxy) for proxy in inventory.proxies()} - set(places))
        self.findings += [Finding(words.NEVER, place, 0, 0, self._why_never(place)) for place in never]
        self._not_run = ""

    def _run(
        self, item: pytest.Item, place: Place, make: Callable[[], Exception], most: int, *, late: bool = False
    ) -> Run:
        what = f"with faults in {place.operation}" if most else "without a fault"
        self._not_run = f"the campaign was interrupted: {self._so_far}; {item.nodeid} was running, {what}"
        return self.rerun.run(item, place, make, most, late=late)

    def _why_never(self, place: Place) -> str:
        return "it is called, but by no test: at import, say" if place in self._watch.policies else ""

    def _choose(self, place: Place) -> _Chosen:
        """Run the quickest tests that reach a function without a fault, each once, until enough of them can be."""
        chosen = _Chosen([], [])
        if transient_error(self._watch.policies[place]) is None:
            return chosen
        for each in sorted(self._reached[place], key=lambda each: each.rank):
            if each.item.nodeid in self._not_to_run:
                continue
            if why := self._why_not_again(place, self._control(place, each.item)):
                chosen.found.append((words.UNTRIED, f"{each.item.nodeid}: run again, {why}"))
            else:
                chosen.tests.append(each)
            if len(chosen.tests) == self.tests or len(chosen.tests) + len(chosen.found) == 3 * self.tests:
                break
        return chosen

    def _control(self, place: Place, item: pytest.Item) -> Run:
        if item.nodeid not in self._controls:
            self._controls[item.nodeid] = self._run(item, place, Exception, 0)
        return self._controls[item.nodeid]

    def _why_not_again(self, place: Place, run: Run) -> str:
        if run.error is not None:
            return f"it fails without a fault, too: {shown_error(run.error)}"
        if run.skipped:
            return f"it is skipped: {run.skipped}"
        return "" if place in run.reached else "it does not reach the function"

    def _try(self, place: Place, chosen: _Chosen) -> Finding:
        policy = self._watch.policies[place]
        make = transient_error(policy)
        if make is None:
            return Finding(words.ONCE, place, 0, 0, f"{policy!r} retries no error that was tried; {_ALONE}")
        found = chosen.found + [self._judge(place, make, each) for each in chosen.tests]
        if found:
            return words.summed(place, found)
        return Finding(words.UNTRIED, place, 0, 0, self._why_untried(self._reached[place]))

    def _why_untried(self, reached: list[_Reached]) -> str:
        """Return why none of the tests that reach a function is run again, each reason once."""
        reasons: dict[str, list[str]] = {}
        for each in reached:
            reasons.setdefault(self._not_to_run[each.item.nodeid], []).append(each.item.nodeid)
        shown = {
            reason: ", ".join(tests[:_SHOWN]) + (f" and {len(tests) - _SHOWN} more" if len(tests) > _SHOWN else "")
            for reason, tests in reasons.items()
        }
        return "; ".join(f"{reason}: {tests}" for reason, tests in shown.items())

    def _judge(self, place: Place, make: Callable[[], Exception], each: _Reached) -> tuple[str, str]:
        item = each.item
        if self._left_behind and self._run(item, place, make, 0).error is not None:
            return words.UNTRIED, f"{item.nodeid}: it fails since faults were injected into {self._left_behind}"
        verdict, why = self._verdict(place, make, each)
        after = self._run(item, place, make, 0)
        if after.error is not None:
            self._left_behind = place.operation
            now = shown_error(after.error)
            verdict = words.BROKE
            why = f"it fails without a fault now, and did not before: {now}: the fault stays behind"
        return verdict, f"{item.nodeid}: {why}" if why else ""

    def _verdict(self, place: Place, make: Callable[[], Exception], each: _Reached) -> tuple[str, str]:
        item = each.item
        for_ever = self._run(item, place, make, (words.NO_CAP + 10) * each.calls)
        if why := words.has_no_cap(for_ever, self._watch.policies[place], each.calls):
            return words.UNCAPPED, why
        if why := words.has_no_delay(for_ever):
            return words.UNDELAYED, why
        if for_ever.error is not None and words.timed_out(for_ever.error):
            return words.BROKE, f"{shown_error(for_ever.error)}, with an error at every call"
        once = self._run(item, place, make, 1)
        if once.error is not None and words.timed_out(once.error):
            return words.BROKE, f"{shown_error(once.error)}, with an error at the first call"
        for run in (for_ever, once):
            if run.error is not None and words.mishandled(run):
                return words.BROKE, f"{shown_error(run.error)}, while {shown_error(run.injected[0])} was handled"
        if for_ever.error is not None and words.stumbled(for_ever, place, str(item.path)):
            return words.BROKE, f"{shown_error(for_ever.error)}, with an error at every call"
        if once.skipped:
            return words.UNTRIED, f"run again, it is skipped: {once.skipped}"
        if once.error is None:
            if not once.injected:
                return words.UNTRIED, "run again, it does not reach the function"
            return self._verdict_late(place, make, item) if self.late else (words.SURVIVED, "")
        if words.comes_from(once.error, once.injected):
            return words.LET_OUT, shown_error(once.error) + words.shown_end(once, place)
        cause = shown_error(once.injected[0]) if once.injected else "a run with a fault at every call"
        return words.BROKE, f"{shown_error(once.error)}, after {cause}"

    def _verdict_late(self, place: Place, make: Callable[[], Exception], item: pytest.Item) -> tuple[str, str]:
        """Return what comes of a call that fails when its work is done, which its retry does once more."""
        if self._watch.policies[place].idempotent:
            late = self._run(item, place, make, 1, late=True)
            if late.error is not None:
                if words.timed_out(late.error) or not words.comes_from(late.error, late.injected):
                    return words.TWICE, f"{shown_error(late.error)}, after its work was done twice"
                end = words.shown_end(late, place)
                return words.LET_OUT, f"{shown_error(late.error)}, when its work was done{end}"
            if not late.injected:
                return words.UNTRIED, "no call of it was seen to end well, so that no fault came then"
        return words.SURVIVED, ""

    @pytest.hookimpl
    def pytest_terminal_summary(self, terminalreporter: Any, config: pytest.Config) -> None:
        """Print what was found."""
        if config.option.collectonly:
            return
        terminalreporter.section("faults injected into what is retried")
        for finding in sorted(self.findings, key=lambda each: (words.ORDER.index(each.verdict), each.place)):
            bad = finding.verdict in words.BAD
            terminalreporter.write_line(f"{finding.verdict:14}  {finding.counted:>14}  {finding.place}", red=bad)
            if finding.why:
                terminalreporter.write_line(f"{'':14}  {'':14}  {finding.why}")
        for line in self._last_lines():
            terminalreporter.write_line(line)

    def _last_lines(self) -> Iterator[str]:
        """Yield what is said of the whole."""
        counts = {word: sum(finding.verdict == word for finding in self.findings) for word in words.ORDER}
        if counts[words.BROKE] or counts[words.TWICE]:
            yield (
                "A test that counts calls itself breaks, too, and finds nothing: mark it with "
                "@pytest.mark.no_retry_inject."
            )
        if any(len(reached) > self.tests for reached in self._reached.values()):
            yield (
                f"Of the tests that reach a function, the {self.tests} quickest were taken; --retry-inject-tests takes "
                "more."
            )
        if counts[words.NEVER] and self._deselected:
            were = "was" if self._deselected == 1 else "were"
            yield f"Never reached by the tests that ran: {self._deselected} {were} deselected."
        if self._not_run:
            yield f"not run: {self._not_run}"
        if bad := [word for word in words.BAD if counts[word]]:
            yield f"The run fails, because of: {', '.join(bad)}."
        yield from [", ".join(f"{count} {word}" for word, count in counts.items() if count)] if self.findings else []
        if not self._not_run and not self.findings:
            yield "no function decorated with retrywrap.with_retry was found"

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Let the run fail where a function did other than it should."""
        bad = any(finding.verdict in words.BAD for finding in self.findings)
        if session.exitstatus == pytest.ExitCode.OK and bad:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
