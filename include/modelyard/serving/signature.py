"""Inputs against the signature: every value is what the model was trained on, or the request is refused.

No value is changed on the way: an integer may come as 3.0 and a float as 3, since these are the same number; text that
looks like a number, a fraction for an integer, a number that the type cannot hold, a category that training did not
know are refused. NaN is a missing value, as null is; infinity is refused, since it would not reach the model as such.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import msgspec

from modelyard.serving.datatypes import MismatchError, finite, homogeneous, iso_time, one_of, or_missing, scalar
from modelyard.serving.messages import JSON, Columns, Refused

_MOST_PROBLEMS = 10
_FEW = 4  # values that are sooner looked at one by one
_MOST_SHOWN = 10  # names or categories in a message
_MOST_COMPARED = 200  # names that one which is none is compared with


@dataclass(frozen=True)
class Field:
    """One input or output.

    Attributes:
        shape: of one row: () for a plain column, (13,) for a vector; -1 is any length.
        categories: all values that training knew, when it knew them to be all.
        convert: one scalar to the value the worker gets; raises when it is not of the datatype.
        whole: tells of a whole column that ``convert`` takes all of it and changes nothing; None: nothing can.
        expected: the same for people.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    nullable: bool
    categories: tuple[Any, ...]
    convert: Callable[[Any], Any]
    whole: Callable[[list[Any]], bool] | None
    expected: str

    @classmethod
    def from_json(cls, field: JSON) -> Field:
        """Read one entry of the signature's ``inputs`` or ``outputs``; its first dimension is the rows."""
        datatype = field["datatype"]
        convert, expected = scalar(datatype)
        whole = None if field["shape"][1:] else homogeneous(datatype)
        if str(field.get("dtype", "")).startswith("datetime64"):
            convert, expected, whole = iso_time, "a time in ISO 8601 (BYTES)", None
        if categories := tuple(field.get("categories") or ()):
            convert, whole = one_of(categories, convert), None
            expected = f"one of {listed(map(shown, categories))} ({datatype})"
        shape = tuple(field["shape"][1:])
        if shape:
            sizes = "×".join("any" if size < 0 else str(size) for size in shape)
            expected = f"a list of shape {sizes}, each {expected}"
        if nullable := bool(field.get("nullable", False)):
            expected += " or null"
            convert = or_missing(convert)
        return cls(field["name"], datatype, shape, nullable, categories, convert, whole, expected)

    def or_missing(self) -> Field:
        """Return the same field, of which each value may be missing."""
        if self.nullable:
            return self
        expected = f"{self.expected} or null"
        return replace(self, nullable=True, convert=or_missing(self.convert), whole=None, expected=expected)

    def column(self, values: list[Any]) -> list[Any]:
        """Return a row's entry each as the worker gets them; raise ``MismatchError`` for one that is wrong."""
        if self.whole is not None and len(values) > _FEW and self.whole(values):
            return values
        return list(map(self.entry if self.shape else self.convert, values))

    def entry(self, value: Any, depth: int = 0) -> Any:
        """Return one row's entry as the worker gets it; raise ``MismatchError`` with the part that is wrong."""
        if depth < len(self.shape):
            size = self.shape[depth]
            if type(value) is not list or (size >= 0 and len(value) != size):
                raise MismatchError(value)
            return [self.entry(part, depth + 1) for part in value]
        return self.convert(value)


