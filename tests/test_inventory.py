"""The inventory: every decorated function, with its policy and its counts, and the command that lists a module's."""

from __future__ import annotations

import copy
import functools
import gc
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

import retrywrap
from retrywrap import Registry, configure, exponential, registry, with_retry
from retrywrap.cli import main
from retrywrap.record.sites import Site
from retrywrap.run import inventory

here = inventory.__name__
UNCALLED = "{} never ran, " if retrywrap.__build__ == "C" else ""  # pure Python cannot tell what succeeded at once


def site_of(mine: Registry, operation: str) -> Site:
    """Return the only site of an operation."""
    (found,) = [site for site in mine.inventory() if site.operation == operation]
    return found


def test_a_decorated_function_is_known() -> None:
    """With its name, its place and its policy, before anybody calls it."""
    mine = Registry()

    @with_retry(max=3, interval=exponential(1), registry=mine)
    async def upload() -> None:
        """Do nothing."""

    site = site_of(mine, "test_inventory.test_a_decorated_function_is_known.<locals>.upload")
    assert site.module == "test_inventory"
    assert site.qualname == "test_a_decorated_function_is_known.<locals>.upload"
    assert site.file == __file__
    assert site.line == test_a_decorated_function_is_known.__code__.co_firstlineno + 4
    assert site.asynchronous
    assert site.policy == retrywrap.RetryPolicy(max=3, interval=exponential(1))
    assert site.policy.interval == site.policy.backoff == exponential(1)
    assert site.policy_name is None
    assert upload.__name__ == "upload"


def test_the_policy_is_the_one_in_force() -> None:
    """What is configured later counts; a name that nobody has defined yet has no policy."""
    mine = Registry()
    plain = with_retry(registry=mine, name="plain")(len)
    named = with_retry(policy="later", registry=mine, name="named")(len)
    assert site_of(mine, "named")[6:8] == (None, "later")
    configure(error_retry_max=4, policies={"later": {"max": 2}})
    assert site_of(mine, "plain").policy.max == 4  # type: ignore[union-attr]  # it has one
    assert site_of(mine, "named").policy == retrywrap.RetryPolicy(max=2)
    assert plain([]) == named([]) == 0


def test_what_ran_and_what_failed() -> None:
    """Where nobody counts successes, it is not known whether something ran that never failed."""
    mine = Registry()

    def operation(fail: bool) -> None:
        if fail:
            raise ConnectionResetError("x")

    runs = with_retry(max=0, registry=mine, name="runs")(operation)
    fails = with_retry(max=0, registry=mine, name="fails")(operation)
    rests = with_retry(max=0, registry=mine, name="rests")(operation)
    runs(False)
    with pytest.raises(ConnectionResetError):
        fails(True)
    counted = retrywrap.__build__ == "C"
    said = {site.operation: (site.ran, site.failed) for site in mine.inventory()}
    assert said == {
        "runs": (True if counted else None, False),
        "fails": (True, True),
        "rests": (False if counted else None, False),
    }
    assert rests.__name__ == "operation"


def test_functions_of_one_name_are_all_there() -> None:
    """Two functions, or one function twice; a copy is the same one."""
    mine = Registry()
    several = [with_retry(max=number, registry=mine, name="op")(len) for number in (1, 2)]
    assert copy.copy(several[0]) is several[0]
    assert [site.policy.max for site in mine.inventory() if site.policy] == [1, 2]


def test_what_is_let_go_of_is_gone() -> None:
    """The inventory holds nothing; the counts stay."""
    mine = Registry()

    def work() -> None:
        with_retry(registry=mine, name="op")(lambda: None)()

    work()
    gc.collect()
    assert mine.inventory() == []
    assert "op" in mine


class Callable_:
    """A callable object."""

    def __call__(self) -> None:
        """Do nothing."""


@pytest.mark.parametrize(
    ("function", "qualname", "has_place"),
    [
        (len, "len", False),
        (functools.partial(print, "x"), "print", False),
        (functools.partial(Callable_()), "Callable_.__call__", True),
        (Callable_(), "Callable_.__call__", True),
        (int, "int", False),
        (Callable_, "Callable_", False),
    ],
)
def test_all_kinds_of_callables(function: Any, qualname: str, has_place: bool) -> None:
    """What has no code of its own has no place."""
    mine = Registry()
    kept = with_retry(registry=mine)(function)
    (site,) = mine.inventory()
    assert (site.qualname, site.file is not None, site.line is not None) == (qualname, has_place, has_place)
    assert kept is not None


