"""Tables: what one may not say, and that each family can be had by name."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import retrywrap.classifiers
from retrywrap.classifiers.rows import again, by_code, never, table
from retrywrap.classifiers.tables import FAMILIES, codes, families, family
from retrywrap.classifiers.verdict import Verdict
from retrywrap.codes import ErrorCode

SOURCES = Path(retrywrap.classifiers.__file__).parent


@pytest.mark.parametrize(
    ("verdict", "contradiction"),
    [
        (never(ErrorCode.SUCCESS), "an exception is no success"),
        (Verdict(ErrorCode.NETWORK, retryable=True, forbid=True), "a retry is forbidden"),
        (Verdict(ErrorCode.NETWORK, throttled=True), "it asks for less load, and is not retryable"),
        (Verdict(ErrorCode.NETWORK, retry_after=3.0), "it has a hint, and is not retryable"),
    ],
)
def test_a_row_that_contradicts_itself_is_refused(verdict: Verdict, contradiction: str) -> None:
    """When the table is loaded, with the row's name."""
    with pytest.raises(ValueError, match=rf"^the row for lib\.Error contradicts itself: .*{contradiction}"):
        table({"lib.Error": verdict})


def test_a_class_stands_in_one_part_of_a_table() -> None:
    """Two parts with one class would say two things of it."""
    with pytest.raises(ValueError, match=r"lib\.Error stands in the table twice"):
        table({"lib.Error": again(ErrorCode.NETWORK)}, {"lib.Error": never(ErrorCode.NETWORK)})


def test_a_code_stands_in_a_table_once() -> None:
    """Two rows for one code would say two things of it; a verdict may say but one."""
    with pytest.raises(ValueError, match=r"^lib\.40001 stands in the table twice"):
        by_code("lib", (again(ErrorCode.NETWORK), ["40001"]), (never(ErrorCode.NETWORK), ["08006", "40001"]))
    with pytest.raises(ValueError, match=r"^the row for lib\.7 contradicts itself: an exception is no success"):
        by_code("lib", (never(ErrorCode.SUCCESS), [7]))
    assert by_code("lib", (again(ErrorCode.NETWORK), [7]))[7].rule == "lib.7"


def _keys(node: ast.Dict) -> Iterator[str]:
    """Yield the keys that a dict in the source of a table spells out, those of ``**each(…)`` included."""
    for key, value in zip(node.keys, node.values, strict=True):
        if isinstance(key, ast.Constant | ast.JoinedStr | ast.Name):
            yield ast.unparse(key)
        elif isinstance(value, ast.Call) and ast.unparse(value.func) == "each":
            root, names = (argument.value for argument in value.args[:2] if isinstance(argument, ast.Constant))
            yield from (repr(f"{root}.{name}") for name in str(names).split())


@pytest.mark.parametrize("path", sorted(SOURCES.glob("*.py")), ids=lambda path: path.stem)
def test_no_key_is_written_twice(path: Path) -> None:
    """In a dict the last of two entries would win, in silence."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Dict):
            twice = [key for key, count in Counter(_keys(node)).items() if count > 1]
            assert twice == [], f"line {node.lineno}"


def test_every_family_and_every_library_has_rows() -> None:
    """A line in FAMILIES without rows would be a typing mistake."""
    for name in families():
        assert [*family(name), *codes(name)]
    for root in FAMILIES:
        assert family(root), root
    with pytest.raises(KeyError):
        family("no such library")
