"""`retrywrap explain ERROR`: which rule says what of an error, and why."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from retrywrap.classifiers import Step, Verdict, explain
from retrywrap.classifiers.verdict import return_codes
from retrywrap.cli.errorspec import read_error
from retrywrap.codes import ErrorCode

if TYPE_CHECKING:
    import argparse

__all__ = ["add_parser", "run"]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand ``explain``."""
    parser = subparsers.add_parser(
        "explain",
        help="say whether an error would be retried, and why",
        description="Say what the default classifier makes of an error: its code, whether it is retried, and "
        "which rules looked.",
    )
    parser.add_argument(
        "error",
        metavar="ERROR",
        help="an exception: 'OSError(28)', requests.exceptions.ConnectionError; a code: -6, NETWORK; an errno: ENOSPC",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print what is said of one error; return the exit status."""
    error = read_error(arguments.error)
    steps = explain(error)
    verdict = next((step.answer for step in reversed(steps) if step.answer is not None), None)
    verdict = verdict or return_codes(error) or Verdict.of(0)
    if arguments.json:
        _print_json(error, verdict, steps)
    else:
        _print(error, verdict, steps)
        if verdict.rule == "unknown" and "(" not in arguments.error:
            print("  note         made without arguments, which its rules may look at: give them in parentheses")
    return 0


def _print(error: BaseException | ErrorCode, verdict: Verdict, steps: list[Step]) -> None:
    print(_title(error))
    for name, value in _facts(verdict):
        print(f"  {name:12} {value}")
    print("  path")
    for step in steps:
        mark = "→" if step.answer is not None else "·"
        print(f"    {mark} {step.rule:28} {step.note}")


def _title(error: BaseException | ErrorCode) -> str:
    if isinstance(error, ErrorCode):
        return f"{error.plugin_name} ({int(error)}): {error.message}{_meant(int(error))}"
    return f"{type(error).__module__}.{type(error).__qualname__}({', '.join(map(repr, error.args))})"


def _meant(number: int) -> str:
    """Return what else a number that is no code of the plugin's may have been meant as."""
    if 100 <= number <= 599:
        return f"; an HTTP status? write urllib.error.HTTPError('url', {number}, '', None, None)"
    if number in errno.errorcode:
        return f"; an errno? write OSError({number}) or {errno.errorcode[number]}"
    return ""


def _facts(verdict: Verdict) -> list[tuple[str, str]]:
    code = verdict.code
    facts = [
        ("code", f"{code.name} ({int(code)}) {code.message}"),
        ("retried", _retried(verdict)),
        ("effect", "none: the failed attempt was surely not applied" if verdict.effect == "none" else
         "unknown: the failed attempt may have been applied"),
    ]  # fmt: skip
    if verdict.retry_after is not None:
        facts.append(("retry after", f"{verdict.retry_after:g} s"))
    return [*facts, ("message", verdict.message), ("rule", verdict.rule)]


def _retried(verdict: Verdict) -> str:
    if verdict.forbid:
        return "never: not even with on="
    if verdict.retryable:
        return "yes"
    return "no; on= or retrywrap.classifiers.register would retry it"


def _print_json(error: BaseException | ErrorCode, verdict: Verdict, steps: list[Step]) -> None:
    import json

    fields = verdict._asdict()
    fields["code"] = int(verdict.code)
    fields["code_name"] = verdict.code.name
    fields["path"] = [{"rule": step.rule, "spoke": step.answer is not None, "note": step.note} for step in steps]
    print(json.dumps({"error": _title(error), **fields}, ensure_ascii=False, indent=2))
