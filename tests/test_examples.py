"""Every example of README and docs is executed, under a virtual clock, in an empty folder, page by page.

What is executed, in the order of the page:

* ``python`` blocks, as modules do: they share the page's namespace; ``await`` may stand outside a function.
* ``pycon`` blocks, as doctests (``...`` stands for anything).
* ``console`` blocks: each line that begins with ``$ `` goes to a shell that knows `retrywrap`, and what the page
  shows below it must be what comes out (``...`` stands for anything). A command must succeed, unless ``$ echo $?``
  follows it.

A page that ``<!-- needs: postgres -->`` is executed where that server can be started (see `STAGES`), and skipped by
name elsewhere.

What the page says of a block stands in an HTML comment right before it:

* ``<!-- output -->`` before a ``text`` block: it is what the Python block before it prints.
* ``<!-- raises: ConnectionError -->``: the Python block ends with this exception.
* ``<!-- skip: reason -->``: the block is not executed, for this reason.

A block inside an HTML comment is executed and not shown: it sets the stage.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import doctest
import http.server
import inspect
import io
import logging
import os
import re
import subprocess
import sys
import textwrap
import types
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import structlog
from servers.common import free_port, need, serving
from servers.mariadb import PASSWORD, mariadb
from servers.postgres import postgres
from servers.rabbitmq import BINARIES, RabbitMQ
from servers.redis import redis_server, require_redis
from servers.tdengine import require_taosrest, tdengine_server

from retrywrap.testing import VirtualClock

CHECKOUT = Path(__file__).parents[1]
PAGES = sorted(
    [*CHECKOUT.glob("README*.md"), *(p for p in (CHECKOUT / "docs").rglob("*.md") if "_build" not in p.parts)]
)
FENCE = re.compile(
    r"(?:<!-- *(?P<mark>output|skip|raises)(?:: *(?P<value>[^\n]*?))? *-->\n+)?"
    r"^(?P<indent> *)```(?P<language>python|pycon|console|text)\b[^\n]*\n(?P<code>.*?)^(?P=indent)```$",
    re.DOTALL | re.MULTILINE,
)
CHECKER = doctest.OutputChecker()
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


class Block(NamedTuple):
    """One fenced block of a page.

    Attributes:
        page: The file.
        line: The line of the file on which its code begins.
        language: The fence's language.
        code: The text.
        mark: What the comment before it says: output, skip, raises; or None.
        value: What follows the mark's colon.
    """

    page: Path
    line: int
    language: str
    code: str
    mark: str | None
    value: str


def blocks(page: Path) -> list[Block]:
    """Return a page's blocks that can be executed or compared, in order."""
    text = page.read_text("utf-8")
    return [
        Block(
            page,
            text.count("\n", 0, found.start("code")) + 1,
            found["language"],
            textwrap.dedent(found["code"]),
            found["mark"],
            found["value"] or "",
        )
        for found in FENCE.finditer(text)
        if found["language"] != "text" or found["mark"]
    ]


def executed(page: Path) -> list[Block]:
    """Return those of a page's blocks that are executed."""
    return [block for block in blocks(page) if block.mark != "skip" and block.language != "text"]


def compare(block: Block, wanted: str, got: str) -> None:
    """Fail with a readable difference where some output is not what the page shows."""
    example = doctest.Example("", wanted)
    if not CHECKER.check_output(wanted, got, FLAGS):
        difference = CHECKER.output_difference(example, got, FLAGS)
        pytest.fail(f"{block.page.name}:{block.line}\n{difference}", pytrace=False)


