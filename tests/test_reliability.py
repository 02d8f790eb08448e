"""The page on reliability and the changelog name tests: they exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
PAGE = CHECKOUT / "docs" / "reliability.md"
NAMED = sorted(set(re.findall(r"`(tests/\w+\.py)::(\w+)`", PAGE.read_text(encoding="utf-8"))))


def _names(path: Path) -> set[str]:
    """Return what a module of tests defines at its top."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return found


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_test_that_proves_a_promise_exists(file: str, name: str) -> None:
    """Under the name that the page gives."""
    assert name in _names(CHECKOUT / file)


def test_each_promise_names_a_test() -> None:
    """No row of the table goes without."""
    section = PAGE.read_text(encoding="utf-8").split("## Promise by promise")[1].split("\n## ")[0]
    promises = [line for line in section.splitlines() if line.startswith("| ")][1:]
    assert len(promises) > 15
    assert [row for row in promises if "::test" not in row and "::Test" not in row] == []


def test_nothing_waits_to_be_filled_in() -> None:
    """No line is a word in capitals alone."""
    assert re.findall(r"^[A-Z]+$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE) == []


def test_each_mend_names_its_test() -> None:
    """In the changelog, since the first release, under the name of a test."""
    changes = (CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8").split("\n## 0.1.0 ")[0]
    sections = [each.split("\n### ")[0] for each in changes.split("\n### Fixed\n")[1:]]
    mends = [mend for section in sections for mend in section.split("\n- ")[1:]]
    assert len(mends) > 30
    assert [mend for mend in mends if "(`test_" not in mend] == []
    defined = set().union(*map(_names, (CHECKOUT / "tests").glob("test_*.py")))
    assert set(re.findall(r"`(test_\w+)`", changes)) - defined == set()
