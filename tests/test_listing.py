"""The default chain over every exception class of the client libraries that are installed: no crash, no gap unseen."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import listing
import pytest
from servers.common import missing

from retrywrap import ErrorCode, Verdict
from retrywrap.classifiers.tables import FAMILIES

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "clients.md"
TABLES = PAGE.with_name("tables.md")
INSTALLED = listing.installed()


@pytest.mark.parametrize("package", listing.LIBRARIES)
def test_every_class_is_judged(package: str) -> None:
    """Whatever an exception that carries nothing looks like, the chain has a verdict, and it is a whole one."""
    if package not in INSTALLED:
        missing(package)
    told = listing.table(package)
    assert told
    for name, said in told:
        assert said is None or isinstance(said, Verdict), name
        assert said is None or (type(said.code) is ErrorCode and said.rule), name


def test_every_library_with_a_table_is_listed() -> None:
    """The page shows each library that the tables know, with its version, and so what they do not know of it."""
    listed = {found.split(".")[0] for found in re.findall(r"^## (\S+)", PAGE.read_text("utf-8"), re.MULTILINE)}
    known = {package.split(".")[0] for package in listing.LIBRARIES}
    assert listed == known
    roots = {
        root.strip("_") for root, names in FAMILIES.items() if not {"stdlib", "oserrors", "protocols"} & set(names)
    }
    alone = {"cimpl", "taos"}  # a part of confluent_kafka; what cannot be imported without its native library
    assert roots - alone <= known


def sections() -> dict[str, str]:
    """Return the page's sections, by package."""
    found = re.split(r"^(?=## )", PAGE.read_text("utf-8"), flags=re.MULTILINE)[1:]
    return {text.split()[1]: text.rstrip("\n") + "\n" for text in found}


@pytest.mark.parametrize("package", listing.LIBRARIES)
def test_the_page_is_what_is_said(package: str) -> None:
    """Whoever changes what is said of a class changes the page, which ``python tests/listing.py`` writes anew.

    Other versions have other classes: only a library of the version that the page names is compared. Some classes are
    there only where another library is.
    """
    if package not in INSTALLED:
        missing(package)
    shown = sections()[package].splitlines()
    if shown[0] == f"## {listing.title(package)}":
        said = listing.section(package).splitlines()
        assert [line for line in said if line not in shown] == []
        assert shown == said or len(INSTALLED) < len(listing.LIBRARIES)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other errnos")
def test_the_page_of_the_tables_is_what_they_say() -> None:
    """Whoever changes a row changes the page, which ``python tests/listing.py tables`` writes anew."""
    assert TABLES.read_text("utf-8") == listing.tables()
