"""What a decorated function or a scope knows of itself: its name, its registry, and its policy as it is in force."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from retrywrap.decide import policy as policies
from retrywrap.decide.backoff import Backoff
from retrywrap.decide.checks import shown
from retrywrap.decide.policy import DEFAULTS, PolicyBook, RetryPolicy, resolve
from retrywrap.record.registry import Registry
from retrywrap.record.registry import registry as default_registry

__all__ = ["PARAMETERS", "OperationSpec", "check_plain", "shared"]

PARAMETERS = (*DEFAULTS, "policy", "registry", "name")
"""What `with_retry` and `retry_scope` can be given."""

_numbers = itertools.count(1)
_PLAIN = frozenset({int, float, bool, str, type(None), Backoff})


class OperationSpec:
    """The name, the registry and the policy of one kind of operation.

    Attributes:
        simple: Whether the happy path needs nothing but the call: no clock, no budget, no look at the result. What
            configuration may change (``max`` and ``interval`` alone) does not bear on it; a named policy may.
        tally: Is called for each operation that succeeded at once; None: they are not counted.
        track: What `retrywrap.run.track` knows of it, or None.
        last_named: The same under the name that was asked for last, for who asks again and again.

    The policy is resolved when it is first needed and again after each `configure`, since defaults and named policies
    may change; explicit arguments are validated here, at once.

    Raises:
        TypeError: An argument has the wrong type, or is not known.
        ValueError: An argument is out of range.
    """

    __slots__ = (
        "_number",
        "_resolved",
        "arguments",
        "base",
        "last_named",
        "name",
        "registry",
        "simple",
        "tally",
        "track",
    )

    def __init__(
        self, arguments: Mapping[str, Any], base: RetryPolicy | str | None, name: str, registry: Registry
    ) -> None:
        if not isinstance(base, RetryPolicy | str | None):
            raise TypeError(f"policy must be a RetryPolicy or the name of one; got {shown(base)}")
        if not isinstance(registry, Registry):
            raise TypeError(f"registry must be a Registry; got {shown(registry)}")
        self.arguments = arguments
        self.base = base
        self.name = name
        self.registry = registry
        self.simple = False
        self.tally: Any = None
        self.track: Any = None
        self.last_named: OperationSpec | None = None
        self._number = next(_numbers)
        self._resolved: tuple[PolicyBook | None, RetryPolicy | None] = None, None
        if isinstance(base, str):
            self._check_arguments()
        else:
            self.simple = _is_simple(self.policy())

    def _check_arguments(self) -> None:
        """Validate what can be validated before the named policy is known."""
        checked = {"timeout": 0} if self.arguments.get("max", 0) is None else {}
        RetryPolicy(**{**checked, **self.arguments})

    def policy(self) -> RetryPolicy:
        """Return the policy in force.

        Raises:
            ConfigurationError: The policy is named, and no policy of that name is defined.
        """
        book = policies.book.current or policies.book.get()
        known, policy = self._resolved  # one object: between two, another thread could put what belongs to another book
        if policy is None or book is not known:
            policy = resolve(self.arguments, self.base)
            self._resolved = book, policy
        return policy

    @property
    def layer(self) -> tuple[int, str]:
        """What tells this layer of retries from others: two may have one name, and a scope may call many functions."""
        return self._number, self.name

    def named(self, name: str) -> OperationSpec:
        """Return the same under another name."""
        other = OperationSpec.__new__(OperationSpec)
        other.arguments, other.base, other.name, other.registry = self.arguments, self.base, name, self.registry
        other.simple, other.tally, other.track, other.last_named = self.simple, self.tally, self.track, None
        other._number, other._resolved = self._number, self._resolved
        return other

    def of(self, name: str) -> OperationSpec:
        """Return the spec of a new operation, with the same settings and, as long as they stay so, the same policy."""
        other = self.named(name)
        other._number = next(_numbers)
        return other

    def settings(self) -> dict[str, Any]:
        """Return the arguments that make an equal proxy."""
        return {"arguments": self.arguments, "policy": self.base, "name": self.name, "registry": self.registry}

    def __repr__(self) -> str:
        return (
            f"<{self.name}: {self.policy()!r}>" if not isinstance(self.base, str) else f"<{self.name}: {self.base!r}>"
        )


def check_plain(values: Iterable[object]) -> None:
    """Refuse what a cache must not keep: any object that is the application's.

    Raises:
        TypeError: One is neither plain data, nor a builtin class, nor a tuple of such.
    """
    for value in values:
        if type(value) is tuple:
            check_plain(value)
        elif type(value) not in _PLAIN and not (type(value) is type and value.__module__ == "builtins"):
            raise TypeError("not plain")


@functools.lru_cache(maxsize=1000, typed=True)
def shared(**given: Any) -> OperationSpec:
    """Return what all operations share of which the same is said, in plain data.

    Raises:
        TypeError: It is not plain, or cannot be hashed; or it is wrong.
        ValueError: It is out of range.
    """
    check_plain(given.values())
    return OperationSpec(given, None, "", default_registry)


def _is_simple(policy: RetryPolicy) -> bool:
    return all(getattr(policy, name) is None for name in ("timeout", "attempt_timeout", "budget", "results"))
