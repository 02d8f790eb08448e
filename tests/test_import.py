"""What ``import retrywrap`` costs, counted in modules: in a process of its own, over what wrapt loads by itself."""

from __future__ import annotations

import functools
import subprocess
import sys

import pytest

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


def test_decorating_and_succeeding_loads_no_part_that_only_failures_need() -> None:
    """The first decoration loads the proxies and the configuration; all else waits for the first failure."""
    code = "import retrywrap\n@retrywrap.with_retry\ndef f(): pass\nf()"
    loaded = loaded_by(code)
    assert {"retrywrap.run.proxy", "retrywrap.config"} <= loaded
    late = {"structlog", "logging", "retrywrap.run.drive", "retrywrap.decide.context", "retrywrap.classifiers.chain"}
    assert not late & loaded


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
