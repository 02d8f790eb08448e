"""The mutants of a module: each is its code with one small thing changed, as a slip of the hand would change it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

__all__ = ["Mutant", "mutants", "swaps"]

_COMPARED: dict[type, tuple[type, ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_COUNTED: dict[type, type] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
}
_SWAPPED = {"min": "max", "max": "min", "any": "all", "all": "any"}
_NO_BEHAVIOUR = {"annotation", "returns", "decorator_list", "keywords_of_class", "type_params", "ctx", "op", "ops"}
_NAMES_ONLY = {"__all__", "__slots__"}
_OPTIMIZED = 1  # the flag of a function's code, which that of a module or class has not


class Mutant(NamedTuple):
    """One change.

    Attributes:
        path: The module's file.
        line: Where the change is.
        lines: Those of its statement, or of the head of that.
        where: The function's or class's qualified name.
        before: The statement, or its head.
        after: What became of it.
        code: The module's code with the change.
    """

    path: Path
    line: int
    lines: range
    where: str
    before: str
    after: str
    code: CodeType

    def __str__(self) -> str:
        return f"{'/'.join(self.path.parts[-2:])} {self.where}\n- {self.before}\n+ {self.after}"


def mutants(path: Path) -> Iterator[Mutant]:
    """Yield the mutants of a file; of those that compile to the same code only one, and none like the original."""
    tree = ast.parse(path.read_text("utf-8"), str(path))
    seen = {_print(_compiled(tree, path))}
    for where, statement, place in _places(tree, "", None):
        owner, field, index = place
        held = getattr(owner, field)
        node = held if index is None else held[index]
        before = _text(statement)
        kind = "" if isinstance(owner, ast.IfExp) else field  # of these both branches are mutants already
        for other in _others(node, kind, in_function=bool(where) and where[-1] == ")"):
            line = getattr(node, "lineno", statement.lineno)
            try:
                _put(owner, field, index, other, node)
                code = _compiled(tree, path)
                after = _text(other if node is statement else statement)
            except (SyntaxError, ValueError):  # a mutant that is no program
                continue
            finally:
                setattr(owner, field, held)
            if (mark := _print(code)) not in seen:
                seen.add(mark)
                place = where.removesuffix("()") or "(module)"
                yield Mutant(path, line, _head(statement), place, before, after, code)


def _compiled(tree: ast.Module, path: Path) -> CodeType:
    return compile(tree, str(path), "exec", dont_inherit=True)


def _print(code: CodeType) -> Any:
    consts = tuple(_print(c) if isinstance(c, CodeType) else (type(c), repr(c)) for c in code.co_consts)
    names = code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars
    return code.co_code, consts, names, code.co_exceptiontable, code.co_argcount, code.co_flags


def _put(owner: ast.AST, field: str, index: int | None, other: Any, node: Any) -> None:
    if isinstance(other, ast.AST) and hasattr(node, "lineno"):
        ast.fix_missing_locations(ast.copy_location(other, node))
    if index is None:
        setattr(owner, field, other)
    else:
        held = getattr(owner, field)
        new = other if isinstance(other, list) else [other]
        setattr(owner, field, [*held[:index], *new, *held[index + 1 :]])


def _head(statement: Any) -> range:
    body = getattr(statement, "body", None)
    return range(statement.lineno, max(statement.lineno, body[0].lineno - 1 if body else statement.end_lineno) + 1)


def _text(statement: Any) -> str:
    """Return a statement on one line, or the head of one that has a body."""
    if isinstance(statement, list):
        return "; ".join(map(_text, statement)) or "(nothing)"
    lines = ast.unparse(statement).splitlines()
    kept = [line for line in lines if not line.startswith("@")]
    if isinstance(statement, ast.Try):
        return " … ".join(line for line in lines if not line.startswith(" "))
    return kept[0] if kept else ""


def _places(node: ast.AST, where: str, statement: Any) -> Iterator[tuple[str, Any, tuple[Any, str, int | None]]]:
    """Yield where, in which statement, and in which field of which node something stands that may change."""
    for field, value in ast.iter_fields(node):
        if field in _NO_BEHAVIOUR:
            continue
        for index, child in enumerate(value) if isinstance(value, list) else ((None, value),):
            if not isinstance(child, ast.AST) or _is_silent(child):
                continue
            inside = child if isinstance(child, ast.stmt) else statement
            yield where, inside, (node, field, index)
            inner = where
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                outer = f"{where.removesuffix('()')}." if where else ""
                inner = f"{outer}{child.name}" + ("" if isinstance(child, ast.ClassDef) else "()")
            yield from _places(child, inner, inside)


def _is_silent(node: ast.AST) -> bool:
    """Whether it does nothing: documentation, imports, what is for type checkers, lists of names."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    if isinstance(node, ast.If):
        return ast.unparse(node.test) == "TYPE_CHECKING"
    if isinstance(node, ast.AnnAssign):
        return ast.unparse(node.annotation) == "TypeAlias" or node.value is None
    names = {ast.unparse(target) for target in node.targets} if isinstance(node, ast.Assign) else set()
    return bool(names & _NAMES_ONLY) or isinstance(node, ast.Import | ast.ImportFrom)


