"""Writers killed at random moments and at chosen system calls. The long form is ``python -m tests.disk``."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from disk.faults import plain, shimmed
from disk.kills import CAMPAIGNS

ROUNDS = 20


@pytest.mark.parametrize("moment", ["random", "exact"])
def test_kills(tmp_path: Path, moment: str) -> None:
    """Whenever writers are killed: no line is torn but a file's last, none is swallowed or lost.

    A file's content is old or new, for whoever looks and whenever; a temporary file says whose it was, and there is one
    at most.
    """
    arguments = ("kills", moment, str(ROUNDS), str(tmp_path), *CAMPAIGNS)
    found = shimmed(*arguments) if moment == "exact" else plain(*arguments)
    ran = subprocess.run(found[0], env=found[1], capture_output=True, text=True, timeout=250)
    assert (ran.returncode, ran.stderr) == (0, "")
    told = dict(map(json.loads, ran.stdout.splitlines()))
    assert set(told) == set(CAMPAIGNS)
    for name, figures in told.items():
        assert figures["kills"] >= ROUNDS
        assert figures["in a call"] > 0
        assert figures["lines" if "log" in name else "writes"] > 0
