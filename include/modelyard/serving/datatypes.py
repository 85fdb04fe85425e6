"""The Open Inference Protocol's datatypes: one value of each, converted without a change or refused."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from datetime import datetime
from typing import Any

_INTEGERS = {f"{sign}INT{bits}": bits for sign in ("", "U") for bits in (8, 16, 32, 64)}
# By type: its form for struct, the smallest number that would be rounded to infinity, and the largest up to which every
# whole number is one of its own.
_FLOATS = {
    "FP16": ("<e", 65520.0, 2**11),
    "FP32": ("<f", float(2**128 - 2**103), 2**24),
    "FP64": ("<d", math.inf, 2**53),
}
EXACT = 2**53  # from here on a fraction may stand for several whole numbers
DATATYPES = frozenset({*_INTEGERS, *_FLOATS, "BOOL", "BYTES"})


class MismatchError(Exception):
    """A value that is not what the signature says; holds the offending part of it."""

    def __init__(self, found: Any) -> None:
        self.found = found
        super().__init__()


def integer_range(datatype: str) -> tuple[int, int]:
    """Return the smallest and the largest number of an integer type."""
    bits = _INTEGERS[datatype]
    return (0, 2**bits - 1) if datatype[0] == "U" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def float_range(datatype: str) -> tuple[float, int]:
    """Return what every number of a float type is below, and up to which all whole numbers are exact."""
    _, limit, exact = _FLOATS[datatype]
    return limit, exact


def _integer(datatype: str) -> tuple[Callable[[Any], Any], str]:
    low, high = integer_range(datatype)

    def convert(value: Any) -> int:
        if type(value) is int and low <= value <= high:
            return value
        # A larger fraction may have been another number before somebody's parser has rounded it.
        if type(value) is float and value.is_integer() and low <= value <= high and -EXACT < value < EXACT:
            return int(value)
        raise MismatchError(value)

    return convert, "an integer (INT64)" if datatype == "INT64" else f"an integer from {low} to {high} ({datatype})"


def _float(datatype: str) -> tuple[Callable[[Any], Any], str]:
    form, limit, _ = _FLOATS[datatype]

    def convert(value: Any) -> float:
        if type(value) is float and -limit < value < limit:
            return value  # a fraction is rounded, as it would be in any client; what is too large, or NaN, is not
        if type(value) is int:
            try:
                number = float(struct.unpack(form, struct.pack(form, value))[0])
            except (OverflowError, struct.error):
                raise MismatchError(value) from None
            if number == value:
                return number
        raise MismatchError(value)

    return convert, f"a number that {datatype} holds exactly" if form != "<d" else "a number (FP64)"


def _bool(value: Any) -> bool:
    if type(value) is bool:
        return value
    raise MismatchError(value)


def _text(value: Any) -> str:
    if type(value) is str:
        try:
            value.encode()  # half of a surrogate pair is no text
        except UnicodeEncodeError:
            raise MismatchError(value) from None
        return value
    raise MismatchError(value)


def finite(values: list[Any]) -> bool:
    """Return whether all are fractions, and none infinite or NaN: that would make the sum so."""
    return set(map(type, values)) == {float} and math.isfinite(sum(values))


def homogeneous(datatype: str) -> Callable[[list[Any]], bool] | None:
    """Return what tells that all values of a column are of a datatype as they are, where that is sooner seen at once.

    It may say no to values that ``scalar`` takes one by one; what it says yes to would come out unchanged.
    """
    if datatype == "FP64":
        return finite
    if datatype in _INTEGERS:
        low, high = integer_range(datatype)
        return lambda values: set(map(type, values)) == {int} and low <= min(values) and max(values) <= high
    kind = {"BOOL": bool, "BYTES": str}.get(datatype)
    return None if kind is None else lambda values: set(map(type, values)) == {kind}


def iso_time(text: Any) -> Any:
    """Convert nothing, but refuse what is no time."""
    try:
        datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise MismatchError(text) from None
    return text


def one_of(categories: tuple[Any, ...], convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a conversion that takes these values only."""
    known = frozenset(categories)

    def convert_known(value: Any) -> Any:
        converted = convert(value)
        if converted in known:
            return converted
        raise MismatchError(value)

    return convert_known


def or_missing(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a conversion that takes null and NaN for a missing value, too."""

    def convert_or_none(value: Any) -> Any:
        if value is None or (type(value) is float and value != value):
            return None
        return convert(value)

    return convert_or_none


def scalar(datatype: str) -> tuple[Callable[[Any], Any], str]:
    """Return what converts one value of a datatype, unchanged, or raises ``MismatchError``; and its name for people."""
    if datatype in _INTEGERS:
        return _integer(datatype)
    if datatype in _FLOATS:
        return _float(datatype)
    if datatype == "BOOL":
        return _bool, "true or false (BOOL)"
    if datatype == "BYTES":
        return _text, "text (BYTES)"
    raise ValueError(f"the signature names datatype {datatype!r}; known are {', '.join(sorted(DATATYPES))}")