def _others(node: Any, field: str, *, in_function: bool) -> Iterator[Any]:
    """Yield what may stand in a node's place: a node, a list of statements, or None for nothing."""
    match node:
        case ast.stmt():
            if in_function:
                yield from _other_statements(node)
        case ast.Compare():
            for n, op in enumerate(node.ops):
                for other in _COMPARED[type(op)]:
                    yield ast.Compare(node.left, [*node.ops[:n], other(), *node.ops[n + 1 :]], node.comparators)
        case ast.BoolOp():
            yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
            for n in range(len(node.values)):
                rest = node.values[:n] + node.values[n + 1 :]
                yield rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            yield node.operand
        case ast.BinOp(op=ast.BitOr()):
            yield from (node.left, node.right)
        case ast.BinOp() if type(node.op) in _COUNTED:
            yield ast.BinOp(node.left, _COUNTED[type(node.op)](), node.right)
        case ast.Constant():
            yield from map(ast.Constant, _other_values(node.value))
        case ast.IfExp():
            yield from (node.body, node.orelse)
        case ast.Call():
            if isinstance(node.func, ast.Name) and node.func.id in _SWAPPED:
                yield ast.Call(ast.Name(_SWAPPED[node.func.id], ast.Load()), node.args, node.keywords)
        case ast.keyword() if node.arg:
            yield []
        case ast.Lambda():
            yield ast.Lambda(node.args, ast.Constant(None))
        case ast.Yield() if node.value:
            yield ast.Yield(ast.Constant(None))
        case ast.comprehension():
            for n in range(len(node.ifs)):
                yield ast.comprehension(node.target, node.iter, node.ifs[:n] + node.ifs[n + 1 :], node.is_async)
        case ast.Slice():
            yield from (ast.Slice(None, node.upper, node.step), ast.Slice(node.lower, None, node.step))
    if isinstance(node, ast.expr) and not isinstance(node, ast.Constant):
        if field == "test":
            yield from (ast.Constant(True), ast.Constant(False))
        elif field in {"args", "elts"} and isinstance(getattr(node, "ctx", ast.Load()), ast.Load):
            yield [] if isinstance(node, ast.Starred) else ast.Constant(None)


def _other_statements(node: ast.stmt) -> Iterator[Any]:
    match node:
        case ast.Assign(targets=[ast.Name() | ast.Tuple()]) | ast.AnnAssign(target=ast.Name()):
            if not isinstance(node.value, ast.Constant | ast.Tuple):
                changed = dict(ast.iter_fields(node)) | {"value": ast.Constant(None)}
                yield type(node)(**changed)
        case (
            ast.Expr() | ast.Assign() | ast.AnnAssign() | ast.AugAssign() | ast.Delete() | ast.Break() | ast.Continue()
        ):
            yield ast.Pass()
            if isinstance(node, ast.AugAssign):
                yield ast.Assign([node.target], node.value)
                if type(node.op) in _COUNTED:
                    yield ast.AugAssign(node.target, _COUNTED[type(node.op)](), node.value)
        case ast.Raise():
            yield ast.Pass()
            if node.cause:
                yield ast.Raise(node.exc, None)
        case ast.Return():
            yield ast.Return(None) if node.value else ast.Pass()
        case ast.With() | ast.AsyncWith():
            if not any(item.optional_vars for item in node.items):
                yield node.body
        case ast.For() | ast.AsyncFor():
            yield type(node)(node.target, ast.Tuple([], ast.Load()), node.body, node.orelse)
        case ast.Try():
            for n in range(len(node.handlers)):
                rest = node.handlers[:n] + node.handlers[n + 1 :]
                yield ast.Try(node.body, rest, node.orelse, node.finalbody) if rest or node.finalbody else node.body
            if node.finalbody:
                yield ast.Try(node.body, node.handlers, node.orelse, []) if node.handlers else node.body


def _other_values(value: object) -> Iterator[Any]:
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int | float):
        yield value + 1
        if value >= 1:
            yield value - 1
    elif isinstance(value, str):
        yield "mutant"


def swaps(old: CodeType, new: CodeType) -> list[tuple[CodeType, CodeType]] | None:
    """Return which functions' code became which; None where a module or class itself does other things when it runs."""
    inner = [[c for c in code.co_consts if isinstance(c, CodeType)] for code in (old, new)]
    pairs = list(zip(*inner, strict=False))
    deeper = [swaps(*pair) for pair in pairs]
    if old.co_flags & _OPTIMIZED:
        found = [pair for each in deeper for pair in each or []]
        return [] if _print(old) == _print(new) else [(old, new), *found]
    if len(inner[0]) != len(inner[1]) or None in deeper or _outside(old) != _outside(new):
        return None
    return [pair for each in deeper for pair in each or []]


def _outside(code: CodeType) -> Any:
    consts = tuple(c.co_name if isinstance(c, CodeType) else (type(c), repr(c)) for c in code.co_consts)
    return code.co_code, consts, code.co_names, code.co_exceptiontable