def run_python(block: Block, namespace: dict[str, object]) -> str:
    """Execute a Python block; return what it prints."""
    code = compile("\n" * (block.line - 1) + block.code, block.page, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    printed = io.StringIO()
    expected = pytest.raises(Exception) if block.mark == "raises" else contextlib.nullcontext()  # noqa: PT011 - compared below by name
    with contextlib.redirect_stdout(printed), expected as caught:
        if code.co_flags & inspect.CO_COROUTINE:
            asyncio.run(eval(code, namespace))
        else:
            exec(code, namespace)
    if block.mark == "raises":
        assert block.value in {cls.__name__ for cls in caught.type.__mro__}
    return printed.getvalue()


def run_doctest(block: Block, namespace: dict[str, object]) -> None:
    """Execute a block of an interactive session and compare what it shows."""
    test = doctest.DocTestParser().get_doctest(block.code, namespace, block.page.name, str(block.page), block.line - 1)
    report = io.StringIO()
    runner = doctest.DocTestRunner(optionflags=FLAGS, verbose=False)
    runner.run(test, out=report.write, clear_globs=False)
    namespace.update(test.globs)
    if runner.failures:
        pytest.fail(report.getvalue(), pytrace=False)


COMMAND = re.compile(r"^\$ (?P<command>.*(?:\\\n.*)*)\n(?P<output>(?:(?!\$ ).*\n)*)", re.MULTILINE)
PROGRAM = """\
import sys
from retrywrap.cli import main
from retrywrap.testing import VirtualClock
sys.argv[0] = "retrywrap"
with VirtualClock():
    sys.exit(main())
"""


@pytest.fixture
def shell(tmp_path: Path) -> dict[str, str]:
    """The environment of a shell in which `retrywrap` runs under a virtual clock."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "retrywrap"
    program.write_text(f"#!{sys.executable}\n{PROGRAM}")
    program.chmod(0o755)
    (folder / "python").symlink_to(sys.executable)
    path = f"{folder}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "COLUMNS": "100", "NO_COLOR": "1", "PYTHONWARNINGS": "error"}


def run_console(block: Block, environment: dict[str, str]) -> None:
    """Give a block's commands to one shell, and compare what each one prints."""
    steps = [(step["command"], step["output"]) for step in COMMAND.finditer(block.code)]
    assert steps, f"{block.page.name}:{block.line}: a console block needs lines that begin with '$ '"
    mark = "\x1e"
    script = "".join(
        f"(exit $status); {{ {command}\n}} 2>&1; status=$?; printf '{mark}%s{mark}' $status\n" for command, _ in steps
    )
    ran = subprocess.run(
        ["bash", "-c", "status=0\n" + script],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    parts = ran.stdout.split(mark)
    assert len(parts) == 2 * len(steps) + 1, f"{block.page.name}:{block.line}: {ran.stderr}"
    for number, (command, wanted) in enumerate(steps):
        got, status = parts[2 * number], parts[2 * number + 1]
        followed = number + 1 < len(steps) and steps[number + 1][0] == "echo $?"
        where = f"{block.page.name}:{block.line}: {command}"
        assert status == "0" or followed, f"{where}: exit status {status}\n{got}"
        if wanted.strip():
            compare(block, wanted, got)


@pytest.fixture
def page_module() -> Iterator[types.ModuleType]:
    """The module that a page's Python blocks are: importable, so that what they define can be pickled and inspected."""
    module = types.ModuleType("example")
    sys.modules["example"] = module
    yield module
    del sys.modules["example"]


def run_page(page: Path, namespace: dict[str, object], environment: dict[str, str]) -> None:
    """Execute all blocks of a page, in order."""
    printed = ""
    for block in blocks(page):
        if block.mark == "skip":
            continue
        if block.language == "text":
            compare(block, block.code, printed)
        elif block.language == "python":
            printed = run_python(block, namespace)
        elif block.language == "pycon":
            run_doctest(block, namespace)
        else:
            run_console(block, environment)


@pytest.fixture
def _workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty folder to work in, a clock that does not make anybody wait, and logging that no page inherits."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    loggers = [logging.getLogger(), logging.getLogger("retrywrap")]
    before = [(logger, logger.level, logger.handlers[:]) for logger in loggers]
    with VirtualClock():
        yield
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers
    structlog.reset_defaults()


# From 3.14 on Python says so of each error that `urllib` raises for an answer and that nobody closes.
@pytest.mark.filterwarnings("ignore:Implicitly cleaning up <HTTPError:ResourceWarning")
@pytest.mark.usefixtures("_workplace")
@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(CHECKOUT)) for page in PAGES])
def test_examples_of_a_page(page: Path, page_module: types.ModuleType, shell: dict[str, str]) -> None:
    """All blocks of the page run, one after the other, and show what the page says that they show."""
    need = re.search(r"<!-- needs: (\w+) -->", page.read_text("utf-8"))
    with STAGES[need[1]]() if need else contextlib.nullcontext({}) as stage:
        vars(page_module).update(stage)
        run_page(page, vars(page_module), shell)


