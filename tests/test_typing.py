"""What type checkers see: mypy and pyright, where they are installed, check the files of ``tests/typing``."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import retrywrap

FILES = Path(__file__).parent / "typing"


def needs(tool: str) -> pytest.MarkDecorator:
    """Skip where a checker is not installed; continuous integration runs both in a step of its own, in any case."""
    missing = importlib.util.find_spec(tool) is None
    return pytest.mark.skipif(missing, reason=f"{tool} is not installed (extra: lint)")


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a checker as a module of this Python."""
    return subprocess.run([sys.executable, "-m", *map(str, arguments)], capture_output=True, text=True, timeout=300)


@needs("mypy")
def test_mypy_sees_exact_types(tmp_path: Path) -> None:
    """mypy --strict finds each stated type and each stated error, and nothing else."""
    ran = run("mypy", "--strict", "--config-file=", "--follow-imports=silent", f"--cache-dir={tmp_path}", FILES)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@needs("pyright")
def test_pyright_sees_exact_types(tmp_path: Path) -> None:
    """pyright in strict mode finds each stated type and each stated error, and nothing else."""
    project = {
        "include": [os.path.relpath(FILES, tmp_path)],
        "extraPaths": [str(Path(retrywrap.__file__).parents[1])],
        "enableTypeIgnoreComments": False,
    }
    settings = tmp_path / "pyrightconfig.json"
    settings.write_text(json.dumps(project))
    ran = run("pyright", "--outputjson", "--pythonpath", sys.executable, "--project", settings)
    told = json.loads(ran.stdout)
    assert told["generalDiagnostics"] == []
    assert told["summary"]["filesAnalyzed"] >= 2


def test_the_files_state_types_and_errors() -> None:
    """The files hold what the checkers are asked about; an empty folder would prove nothing."""
    text = "".join(path.read_text("utf-8") for path in FILES.glob("*.py"))
    assert text.count("assert_type(") >= 30
    assert text.count("# pyright: ignore[") >= 15
