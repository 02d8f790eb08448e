"""Fixtures of the whole suite: every test starts from a clean process-wide state, and time stands still on request."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from retrywrap import testing

# A shell starts what runs in its background with these ignored, which programs inherit; handlers they do not inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)


def pytest_collection_finish() -> None:
    """Hide the suite's own switch, which only the collection asks for: the configuration refuses unknown variables."""
    os.environ.pop("REQUIRE_SERVERS", None)


@pytest.fixture(autouse=True)
def _clean_state() -> Iterator[None]:
    """Registry, configuration, listeners, named budgets and shutdown are as in a fresh process, before and after."""
    testing.reset()
    yield
    testing.reset()


@pytest.fixture
def clock() -> Iterator[testing.VirtualClock]:
    """A virtual clock in force: waits take no time, and ``clock.waits`` lists them."""
    with testing.VirtualClock() as virtual:
        yield virtual
