"""The two presets are what taosX's documentation asks for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrywrap import FILES, NETWORK, RetryPolicy, configure, with_retry
from retrywrap.decide.planning import plan
from retrywrap.testing import VirtualClock


@pytest.mark.parametrize(
    ("policy", "retries", "seconds"),
    [(NETWORK, (5, 10), (2.0, 5.0)), (FILES, (3, 5), (1.0, 2.0))],
    ids=["network", "files"],
)
def test_a_preset_stays_in_the_range_that_is_asked_for(
    policy: RetryPolicy, retries: tuple[int, int], seconds: tuple[float, float]
) -> None:
    """As many retries, and each wait as long, whatever the jitter."""
    assert policy.max is not None
    assert retries[0] <= policy.max <= retries[1]
    for wait in plan(policy.backoff, policy.max):
        assert seconds[0] <= wait.minimum <= wait.maximum <= seconds[1]


@given(st.floats(0, 1, exclude_max=True))
def test_clients_do_not_come_back_together(random: float) -> None:
    """Where many fail at once, each waits for another time: each wait is spread over two seconds or more."""
    with VirtualClock(random=random) as clock, pytest.raises(ConnectionResetError):
        with_retry(policy=NETWORK)(_fail)()
    assert len(clock.waits) == 8
    assert clock.waits[0] == pytest.approx(2 + 2 * random)
    assert clock.waits[1:] == pytest.approx([2.5 + 2.5 * random] * 7)


def _fail() -> None:
    raise ConnectionResetError("peer went away")


def test_configured_defaults_do_not_change_them(clock: VirtualClock) -> None:
    """They are policies, and a policy that is given wins over defaults."""
    configure(error_retry_max=1, error_retry_interval=9)
    with pytest.raises(ConnectionResetError):
        with_retry(policy=FILES)(_fail)()
    assert clock.waits == [1.0] * 4
