"""The final report: one plain mapping, and the lines that tell it to people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from retrywrap.cli.demo.client import Client
from retrywrap.cli.demo.plan import MISBEHAVIOURS, Plan
from retrywrap.cli.demo.progress import Progress, sized
from retrywrap.cli.demo.scan import Tree, printable
from retrywrap.cli.demo.verify import Verification
from retrywrap.record.registry import Registry, Stats

__all__ = ["conclusion", "make_report", "server_rows", "summary_rows"]

_MOST_LISTED = 10

Report = dict[str, Any]


def make_report(
    tree: Tree,
    plan: Plan,
    progress: Progress,
    client: Client,
    stats: Stats,
    registry: Registry,
    failed: Mapping[str, str],
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
        failed: Files that could not be backed up, and why.
        verification: What came of the comparison.
    """
    last = registry.last_error
    return {
        "files": progress.done,
        "bytes": progress.done_bytes,
        "folders": len(tree.folders),
        "attempts": client.attempts,
        "errors": {"total": stats.errors, "by_code": {code.name: n for code, n in sorted(registry.by_code.items())}},
        "retries": stats.retries,
        "waits": {"count": progress.waits, "seconds": round(stats.waited, 3)},
        "operations": {"recovered": stats.recovered, "failed": stats.failed},
        "misbehaviour": {
            kind: {"planned": plan.counts[kind], "met": progress.met[kind]} for kind in MISBEHAVIOURS
        },
        "last_error": {"code": int(last.code), "name": last.code.name, "message": str(last), "operation": last.operation},
        "elapsed": round(progress.elapsed, 3),
        "failed": {printable(name): reason for name, reason in failed.items()},
        "left_out": {
            "symbolic links": len(tree.links),
            **{f"{kind}s": list(tree.special.values()).count(kind) for kind in sorted(set(tree.special.values()))},
        },
        "verification": {**verification._asdict(), "identical": verification.identical},
    }


def summary_rows(report: Report) -> Iterator[tuple[str, str]]:
    """Yield what was done and what it took, as labels and values."""
    waits, operations, last = report["waits"], report["operations"], report["last_error"]
    yield "files", f"{report['files']} in {_counted(report['folders'] + 1, 'folder')}"
    yield "bytes", sized(report["bytes"])
    yield "attempts", str(report["attempts"])
    yield "errors", str(report["errors"]["total"])
    for name, count in report["errors"]["by_code"].items():
        yield f"  {name}", str(count)
    yield "retries", str(report["retries"])
    yield "waits", f"{waits['count']}, {waits['seconds']:.2f} s in all"
    yield "recovered", _counted(operations["recovered"], "operation")
    yield "gave up", _counted(operations["failed"], "operation")
    for kind, count in report["left_out"].items():
        if count:
            yield "left out", f"{count} {kind if count > 1 else kind[:-1]}"
    yield "elapsed", f"{report['elapsed']:.2f} s"
    yield "registry.last_error", last["message"] if last["code"] == 0 else f"{last['name']}: {last['message']}"


def server_rows(report: Report) -> Iterator[tuple[str, str, str]]:
    """Yield what the server did wrong: in words, how often it was planned, how often it was met."""
    for kind, counts in report["misbehaviour"].items():
        yield MISBEHAVIOURS[kind], str(counts["planned"]), str(counts["met"])


def conclusion(report: Report) -> tuple[str, list[str]]:
    """Return the sentence that says whether the backup is the same, and what differs."""
    verified = report["verification"]
    if verified["identical"]:
        compared = f"{_counted(verified['files'], 'file')}, {verified['bytes']} bytes"
        return f"identical: both trees were read again and compared byte for byte: {compared}", []
    reasons = [f"{name}: {reason}" for name, reason in report["failed"].items()]
    lines = [*reasons, *(line for line in verified["differences"] if line.rpartition(":")[0] not in report["failed"])]
    more = len(lines) - _MOST_LISTED
    shown = lines[:_MOST_LISTED] + ([f"and {more} more"] if more > 0 else [])
    return f"NOT identical: {_counted(len(lines), 'difference')}", shown


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
