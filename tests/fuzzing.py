"""Coverage-guided fuzzing of what reads the bytes of others: ``python tests/fuzzing.py TARGET -runs=100000``.

Needs ``pip install atheris``; the options are libFuzzer's. A finding is printed as a traceback, with the bytes.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

atheris: Any = import_module("atheris") if __name__ == "__main__" else None

if atheris is not None:
    with atheris.instrument_imports(include=["retrywrap"]):
        for _name in (
            "classifiers",
            "cli",
            "cli.errors",
            "cli.errorspec",
            "cli.expression",
            "config",
            "record.reader",
            "run.scope",
        ):
            import_module(f"retrywrap.{_name}")

from hostile import Outcome, is_one_line  # noqa: E402  # after what is to be instrumented, as all that follows
from test_fuzz_cli import check  # noqa: E402  # see above
from test_fuzz_config import applied_or_refused  # noqa: E402  # see above
from test_hostile_secrets import FORMS, is_shown  # noqa: E402  # see above

from retrywrap import config  # noqa: E402  # see above
from retrywrap.classifiers.redact import safe_text  # noqa: E402  # see above
from retrywrap.cli import errors  # noqa: E402  # see above
from retrywrap.cli.errorspec import read_error  # noqa: E402  # see above
from retrywrap.cli.expression import read_backoff  # noqa: E402  # see above
from retrywrap.cli.usage import UsageError  # noqa: E402  # see above
from retrywrap.errors import ConfigurationError  # noqa: E402  # see above

_SECRET = "ZqHx7uWn9tKr4pVm2j"
_FOLDER = Path(tempfile.mkdtemp(prefix="fuzzing-"))


def redact(data: bytes) -> None:
    """A secret in one of the known forms, before and after any text: one line, without the secret."""
    first, second = data[:1], data[1:2]
    around, form = data[2:].decode("utf-8", "surrogatepass"), list(FORMS)[ord(first or b"\0") % len(FORMS)]
    cut = ord(second or b"\0") * len(around) // 256
    line = safe_text(f"{around[:cut]} {form.format(_SECRET, _SECRET)} {around[cut:]}")
    assert is_one_line(line)
    assert not is_shown(_SECRET, line)


def configuration(data: bytes) -> None:
    """A file: refused in one line, or applied whole."""
    try:
        config.read(config.parse(data, "file"), "file")
    except ConfigurationError as refused:
        assert is_one_line(str(refused), 2500)  # noqa: PT017  # what else comes out, is a finding
        return
    file = _FOLDER / "file.toml"
    file.write_bytes(data)
    assert applied_or_refused(file) is None


def log(data: bytes) -> None:
    """An error log: read and shown, whatever is in it."""
    kind = data[0] if data else 0
    (_FOLDER / "backup_error_1.log").write_bytes(data[1:])
    wanted = argparse.Namespace(
        directory=str(_FOLDER), since=None, code=None, follow=False, json=kind % 2 == 1, summary=kind % 4 > 1
    )
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = errors.run(wanted)
    check(Outcome(status, out.getvalue(), err.getvalue()), (0,))


def error(data: bytes) -> None:
    """What ``explain`` takes for an error; dotted names would import whatever is called so."""
    text = data.decode("utf-8", "replace")
    if "." not in text.partition("(")[0]:
        with suppress(UsageError):
            read_error(text)


def backoff(data: bytes) -> None:
    """What ``--backoff`` takes."""
    with suppress(UsageError):
        read_backoff(data.decode("utf-8", "replace"), "--backoff")


TARGETS: dict[str, Callable[[bytes], None]] = {
    "redact": redact,
    "configuration": configuration,
    "log": log,
    "error": error,
    "backoff": backoff,
}


def _one(target: Callable[[bytes], None]) -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        with suppress(UnicodeDecodeError):
            target(data)

    return run


if __name__ == "__main__":
    name, *options = sys.argv[1:]
    atheris.Setup([sys.argv[0], *options], _one(TARGETS[name]))
    atheris.Fuzz()
