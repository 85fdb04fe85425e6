"""Rows as CSV: text that the signature turns into values, since CSV itself has no types."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from typing import Any

from modelyard.serving.datatypes import EXACT
from modelyard.serving.messages import Columns, Outputs, Refused
from modelyard.serving.model import Model
from modelyard.serving.signature import Field

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
# Of these characters alone float() and int() take what is a number above, and nothing else.
_FRACTIONS, _WHOLES = re.compile("[0-9+.eE,-]+"), re.compile("[0-9+,-]+")
_LONGEST = 400  # characters of a number
_WORDS = {"true": True, "false": False}
_MISSING = frozenset({"", "nan", "na", "null", "none"})  # among numbers; of text only the empty one is missing


def read(model: Model, body: bytes, header: str | None) -> Columns | tuple[list[list[Any]], list[str] | None]:
    """Return the columns; or for an array, and for what is not the signature's, the rows, and the names given to them.

    The names are those of the first line if it is one of names.

    It is one when ``header`` (the parameter of ``text/csv``) says "present", or says nothing and a name of the
    signature is in it; for a model that takes arrays of numbers, when none is in it.

    Raises:
        Refused: 400, it is no CSV.
    """
    signature = model.signature
    try:
        lines = [line for line in csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True) if line]
    except (UnicodeDecodeError, csv.Error) as error:
        raise Refused(400, f"the body is no CSV in UTF-8: {error}") from error
    if not lines:
        raise Refused(400, "expected CSV with at least one row, found none")
    if signature.kind == "tensor":
        field = signature.inputs[0]
        if len(field.shape) != 1:
            raise Refused(415, f"rows of shape {list(field.shape)} cannot be told in CSV; send application/json")
        return [[_value(cell, field) for cell in line] for line in lines[_has_header(lines[0], header, field) :]], None
    if header == "present" or (header is None and signature.names & set(lines[0])):
        names = lines.pop(0)
        if len(set(names)) != len(names):
            raise Refused(400, "the first line must be of different names")
    else:
        names = [field.name for field in signature.inputs]
    if signature.names != set(names) or set(map(len, lines)) != {len(names)}:
        return list(lines), names  # the signature refuses them, and says where and why
    fields = {field.name: field for field in signature.inputs}
    return {name: _column(cells, fields[name]) for name, cells in zip(names, zip(*lines, strict=True), strict=True)}


def _has_header(line: list[str], header: str | None, field: Field) -> bool:
    """Return whether the first line of an array's rows is one of names."""
    if header is not None:
        return header == "present"
    if line == list(map(str, range(len(line)))):  # what pandas names the columns of an array; or a row
        raise Refused(
            400, f"is {','.join(line)[:60]} the header? Say Content-Type: text/csv; header=present, or =absent"
        )
    said = [cell for cell in line if cell.lower() not in _MISSING]
    return field.datatype != "BYTES" and bool(said) and not any(map(_NUMBER.fullmatch, said))


def _column(cells: Sequence[str], field: Field) -> list[Any]:
    """Return the values that ``_value`` has for these cells; numbers without a gap are read in a tenth of the time."""
    whole = field.datatype.strip("U").startswith("INT")
    if field.datatype == "BYTES" and (not field.nullable or "" not in cells):
        return list(cells)
    if field.datatype not in {"BYTES", "BOOL"} and max(map(len, cells)) <= _LONGEST:
        try:
            if (_WHOLES if whole else _FRACTIONS).fullmatch(",".join(cells)):
                values = list(map(int if whole else float, cells))
                if whole or (min(values) > -EXACT and max(values) < EXACT):
                    return values
        except ValueError:
            pass  # some are missing, or no numbers
    return [_value(cell, field) for cell in cells]


def _value(cell: str, field: Field) -> Any:
    """Return a cell as the value it says, and as text when it says none of the field's type: that is refused later."""
    if field.datatype == "BYTES":
        return None if not cell and field.nullable else cell
    if field.datatype == "BOOL":
        return _WORDS.get(cell.lower(), cell or None)
    if cell.lower() in _MISSING:
        return None
    if not _NUMBER.fullmatch(cell) or len(cell) > _LONGEST:
        return cell
    number = float(cell)
    # A whole number stays one where it would be rounded otherwise: the signature judges it, as it does in JSON.
    whole = field.datatype.strip("U").startswith("INT") or not -EXACT < number < EXACT
    return int(cell) if whole and cell.lstrip("+-").isdigit() else number


def write(outputs: Outputs) -> bytes:
    """Return the first output, a line a row, without a header; the values of a vector side by side."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows(value if type(value) is list else [value] for value in next(iter(outputs.values())))
    return text.getvalue().encode()
