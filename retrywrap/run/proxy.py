"""The wrapt proxies that stand for decorated callables, each binding as what it wraps."""

from __future__ import annotations

import sys
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

import wrapt

from retrywrap.record import registry
from retrywrap.run import inventory, native
from retrywrap.run.calls import build, build_fast
from retrywrap.run.kinds import is_async, operation_name, refuse
from retrywrap.run.links import links
from retrywrap.run.spec import OperationSpec

if TYPE_CHECKING:
    _FunctionWrapper = wrapt.FunctionWrapper[..., Any]
else:
    _FunctionWrapper = wrapt.FunctionWrapper  # generic for type checkers alone

__all__ = ["Retried", "decorate", "rewire"]


_CLASS_METHODS = frozenset({"__class_getitem__", "__init_subclass__"})


if TYPE_CHECKING:

    class _Proxy:
        __wrapped__: Any
        _self_spec: OperationSpec

else:
    _Proxy = object  # annotations in a class would hide those of what is wrapped


class _Manners(_Proxy):
    """What every proxy can do, whichever way it calls: everything but the call is the wrapped object's own."""

    __slots__ = ()

    def __set_name__(self, owner: type, name: str) -> None:
        named = getattr(self.__wrapped__, "__set_name__", None)
        if named is not None:
            named(owner, name)
        if name in _CLASS_METHODS:  # Python makes them class methods where they are plain functions, and only then
            setattr(owner, name, classmethod(self))  # type: ignore[arg-type]  # every proxy can be called

    def __reduce_ex__(self, protocol: Any) -> Any:
        wrapped = self.__wrapped__
        name = getattr(wrapped, "__qualname__", None)
        if name is not None and _lookup(getattr(wrapped, "__module__", None), name) is self:
            return str(name)
        return _rebuild, (wrapped, self._self_spec.settings())

    def __reduce__(self) -> Any:
        return self.__reduce_ex__(2)

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        import copy

        copied = copy.deepcopy(self.__wrapped__, memo)
        return self if copied is self.__wrapped__ else _make(type(self), copied, self._self_spec)

    def __repr__(self) -> str:
        return f"<with_retry of {self.__wrapped__!r}>"


def _bind_as_it_does(self: Any, instance: Any, owner: type | None = None) -> Any:
    """Bind what binds in its own way, as the work of other decorators does."""
    bound = self.__wrapped__.__get__(instance, owner)
    if bound is self.__wrapped__:
        return self
    made = _make(_Unbound, bound, self._self_spec)
    for binder in inventory.binders:
        binder(self, made)
    return made


if TYPE_CHECKING or native.fast is None:

    class Retried(_Manners, _FunctionWrapper):
        """The proxy that stands for a decorated callable which binds as a function does.

        ``__call__`` is a slot that holds a closure: Python's call protocol reaches it through the slot's descriptor,
        without a Python frame of ours between. Methods bind as plain bound methods of this object.
        """

        __slots__ = ("__call__", "_self_spec")

        def __get__(self, instance: Any, owner: type | None = None) -> Any:
            return self if instance is None else MethodType(self, instance)

    class _Unbound(Retried):
        """Stands for what does not bind as a class attribute: builtins, partials, callable objects, classes."""

        __slots__ = ()

        def __get__(self, instance: Any, owner: type | None = None) -> Any:
            return self

    class _Binding(Retried):
        """Stands for what binds in its own way."""

        __slots__ = ()

        __get__ = _bind_as_it_does

    _CALL: Any = vars(Retried)["__call__"]

    def _make(kind: type, wrapped: Any, spec: OperationSpec) -> Any:
        """Return a proxy."""
        proxy = kind(wrapped, _never)
        proxy._self_spec = spec
        _CALL.__set__(proxy, build(wrapped, spec))
        return proxy

    def rewire(proxy: Any, wrapped: Any) -> None:
        """Have a proxy call something else than what it wraps, from the next call on; all else stays."""
        _CALL.__set__(proxy, build(wrapped, proxy._self_spec))

else:
    Retried, _Unbound, _Binding = native.types(__name__, vars(_Manners))
    _Binding.__get__ = _bind_as_it_does
    native.fast.connect(links())
    registry.count_fast = native.fast.count

    def _make(kind: type, wrapped: Any, spec: OperationSpec) -> Any:
        """Return a proxy."""
        proxy = kind(wrapped, _never)
        native.fast.set_up(proxy, *build_fast(wrapped, spec))
        return proxy

    def rewire(proxy: Any, wrapped: Any) -> None:
        """Have a proxy call something else than what it wraps, from the next call on; all else stays."""
        native.fast.rewire(proxy, build_fast(wrapped, proxy._self_spec)[0])


registry.find_sites = inventory.sites


def _proxy(wrapped: Any, spec: OperationSpec) -> Any:
    """Return the proxy that binds as the wrapped object does."""
    if type(wrapped) is FunctionType or type(wrapped) is Retried:
        return _make(Retried, wrapped, spec)
    return _make(_Binding if hasattr(type(wrapped), "__get__") else _Unbound, wrapped, spec)


def _never(*_: Any) -> Any:
    raise AssertionError("wrapt's own call path is not used")  # pragma: no cover - __call__ is replaced


def _lookup(module: str | None, qualname: str) -> Any:
    found: Any = sys.modules.get(module or "")
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found


def _rebuild(wrapped: Any, settings: dict[str, Any]) -> Any:
    like = OperationSpec(settings["arguments"], settings["policy"], "", settings["registry"])
    return decorate(wrapped, like, settings["name"])


def decorate(function: Any, like: OperationSpec, name: str | None) -> Any:
    """Return the proxy for a callable; a classmethod or staticmethod of it for one of those.

    Args:
        function: The callable.
        like: The settings, and the policy that they amount to.
        name: The operation's name; None: the callable's.

    Raises:
        TypeError: It cannot be retried by calling it again, or not with this policy.
    """
    if isinstance(function, classmethod | staticmethod):
        return type(function)(decorate(function.__func__, like, name))
    refuse(function)
    spec = like.of(operation_name(function) if name is None else name)
    _check_fit(function, spec)
    spec.tally = spec.registry._declare(spec.name, native.new_tally)
    proxy = _proxy(function, spec)
    inventory.note(proxy)
    return proxy


def _check_fit(function: Any, spec: OperationSpec) -> None:
    """Refuse what a sync function cannot have."""
    if isinstance(spec.base, str) or is_async(function):
        return
    policy = spec.policy()
    if policy.attempt_timeout is not None:
        raise TypeError(
            f"attempt_timeout={policy.attempt_timeout:g} needs a coroutine function, and {spec.name} is not one: a "
            "thread cannot be stopped from outside. retrywrap.remaining() inside it tells what is left"
        )
    if policy.before_retry is not None and is_async(policy.before_retry):
        raise TypeError(
            f"before_retry of the sync function {spec.name} must be a plain function, not a coroutine function"
        )