def test_the_global_registry_has_those_that_name_no_other() -> None:
    """As with everything that is recorded."""
    kept = with_retry(name="of the inventory")(len)
    assert [site.qualname for site in registry.inventory() if site.operation == "of the inventory"] == ["len"]
    assert kept([]) == 0


def test_a_process_that_decorates_nothing_has_none() -> None:
    """Nothing is loaded to find that out."""
    code = "import sys, retrywrap; print(retrywrap.registry.inventory(), 'wrapt' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout == "[] False\n"


def test_more_names_than_are_kept_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their functions are there, without counts of their own."""
    monkeypatch.setattr("retrywrap.record.registry._MOST_OPERATIONS", 1)
    mine = Registry()
    kept = [with_retry(max=0, registry=mine, name=name)(len) for name in ("a", "b")]
    assert [(site.operation, site.stats.errors) for site in mine.inventory()] == [("a", 0), ("b", 0)]
    assert len(kept) == 2


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package in the current folder."""
    folder = tmp_path / "stocktaken"
    (folder / "deep").mkdir(parents=True)
    head = "import functools\nfrom retrywrap import with_retry, exponential\n"
    (folder / "__init__.py").write_text(head + "@with_retry\ndef load(): pass\npart = with_retry(max=1)(len)\n")
    (folder / "__main__.py").write_text("raise SystemExit('it ran')\n")
    (folder / "deep" / "__init__.py").write_text("")
    (folder / "deep" / "store.py").write_text(
        head + "class Store:\n    @with_retry(max=3, interval=exponential(1, cap=30), timeout=60)\n"
        "    async def put(self): pass\n    @with_retry(policy='nobody')\n    def get(self): pass\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    gc.collect()  # another test's package of the same name
    return folder


@pytest.mark.usefixtures("package")
def test_the_command_lists_a_package(capsys: pytest.CaptureFixture[str]) -> None:
    """With all its modules but the one that is a program: operation, policy in force, and place."""
    assert main(["inventory", "stocktaken"]) == 0
    place = f"stocktaken{os.sep}deep{os.sep}store.py"
    assert [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()] == [
        "len max=1, interval=fixed(5) -",
        f"stocktaken.deep.store.Store.get policy 'nobody', which is not defined {place}:6",
        f"stocktaken.deep.store.Store.put max=3, interval=exponential(1, cap=30), timeout=60 {place}:4",
        f"stocktaken.load max=10, interval=fixed(5) stocktaken{os.sep}__init__.py:3",
        f"4 decorated functions in stocktaken: {UNCALLED.format(4)}4 never failed",
    ]


def test_functions_of_others_that_a_module_decorates_are_in_its_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wherever they are defined; not those that it imports decorated."""
    (tmp_path / "decorating.py").write_text(
        textwrap.dedent(
            """
            import functools, json, urllib.request
            from decorated_elsewhere import theirs, Theirs
            from retrywrap import with_retry

            urlopen = with_retry(max=3)(urllib.request.urlopen)
            load = with_retry(max=3)(functools.partial(json.loads))

            class Lazy:
                @property
                def __class__(self): raise RuntimeError("not configured")

            lazy = Lazy()

            class Client:
                get = with_retry(max=2)(urllib.request.urlopen)
                post = staticmethod(with_retry(max=1)(urllib.request.urlretrieve))

            @with_retry
            def mine(): pass

            Client.itself = Client
            """
        )
    )
    monkeypatch.setitem(sys.modules, "decorating.stand_in", None)  # type: ignore[arg-type]  # as it may be
    (tmp_path / "decorated_elsewhere.py").write_text(
        "from retrywrap import with_retry\n@with_retry\ndef theirs(): pass\n"
        "class Theirs:\n    @with_retry\n    def get(self): pass\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    try:
        assert main(["inventory", "decorating"]) == 0
    finally:
        for name in ("decorating", "decorated_elsewhere"):
            sys.modules.pop(name, None)
    listed = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
    assert listed == [
        ["decorating.mine", "max=10,"],
        ["json.loads", "max=3,"],
        ["urllib.request.urlopen", "max=3,"],
        ["urllib.request.urlopen", "max=2,"],
        ["urllib.request.urlretrieve", "max=1,"],
        ["5", "decorated"],
    ]


def test_the_command_tells_what_ran_and_failed(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where importing a module calls its functions."""
    calls = "from .deep.store import Store\n" + "for each in (lambda: part([]), lambda: Store().get(1)):\n"
    with (package / "__init__.py").open("a") as file:
        file.write(calls + "    try: each()\n    except TypeError: pass\n")
    configure(policies={"nobody": {"max": 1}})
    assert main(["inventory", "stocktaken"]) == 0
    len_, get, put, load, last = capsys.readouterr().out.splitlines()
    assert len_.endswith(" -, ran" if retrywrap.__build__ == "C" else " -")
    assert get.endswith(f"{os.sep}store.py:6, failed")
    assert (put[-2:], load[-2:]) == (":4", ":3")
    assert last == f"4 decorated functions in stocktaken: {UNCALLED.format(2)}3 never failed"
    assert main(["inventory", "stocktaken", "--json"]) == 0
    for row in json.loads(capsys.readouterr().out):
        failed = row["qualname"] == "Store.get"
        counted = retrywrap.__build__ == "C"
        ran = failed or (row["qualname"] == "len" if counted else None)
        assert (row["ran"], row["failed"]) == (ran, failed)
        assert row["calls"] == (int(ran) if counted and ran is not None else None)
        assert (row["errors"], row["retries"], row["failures"]) == (int(failed), 0, int(failed))


@pytest.mark.usefixtures("package")
def test_the_command_writes_json(capsys: pytest.CaptureFixture[str]) -> None:
    """One object for each function."""
    configure(policies={"nobody": {"max": 1}})
    assert main(["inventory", "stocktaken.deep.store", "--json"]) == 0
    get, put = json.loads(capsys.readouterr().out)
    assert get["operation"] == "stocktaken.deep.store.Store.get"
    assert (get["policy"], get["policy_name"]) == ("max=1, interval=fixed(5) (policy 'nobody')", "nobody")
    assert (put["qualname"], put["line"], put["asynchronous"]) == ("Store.put", 4, True)
    counts = {"ran", "failed", "calls", "errors", "retries", "failures"}
    assert set(put) == set(Site._fields) - {"stats"} | counts


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import pytest; pytest.skip('not here', allow_module_level=True)", "Skipped: not here"),
        ("from retrywrap import configure; configure('no.toml')", "ConfigurationError: no.toml"),
    ],
)
@pytest.mark.parametrize("where", ["bad.py", "deep/__init__.py"])
def test_a_module_inside_that_cannot_be_imported(
    package: Path, capsys: pytest.CaptureFixture[str], where: str, text: str, said: str
) -> None:
    """Is named, with the reason, and makes the status 1; what the others hold is listed all the same."""
    (package / where).write_text(text)
    name = f"stocktaken.{where.partition('/')[0].removesuffix('.py')}"
    assert main(["inventory", "stocktaken"]) == 1
    out, err = capsys.readouterr()
    assert "\nstocktaken.load " in out
    assert " in stocktaken, without 1 module that cannot be imported: " in out
    assert err.startswith(f"retrywrap: {name} cannot be imported: {said}")
    assert err.count("\n") == 1
    assert main(["inventory", "stocktaken", "--json"]) == 1
    assert "stocktaken.load" in [each["operation"] for each in json.loads(capsys.readouterr().out)]


def test_a_package_that_cannot_be_imported(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """There is nothing to list: one line, and status 2; a configuration that is refused speaks for itself."""
    (package / "__init__.py").write_text("1 / 0")
    assert main(["inventory", "stocktaken"]) == 2
    assert capsys.readouterr().err == "retrywrap: stocktaken cannot be imported: ZeroDivisionError: division by zero\n"
    (package / "__init__.py").write_text("from retrywrap import configure; configure('no.toml')")
    assert main(["inventory", "stocktaken"]) == 2
    assert capsys.readouterr().err.startswith("retrywrap: no.toml")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("stocktaken/deep/store.py", "stocktaken.deep.store"),
        ("./stocktaken/deep/__init__.py", "stocktaken.deep"),
        ("stocktaken/", "stocktaken"),
        ("single.py", "single"),
        (".", "single, stocktaken"),
        ("", "single, stocktaken"),
        (".deep", "app, or app.storage"),
    ],
)
def test_a_path_is_no_module(package: Path, capsys: pytest.CaptureFixture[str], name: str, hint: str) -> None:
    """The message says what it is called."""
    (package.parent / "single.py").write_text("")
    assert main(["inventory", name]) == 2
    assert (
        capsys.readouterr().err
        == f"retrywrap: MODULE must be a module's name, as one imports it: {hint}; got {name!r}\n"
    )


@pytest.mark.parametrize("where", ["stocktaken/bad.py", "alone.py"])
def test_ctrl_c_at_an_import_ends_the_command(package: Path, where: str) -> None:
    """It is no error of the module."""
    (package.parent / where).write_text("raise KeyboardInterrupt")
    assert main(["inventory", where.partition("/")[0].removesuffix(".py")]) == 130


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "zzzz.such.module",
            "'zzzz'; modules in the current folder (Python's path was looked through as well): alone, ",
        ),
        ("alon", "'alon'; did you mean alone?\n"),
        ("jsn", "'jsn'; did you mean json"),
        ("stocktaken.deepp", "'stocktaken.deepp'; did you mean stocktaken.deep?\n"),
        ("stocktaken.zzzz.module", "'stocktaken.zzzz'; modules in stocktaken: "),
        ("sourced.module", "'sourced'; it stands in src: PYTHONPATH=src retrywrap inventory sourced.module\n"),
        ("alone.inner", "'alone.inner'; 'alone' is not a package\n"),
        ("needy", "'zzzz'\n"),
        ("odd", "3\n"),
        ("far.below.module", "'far.below'\n"),
    ],
)
def test_a_name_that_is_no_module(package: Path, capsys: pytest.CaptureFixture[str], name: str, said: str) -> None:
    """One line with what may have been meant, or with what there is, and status 2."""
    folder = package.parent
    (folder / "src" / "sourced").mkdir(parents=True)
    (folder / "src" / "sourced" / "__init__.py").write_text("")
    (folder / "alone.py").write_text("")
    (folder / "needy.py").write_text("import zzzz")
    (folder / "odd.py").write_text("raise ModuleNotFoundError('No module named 3', name=3)")
    (folder / "far.py").write_text("raise ModuleNotFoundError(\"No module named 'far.below'\", name='far.below')")
    assert main(["inventory", name]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"retrywrap: {name} cannot be imported: ModuleNotFoundError: No module named {said}")
    assert told.count("\n") == 1


def test_what_modules_print_is_not_in_the_list(package: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """It goes to stderr, so that the JSON can be read."""
    (package / "__init__.py").write_text("import os, sys\nprint('loading')\nfrom . import deep\n")
    (package / "deep" / "__init__.py").write_text("print('deeper')")
    assert main(["inventory", "stocktaken.deep", "--json"]) == 0
    out, err = capfd.readouterr()
    assert [each["operation"] for each in json.loads(out)] == [
        "stocktaken.deep.store.Store.get",
        "stocktaken.deep.store.Store.put",
    ]
    assert err.splitlines() == ["loading", "deeper"]


def test_settings_are_shown_as_in_the_source(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Types and functions by name, an interval in one way."""
    (package / "__init__.py").write_text(
        "from retrywrap import with_retry\n"
        "class ApiError(Exception): pass\n"
        "def judge(result): return None\n"
        "@with_retry(max=1, interval=5, on=ApiError, results=judge)\ndef a(): pass\n"
        "@with_retry(max=1, interval=[1, 2], on=(ApiError, KeyError))\ndef b(): pass\n"
        "@with_retry(max=1, on=(ApiError,))\ndef c(): pass\n"
        "@with_retry(max=1, interval=0.5)\ndef d(): pass\n"
    )
    assert main(["inventory", "stocktaken"]) == 0
    rows = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines() if line.startswith("stocktaken.")]
    assert [row.rpartition(" ")[0] for row in rows if ".deep." not in row] == [
        "stocktaken.a max=1, interval=fixed(5), on=ApiError, results=judge",
        "stocktaken.b max=1, interval=[1, 2], on=(ApiError, KeyError)",
        "stocktaken.c max=1, interval=fixed(5), on=(ApiError,)",
        "stocktaken.d max=1, interval=fixed(0.5)",
    ]
