"""What the default chain says of every exception class that the installed client libraries define; its tables, whole.

``python tests/listing.py`` prints the page ``docs/reference/clients.md``, for the libraries that are installed, and
``python tests/listing.py tables`` the page ``docs/reference/tables.md``.
"""

from __future__ import annotations

import importlib
import inspect
import io
import pkgutil
import sys
import warnings
from collections.abc import Iterator
from contextlib import redirect_stdout, suppress
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from retrywrap import Verdict, classify
from retrywrap.classifiers.tables import families
from retrywrap.cli import main

LIBRARIES = {  # by the package that is imported: the distribution, whose version is told
    "aiohttp": "aiohttp",
    "amqp": "amqp",
    "anthropic": "anthropic",
    "asyncpg": "asyncpg",
    "azure.core": "azure-core",
    "boto3": "boto3",
    "botocore": "botocore",
    "bson": "pymongo",
    "confluent_kafka": "confluent-kafka",
    "elastic_transport": "elastic-transport",
    "elasticsearch": "elasticsearch",
    "google.api_core": "google-api-core",
    "google.auth": "google-auth",
    "gridfs": "pymongo",
    "grpc": "grpcio",
    "httpcore": "httpcore",
    "httpcore2": "httpcore2",
    "httpx": "httpx",
    "httpx2": "httpx2",
    "kombu": "kombu",
    "mariadb": "mariadb",
    "mysql.connector": "mysql-connector-python",
    "MySQLdb": "mysqlclient",
    "nats": "nats-py",
    "openai": "openai",
    "paho.mqtt": "paho-mqtt",
    "paramiko": "paramiko",
    "pika": "pika",
    "psycopg": "psycopg",
    "psycopg2": "psycopg2-binary",
    "psycopg_pool": "psycopg-pool",
    "pymongo": "pymongo",
    "pymysql": "PyMySQL",
    "redis": "redis",
    "requests": "requests",
    "s3transfer": "s3transfer",
    "sqlalchemy": "SQLAlchemy",
    "taosrest": "taospy",
    "taosws": "taos-ws-py",
    "urllib3": "urllib3",
    "websockets": "websockets",
}
# Parts of the names of modules that are no clients, change how everything works, or want what is not installed.
_NEVER_IMPORTED = {
    *("__main__", "_testbase", "cli", "kafkatest", "pytest_plugin", "test", "test_utils", "testing", "tests"),
    *("eventlet", "gevent", "pyopenssl", "trio"),
}
HEAD = """# What is said of the clients' errors

Each exception class that the client libraries below define, and what `classify` says of an instance that carries
nothing: made without arguments. Where a verdict depends on what the error carries (a status, an errno, a SQLSTATE, a
cause), it is *unknown* here; `retrywrap explain --table NAME` shows what its rule looks at. What is unknown is not
retried. Made by `python tests/listing.py`.
"""


def installed() -> list[str]:
    """Return the packages of the list that can be imported here."""
    found = []
    for package in LIBRARIES:
        with suppress(ImportError, ValueError):
            if find_spec(package) is not None:
                found.append(package)
    return found


def exceptions(package: str) -> list[type[Exception]]:
    """Return the exception classes that a package's modules define, by name."""
    root = package.partition(".")[0]
    found: dict[str, type[Exception]] = {}
    for module in _modules(package):
        for thing in list(vars(module).values()):
            if (
                inspect.isclass(thing)
                and issubclass(thing, Exception)
                and thing.__module__.split(".")[0].strip("_") == root
            ):
                found[f"{thing.__module__}.{thing.__qualname__}"] = thing
    return [found[name] for name in sorted(found)]


def _modules(package: str) -> Iterator[object]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        top = importlib.import_module(package)
        yield top
        for info in pkgutil.walk_packages(getattr(top, "__path__", []), f"{package}.", onerror=lambda _: None):
            if not _NEVER_IMPORTED.isdisjoint(info.name.split(".")):
                continue
            with suppress(BaseException):  # optional parts want what is not installed, and say so in many ways
                yield importlib.import_module(info.name)


def made(kind: type[Exception]) -> Exception | None:
    """Return an instance that carries nothing, past the class's own constructor where that wants arguments.

    None where there is no way past it, or where a half-made object would complain when it goes.
    """
    if hasattr(kind, "__del__"):
        return None
    try:
        return kind()
    except Exception:
        with suppress(Exception):
            return kind.__new__(kind)
    return None


def table(package: str) -> list[tuple[str, Verdict | None]]:
    """Return what is said of each class of a package; None where no instance could be made."""
    found = []
    for kind in exceptions(package):
        error = made(kind)
        found.append((f"{kind.__module__}.{kind.__qualname__}", None if error is None else classify(error)))
    return found


def title(package: str) -> str:
    """Return a package's name and the version that is installed."""
    try:
        return f"{package} {version(LIBRARIES[package])}"
    except PackageNotFoundError:
        return package


def section(package: str) -> str:
    """Return what the page says of a package that is installed."""
    lines = [f"## {title(package)}\n", "| class | code | retried | rule |", "|---|---|---|---|"]
    lines += [
        f"| `{name}` | cannot be made without arguments | | |"
        if said is None
        else f"| `{name}` | {said.code.name} | {'yes' if said.retryable else 'no'} | {said.rule} |"
        for name, said in table(package)
    ]
    return "\n".join(lines) + "\n"


def page() -> str:
    """Return the page for all that is installed."""
    return "\n".join([HEAD, *(section(package) for package in installed())])


TABLES_HEAD = """# All tables of the classifier

What each rule says, by the class of the error and by the codes that errors carry: what `retrywrap explain --table NAME`
prints, for all families. The sources (manuals, standards, the clients' own code) stand beside the rows in
`retrywrap/classifiers/`. Made by `python tests/listing.py tables`.
"""


def tables() -> str:
    """Return the page of all tables."""
    parts = [TABLES_HEAD]
    for name in families():
        printed = io.StringIO()
        with redirect_stdout(printed):
            main(["explain", "--table", name])
        lines = (line.rstrip() for line in printed.getvalue().splitlines())
        parts.append(f"\n## {name}\n\n```text\n" + "\n".join(lines) + "\n```\n")
    return "".join(parts)


if __name__ == "__main__":
    sys.stdout.write(tables() if sys.argv[1:] == ["tables"] else page())
