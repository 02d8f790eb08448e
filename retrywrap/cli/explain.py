"""`retrywrap explain ERROR`: which rule says what of an error, and why; `explain --table NAME`: a family's rules."""

from __future__ import annotations

import errno
import sys
import textwrap
from typing import TYPE_CHECKING, Any

from retrywrap.classifiers import Step, Verdict, explain
from retrywrap.classifiers.guard import dotted_name, read, type_name
from retrywrap.classifiers.redact import safe_text
from retrywrap.classifiers.rows import Codes, Row
from retrywrap.classifiers.tables import codes, families, family
from retrywrap.classifiers.verdict import return_codes
from retrywrap.cli.errorspec import read_error
from retrywrap.cli.picture import UNICODE, glyphs_for
from retrywrap.cli.usage import UsageError
from retrywrap.codes import ErrorCode
from retrywrap.decide.checks import shown

if TYPE_CHECKING:
    import argparse

__all__ = ["add_parser", "run"]

_WIDEST = 100  # characters of codes on one line


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
        nargs="?",
        help="an exception: 'OSError(28)', requests.exceptions.ConnectionError; a code: -6, NETWORK; an errno: ENOSPC",
    )
    parser.add_argument(
        "--table",
        metavar="NAME",
        help=f"print the rules of a family ({', '.join(families())}), or of one library",
    )
    parser.add_argument("--json", action="store_true", help="JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print what is said of one error, or the rules of a family; return the exit status."""
    if (arguments.error is None) == (arguments.table is None):
        raise UsageError("explain takes an ERROR, or --table NAME, and not both; see retrywrap explain --help")
    if arguments.table is not None:
        return _print_family(arguments.table, as_json=arguments.json)
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
    spoke, passed = ("→", "·") if glyphs_for(sys.stdout.encoding) is UNICODE else (">", "-")
    for step in steps:
        print(f"    {spoke if step.answer is not None else passed} {step.rule:28} {step.note}")


def _print_family(name: str, *, as_json: bool) -> int:
    try:
        rows, lists = family(name), codes(name)
    except KeyError:
        raise UsageError(
            f"--table {shown(name)}: expected a family ({', '.join(families())}) or the root of a library's modules, "
            "such as requests"
        ) from None
    told = [{"class": key, "rule": row.rule, "says": _says(row)} for key, row in rows.items()]
    if as_json:
        import json

        coded = [
            {"library": some.roots, "carrier": some.carrier, "code": str(code), "says": _verdict(verdict)}
            for some in lists
            for code, verdict in some.rows.items()
        ]
        print(json.dumps([*told, *coded], ensure_ascii=False, indent=2))
        return 0
    width = max((len(fact["class"]) for fact in told), default=0)
    for fact in told:
        print(f"{fact['class']:{width}}  {fact['says']}")
    for number, some in enumerate(lists):
        print(f"{'' if number == 0 and not told else chr(10)}{some.roots.replace(' ', ', ')}: by {some.carrier}")
        _print_codes(some)
    return 0


def _print_codes(some: Codes) -> None:
    """Print the codes that mean the same on one line: short numbers beside each other, texts below each other."""
    same: dict[str, list[Any]] = {}
    for code, verdict in some.rows.items():
        same.setdefault(_verdict(verdict), []).append(code)
    for says, members in same.items():
        shown = _spans(members)
        if sum(map(len, shown)) > _WIDEST or shown[0].startswith('"'):
            print(f"  {says}", *textwrap.wrap(", ".join(shown), _WIDEST), sep="\n    ")
        else:
            print(f"  {says}: {', '.join(shown)}")


def _spans(members: list[Any]) -> list[str]:
    """Return codes as they are printed, whole numbers that follow each other as one span."""
    spans: list[list[Any]] = []
    for member in members:
        if spans and type(member) is int and spans[-1][-1] == member - 1:
            spans[-1].append(member)
        else:
            spans.append([member])
    return [text for span in spans for text in ([f"{span[0]}-{span[-1]}"] if len(span) > 2 else map(str, span))]


def _says(row: Row) -> str:
    if row.answer is not None:
        return _verdict(row.answer)
    judge = row.judge if row.judge is not None else row.through
    about = (judge.__doc__ or "").partition("\n")[0]
    return f"depends: {about.strip()}"


def _verdict(verdict: Verdict) -> str:
    retried = "never retried" if verdict.forbid else "retried" if verdict.retryable else "not retried"
    effect = ", surely not applied" if verdict.effect == "none" else ""
    throttled = ", asked for less load" if verdict.throttled else ""
    return f"{verdict.code.name}, {retried}{effect}{throttled}"


def _title(error: BaseException | ErrorCode) -> str:
    if isinstance(error, ErrorCode):
        return f"{error.plugin_name} ({int(error)}): {error.message}{_meant(int(error))}"
    arguments: Any = read(error, "args")
    listed = ", ".join(map(_shown, arguments if type(arguments) is tuple else ()))
    return f"{dotted_name(type(error))}({safe_text(listed)})"


def _shown(argument: object) -> str:
    try:
        return repr(argument)
    except Exception:  # an exception that was made here may hold anything
        return f"<{type_name(type(argument))}>"


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
