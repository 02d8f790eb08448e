"""`write_file`: writing a file with retry, atomically."""

from __future__ import annotations

import os
from typing import Any

from retrywrap.decide.checks import shown
from retrywrap.decide.policy import RetryPolicy
from retrywrap.decide.presets import FILES
from retrywrap.record.registry import Registry
from retrywrap.record.registry import registry as default_registry
from retrywrap.run import calls
from retrywrap.run.atomic import check_arguments, replace_file
from retrywrap.run.spec import OperationSpec

__all__ = ["write_file"]


def write_file(
    path: str | os.PathLike[str],
    data: bytes | bytearray | memoryview | str,
    *,
    policy: RetryPolicy | str = FILES,
    mode: int | None = None,
    durable: bool = True,
    registry: Registry = default_registry,
    name: str = "retrywrap.write_file",
) -> int:
    """Write a whole file with retry, atomically: readers see the old content or the new one, never a part.

    The data goes to a temporary file beside the target, to the disk, and then takes the target's name. Whatever fails,
    the old content stays. errno decides what is retried: a full disk, a missing permission or a missing folder is not.

    Args:
        path: The file; a symbolic link is followed and stays.
        data: All of its content; a str is encoded as UTF-8.
        policy: A `RetryPolicy` or the name of one; `FILES` (4 retries, 1 s apart) by default.
        mode: Permission bits of the file; None: those of the file that is there, else the usual ones.
        durable: False: do not wait until the disk has it; faster, and lost in a power cut.
        registry: Where failures are recorded.
        name: As what they are recorded.

    Returns:
        The number of bytes written.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: `path` is empty, `mode` is out of range, or `data` is a text that UTF-8 cannot express.
        OSError: It could not be written; the last error, with a note that says why it ended.
    """
    if not isinstance(durable, bool):
        raise TypeError(f"durable must be True or False; got {shown(durable)}")
    if not isinstance(name, str):
        raise TypeError(f"name must be a str; got {shown(name)}")
    spec = OperationSpec({}, policy, name, registry)
    content: Any = _encoded(data) if isinstance(data, str) else data
    check_arguments(path, content, mode)  # here as well, since a mistake in the code is no failed write
    written: int = calls.call(spec, replace_file, (path, content), {"mode": mode, "durable": durable})
    return written


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        problem = f"{shown(text[error.start])} at {error.start}"
        raise ValueError(f"data must be a text that UTF-8 can express, or bytes; it cannot express {problem}") from None