@dataclass(frozen=True)
class Signature:
    """What goes in and what comes out.

    Attributes:
        order: the names of the inputs; fractions: those of plain fractions, a finite one of which is taken as it is.
    """

    kind: str
    inputs: tuple[Field, ...]
    outputs: tuple[Field, ...]
    names: frozenset[str]
    order: tuple[str, ...]
    fractions: frozenset[str]

    @classmethod
    def from_json(cls, signature: JSON) -> Signature:
        """Read ``modelyard.json``'s signature; ValueError when it is none."""
        inputs = tuple(Field.from_json(field) for field in signature["inputs"])
        outputs = tuple(Field.from_json(field) for field in signature["outputs"])
        if signature["kind"] not in {"columns", "tensor"} or (signature["kind"] == "tensor" and len(inputs) != 1):
            raise ValueError("the signature's kind is neither columns nor tensor of one input")
        order = tuple(field.name for field in inputs)
        fractions = frozenset(field.name for field in inputs if field.datatype == "FP64" and field.whole is not None)
        return cls(signature["kind"], inputs, outputs, frozenset(order), order, fractions)

    def columns_of(self, rows: Any) -> Columns:
        """Turn rows into one list an input: objects by name; for a tensor nested lists.

        Raises:
            Refused: with each row and field that is missing or unknown.
        """
        if type(rows) is not list or not rows:
            raise Refused(400, f"expected a list with at least one row, found {shown(rows)}")
        if self.kind == "tensor":
            name = self.inputs[0].name
            return {name: [row[name] if type(row) is dict and row.keys() == {name} else row for row in rows]}
        try:
            if len(rows) == 1:  # as most requests have it
                (row,) = rows
                columns = {name: [row[name]] for name in self.order}
            else:
                columns = {name: [row[name] for row in rows] for name in self.order}
            if set(map(len, rows)) == {len(columns)}:
                return columns
        except (KeyError, TypeError):
            pass  # a row is no object, or a field is missing
        problems: list[JSON] = []
        for number, row in enumerate(rows):
            if type(row) is not dict or row.keys() != self.names:
                problems += self._row_problems(number, row)
                if len(problems) >= _MOST_PROBLEMS:
                    break
        raise refuse(problems[:_MOST_PROBLEMS])

    def positional(self, rows: Any, names: list[Any] | None = None) -> Any:
        """Turn rows that are lists into objects, by ``names`` or in the signature's order; leave others alone."""
        if self.kind == "tensor" or type(rows) is not list:
            return rows
        names = [field.name for field in self.inputs] if names is None else names
        for number, row in enumerate(rows):
            if type(row) is list and len(row) != len(names):
                raise Refused(422, f"row {number}: expected {len(names)} values ({listed(names)}), found {len(row)}")
        return [dict(zip(names, row, strict=True)) if type(row) is list else row for row in rows]

    def rows_of(self, columns: Columns) -> list[Any]:
        """Turn columns back into rows, the opposite of ``columns_of``."""
        if self.kind == "tensor":
            return columns[self.inputs[0].name]
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def check(self, columns: Columns) -> Columns:
        """Return the columns as the worker gets them.

        Raises:
            Refused: 422 with row, field, what was expected and what was found, ten at most.
        """
        known = self._finite(columns)
        try:
            return {
                field.name: columns[field.name] if field.name in known else field.column(columns[field.name])
                for field in self.inputs
            }
        except MismatchError:
            problems: list[JSON] = []
            for field in self.inputs:
                problems += mismatches(columns[field.name], field.entry, field.name, field.expected)
            problems = sorted(problems, key=lambda problem: problem["row"])[:_MOST_PROBLEMS]
            raise refuse(problems) from None

    def _finite(self, columns: Columns) -> frozenset[str]:
        """Return ``fractions`` if all of them hold nothing but finite fractions: of a few rows that is seen at once."""
        if len(self.fractions) > _FEW:
            values = [value for name in self.fractions for value in columns[name]]
            if finite(values):
                return self.fractions
        return frozenset()

    def _row_problems(self, number: int, row: Any) -> list[JSON]:
        names = [field.name for field in self.inputs]
        if type(row) is not dict:
            expected = f"an object with {listed(names)}"
            return [{"row": number, "field": None, "expected": expected, "found": shown(row)}]
        problems = [
            {"row": number, "field": field.name, "expected": field.expected, "found": "nothing"}
            for field in self.inputs
            if field.name not in row
        ]
        for name in islice((name for name in row if name not in self.names), _MOST_PROBLEMS):
            near = difflib.get_close_matches(name, names[:_MOST_COMPARED], n=1)
            expected = f"no field of this name; did you mean {near[0]!r}?" if near else "no field of this name"
            problems.append({"row": number, "field": cut(name), "expected": expected, "found": shown(row[name])})
        return problems


def mismatches(values: list[Any], convert: Callable[[Any], Any], name: str, expected: str) -> list[JSON]:
    """Return the first problems among one field's values."""
    problems: list[JSON] = []
    for number, value in enumerate(values):
        try:
            convert(value)
        except MismatchError as mismatch:
            problems.append({"row": number, "field": name, "expected": expected, "found": shown(mismatch.found)})
            if len(problems) == _MOST_PROBLEMS:
                break
    return problems


def refuse(problems: list[JSON]) -> Refused:
    """Return the refusal that names these problems, the first of them in its message."""
    first = problems[0]
    field = f", field {first['field']!r}" if first["field"] is not None else ""
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    message = f"row {first['row']}{field}: expected {first['expected']}, found {first['found']}{more}"
    return Refused(422, message, problems)


def shown(value: Any) -> str:
    """Return a value as JSON, cut short: for messages."""
    if type(value) is float and not math.isfinite(value):
        return str(value)
    if type(value) in (list, dict) and len(value) > 10:
        return f"{'a list' if type(value) is list else 'an object'} of {len(value)}"
    try:
        return cut(msgspec.json.encode(value).decode())
    except RecursionError:
        return "a deeply nested value"
    except UnicodeEncodeError:
        return cut(ascii(value))  # half of a surrogate pair in it is no text


def cut(text: str) -> str:
    """Return the beginning of a text: for messages."""
    return text if len(text) <= 60 else f"{text[:57]}…"


def listed(names: Iterable[str]) -> str:
    """Return the first of some names: for messages."""
    first = list(map(cut, islice(names, _MOST_SHOWN + 1)))
    return ", ".join([*first[:_MOST_SHOWN], "…"] if len(first) > _MOST_SHOWN else first)
