"""Sphinx settings: pages in Markdown, the reference from the docstrings."""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

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


def setup(app: Sphinx) -> None:
    """Connect the hook above."""
    app.connect("autodoc-process-docstring", fences_to_blocks)
