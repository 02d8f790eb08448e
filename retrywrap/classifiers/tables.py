"""Which rows speak of a class of exceptions: the tables by family, and what is asked of every error in the end.

A family is added by a line in `FAMILIES` and a module with a ``TABLE``; nothing is imported before an error needs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from retrywrap.classifiers.guard import key_of, lineage, type_name
from retrywrap.classifiers.http import by_attributes
from retrywrap.classifiers.rows import Row, follows_context, inside
from retrywrap.classifiers.verdict import Verdict
from retrywrap.codes import ErrorCode
from retrywrap.locks import importing

__all__ = ["FAMILIES", "families", "family", "forbidden", "rows_for"]

_STDLIB = (
    "_lzma _pickle asyncio concurrent gzip io json multiprocessing retrywrap shutil sqlite3 subprocess tarfile "
    "zipfile zlib"
)

FAMILIES: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(_STDLIB.split(), ("stdlib",)),
    **dict.fromkeys(("socket", "ssl"), ("oserrors",)),
    "builtins": ("oserrors", "stdlib"),
    **dict.fromkeys(("ftplib", "http", "imaplib", "smtplib", "urllib", "xmlrpc"), ("protocols",)),
    **dict.fromkeys(("aiohttp", "httpcore", "httpx", "requests", "urllib3"), ("clients",)),
    **dict.fromkeys(("bson", "elastic_transport", "elasticsearch", "gridfs", "pymongo", "redis"), ("stores",)),
    **dict.fromkeys(("_taosws", "taos", "taosrest"), ("tdengine",)),
}
"""By the root of a class's module: the modules of this package whose ``TABLE`` may hold its row."""

_BY_ATTRIBUTES = Row("http", "an HTTP status among the attributes", judge=by_attributes)
_CAUSE = Row("cause", "the error's cause", through=inside("__cause__").function)
_CONTEXT = Row("cause", "the error's cause or context", through=inside("__cause__", "__context__").function)


def rows_for(cls: type[BaseException]) -> tuple[Row, ...]:
    """Return the rows to ask about the errors of a class, in order."""
    found = [row for base in lineage(cls) for row in _rows_of(base)]
    found.sort(key=lambda row: row.tier)
    return (*found, _BY_ATTRIBUTES, _CONTEXT if follows_context(cls) else _CAUSE)


def _rows_of(cls: type) -> list[Row]:
    root, key = key_of(cls)
    try:
        tables = [_table(name) for name in FAMILIES.get(root, ())]
    except Exception:  # no file descriptor is left, or the interpreter is ending: the error must come out all the same
        return []
    return [table[key] for table in tables if key in table]


def families() -> tuple[str, ...]:
    """Return the names of all families."""
    return tuple(sorted({name for names in FAMILIES.values() for name in names}))


def family(name: str) -> Mapping[str, Row]:
    """Return the rows of a family, or of one library, by the class that they speak of.

    Args:
        name: A family's name (``"clients"``), or the root of a library's modules (``"requests"``).

    Raises:
        KeyError: There is neither.
    """
    if name in families():
        return dict(_table(name))
    return {key: row for each in FAMILIES[name] for key, row in _table(each).items() if key.startswith(f"{name}.")}


def _table(name: str) -> Mapping[str, Row]:
    with importing:
        found: Mapping[str, Row] = import_module(f"retrywrap.classifiers.{name}").TABLE
    return found


def forbidden(cls: type[BaseException]) -> tuple[Row, ...]:
    """Return the row that forbids a retry, for a cancellation and all that is no `Exception`; else ()."""
    # Unlike asyncio's, this cancellation is an Exception.
    cancelled = any(key_of(base)[1] == "concurrent.CancelledError" for base in lineage(cls))
    if issubclass(cls, Exception) and not cancelled:
        return ()
    rule = f"never.{type_name(cls)}"
    return (Row(rule, "what is never retried", answer=Verdict(ErrorCode.UNKNOWN, rule=rule, forbid=True)),)
