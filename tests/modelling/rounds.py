"""How many examples a property test tries: few by default, as many times more as ``MODEL_ROUNDS`` says.

``MODEL_ROUNDS=20 python -m pytest -o faulthandler_timeout=0 tests/test_model_*.py`` is a campaign: twenty times the
usual number, at random where CI repeats the same examples.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

__all__ = ["ROUNDS", "examples"]

ROUNDS = int(os.environ.get("MODEL_ROUNDS", "1"))


def examples(usual: int, *, steps: int = 50) -> settings:
    """Return the settings of a test that tries so many examples by default.

    Args:
        usual: Examples in one round.
        steps: Steps of one example, where it is a state machine's.
    """
    return settings(
        max_examples=usual * ROUNDS,
        stateful_step_count=steps,
        derandomize=ROUNDS == 1 and "CI" in os.environ,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )
