"""Tables: what one may not say, and that each family can be had by name."""

from __future__ import annotations

import pytest

from retrywrap.classifiers.rows import again, never, table
from retrywrap.classifiers.tables import FAMILIES, codes, families, family
from retrywrap.classifiers.verdict import Verdict
from retrywrap.codes import ErrorCode


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


def test_every_family_and_every_library_has_rows() -> None:
    """A line in FAMILIES without rows would be a typing mistake."""
    for name in families():
        assert [*family(name), *codes(name)]
    for root in FAMILIES:
        assert family(root), root
    with pytest.raises(KeyError):
        family("no such library")
