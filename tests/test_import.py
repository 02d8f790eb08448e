"""What ``import retrywrap`` costs, counted in modules: in a process of its own, over what wrapt loads by itself."""

from __future__ import annotations

import functools
import subprocess
import sys

import pytest

import retrywrap
from retrywrap.classifiers import tables

HEAVY = [
    "argparse",
    "asyncio",
    "concurrent.futures",
    "dataclasses",
    "datetime",
    "decimal",
    "email",
    "hashlib",
    "http",
    "importlib.metadata",
    "json",
    "logging",
    "matplotlib",
    "multiprocessing",
    "pickle",
    "retrywrap.cli",
    "retrywrap.plugin",
    "retrywrap.testing",
    "rich",
    "shutil",
    "smtplib",
    "socket",
    "sqlite3",
    "ssl",
    "statistics",
    "structlog",
    "subprocess",
    "tempfile",
    "tomllib",
    "trio",
    "urllib",
    "uuid",
]


@functools.cache
def loaded_by(code: str) -> frozenset[str]:
    """Return the modules that some code loads in a new process on top of those of ``import wrapt``."""
    script = f"import sys, wrapt\nbefore = set(sys.modules)\n{code}\nprint(*set(sys.modules) - before)"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    return frozenset(ran.stdout.split())


@pytest.mark.parametrize("name", HEAVY)
def test_importing_loads_nothing_heavy(name: str) -> None:
    """``import retrywrap`` loads none of the costly modules, unless wrapt has already done so."""
    assert name not in loaded_by("import retrywrap")


def test_importing_loads_few_modules_of_others() -> None:
    """Over wrapt, the package needs only a handful of small standard-library modules."""
    roots = {name.split(".")[0] for name in loaded_by("import retrywrap")}
    others = {name for name in roots if name != "retrywrap" and not name.startswith("_")}
    assert len(others) <= 6, sorted(others)


def test_decorating_loads_what_a_failure_needs() -> None:
    """The first decoration loads all that decides on a failure; structlog and the entry points wait for the first."""
    code = "import retrywrap\n@retrywrap.with_retry\ndef f(): pass\nf()"
    needed = {"proxy": "run", "drive": "run", "context": "decide", "chain": "classifiers", "oserrors": "classifiers"}
    loaded = loaded_by(code)
    assert {f"retrywrap.{floor}.{name}" for name, floor in needed.items()} <= loaded
    assert not {"structlog", "logging"} & loaded
    assert not {name for name in loaded_by("import retrywrap") for part in needed if name.endswith(f".{part}")}


FIRST = """
import errno, os, resource
import retrywrap
from retrywrap.testing import VirtualClock

@retrywrap.with_retry(max=2, interval=1)
def use():
    if not given_back:
        given_back.append(os.close(held.pop()))
        os.open(os.devnull, os.O_RDONLY), os.open(os.devnull, os.O_RDONLY)

given_back = []
resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
with VirtualClock() as clock:
    held = []
    try:
        while True:
            held.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        use()
print(clock.waits, retrywrap.registry.stats().recovered, retrywrap.registry.last_error.code.name)
"""


def test_the_first_failure_of_a_process_may_be_for_want_of_descriptors() -> None:
    """No module can be read then; the error is judged, recorded and retried as any other."""
    ran = subprocess.run([sys.executable, "-c", FIRST], capture_output=True, text=True, check=False, timeout=60)
    assert ran.stdout == "[1.0] 1 FILE_IO\n", ran.stderr


def test_a_failure_at_the_end_of_the_interpreter_comes_out_as_it_is() -> None:
    """Where nothing can be imported any more, the operation's own error is what is seen."""
    code = (
        "import retrywrap\n@retrywrap.with_retry(max=0)\ndef f():\n    raise ConnectionResetError('gone')\n"
        "class Late:\n    def __del__(self, f=f): f()\nimport builtins\nbuiltins.late = Late()"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert "ConnectionResetError: gone" in ran.stderr
    assert "ImportError" not in ran.stderr


def test_a_first_failure_loads_structlog() -> None:
    """The counterpart, which shows that the tests above can see a module arrive."""
    code = (
        "import retrywrap\nfails = [OSError(104, 'reset')]\n"
        "@retrywrap.with_retry(max=1, interval=0)\ndef f():\n    if fails: raise fails.pop()\nf()"
    )
    assert "structlog" in loaded_by(code)


def test_the_command_line_is_importable_without_its_extra() -> None:
    """``retrywrap --version`` loads neither rich nor matplotlib."""
    assert not {"rich", "matplotlib"} & loaded_by("import retrywrap.cli\nretrywrap.cli.main")


def test_a_table_that_cannot_be_loaded_has_no_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error comes out all the same, as one that nobody knows."""

    def broken(_: str) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(tables, "import_module", broken)
    kind = type("Lost", (ConnectionResetError,), {"__module__": "requests.exceptions"})
    with pytest.raises(kind):
        retrywrap.with_retry(max=0)(_throw)(kind)


def _throw(kind: type[Exception]) -> None:
    raise kind
