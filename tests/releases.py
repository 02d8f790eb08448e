"""Run what a release of wrapt or structlog can break, with each minor release that is admitted, in each build.

::

    python tests/releases.py                    # every minor release, the newest of its patches; the tests named below
    python tests/releases.py wrapt              # those of wrapt alone
    python tests/releases.py structlog tests    # those of structlog, with the whole suite

It runs from the top of a checkout, whose package is imported, and wants the test extra to be installed. Each release is
installed into a temporary folder, which stands before the installed one. The last lines are a table, one row for each
release and build; the exit status is 1 where a test failed, or where another release or build ran than the row says.
The build in C has to be there: ``python setup.py build_ext --inplace``.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

FIRST = {"wrapt": (1, 16), "structlog": (23, 1)}
"""The oldest release that setup.cfg admits."""

AFFECTED = {
    "wrapt": "native track semantics scope inventory import defects",
    "structlog": "log hooks reports config observe import",
}
"""The tests of what touches the library."""

BUILDS = {
    "C": ("C", {"RETRYWRAP_PURE": "0"}),
    "pure Python": ("pure Python", {"RETRYWRAP_PURE": "1"}),
    "wrapt without its extension": ("pure Python", {"RETRYWRAP_PURE": "0", "WRAPT_DISABLE_EXTENSIONS": "1"}),
}
"""What is asked for: which build of ours has to run, and how it is asked for."""


def releases(library: str) -> list[str]:
    """Return the newest patch of each minor release that is admitted, oldest first."""
    command = [sys.executable, "-m", "pip", "index", "versions", library]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    listed = re.search(r"Available versions: (.+)", said)
    if listed is None:
        sys.exit(f"pip lists no versions of {library}:\n{said}")
    newest: dict[tuple[int, int], str] = {}
    for version in listed[1].split(", "):  # newest first
        major, minor = (int(part) for part in version.split(".")[:2])
        if (major, minor) >= FIRST[library]:
            newest.setdefault((major, minor), version)
    return [newest[each] for each in sorted(newest)]


def outcome(environment: dict[str, str], library: str, arguments: list[str]) -> tuple[str, str, str, bool]:
    """Return which release and build run, pytest's last line, and whether the tests passed."""
    program = f"import importlib.metadata as m, retrywrap; print(m.version({library!r}), retrywrap.__build__)"
    said = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True).stdout
    release, _, build = said.strip().partition(" ")
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        print(done.stdout, done.stderr, sep="\n", flush=True)
    last = done.stdout.strip().rpartition("\n")[2] or "nothing was said"
    return release, build or "cannot be imported", last, done.returncode == 0


def main(arguments: list[str]) -> int:
    """Run all, and print the table."""
    named = [each for each in arguments if each in FIRST]
    given = [each for each in arguments if each not in FIRST]
    rows: list[tuple[str, str, str, str]] = []
    well = True
    for library in named or FIRST:
        tests = given or [f"tests/test_{name}.py" for name in AFFECTED[library].split()]
        for version in releases(library):
            with tempfile.TemporaryDirectory() as folder:
                install = ["install", "--quiet", "--no-deps", "--target", folder, f"{library}=={version}"]
                subprocess.run([sys.executable, "-m", "pip", *install], check=True)
                for asked, (wanted, variables) in BUILDS.items():
                    if library != "wrapt" and "WRAPT_DISABLE_EXTENSIONS" in variables:
                        continue
                    paths = os.pathsep.join([folder, str(Path.cwd())])
                    release, build, last, fine = outcome(
                        {**os.environ, **variables, "PYTHONPATH": paths}, library, tests
                    )
                    if (release, build) != (version, wanted):
                        fine, last = (
                            False,
                            f"wanted {library} {version} and {wanted}; {library} {release} and {build} ran",
                        )
                    well &= fine
                    rows.append((f"{library} {version}", asked, build, last))
                    print(*rows[-1], sep=" | ", flush=True)
    print("\n| release | asked for | runs | result |\n|---|---|---|---|")
    for row in rows:
        print("|", " | ".join(row), "|")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
