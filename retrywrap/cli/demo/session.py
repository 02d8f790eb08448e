"""One run of the demo, from the look at the folder to the exit status."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from retrywrap import config
from retrywrap.cli.demo.client import BackupError, Client, Stored
from retrywrap.cli.demo.display import Display, make_display, print_line
from retrywrap.cli.demo.plan import Plan, make_plan
from retrywrap.cli.demo.process import ServerProcess
from retrywrap.cli.demo.progress import Progress, misbehaviour_of, sized
from retrywrap.cli.demo.report import make_report
from retrywrap.cli.demo.scan import Tree, printable, scan
from retrywrap.cli.demo.verify import verify
from retrywrap.cli.usage import UsageError
from retrywrap.decide.events import RetryEvent
from retrywrap.record.hooks import subscribe
from retrywrap.record.logfile import escape
from retrywrap.record.reader import read_errors
from retrywrap.record.registry import registry
from retrywrap.run.files import write_file
from retrywrap.run.scope import RetryScope, retry_scope

if TYPE_CHECKING:
    import argparse

__all__ = ["Session"]

T = TypeVar("T")

_INTERRUPTED = 130
_SECONDS = 18.0
_SECONDS_TO_VERIFY = 3.0
_RETRIES = 150


class Session:
    """One run of the demo.

    Args:
        arguments: The command line: ``path``, ``seed``, ``faults``, ``keep``, ``json``.

    Raises:
        UsageError: There is nothing at the path that could be backed up.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.folder = ""
        self.tree = self._look()
        self.plan: Plan = make_plan(self.tree.files, arguments.seed, arguments.faults)
        self.progress = Progress(self.tree)
        self.display: Display = make_display(self.progress, sys.stderr if arguments.json else sys.stdout)
        self.failed: dict[str, str] = {}

    def run(self) -> int:
        """Back up, compare, report; return the exit status.

        Raises:
            UsageError: The backup would not fit on the disk.
        """
        try:
            with ExitStack() as stack:
                return self._run(stack)
        except KeyboardInterrupt:
            removed = "" if self.arguments.keep else ", the backup is removed"
            self.display.say(f"interrupted; the server has ended{removed}")
            return _INTERRUPTED

    def _look(self) -> Tree:
        """Return what the path holds; by default our own package, without what Python writes into it as it runs."""
        path = str(Path(__file__).resolve().parents[2]) if self.arguments.path is None else self.arguments.path
        left_out = "__pycache__" if self.arguments.path is None else os.path.basename(self.folder)
        try:
            return scan(path, leave_out=(left_out,))
        except (OSError, ValueError) as error:  # ValueError: no path may hold a null byte
            reason = getattr(error, "strerror", None) or error
            raise UsageError(f"cannot back up '{printable(path)}': {reason}") from error

    def _run(self, stack: ExitStack) -> int:
        client = self._set_up(stack)
        with retry_scope(max=_RETRIES, timeout=_SECONDS, name="demo.backup") as scope:
            self._write_manifest(self._back_up(client, scope))
        self.progress.doing = "comparing both trees byte for byte"
        verification = verify(self._look(), scan(os.path.join(self.folder, "files")), self.failed)
        self._show(make_report(self.tree, self.plan, self.progress, client, scope.stats(), registry, verification))
        return 0 if verification.identical else 1

    def _set_up(self, stack: ExitStack) -> Client:
        """Make the folder, the error log, the server, the display and the client; all end with `stack`."""
        self._make_folder(stack)
        config.configure(events=False, error_store_path=self._errors, enable_error_logging=True)
        stack.callback(config.reset)
        token = secrets.token_hex(8)
        orders = {
            "folder": os.path.join(self.folder, "files"),
            "backup": self.folder,
            "keep": self.arguments.keep,
            "token": token,
            "queues": self.plan.queues,
        }
        server = stack.enter_context(ServerProcess(orders))
        self.display.introduce(self.tree, self.plan, server)
        stack.enter_context(self.display)
        for listener in (self.progress.event, self.display.event, lambda event: _prompt(event, server)):
            stack.callback(subscribe(listener))
        client = Client(server.port, token, self.tree, self.progress.block)
        stack.callback(client.close)
        return client

    def _make_folder(self, stack: ExitStack) -> None:
        try:
            place = tempfile.gettempdir()
            free = shutil.disk_usage(place).free
            if self.tree.bytes > free:
                raise OSError(f"the backup needs {sized(self.tree.bytes)} in {place}, where {sized(free)} are free")
            self.folder = tempfile.mkdtemp(prefix="retrywrap-demo-")
        except OSError as error:
            raise UsageError(f"no folder for the backup: {error}; TMPDIR names another place") from error
        if not self.arguments.keep:
            stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        os.mkdir(os.path.join(self.folder, "files"))

    @property
    def _errors(self) -> str:
        return os.path.join(self.folder, "errors")

    def _back_up(self, client: Client, scope: RetryScope) -> dict[str, Stored]:
        """Send everything that time allows; return what is stored."""
        stored: dict[str, Stored] = {}
        for folder in self.tree.bare_folders:
            self._attempt(client.make_folder, folder, scope)
        for file in self.tree.files:
            about = self._attempt(client.upload_file, file.name, scope)
            if about is not None:
                stored[file.name] = about
                self.progress.finish(about.size)
            self.display.step()
        return stored

    def _attempt(self, operation: Callable[[str], T], name: str, scope: RetryScope) -> T | None:
        """Run an operation; where it fails for good, note why, and let the others have their turn."""
        self.progress.begin(name)
        if (scope.remaining() or 0) < _SECONDS_TO_VERIFY:
            self.failed[name] = f"no time was left for it of the {_SECONDS:g} s that a run may take"
            return None
        try:
            return operation(name)
        except (OSError, HTTPException, BackupError) as error:
            self.failed[name] = escape(str(error))
            return None

    def _write_manifest(self, stored: dict[str, Stored]) -> None:
        """Write down what the backup holds, in one piece or not at all."""
        files = {name: about._asdict() for name, about in stored.items()}
        manifest = {"files": files, "folders": self.tree.folders, "links": self.tree.links}
        try:
            write_file(os.path.join(self.folder, "manifest.json"), json.dumps(manifest, indent=1))
        except OSError as error:
            self.failed["manifest.json"] = escape(str(error))

    def _show(self, report: dict[str, Any]) -> None:
        lines = sum(1 for _ in read_errors(self._errors)) if os.path.isdir(self._errors) else 0
        kept = self.folder if self.arguments.keep else None
        report = {**report, "backup": kept, "error_log_lines": lines}
        self.display.report(report)
        if self.arguments.json:
            print_line(json.dumps(report, indent=2), sys.stdout)


def _prompt(event: RetryEvent, server: ServerProcess) -> None:
    """Tell the server that somebody was turned away, so that the number of refusals does not hang on who is faster."""
    if event.is_error and misbehaviour_of(event) == "refuse":
        server.come_back()
