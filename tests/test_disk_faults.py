"""A fault at each system call in turn, in Python and in the system's library: what is written, and what comes out.

By default each call fails at each place in one way; with ``DISK_FAULTS=every``, in every way.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from disk.faults import What, python_shim, shimmed
from disk.trials import LINES, LOGS, NEW, WRITES, Record, line, trials

AMOUNT = os.environ.get("DISK_FAULTS", "sample")
AGAIN = {errno.EIO, errno.EINTR, errno.ESTALE}
LOST = re.compile("the error log .* cannot be written, lines are lost: ")
FOUND = re.compile("the error log .* is written again; ([0-9]+) lines were lost")
TEMPORARY = re.compile(r"\.file\.[0-9]+\.[0-9a-f]{16}\.tmp")


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return an empty folder, in memory where that is possible: only its errors matter here, not its disk."""
    memory = Path("/dev/shm")
    path = Path(tempfile.mkdtemp(dir=memory if os.access(memory, os.W_OK) else None))
    yield path
    shutil.rmtree(path)


def strikes(record: Record, name: str) -> int:
    """Return how many of a call's faults were reached."""
    calls = record["story"].count(name)
    return sum(min(max(0, calls - first), times) for call, first, times, *_ in record["faults"] if call == name)


def is_failing(record: Record, name: str) -> bool:
    """Return whether a call of this name failed, or told so, though it would have been well."""
    return any(call == name for call, *_ in record["faults"]) and strikes(record, name) > 0


def judge_write(record: Record) -> None:
    """Check the promise of `write_file`: the old content or the new, whole; the failure's own error; nothing left."""
    kind, outcome, content = record["kind"], record["outcome"], record["content"]
    numbers = {number for *_, what, number in record["faults"] if what != What.SHORT}
    is_new = content == "new"
    assert content in (("new", None) if kind in ("new", "dangling") else ("new", "old"))
    assert record["link"] is True
    assert record["leaked"] == 0
    if outcome == len(NEW):
        assert is_new
    else:
        # Looking at the links of a path tells no errno.
        assert outcome in {f"OSError {number}" for number in numbers} or (
            is_failing(record, "lstat") and "the link could not be followed" in record["text"]
        )
        # Only what follows the change of names, or a change of names whose answer got lost, fails with the new content.
        lost = any(call == "rename" and what == What.FAIL_AFTER for call, *_, what, _ in record["faults"])
        assert not is_new or lost or record["story"].count("rename") > strikes(record, "rename")
    if not is_failing(record, "unlink"):
        assert record["left"] == []
    assert len(record["left"]) <= 1 + record["waits"]
    assert all(TEMPORARY.fullmatch(name) for name in record["left"])
    if kind not in ("new", "dangling"):
        refused = any(call == "fchown" and number == errno.EACCES for call, *_, number in record["faults"])
        keeps_owner = not (is_new and refused)
        assert record["mode"] == ("0o4640" if keeps_owner else "0o640")
        assert not keeps_owner or record["owner"] == [12345, 54321] or kind != "owner"


def judge_retries(record: Record) -> None:
    """Check that what passes is retried, once for each time it came, and what a second does not help is not."""
    single = [fault for fault in record["faults"] if fault[2] == 1 and fault[3] == What.FAIL]
    if len(single) != 1 or len(record["faults"]) != 1:
        return
    call, number = single[0][0], single[0][4]
    if record["errors"]:
        assert (record["outcome"] == len(NEW)) is (number in AGAIN)
        assert record["waits"] == (number in AGAIN), call
    else:
        assert record["outcome"] == len(NEW)
        assert record["waits"] == 0


def judge_log(record: Record) -> None:
    """Check what is promised of the error log: whole lines, exact counts, one warning for each loss, nothing leaked."""
    results, kind = record["results"], record["kind"]
    assert results[-1] is True
    assert record["leaked"] == 0
    assert set(record["modes"]) <= {"0o600", "0o644"} if kind in ("plain", "cleaning") else record["modes"] == ["0o600"]
    if kind == "operation":
        assert record["outcome"] == [f"ConnectionResetError('{'x' * 20} 2')", "the value", "5"]
        assert sum(record["counts"]) == LINES
    else:
        assert tuple(record["counts"]) == (results.count(True), results.count(False))
    judge_lines(record)
    judge_warnings(record)


