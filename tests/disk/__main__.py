"""The long form of `tests/test_disk_kills.py`: ``python -m tests.disk 3000`` kills so many writers of each kind."""

from __future__ import annotations

import subprocess
import sys
import tempfile

from .faults import plain, preloaded
from .kills import CAMPAIGNS


def main() -> int:
    """Run every campaign at random and at exact moments; return 1 where one found something."""
    if len(sys.argv) < 2 or not sys.argv[1].isdecimal() or not CAMPAIGNS.keys() >= {*sys.argv[2:]}:
        sys.exit(f"usage: python -m tests.disk ROUNDS [{' | '.join(CAMPAIGNS)} ...]")
    rounds = int(sys.argv[1])
    names = sys.argv[2:] or [*CAMPAIGNS]
    worst = 0
    for moment, way in (("random", plain), ("exact", preloaded)):
        for name in names:
            with tempfile.TemporaryDirectory() as folder:
                found = way("kills", moment, str(rounds), folder, name)
                if found is None:
                    sys.exit("the exact moments need a C compiler and Linux")
                print(moment, end=": ", flush=True)
                worst = max(worst, subprocess.run(found[0], env=found[1]).returncode)
    return worst


if __name__ == "__main__":
    sys.exit(main())
