"""What type checkers see: mypy and pyright, where they are installed, check the files of ``tests/typing``."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

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
    ran = run(
        "mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path}", f"--python-executable={sys.executable}", FILES
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


@needs("pyright")
def test_pyright_sees_exact_types(tmp_path: Path) -> None:
    """pyright in strict mode finds each stated type and each stated error, and nothing else."""
    settings = tmp_path / "pyrightconfig.json"
    settings.write_text(json.dumps({"include": [str(FILES)], "typeCheckingMode": "strict"}))
    ran = run("pyright", "--pythonpath", sys.executable, "--project", settings)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_files_state_types_and_errors() -> None:
    """The files hold what the checkers are asked about; an empty folder would prove nothing."""
    text = "".join(path.read_text("utf-8") for path in FILES.glob("*.py"))
    assert text.count("assert_type(") >= 30
    assert text.count("# pyright: ignore[") >= 15
