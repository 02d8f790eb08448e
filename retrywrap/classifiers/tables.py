"""Which rows speak of a class of exceptions: the tables by family, and what is asked of every error in the end.

A family is added by a line in `FAMILIES` and a module with a ``TABLE`` and ``CODES``; nothing is imported before an
error needs it.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from retrywrap.classifiers.guard import key_of, lineage, read, type_name
from retrywrap.classifiers.http import by_attributes
from retrywrap.classifiers.rows import UNKNOWN, Codes, Judge, Row, follows_context, inside
from retrywrap.classifiers.verdict import Verdict
from retrywrap.codes import ErrorCode
from retrywrap.locks import importing

__all__ = ["FAMILIES", "by_type", "codes", "families", "family", "forbidden", "rows_for", "shortened"]

_STDLIB = (
    "_lzma _pickle asyncio concurrent gzip io json multiprocessing retrywrap shutil sqlite3 subprocess tarfile "
    "zipfile zlib"
)
_CLOUD = "anthropic azure boto3 botocore google grpc openai s3transfer"
_MESSAGING = "amqp cimpl confluent_kafka kombu nats paho paramiko pika websockets"

FAMILIES: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(_STDLIB.split(), ("stdlib",)),
    **dict.fromkeys(("socket", "ssl"), ("oserrors",)),
    "builtins": ("oserrors", "stdlib"),
    **dict.fromkeys(("ftplib", "http", "imaplib", "smtplib", "urllib", "xmlrpc"), ("protocols",)),
    **dict.fromkeys(("aiohttp", "httpcore", "httpcore2", "httpx", "httpx2", "requests", "urllib3"), ("clients",)),
    **dict.fromkeys(_CLOUD.split(), ("cloud",)),
    **dict.fromkeys(_MESSAGING.split(), ("messaging",)),
    **dict.fromkeys(("bson", "elastic_transport", "elasticsearch", "gridfs", "pymongo", "redis"), ("stores",)),
    **dict.fromkeys(("_taosws", "taos", "taosrest"), ("tdengine",)),
    **dict.fromkeys(("asyncpg", "psycopg", "psycopg2", "psycopg_pool", "sqlalchemy"), ("sql",)),
    **dict.fromkeys(("MySQLdb", "mariadb", "mysql", "pymysql"), ("mysql",)),
}
"""By the root of a class's module: the modules of this package whose ``TABLE`` may hold its row."""


def _by_sqlstate(error: object) -> Verdict | None:
    """Judge by a SQLSTATE; that table is imported for none but an error that has one."""
    if type(read(error, "sqlstate")) is str or type(read(error, "pgcode")) is str:
        return _sqlstates()(error)
    return None


@functools.cache
def _sqlstates() -> Judge:
    with importing:
        from retrywrap.classifiers.sqlstate import by_sqlstate
    return by_sqlstate


def _bare(error: BaseException) -> Verdict | None:
    """Say that nobody knows an error that holds nothing."""
    return None if error.__dict__ or error.__cause__ is not None else UNKNOWN


_NAMES = "__cause__ __dict__ __getattr__ __getattribute__ headers pgcode response sqlstate status status_code"
_LOOKED_AT = frozenset(_NAMES.split())
_BARE = Row(UNKNOWN.rule, "no attributes and no cause to go by", judge=_bare)
_BY_SQLSTATE = Row("sqlstate", "a SQLSTATE among the attributes", judge=_by_sqlstate)
_BY_ATTRIBUTES = Row("http", "an HTTP status among the attributes", judge=by_attributes)
_CAUSE = Row("cause", "the error's cause", through=inside("__cause__").function)
_CONTEXT = Row("cause", "the error's cause or context", through=inside("__cause__", "__context__").function)


def rows_for(cls: type[BaseException]) -> tuple[Row, ...]:
    """Return the rows to ask about the errors of a class, in order."""
    found = [row for base in lineage(cls) for row in _rows_of(base)]
    found.sort(key=lambda row: row.tier)
    return (*found, _BY_SQLSTATE, _BY_ATTRIBUTES, _CONTEXT if follows_context(cls) else _CAUSE)


def shortened(rows: tuple[Row, ...], cls: type[BaseException]) -> tuple[Row, ...]:
    """Return the rows of a whole chain, with a short way where an error of the class may hold nothing to look at.

    Args:
        rows: What is asked about the errors of the class, in order.
        cls: Their class.
    """
    if rows[-3:] != (_BY_SQLSTATE, _BY_ATTRIBUTES, _CAUSE) or any(_reads(base) for base in lineage(cls)):
        return rows
    return (*rows[:-3], _BARE, *rows[-3:])


def _reads(cls: type) -> bool:
    """Return whether a class has a say in what its instances' attributes are."""
    return cls not in (BaseException, object) and not _LOOKED_AT.isdisjoint(type.__dict__["__dict__"].__get__(cls))


def _rows_of(cls: type) -> list[Row]:
    root, key = key_of(cls)
    try:
        tables = [_table(name) for name in FAMILIES.get(root, ())]
    except Exception:  # no file descriptor is left, or the interpreter is ending: the error must come out all the same
        return []
    return [table[key] for table in tables if key in table]


def by_type(result: object) -> Verdict | None:
    """Return what a table says of a returned value whose class it knows; None where no table knows it.

    Of a pair such as MQTT clients return, the first half counts.
    """
    told = result[0] if type(result) is tuple and result else result
    for base in lineage(type(told)):
        if key_of(base)[0] == "builtins":
            continue
        for row in _rows_of(base):
            verdict = row.answer if row.judge is None else row.judge(told)
            if verdict is not None:
                return verdict
    return None


def families() -> tuple[str, ...]:
    """Return the names of all families."""
    return tuple(sorted({"programs", *(name for names in FAMILIES.values() for name in names)}))


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


def codes(name: str) -> Sequence[Codes]:
    """Return what the judges of a family, or of one library, go by besides the class.

    Args:
        name: As for `family`.

    Raises:
        KeyError: There is neither.
    """
    if name in families():
        return _module(name).CODES  # type: ignore[no-any-return]  # each has some
    return [some for each in FAMILIES[name] for some in _module(each).CODES if name in some.roots.split()]


def _table(name: str) -> Mapping[str, Row]:
    return _module(name).TABLE  # type: ignore[no-any-return]  # each has one


def _module(name: str) -> Any:
    with importing:
        return import_module(f"retrywrap.classifiers.{name}")


def forbidden(cls: type[BaseException]) -> tuple[Row, ...]:
    """Return the row that forbids a retry, for a cancellation and all that is no `Exception`; else ()."""
    # Unlike asyncio's, this cancellation is an Exception.
    cancelled = any(key_of(base)[1] == "concurrent.CancelledError" for base in lineage(cls))
    if issubclass(cls, Exception) and not cancelled:
        return ()
    rule = f"never.{type_name(cls)}"
    return (Row(rule, "what is never retried", answer=Verdict(ErrorCode.UNKNOWN, rule=rule, forbid=True)),)
