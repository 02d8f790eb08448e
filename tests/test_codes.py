"""The plugin's error codes: numbers, names, messages, retryability, and numbers that the plugin does not know."""

from __future__ import annotations

import copy
import pickle
from enum import IntEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrywrap.codes import ErrorCode

# The table of the contract: code, name, message, retryable.
ROWS = [
    (0, "BACKUP_SUCCESS", "Success", False),
    (-1, "BACKUP_ERROR_INVALID_PARAM", "Invalid parameter", False),
    (-2, "BACKUP_ERROR_INIT_FAILED", "Initialization failed", False),
    (-3, "BACKUP_ERROR_NOT_INITIALIZED", "Not initialized", False),
    (-4, "BACKUP_ERROR_MEMORY_ALLOC", "Memory allocation failed", False),
    (-5, "BACKUP_ERROR_FILE_IO", "File I/O error", True),
    (-6, "BACKUP_ERROR_NETWORK", "Network error", True),
    (-7, "BACKUP_ERROR_TIMEOUT", "Operation timeout", True),
    (-8, "BACKUP_ERROR_DATA_CORRUPTION", "Data corruption detected", False),
    (-9, "BACKUP_ERROR_PERMISSION_DENIED", "Permission denied", False),
    (-10, "BACKUP_ERROR_DISK_FULL", "Disk full", False),
    (-11, "BACKUP_ERROR_CONNECTION_LOST", "Connection lost", True),
    (-12, "BACKUP_ERROR_RETRY_EXHAUSTED", "Retry attempts exhausted", False),
    (-99, "BACKUP_ERROR_UNKNOWN", "Unknown error", False),
]


@pytest.mark.parametrize(("number", "name", "message", "retryable"), ROWS)
def test_each_row_of_the_contract(number: int, name: str, message: str, retryable: bool) -> None:
    """Each code has the plugin's number, name and message, and is retryable where the plugin retries it."""
    code = ErrorCode(number)
    assert int(code) == number
    assert code.plugin_name == name
    assert code.name == name.removeprefix("BACKUP_ERROR_").removeprefix("BACKUP_")
    assert code.message == message
    assert code.retryable is retryable


def test_the_table_is_complete() -> None:
    """There is no code beside those of the contract."""
    assert {int(code) for code in ErrorCode} == {number for number, *_ in ROWS}


@given(st.integers(-(2**63), 2**63 - 1).filter(lambda number: number not in set(ErrorCode)))
def test_every_other_number_is_an_unknown_error(number: int) -> None:
    """A number that the plugin does not know is kept, called UNKNOWN, and not retried; copies keep the number."""
    code = ErrorCode(number)
    assert int(code) == code.value == number
    assert (code.name, code.plugin_name) == ("UNKNOWN", "BACKUP_ERROR_UNKNOWN")
    assert (code.message, code.retryable) == ("Unknown error", False)
    assert code == number
    assert hash(code) == hash(number)
    for copied in (copy.copy(code), copy.deepcopy(code), pickle.loads(pickle.dumps(code))):
        assert type(copied) is ErrorCode
        assert int(copied) == number


def test_an_unknown_number_does_not_become_a_member() -> None:
    """Numbers met on the way leave nothing behind, so that no stream of numbers can fill the memory."""
    before = dict(ErrorCode.__members__)
    ErrorCode(-4242)
    assert dict(ErrorCode.__members__) == before
    assert ErrorCode(-4242) is not ErrorCode(-4242)
    assert ErrorCode(-99).value == -99


def test_other_libraries_numbers_are_read() -> None:
    """An int of another enum's making is its number."""

    class Theirs(IntEnum):
        LOST = -11
        STRANGE = 7

    assert ErrorCode(Theirs.LOST) is ErrorCode.CONNECTION_LOST
    code = ErrorCode(Theirs.STRANGE)
    assert type(code) is ErrorCode
    assert (type(code.value), code.value, code.name) == (int, 7, "UNKNOWN")


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**5000], ids=["2**63", "-2**63-1", "10**5000"])
def test_a_number_beyond_64_bits_is_not_kept(number: int) -> None:
    """What no error code can be is UNKNOWN itself: Python refuses to print such numbers, and so whatever held one."""
    assert ErrorCode(number) is ErrorCode.UNKNOWN


@pytest.mark.parametrize("value", [True, "x", None, 1.5, b"-6"])
def test_what_is_no_int_is_no_code(value: object) -> None:
    """Anything but an int is refused by a message that names it; True is not 1."""
    with pytest.raises(ValueError, match="is not a valid ErrorCode: a code must be an int, such as -6") as caught:
        ErrorCode(value)
    assert repr(value) in str(caught.value)