def judge_lines(record: Record) -> None:
    """Check that every line that counts as written is there once, whole, and no other line but pieces of lost ones."""
    cut = any(what == What.SHORT for *_, what, _ in record["faults"])
    found = []
    for text in record["files"]:
        assert text.endswith("\n") or not text or cut
        found += [part for part in text.split("\n") if part and not part.startswith("[0] Error -1")]
    whole = [part for part in found if re.fullmatch(r"\[\d+\] Error -\d+: x{20} \d+", part)]
    pieces = [part for part in found if part not in whole]
    assert len(whole) == len(set(whole))
    assert not pieces or (cut and (is_failing(record, "ftruncate") or record["kind"] == "plain"))
    assert len(pieces) <= record["counts"][1]
    if record["kind"] == "operation":
        times = {int(part.split()[-1]) for part in whole}
        assert len(times) >= record["counts"][0]
        return
    written = {line(number) for number, good in enumerate(record["results"]) if good}
    unanswered = any(call == "write" and what == What.FAIL_AFTER for call, *_, what, _ in record["faults"])
    if record["kind"] == "cleaning":
        assert set(whole) <= {*map(line, range(LINES + 1))}
    elif unanswered:
        assert written <= set(whole)
    else:
        assert set(whole) == written


def judge_warnings(record: Record) -> None:
    """Check that each time lines begin to be lost is told once, and each end of it with their number."""
    texts = record["warnings"]
    assert all(LOST.match(text) for text in texts[::2])
    assert all(FOUND.fullmatch(text) for text in texts[1::2])
    assert sum(int(FOUND.fullmatch(text)[1]) for text in texts[1::2]) == record["counts"][1]  # type: ignore[index]  # matched above
    if record["kind"] != "operation":
        runs = "".join("x" if good else "-" for good in record["results"])
        assert len(texts) == 2 * len(re.findall("-+", runs))


def judge(record: Record) -> None:
    """Check a record, and say which it is where it is not as promised."""
    try:
        if record["kind"] in WRITES:
            judge_write(record)
            if record["kind"] == "retried":
                judge_retries(record)
        else:
            judge_log(record)
    except AssertionError as failure:
        shown = {key: value for key, value in record.items() if key != "story"}
        raise AssertionError(f"{shown}\n{' '.join(record['story'])}\n{failure}") from None


def possible(kinds: Any) -> list[str]:
    """Return the kinds that can be tried: only root may give files away."""
    return [kind for kind in kinds if kind != "owner" or os.getuid() == 0]


@pytest.mark.parametrize("kind", possible([*WRITES, *LOGS]))
def test_a_fault_in_python(folder: Path, kind: str) -> None:
    """Whichever function of `os` fails, and however: nothing promised of a write or of the error log is broken."""
    count = 0
    for record in trials(kind, folder, python_shim, AMOUNT):
        judge(json.loads(json.dumps({"kind": kind, **record})))
        count += 1
    assert count > 10


def test_a_fault_in_the_system(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same where the system's library fails, beneath Python's own handling of EINTR and of its modules."""
    kinds = possible([*WRITES, *LOGS])
    found = shimmed("trials", str(folder), AMOUNT, *kinds)
    ran = subprocess.run(found[0], env=found[1], capture_output=True, text=True, timeout=1500)
    assert (ran.returncode, ran.stderr) == (0, "")
    records = [json.loads(text) for text in ran.stdout.splitlines()]
    for record in records:
        judge(record)
    assert {record["kind"] for record in records} == set(kinds)
    assert len(records) > 20 * len(kinds)
    if AMOUNT == "every":
        with capsys.disabled():
            print(f"\n{len(records)} trials with a fault in the system's library")


def test_the_shim_reaches_each_call(folder: Path) -> None:
    """The two shims see the same calls of a write, in the same order; so that neither can be idle unnoticed."""
    found = shimmed("trials", str(folder), "none", "link")
    ran = subprocess.run(found[0], env=found[1], capture_output=True, text=True, check=True, timeout=300)
    native = json.loads(ran.stdout)["story"]
    assert native == next(iter(trials("link", folder, python_shim, "none")))["story"]
    assert {"stat", "lstat", "readlink", "open", "write", "fsync", "close", "rename"} <= set(native)
