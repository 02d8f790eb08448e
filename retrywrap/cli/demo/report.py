"""The final report: one plain mapping, and the lines that tell it to people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from retrywrap.cli.demo.client import Client
from retrywrap.cli.demo.plan import MISBEHAVIOURS, Plan
from retrywrap.cli.demo.progress import Progress, sized
from retrywrap.cli.demo.scan import Tree, printable
from retrywrap.cli.demo.verify import Verification
from retrywrap.codes import ErrorCode
from retrywrap.record.registry import Registry, Stats

__all__ = ["Report", "code_rows", "conclusion", "counted", "hint", "make_report", "server_rows", "summary_rows"]

_MOST_LISTED = 10

Report = dict[str, Any]


def make_report(
    tree: Tree,
    plan: Plan,
    progress: Progress,
    client: Client,
    stats: Stats,
    registry: Registry,
    verification: Verification,
) -> Report:
    """Return the report, fit for `json.dumps`.

    Args:
        tree: What was to be backed up.
        plan: What was to go wrong.
        progress: What the events said.
        client: Who did it.
        stats: The scope's counts.
        registry: Where the operations are recorded.
        verification: What came of the comparison.
    """
    last = registry.last_error
    kinds = Counter(tree.special.values())
    return {
        "seed": plan.seed,
        "faults": plan.level,
        "source": printable(tree.source),
        "files": progress.done,
        "bytes": progress.done_bytes,
        "folders": len(tree.folders),
        "attempts": client.attempts,
        "errors": {"total": stats.errors, "by_code": _by_code(registry)},
        "retries": stats.retries,
        "waits": {"count": progress.waits, "seconds": round(stats.waited, 3)},
        "operations": {"recovered": stats.recovered, "failed": stats.failed},
        "misbehaviour": {kind: {"planned": plan.counts[kind], "met": progress.met[kind]} for kind in MISBEHAVIOURS},
        "last_error": {"code": int(last.code), "name": last.code.name, "message": last.message},
        "elapsed": round(progress.elapsed, 3),
        "left_out": {"symbolic link": len(tree.links), **{kind: kinds[kind] for kind in sorted(kinds)}},
        "verification": {**verification._asdict(), "identical": verification.identical},
    }


def summary_rows(report: Report) -> Iterator[tuple[str, str]]:
    """Yield what was done and what it took, as labels and values."""
    waits, operations, last = report["waits"], report["operations"], report["last_error"]
    yield "files", f"{report['files']} in {counted(report['folders'] + 1, 'folder')}"
    yield "bytes", sized(report["bytes"])
    yield "attempts", str(report["attempts"])
    yield "errors", str(report["errors"]["total"])
    yield "retries", str(report["retries"])
    yield "waits", f"{waits['count']}, {waits['seconds']:.2f} s in all"
    yield "recovered", counted(operations["recovered"], "operation")
    yield "gave up", counted(operations["failed"], "operation")
    for kind, count in report["left_out"].items():
        if count:
            yield "left out", counted(count, kind)
    yield "elapsed", f"{report['elapsed']:.2f} s"
    yield "registry.last_error", last["message"] if last["code"] == 0 else f"{last['name']}: {last['message']}"


def code_rows(report: Report) -> Iterator[tuple[str, str, str]]:
    """Yield the errors by code: name, number, count; the most frequent first."""
    for name, count in sorted(report["errors"]["by_code"].items(), key=lambda item: -item[1]):
        yield name, str(int(ErrorCode[name])), str(count)


def server_rows(report: Report) -> Iterator[tuple[str, str, str, str]]:
    """Yield what the server did wrong: its short name, in words, how often it was planned, how often it was met."""
    for kind, counts in report["misbehaviour"].items():
        if counts["planned"] or counts["met"]:
            yield kind, MISBEHAVIOURS[kind], str(counts["planned"]), str(counts["met"])


def conclusion(report: Report) -> tuple[str, list[str]]:
    """Return the sentence that says whether the backup is the same, and what differs."""
    verified = report["verification"]
    if verified["identical"]:
        compared = f"{counted(verified['files'], 'file')}, {verified['bytes']} bytes"
        return f"identical: both trees were read again and compared byte for byte: {compared}", []
    lines = list(verified["differences"])
    more = len(lines) - _MOST_LISTED
    shown = lines[:_MOST_LISTED] + ([f"and {more} more"] if more > 0 else [])
    return f"NOT identical: {counted(len(lines), 'difference')}", shown


def hint(report: Report) -> str:
    """Return the line that says where the error log is, or how to get one."""
    kept, lines = report["backup"], counted(report["error_log_lines"], "line")
    if kept is None:
        return f"error log: {lines}, removed with the backup; --keep keeps both, for: retrywrap errors DIR/errors"
    return f"kept: {kept} (files, manifest.json, error log); the log's {lines}: retrywrap errors {kept}/errors"


def _by_code(registry: Registry) -> dict[str, int]:
    found = Counter[str]()
    for code, count in sorted(registry.by_code.items()):
        found[code.name] += count  # codes that nobody knows share a name
    return dict(found)


def counted(count: int, noun: str) -> str:
    """Return a number of things in words."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
