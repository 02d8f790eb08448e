"""What is known of a decorated function, without a call of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from retrywrap.decide.policy import RetryPolicy
    from retrywrap.record.registry import Stats

__all__ = ["Site"]


class Site(NamedTuple):
    """One decorated function.

    Attributes:
        operation: Its operation's name, which several functions may share.
        module: The module that it was defined in.
        qualname: Its qualified name there; that of the class for a callable object.
        file: The file, where that can be told; None elsewhere.
        line: The line in it where the definition begins.
        asynchronous: Whether it is a coroutine function.
        policy: The policy in force; None where its name is not defined.
        policy_name: The name that the policy goes by; None where it has none.
        stats: The counts of the operation.
    """

    operation: str
    module: str
    qualname: str
    file: str | None
    line: int | None
    asynchronous: bool
    policy: RetryPolicy | None
    policy_name: str | None
    stats: Stats

    @property
    def ran(self) -> bool | None:
        """Whether the operation has ended at least once; None where nobody counts what succeeds at once."""
        if self.stats.errors or self.stats.failed:
            return True
        return None if self.stats.calls is None else self.stats.calls > 0

    @property
    def failed(self) -> bool:
        """Whether an attempt of it has failed."""
        return self.stats.errors > 0
