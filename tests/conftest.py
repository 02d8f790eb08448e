"""Fixtures of the whole suite: every test starts from a clean process-wide state, and time stands still on request."""

from __future__ import annotations

import re
import signal
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

from retrywrap import testing
from retrywrap.record import hooks

# A shell starts what runs in its background with these ignored, which programs inherit; handlers they do not inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)

# How long an example takes is a matter of what else the machine does.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")


@pytest.fixture(autouse=True)
def _clean_state() -> Iterator[None]:
    """Registry, configuration, named budgets and shutdown are as in a fresh process, and nobody is left who listens."""
    testing.reset()
    listeners = hooks._subscriptions
    yield
    testing.reset()
    assert hooks._subscriptions == listeners, "a test left a listener behind, which hears of all later tests"


@pytest.fixture
def clock() -> Iterator[testing.VirtualClock]:
    """A virtual clock in force: waits take no time, and ``clock.waits`` lists them."""
    with testing.VirtualClock() as virtual:
        yield virtual


WANTING = re.compile(r"(.+) is not installed$")  # what servers.common says


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say in one line what was skipped for want of a client or a server, and name every other skip."""
    wanting: set[str] = set()
    others: Counter[str] = Counter()
    folded = 0
    for report in terminalreporter.stats.get("skipped", []):
        reason = str(report.longrepr[2]).removeprefix("Skipped: ")
        found = WANTING.match(reason)
        if found:
            folded += 1
            wanting |= {name.rpartition(" ")[2].partition(".")[0] for name in found[1].split(", ")}
        else:
            others[reason] += 1
    for reason, count in sorted(others.items()):
        terminalreporter.write_line(f"SKIPPED [{count}] {reason}")
    if wanting:
        all_names = ", ".join(sorted(wanting, key=str.lower))
        terminalreporter.write_line(f"SKIPPED [{folded}] not installed (extra: clients, and servers): {all_names}")
