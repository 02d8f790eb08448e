"""pytest's plugin: fixtures for tests of code that retries, and ``--retry-inject``.

It is loaded by every test run where retrywrap is installed, so that it imports nothing before it is asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from retrywrap.record.registry import Registry
    from retrywrap.testing import Events, VirtualClock

__all__ = [
    "pytest_addoption",
    "pytest_configure",
    "retries_disabled",
    "retry_clock",
    "retry_events",
    "retry_registry",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("retrywrap", "retries (retrywrap)")
    group.addoption(
        "--retry-inject",
        action="store_true",
        help="after the tests, run them again with faults injected into each function decorated with "
        "retrywrap.with_retry that they reach, one function at a time; report which survived",
    )
    group.addoption(
        "--retry-inject-tests",
        type=int,
        default=None,
        metavar="N",
        help="how many tests, the quickest ones, are run again for each function (default: 3)",
    )
    group.addoption(
        "--retry-inject-late",
        action="store_true",
        help="the same, and let the first call fail once more when its work is done, as when an answer is lost: shows "
        "what is not idempotent, and tests that count calls",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known, and ready for ``--retry-inject``, where it is given.

    Raises:
        pytest.UsageError: It is given together with what it cannot work with.
    """
    config.addinivalue_line(
        "markers", "no_retry_inject: is not run again by --retry-inject (it counts attempts itself)"
    )
    late: bool = config.option.retry_inject_late
    given: int | None = config.option.retry_inject_tests
    if not config.option.retry_inject and not late:
        if given is not None:
            raise pytest.UsageError("--retry-inject-tests goes with --retry-inject: add that")
        return
    option = "--retry-inject" if config.option.retry_inject else "--retry-inject-late"
    if getattr(config.option, "dist", "no") != "no" and getattr(config.option, "tx", None):
        raise pytest.UsageError(
            f"{option} runs tests again in the process that collected them, and cannot be distributed by "
            "pytest-xdist: add -n 0"
        )
    tests = 3 if given is None else given
    if tests < 1:
        raise pytest.UsageError(f"--retry-inject-tests must be 1 or more; got {tests}")
    from retrywrap.testing.campaign import Campaign

    config.pluginmanager.register(Campaign(tests, late=late), "retrywrap-campaign")


@pytest.fixture
def retry_clock() -> Iterator[VirtualClock]:
    """Virtual time for every wait of retrywrap, sync, async and in threads; jitter in the middle of its range."""
    from retrywrap.testing import VirtualClock

    with VirtualClock() as clock:
        yield clock


@pytest.fixture
def retries_disabled() -> Iterator[None]:
    """Every operation of retrywrap runs once."""
    from retrywrap.testing import disabled

    with disabled():
        yield


@pytest.fixture
def retry_events() -> Iterator[Events]:
    """The events of the test, and what each operation did: ``retry_events.expect(upload, attempts=3)``."""
    from retrywrap.testing import observe

    with observe() as events:
        yield events


@pytest.fixture
def retry_registry() -> Iterator[Registry]:
    """`retrywrap.registry`, empty for the test; what was in it before is put back afterwards."""
    from retrywrap.testing import isolated_registry

    with isolated_registry() as registry:
        yield registry
