"""Reading from hostile objects, and the names by which classes are found in the tables."""

from __future__ import annotations

import enum
from typing import Any

import pytest

from retrywrap.classifiers.guard import call, exact_int, is_error, key_of, lineage, read, text_of, type_name


class Liar(type):
    """A metaclass that refuses to say anything true of its classes."""

    __module__ = "liars"

    def __getattribute__(cls, name: str) -> Any:
        raise RuntimeError(name)

    def __eq__(cls, other: object) -> bool:
        return True

    def __hash__(cls) -> int:
        raise RuntimeError("hash")


class Raises:
    """An object all of whose attributes raise."""

    def __init__(self, error: BaseException) -> None:
        object.__setattr__(self, "error", error)

    def __getattribute__(self, name: str) -> Any:
        raise object.__getattribute__(self, "error")


def test_reading_what_is_there() -> None:
    """An attribute comes back as it is; one that is absent is None."""
    assert read(OSError(5, "x"), "errno") == 5
    assert read(OSError(5, "x"), "nothing_of_that_name") is None


@pytest.mark.parametrize("error", [ValueError("x"), DeprecationWarning("x"), RecursionError("x"), MemoryError()])
def test_an_attribute_that_raises_is_absent(error: Exception) -> None:
    """Whatever exception a property raises, a warning turned into an error included, it counts as None."""
    assert read(Raises(error), "status") is None


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1)])
def test_control_flow_is_let_through(error: BaseException) -> None:
    """Ctrl-C and exit, which a signal handler may raise during any read, are not swallowed."""
    with pytest.raises(type(error)):
        read(Raises(error), "status")


def test_calling_what_is_there() -> None:
    """A method's answer comes back as it is; one that is absent, raises, or is no method is None."""
    assert call([1, 2, 2], "count", 2) == 2
    for thing, name in (([], "pop"), ([], "no_method"), ([], "__doc__"), (Raises(ValueError("x")), "pop")):
        assert call(thing, name) is None
    with pytest.raises(KeyboardInterrupt):
        call(Raises(KeyboardInterrupt()), "pop")


def test_is_error_asks_the_type_alone() -> None:
    """Neither an object that pretends to be an exception is one, nor is it asked at all."""

    class Pretends:
        @property
        def __class__(self) -> Any:
            return ValueError

    assert not is_error(Pretends())
    assert not is_error(Raises(ValueError()))
    assert is_error(KeyboardInterrupt())


def test_exact_int() -> None:
    """Ints of every subclass become plain ones; bools, floats and texts are no ints."""

    class Odd(int):
        def __index__(self) -> int:
            raise RuntimeError

        def __int__(self) -> int:
            raise RuntimeError

    number = exact_int(Odd(429))
    assert (number, type(number)) == (429, int)
    assert exact_int(enum.IntEnum("Code", {"A": 503})(503)) == 503
    assert [exact_int(value) for value in (True, 1.0, "1", None)] == [None] * 4


def test_names_of_a_class_whose_metaclass_lies() -> None:
    """MRO, name and key come from the class itself, not from what its metaclass says."""
    cls = Liar("Broken", (ConnectionResetError,), {"__module__": "lib.errors"})
    assert type_name(cls) == "Broken"
    assert key_of(cls) == ("lib", "lib.Broken")
    assert lineage(cls)[1] is ConnectionResetError


@pytest.mark.parametrize("module", [5, None, ["x"]])
def test_key_of_a_class_with_a_strange_module(module: object) -> None:
    """A module name that is no text leaves the root empty."""
    assert key_of(type("Odd", (Exception,), {"__module__": module})) == ("", ".Odd")


def test_key_of_a_class_without_a_module() -> None:
    """A class that was made where there is no module name has no root either."""
    space: dict[str, Any] = {}
    exec("Bare = type('Bare', (Exception,), {})", space)
    with pytest.raises(AttributeError):
        _ = space["Bare"].__module__
    assert key_of(space["Bare"]) == ("", ".Bare")


def test_key_of_a_nested_class() -> None:
    """The key holds the root of the module and the qualified name: submodules come and go, classes stay."""
    nested = type("abort", (Exception,), {"__module__": "imaplib.some.where", "__qualname__": "IMAP4.abort"})
    assert key_of(nested) == ("imaplib", "imaplib.IMAP4.abort")


def test_text_of_an_error_that_has_none() -> None:
    """A `__str__` that raises, or returns no text, is said so in place of the text."""

    class Mute(Exception):
        def __str__(self) -> str:
            raise ZeroDivisionError

    class Wrong(Exception):
        def __str__(self) -> Any:
            return 5

    assert text_of(Mute()).endswith("Mute (no text: its __str__ raised ZeroDivisionError)")
    assert text_of(Wrong()).endswith("Wrong (no text: its __str__ raised TypeError)")


def test_text_is_a_plain_string() -> None:
    """A string of a subclass, whose methods may do anything, is made a plain one."""

    class Sly(str):
        def startswith(self, *_: object) -> bool:
            raise RuntimeError

        def __len__(self) -> int:
            return -1

    class Tells(Exception):
        def __str__(self) -> str:
            return Sly("text")

    assert (text_of(Tells()), type(text_of(Tells()))) == ("text", str)
