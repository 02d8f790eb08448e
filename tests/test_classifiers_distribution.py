"""A classifier that another distribution brings: a real wheel, installed by pip, found by its entry point."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

MODULE = """
from retrywrap import ErrorCode, Verdict


class Busy(Exception):
    pass


def classify(error):
    if isinstance(error, Busy):
        return Verdict.of(ErrorCode.NETWORK, "the gateway is busy", retry_after=3.0)
    if isinstance(error, ConnectionRefusedError):
        return ErrorCode.INIT_FAILED        # what the tables say otherwise
    return None
"""
METADATA = "Metadata-Version: 2.1\nName: gateway-errors\nVersion: 1.0\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: a test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
ENTRY_POINTS = "[retrywrap.classifiers]\ngateway = gateway_errors:classify\n"
PROGRAM = """
import json, sys
from retrywrap import classify
from retrywrap.classifiers import register
loaded = "gateway_errors" in sys.modules
refused = classify(ConnectionRefusedError(111, "refused"))
import gateway_errors
busy = classify(gateway_errors.Busy())
register(gateway_errors.Busy, retryable=False)
print(json.dumps([loaded, refused.rule, refused.code.name, busy.rule, busy.retry_after,
                  classify(gateway_errors.Busy()).rule, classify(KeyError()).rule]))
"""


def wheel(folder: Path) -> Path:
    """Return a wheel of the other distribution."""
    path = folder / "gateway_errors-1.0-py3-none-any.whl"
    files = {
        "gateway_errors.py": MODULE,
        "gateway_errors-1.0.dist-info/METADATA": METADATA,
        "gateway_errors-1.0.dist-info/WHEEL": WHEEL,
        "gateway_errors-1.0.dist-info/entry_points.txt": ENTRY_POINTS,
    }
    record = "gateway_errors-1.0.dist-info/RECORD"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        archive.writestr(record, "".join(f"{name},,\n" for name in [*files, record]))
    return path


def test_an_installed_distribution_is_asked(tmp_path: Path) -> None:
    """After what the program registers, before the tables; imported at the first failure, not before."""
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", str(site)]
    subprocess.run([*install, str(wheel(tmp_path))], check=True, timeout=120)
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH", "")]))
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert json.loads(ran.stdout) == [
        False,
        "plugin.classify",
        "INIT_FAILED",
        "plugin.classify",
        3.0,
        "registered.gateway_errors.Busy",
        "unknown",
    ]