@contextlib.contextmanager
def _postgres() -> Iterator[dict[str, object]]:
    need(modules=["psycopg"])
    with postgres(max_connections="50") as server:
        yield {"DATABASE": f"host=127.0.0.1 port={server.port} user=tester dbname=postgres"}


@contextlib.contextmanager
def _mariadb() -> Iterator[dict[str, object]]:
    need(modules=["pymysql"])
    with mariadb() as server:
        login = {"user": "tester", "password": PASSWORD, "database": "test"}
        yield {"DATABASE": {"host": "127.0.0.1", "port": server.port, **login}}


@contextlib.contextmanager
def _redis() -> Iterator[dict[str, object]]:
    require_redis()
    with redis_server(Path.cwd()) as server:
        yield {"PORT": server.port, "SERVER": server}


@contextlib.contextmanager
def _tdengine() -> Iterator[dict[str, object]]:
    require_taosrest()
    with tdengine_server() as server:
        yield {"TDENGINE": server.url, "SERVER": server}


class _Store(http.server.BaseHTTPRequestHandler):
    """An S3 that is busy at first."""

    calls = 0

    def do_PUT(self) -> None:
        type(self).calls += 1
        self.rfile.read(int(self.headers["Content-Length"]))
        busy = type(self).calls == 1
        body = b"<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>" if busy else b""
        self.send_response(503 if busy else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def _s3() -> Iterator[dict[str, object]]:
    need(modules=["botocore"])
    _Store.calls = 0
    with serving(_Store) as port:
        yield {"STORE": f"http://127.0.0.1:{port}"}
    assert _Store.calls == 2


@contextlib.contextmanager
def _rabbitmq() -> Iterator[dict[str, object]]:
    need(modules=["pika"], binaries=BINARIES)
    import pika

    with RabbitMQ() as broker:
        yield {"BROKER": pika.ConnectionParameters("127.0.0.1", broker.port), "CLOSED": free_port()}


STAGES = {
    "mariadb": _mariadb,
    "postgres": _postgres,
    "rabbitmq": _rabbitmq,
    "redis": _redis,
    "s3": _s3,
    "tdengine": _tdengine,
}


WRONG = {
    "an exception": "```python\n1 / 0\n```\n",
    "no exception": "<!-- raises: ZeroDivisionError -->\n```python\n1 / 1\n```\n",
    "another exception": "<!-- raises: OSError -->\n```python\n1 / 0\n```\n",
    "another output": "```python\nprint(1)\n```\n<!-- output -->\n```text\n2\n```\n",
    "another result": "```pycon\n>>> 1 + 1\n3\n```\n",
    "a failing command": "```console\n$ retrywrap no-such-command\n```\n",
    "a command that prints something else": "```console\n$ echo 1\n2\n```\n",
    "a console without a command": "```console\necho 1\n```\n",
    "a hidden block": "<!--\n```python\n1 / 0\n```\n-->\n",
}


@pytest.mark.usefixtures("_workplace")
@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_example_is_found(
    wrong: str, tmp_path: Path, page_module: types.ModuleType, shell: dict[str, str]
) -> None:
    """The machinery itself: a page whose example does not do what the page says fails."""
    page = tmp_path / "page.md"
    page.write_text(WRONG[wrong], "utf-8")
    with pytest.raises((AssertionError, ZeroDivisionError, pytest.fail.Exception)):
        run_page(page, vars(page_module), shell)


def test_there_are_examples() -> None:
    """The collector finds what there is: README and pages hold dozens of blocks of each kind that is executed."""
    found = [block.language for page in PAGES for block in executed(page)]
    assert len(found) >= 20
    assert {"python", "console"} <= set(found)
    assert any(block.language == "python" for block in executed(CHECKOUT / "README.md"))


def test_a_skipped_block_says_why() -> None:
    """A block that is not executed gives its reason in words."""
    skipped = [block for page in PAGES for block in blocks(page) if block.mark == "skip"]
    assert [f"{block.page.name}:{block.line}" for block in skipped if len(block.value.split()) < 2] == []


def test_no_block_escapes_the_collector() -> None:
    """Each fence that opens as Python, as a session or as a console is seen, however it is written."""
    for page in PAGES:
        opened = re.findall(
            r"^ *(?:`{3,}|~{3,}) *\{?(?:python|pycon|py|console|code-block)\b", page.read_text("utf-8"), re.M
        )
        assert len(opened) == sum(block.language != "text" for block in blocks(page)), page
