"""The demo's plan of what goes wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrywrap.cli.demo import plan
from retrywrap.cli.demo.plan import LEVELS, MISBEHAVIOURS, Plan, make_plan
from retrywrap.cli.demo.scan import File

FILES = st.lists(st.tuples(st.integers(0, 40 << 20), st.booleans()), min_size=1, max_size=120).map(
    lambda sizes: [File(f"f{number}", *about) for number, about in enumerate(sizes)]
)


@given(FILES, st.integers(), st.sampled_from(LEVELS))
def test_plan_has_each_misbehaviour(files: list[File], seed: int, level: str) -> None:
    """Each misbehaviour is planned at least once, the lie exactly once, only at files that can be read, and in such an
    order that each will be met; the same seed plans the same."""
    made = make_plan(files, seed, level)
    assert made == make_plan(files, seed, level)
    readable = [file.name for file in files if file.readable]
    planned = [kind for queue in _queues(made) for kind in queue]
    assert {kind: planned.count(kind) for kind in MISBEHAVIOURS} == made.counts
    if level == "none" or not readable:
        assert planned == []
        return
    assert all(made.counts.values())
    assert made.counts["lie"] == 1
    assert {name for named in made.queues.values() for name in named} <= set(readable)
    assert all("refuse" not in queue[:-1] for queue in _queues(made))
    assert all("lie" not in queue for queue in made.queues["PUT"].values())
    assert all("reset" not in queue for queue in made.queues["HEAD"].values())
    assert "refuse" not in made.queues["HEAD"].get(readable[-1], [])
    assert max(len(queue) for queue in _queues(made)) < 10
    large = {file.name for file in files if file.size > 16 << 20}
    assert not any({"busy", "stall"} & set(queue) for name, queue in made.queues["PUT"].items() if name in large)
    (liar,) = (name for name, queue in made.queues["HEAD"].items() if "lie" in queue)
    assert liar not in large or large >= set(readable)
    assert made.counts["busy"] + 0.5 * made.counts["stall"] < 10


def _queues(made: Plan) -> list[list[str]]:
    return [queue for named in made.queues.values() for queue in named.values()]


def test_plan_grows_with_the_folder_up_to_a_bound() -> None:
    """More files meet more misbehaviour, more of it at the level "many", and never so much that it takes too long."""
    few, some, lots = ([File(f"f{n}", 1) for n in range(count)] for count in (1, 60, 10_000))
    assert sum(make_plan(few, 7, "default").counts.values()) == 5
    totals = [sum(make_plan(files, 7, level).counts.values()) for level in LEVELS[1:] for files in (some, lots)]
    assert totals == sorted(totals)
    assert 10 < totals[0] < totals[1] <= 5 + 12 < 30 < totals[2] < totals[3] <= 5 + 48
    assert make_plan(some, 7, "default") != make_plan(some, 8, "default")


def test_plan_stops_where_the_time_would_be_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """What would take longer than the level allows is not planned."""
    monkeypatch.setattr(plan, "_WEIGHTS", {"busy": 1})
    made = make_plan([File(f"f{n}", 1) for n in range(1000)], 7, "default")
    assert made.counts["busy"] == 1 + int((5.0 - sum(plan._COST.values())) / 1.1)


def test_large_files_are_spared() -> None:
    """The lie is told of the smallest file, since that one is sent again; a large one stalls after its upload only."""
    files = [File("big", 17 << 20), File("bigger", 18 << 20), File("small", 1)]
    for seed in range(60):
        made = make_plan(files, seed, "many")
        assert [name for name, queue in made.queues["HEAD"].items() if "lie" in queue] == ["small"]
        assert not {"busy", "stall"} & {kind for name in ("big", "bigger") for kind in made.queues["PUT"].get(name, ())}
