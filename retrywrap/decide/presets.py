"""The two presets that taosX's documentation asks for."""

from __future__ import annotations

from retrywrap.decide.backoff import exponential
from retrywrap.decide.policy import RetryPolicy

__all__ = ["FILES", "NETWORK"]

NETWORK = RetryPolicy(max=8, interval=exponential(4, cap=5, jitter="equal"))
"""For network work: 8 retries, each after 2 to 5 s, spread at random. Source: taosX asks for 5-10 retries, 2-5 s."""

FILES = RetryPolicy(max=4, interval=1)
"""For file work: 4 retries, 1 s apart. Source: taosX asks for 3-5 retries, 1-2 s."""
