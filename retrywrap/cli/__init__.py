"""The command line: ``retrywrap run | errors | codes | explain | plan | inventory | demo``."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from retrywrap import wiring as _wiring  # noqa: F401 - for its effect: it binds failures to their listeners
from retrywrap._version import __version__
from retrywrap.classifiers.redact import safe_text
from retrywrap.cli.usage import UsageError
from retrywrap.errors import ConfigurationError
from retrywrap.record.logfile import escape

__all__ = ["UsageError", "main"]

_COMMANDS = ("run", "errors", "codes", "explain", "plan", "inventory", "demo")
_USAGE, _INTERRUPTED = 2, 130


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(_USAGE, f"{self.prog}: {safe_text(message)} (see {self.prog} --help)\n")


def _parser() -> _Parser:
    parser = _Parser(
        prog="retrywrap",
        description="Retry programs, read error logs, and ask why an error is retried or not.",
        epilog="retrywrap COMMAND --help tells more of each command.",
    )
    parser.add_argument("--version", action="version", version=f"retrywrap {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in _COMMANDS:
        import_module(f"retrywrap.cli.{name}").add_parser(subparsers)
    for subparser in subparsers.choices.values():
        subparser.set_defaults(parser=subparser)  # it says what is wrong with what it was given
    return parser


def _parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    arguments, unknown = _parser().parse_known_args(argv)
    if unknown:
        arguments.parser.error(f"unrecognized arguments: {' '.join(unknown)}{_meant(unknown, arguments)}")
    for name, value in vars(arguments).items():
        if name != "program" and isinstance(value, list) and (not value or [] in value):  # of --max=-- before 3.13
            arguments.parser.error(f"argument --{name.replace('_', '-')}: must have a value; got '--'")
    return arguments


def _meant(unknown: list[str], arguments: argparse.Namespace) -> str:
    """Return which option may have been meant by the first argument that is not known; empty for nothing."""
    options = {each.dest: each.option_strings[-1] for each in arguments.parser._actions if each.option_strings}
    if "(" in unknown[0] and "backoff" in options:
        return "; --backoff takes such an expression"
    from retrywrap.decide.naming import nearest_parameter

    tried = unknown[0].lstrip("-").partition("=")[0].replace("-", "_")
    ours = nearest_parameter(tried, options) if unknown[0].startswith("--") else ""
    return f"; did you mean {options[ours]}?" if ours else ""


def _open_streams() -> None:
    """Put the null device where a standard stream is closed: a file of ours would get its number, and its output.

    What standard output cannot encode is printed as backslash escapes.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115  # it is to stay open
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def _drop_output() -> None:
    """Let the interpreter's own flush at its exit not complain of what was said already."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: The arguments; None: those of the process.

    Returns:
        The exit status: the command's own; 2 for an error of use.
    """
    _open_streams()
    arguments = _parsed(argv)
    try:
        status: int = arguments.run(arguments)
        sys.stdout.flush()
        return status
    except (UsageError, ConfigurationError) as error:
        print(f"retrywrap: {escape(str(error))}", file=sys.stderr)
        return _USAGE
    except BrokenPipeError:  # whoever read has enough
        _drop_output()
        return 0
    except OSError as error:
        _drop_output()
        print(f"retrywrap: {escape(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED
