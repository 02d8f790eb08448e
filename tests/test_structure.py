"""The house's rules, proved from the code: floors, purity, public names, documentation, third-party imports."""

from __future__ import annotations

import ast
import builtins
import enum
import importlib
import importlib.metadata
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import retrywrap

PACKAGE = Path(retrywrap.__file__).parent
CHECKOUT = Path(__file__).parents[1]
PUBLIC = ("retrywrap", "retrywrap.classifiers", "retrywrap.plugin", "retrywrap.testing")

FLOORS = {
    "_version": 0,
    "codes": 0,
    "errors": 0,
    "lazy": 0,
    "locks": 0,
    "reports": 1,
    "classifiers": 1,
    "decide": 2,
    "record": 3,
    "run": 4,
    "config": 5,
    "presets": 5,
    "wiring": 5,
    "cli": 6,
    "plugin": 6,
    "pytest_plugin": 6,
    "testing": 6,
    "__init__": 7,
    "__main__": 7,
}
# fmt: off
TOP = {
    "with_retry", "retry_scope", "remaining", "shutdown",
    "RetryPolicy", "NETWORK", "FILES", "RetryContext", "RetryState", "StopReason",
    "fixed", "linear", "exponential", "decorrelated", "fibonacci", "RetryBudget", "RatioBudget",
    "ErrorCode", "Verdict", "classify", "return_codes",
    "registry", "Registry", "ErrorRecord", "subscribe",
    "write_file", "configure", "RetryEvent",
    "RetryWrapError", "RetryExhausted", "RetryUsageError", "DeadlineExceeded", "ConfigurationError",
}
# fmt: on
LAZY = {"structlog", "rich", "matplotlib", "trio"}
EAGER = {"wrapt"}
IMPURE = {
    "asyncio",
    "io",
    "logging",
    "os",
    "pathlib",
    "selectors",
    "shutil",
    "signal",
    "socket",
    "subprocess",
    "tempfile",
}
IMPURE |= {"threading", "time"}


def module_name(path: Path) -> str:
    """Return a source file's module name below the package, such as ``run.clock`` or ``__init__``."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


SOURCES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text("utf-8"), str(path)) for name, path in SOURCES.items()}


def imports(tree: ast.AST) -> Iterator[tuple[int, str, str]]:
    """Yield the line, the module and the imported name ("" for a plain import) of each import in a tree."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, ""
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute"
            for alias in node.names:
                yield node.lineno, node.module or "", alias.name


def own_imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and the module below the package of each import from the package itself."""
    for line, module, name in imports(tree):
        if module.split(".")[0] != "retrywrap":
            continue
        below = module.partition(".")[2]
        inner = f"{below}.{name}" if below else name
        yield line, inner if inner in SOURCES else below or "__init__"


def test_every_module_has_a_floor() -> None:
    """Each file and folder of the package stands on one of the floors of the plan."""
    assert {name.split(".")[0] for name in SOURCES} <= set(FLOORS)


@pytest.mark.parametrize("name", SOURCES)
def test_imports_go_down(name: str) -> None:
    """A module imports from its own floor or from those below, wherever in the file the import stands."""
    floor = FLOORS[name.split(".")[0]]
    up = [f"line {line}: {other}" for line, other in own_imports(TREES[name]) if FLOORS[other.split(".")[0]] > floor]
    assert up == []


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    """At import time no module needs, even by way of others, itself; annotations and function bodies are free to."""
    needs = {name: {other for _, other in own_imports(_loaded(tree))} - {name} for name, tree in TREES.items()}
    while leaves := {name for name, others in needs.items() if not others & set(needs)}:
        needs = {name: others for name, others in needs.items() if name not in leaves}
    assert needs == {}


def _loaded(tree: ast.Module) -> ast.Module:
    """Return the part of a module that runs when it is imported, without ``if TYPE_CHECKING`` and function bodies."""
    return ast.Module([node for node in tree.body if not _is_type_checking(node) and not _is_definition(node)], [])


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _is_definition(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)


@pytest.mark.parametrize("name", SOURCES)
def test_third_party_imports(name: str) -> None:
    """Only wrapt is imported from outside when the package is; structlog and the extras when they are first needed."""
    foreign = {
        (line, module)
        for line, module, _ in imports(TREES[name])
        if module.split(".")[0] not in sys.stdlib_module_names | {"retrywrap"}
    }
    eager = {(line, module) for line, module, _ in imports(_loaded(TREES[name]))} & foreign
    allowed = {"pytest"} if name in {"pytest_plugin", "testing.campaign", "testing.rerun"} else set()  # it loads them
    assert {module.split(".")[0] for _, module in eager} <= EAGER | allowed
    assert {module.split(".")[0] for _, module in foreign} <= EAGER | LAZY | allowed


@pytest.mark.parametrize("name", [name for name in SOURCES if name.split(".")[0] == "decide"])
def test_what_decides_is_pure(name: str) -> None:
    """The deciding wing has neither clock, files, sockets, threads nor a log: it cannot even import them."""
    assert {module.split(".")[0] for _, module, _ in imports(TREES[name])} & IMPURE == set()
    called = {node.func.id for node in ast.walk(TREES[name]) if isinstance(node, ast.Call) and _is_name(node.func)}
    assert called & {"open", "print", "input"} == set()


def _is_name(node: ast.AST) -> bool:
    return isinstance(node, ast.Name)


def test_only_the_clock_waits() -> None:
    """No module but the clock (and the demo's server, which stalls on purpose) sleeps: all waiting can be replaced."""
    sleeping = {
        name
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node) in {"time.sleep", "asyncio.sleep", "trio.sleep"}
    }
    assert sleeping <= {"run.clock"}


def public_names() -> list[tuple[str, str]]:
    """Return the module and the name of everything public."""
    return [(module, name) for module in PUBLIC for name in importlib.import_module(module).__all__]


@pytest.mark.parametrize("module", PUBLIC)
def test_all_is_the_public_namespace(module: str) -> None:
    """``__all__`` names, once each, every public object that the module defines or gathers, and nothing else."""
    loaded = importlib.import_module(module)
    listed = loaded.__all__
    assert len(set(listed)) == len(listed)
    assert [name for name in listed if not hasattr(loaded, name)] == []
    defined, imported = _namespace(loaded)
    assert defined - set(listed) == set()
    assert set(listed) - defined - imported == set()


def _namespace(module: ModuleType) -> tuple[set[str], set[str]]:
    """Return the public names that a module defines, and those that it imports from the package.

    What a package's ``__init__`` imports from the package counts as defined: to gather is what it is for.
    """
    tree = TREES[module.__name__.partition(".")[2] or "__init__"]
    defined: set[str] = set()
    imported: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            defined.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            defined |= {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
        imported |= {name for _, source, name in imports(node) if _from_package(source) and not _is_definition(node)}
    imported -= {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names
                 if (alias.asname or "").startswith("_")}  # fmt: skip
    gathered = defined | imported if hasattr(module, "__path__") else defined
    return {name for name in gathered if not name.startswith("_")}, imported


def _from_package(module: str) -> bool:
    return module.split(".")[0] == "retrywrap"


def test_the_promised_names_are_there() -> None:
    """The top holds every name that the design promises."""
    assert TOP - set(retrywrap.__all__) == set()


def test_nothing_hides_behind_a_public_name_that_differs() -> None:
    """A public function or class carries the name under which it is public."""
    for module, name in public_names():
        found = getattr(importlib.import_module(module), name)
        if inspect.isfunction(found) or inspect.isclass(found):
            assert found.__name__ == name


def documented_text(module: str, name: str) -> str:
    """Return the docstring of a public name; for a constant, the string that follows it in the source."""
    found = getattr(importlib.import_module(module), name)
    if inspect.isfunction(found) or inspect.isclass(found):
        return found.__doc__ or ""
    for tree in TREES.values():
        for node, following in zip(tree.body, tree.body[1:], strict=False):
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                text = following.value if isinstance(following, ast.Expr) else None
                if isinstance(text, ast.Constant) and isinstance(text.value, str):
                    return text.value
    return ""


@pytest.mark.parametrize(("module", "name"), public_names())
def test_public_names_are_documented_with_their_parameters(module: str, name: str) -> None:
    """Each public name has a docstring; a function's or class's describes every parameter, a method's names it.

    The members of an enumeration are documented by the enumeration.
    """
    found = getattr(importlib.import_module(module), name)
    assert isinstance(found, enum.Enum) or documented_text(module, name).strip()
    if inspect.isfunction(found):
        assert _parameters(found) - _described(found.__doc__) == set()
    if inspect.isclass(found):
        if not issubclass(found, enum.Enum):
            assert _parameters(found) - set().union(*(_described(cls.__doc__) for cls in found.__mro__)) == set()
        assert {method: missing for method, missing in _poor_methods(found) if missing} == {}


def _poor_methods(cls: type) -> Iterator[tuple[str, set[str]]]:
    """Yield a class's own public methods, each with those parameters that its docstring, or its base's, never names."""
    for name, value in vars(cls).items():
        method = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        if inspect.isfunction(method) and not name.startswith("_"):
            texts = [getattr(base.__dict__.get(name), "__doc__", None) or "" for base in cls.__mro__]
            words = set(re.findall(r"\w+", " ".join(texts)))
            yield name, _parameters(method) - words if method.__doc__ else {"no docstring"}


def _parameters(found: Any) -> set[str]:
    try:
        parameters = inspect.signature(found).parameters
    except ValueError:  # exceptions and other classes without an __init__ of their own
        return set()
    return {name for name in parameters if name not in {"self", "cls"} and not name.startswith("_")}


def _described(text: str | None) -> set[str]:
    """Return the names that a docstring describes under ``Args`` or ``Attributes``."""
    cleaned = inspect.cleandoc(text or "") + "\n"
    sections = "".join(re.findall(r"^(?:Args|Attributes):\n((?: +.*\n|\n)*)", cleaned, re.MULTILINE))
    heads = re.findall(r"^ {4}(\**\w+(?:, \**\w+)*):", sections, re.MULTILINE)
    return set(re.findall(r"\w+", " ".join(heads)))


def _definitions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    """Yield the public functions and classes of a module, and the public methods of those classes; no overloads."""
    public = [node for node in tree.body if _is_public_definition(node)]
    methods = [inner for cls in public if isinstance(cls, ast.ClassDef) for inner in cls.body]
    for node in [*public, *filter(_is_public_definition, methods)]:
        assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        decorators = {ast.unparse(decorator).rpartition(".")[2] for decorator in node.decorator_list}
        if not decorators & {"overload", "setter"}:
            yield node


def _is_public_definition(node: ast.AST) -> bool:
    definition = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    return definition and not node.name.startswith("_")


@pytest.mark.parametrize("name", SOURCES)
def test_every_module_and_definition_has_a_docstring(name: str) -> None:
    """Not only the public surface: each module that holds code, and each definition without an underscore, says what
    it is."""
    tree = TREES[name]
    assert ast.get_docstring(tree) or not tree.body
    assert [node.name for node in _definitions(tree) if not ast.get_docstring(node)] == []


def _texts() -> Iterator[tuple[Path, str]]:
    folders = [PACKAGE, CHECKOUT / "tests", CHECKOUT / "docs"]
    files = [path for folder in folders for path in folder.rglob("*") if path.suffix in {".py", ".md", ".cfg", ".toml"}]
    for path in [*files, *CHECKOUT.glob("*.md"), *CHECKOUT.glob("*.cfg")]:
        if "_build" not in path.parts:
            yield path, path.read_text("utf-8")


def test_nothing_is_left_to_do() -> None:
    """No file of the project holds a note to do something later."""
    words = re.compile("|".join(["TO" "DO", "FIX" "ME", r"\bXX" r"X\b"]))  # fmt: skip
    assert [str(path) for path, text in _texts() if words.search(text)] == []


MARKER = re.compile(r"#\s*(?:type: ignore(?:\[[\w, -]+\])?|noqa(?:: ?[A-Z]+\d+(?:, ?[A-Z]+\d+)*)?|pragma: no \w+)(.*)")


def test_every_exception_from_a_rule_gives_its_reason() -> None:
    """Each ``type: ignore``, ``noqa`` and ``pragma`` is followed by the reason, in words."""
    silent = [
        f"{path.name}:{number}"
        for path, text in _texts()
        if path.suffix == ".py" and "typing" not in path.parts
        for number, line in enumerate(text.splitlines(), 1)
        if (marker := MARKER.search(line)) and not re.search(r"\w", marker[1])
    ]
    assert silent == []


def test_no_public_name_shadows_a_builtin() -> None:
    """``from retrywrap import *`` takes nothing away from the caller's namespace."""
    assert [name for _, name in public_names() if hasattr(builtins, name)] == []


def test_version_has_one_source() -> None:
    """The installed distribution's version is the one that the package says."""
    assert importlib.metadata.version("retrywrap") == retrywrap.__version__


def test_distribution_depends_on_wrapt_and_structlog_alone() -> None:
    """Without extras, installing retrywrap installs nothing but wrapt and structlog."""
    requires = importlib.metadata.requires("retrywrap") or []
    assert {re.split(r"[^\w-]", text)[0] for text in requires if "extra ==" not in text} == {"structlog", "wrapt"}


def test_package_is_typed() -> None:
    """The marker that lets type checkers read the package's annotations is installed with it."""
    assert (PACKAGE / "py.typed").is_file()


def test_every_public_name_stands_in_the_reference() -> None:
    """The reference documents each public name, by its own directive."""
    text = "\n".join(path.read_text("utf-8") for path in (CHECKOUT / "docs" / "reference").glob("*.md"))
    documented = set(re.findall(r"auto(?:class|function|data|exception|module):: ([\w.]+)", text))
    missing = [
        f"{module}.{name}"
        for module, name in public_names()
        if not {f"{module}.{name}", f"retrywrap.{name}"} & documented
    ]
    assert missing == []
