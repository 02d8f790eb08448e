"""`retrywrap codes`: the plugin's error codes, their messages, and which are retried by default."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrywrap.codes import ErrorCode

if TYPE_CHECKING:
    import argparse

__all__ = ["add_parser", "run"]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand ``codes``."""
    parser = subparsers.add_parser(
        "codes",
        help="list the error codes",
        description="List the error codes of taosX's backup plugin, their messages, and which are retried by default.",
    )
    parser.add_argument("--json", action="store_true", help="a JSON array")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the codes; return the exit status."""
    if arguments.json:
        import json

        print(json.dumps([_row(code) for code in ErrorCode], indent=2))
        return 0
    print(f"{'code':>4}  {'name':17}  {'retried':7}  message")
    for code in ErrorCode:
        print(f"{code:>4}  {code.name:17}  {_retried(code):7}  {code.message}")
    print("\nEvery other number is an unknown error, which is not retried.")
    return 0


def _retried(code: ErrorCode) -> str:
    if code is ErrorCode.SUCCESS:
        return "-"
    return "yes" if code.retryable else "no"


def _row(code: ErrorCode) -> dict[str, object]:
    return {
        "code": int(code),
        "name": code.name,
        "plugin_name": code.plugin_name,
        "message": code.message,
        "retryable": code.retryable,
    }
