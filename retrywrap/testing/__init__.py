"""Testing code that retries: virtual time, faults on purpose, what an operation did, a clean slate between tests.

With pytest, the plugin that comes with this package has all of it as fixtures: ``retry_clock``, ``retry_events``,
``retry_registry``, ``retries_disabled``; and ``--retry-inject`` tries every decorated function of a suite.
"""

from __future__ import annotations

from retrywrap import wiring as _wiring  # noqa: F401 - for its effect: it binds failures to their listeners
from retrywrap.testing.clock import VirtualClock
from retrywrap.testing.faults import EVERYTHING, Injection, inject
from retrywrap.testing.observe import Events, Observed, observe
from retrywrap.testing.plans import always, at_rate, latency
from retrywrap.testing.state import disabled, isolated_registry, reset

__all__ = [
    "EVERYTHING",
    "Events",
    "Injection",
    "Observed",
    "VirtualClock",
    "always",
    "at_rate",
    "disabled",
    "inject",
    "isolated_registry",
    "latency",
    "observe",
    "reset",
]
