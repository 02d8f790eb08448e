"""The default chain over every exception class of the client libraries that are installed: no crash, no gap unseen."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import listing
import pytest

from retrywrap import ErrorCode, Verdict
from retrywrap.classifiers.tables import FAMILIES

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "clients.md"
TABLES = PAGE.with_name("tables.md")
INSTALLED = listing.installed()


@pytest.mark.parametrize("package", listing.LIBRARIES)
def test_every_class_is_judged(package: str) -> None:
    """Whatever an exception that carries nothing looks like, the chain has a verdict, and it is a whole one."""
    if package not in INSTALLED:
        pytest.skip(f"{package} is not installed (extra: clients)")
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
    alone = {
        "boto3",
        "s3transfer",
        "cimpl",
        "bson",
        "gridfs",
        "MySQLdb",
        "mariadb",
        "psycopg_pool",
        "httpcore2",
        "httpx2",
        "taos",
    }
    assert roots - alone <= known


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other errnos")
def test_the_page_of_the_tables_is_what_they_say() -> None:
    """Whoever changes a row changes the page, which ``python tests/listing.py tables`` writes anew."""
    assert TABLES.read_text("utf-8") == listing.tables()
