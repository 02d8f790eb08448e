"""Sphinx settings: pages in Markdown, the reference from the docstrings."""

from __future__ import annotations

import re
import sys
from typing import Any

from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer

import retrywrap

project = "retrywrap"
author = "The retrywrap authors"
copyright = "2026, The retrywrap authors"
release = version = retrywrap.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
default_role = "py:obj"
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
html_theme = "furo"
html_title = f"retrywrap {release}"
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}

FENCE = re.compile(r"^ *```")


def fences_to_blocks(_app: Sphinx, _what: str, _name: str, _obj: Any, _options: Any, lines: list[str]) -> None:
    """Turn Markdown fences, which docstrings use for drawings, into literal blocks."""
    written: list[str] = []
    inside = False
    for line in lines:
        if FENCE.match(line):
            written += ["", "::", ""] if not inside else [""]
            inside = not inside
        else:
            written.append(f"    {line}" if inside else line)
    lines[:] = written


def constants_own_text(_app: Sphinx, what: str, name: str, obj: Any, _options: Any, lines: list[str]) -> None:
    """Give a constant the text that follows it in its source, not its class's; an error code its message."""
    if what != "data":
        return
    leaf = name.rpartition(".")[2]
    if isinstance(obj, retrywrap.ErrorCode):
        lines[:] = [f"``{int(obj)}``: {obj.message}."]
        return
    loaded = {name: getattr(module, "__file__", None) or "" for name, module in sys.modules.items()}
    for module in [name for name, file in loaded.items() if name.split(".")[0] == "retrywrap" and file.endswith(".py")]:
        text = ModuleAnalyzer.for_module(module).find_attr_docs().get(("", leaf))
        if text:
            lines[:] = text
            return


def colons_are_text(_app: Sphinx, what: str, _name: str, _obj: Any, _options: Any, lines: list[str]) -> None:
    """Keep napoleon from taking what stands before a colon for a type: the annotations tell the types.

    It looks for one in the first line of ``Returns`` and of an attribute's text; an empty one satisfies it.
    """
    if what in {"attribute", "data", "property"} and lines and ":" in lines[0]:
        lines[0] = f": {lines[0]}"
    for number, line in enumerate(lines[:-1]):
        if line.strip() == "Returns:":
            text = lines[number + 1]
            indent = len(text) - len(text.lstrip())
            lines[number + 1] = f"{text[:indent]}: {text[indent:]}"


def skip_fields(_app: Sphinx, _what: str, _name: str, obj: Any, _skip: bool, _options: Any) -> bool | None:
    """Leave out the fields of named tuples: the class describes them."""
    return True if str(getattr(obj, "__doc__", "")).startswith("Alias for field number") else None


def setup(app: Sphinx) -> None:
    """Connect the hooks above."""
    app.connect("autodoc-skip-member", skip_fields)
    app.connect("autodoc-process-docstring", colons_are_text, priority=400)  # before napoleon's
    app.connect("autodoc-process-docstring", constants_own_text)
    app.connect("autodoc-process-docstring", fences_to_blocks)
