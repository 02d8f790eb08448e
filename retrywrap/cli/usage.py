"""`UsageError`: how a subcommand refuses what the user typed."""

from __future__ import annotations

__all__ = ["UsageError"]


class UsageError(Exception):
    """The command line asks for something that cannot be done: one clear line, exit status 2."""
