"""The model's answer against the signature: a client gets what the signature promises, or is told why not (422).

One rule for every route, and for a compiled model as for a model's own process: what is missing (None, NaN) is null;
what is infinite, what the output's type does not hold and what has another shape is refused. Neither JSON (RFC 8259,
section 6) nor an integer in bytes has a word for these, and any other value would be a wrong answer. Nothing is
changed: 2.0 is the integer 2, 2.5 is none. Only the outputs that are asked for are looked at.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, TypedDict

import msgspec

from modelyard.serving.datatypes import MismatchError, float_range, integer_range
from modelyard.serving.messages import Outputs, Refused, Wanted
from modelyard.serving.signature import Field, listed, shown


class Answers:
    """Reads what a model's process says: parsing and checks in one step, where the answer is as it should be."""

    def __init__(self, outputs: tuple[Field, ...]) -> None:
        self._fields = outputs
        self._names = tuple(field.name for field in outputs)
        types = {field.name: list.__class_getitem__(_type(field)) for field in outputs}
        found: Any = TypedDict("Found", types, total=False)  # type: ignore[misc]
        self._decode = msgspec.json.Decoder(msgspec.defstruct("Answer", [("outputs", found)], gc=False)).decode

    def read(self, frame: bytes, rows: int, wanted: Wanted = None) -> Outputs:
        """Return the wanted outputs of ``rows`` rows, all in the signature's order for None.

        Raises:
            Refused: 422, the model could not answer, or its answer is not what the signature says.
            ValueError: the frame is no JSON.
        """
        try:
            found = self._decode(frame).outputs  # type: ignore[attr-defined]
            outputs = {name: found[name] for name in wanted or self._names}
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, KeyError):
            return self._read_slowly(frame, rows, wanted)
        for values in outputs.values():
            if len(values) != rows:
                return self._read_slowly(frame, rows, wanted)
        return outputs

    def _read_slowly(self, frame: bytes, rows: int, wanted: Wanted) -> Outputs:
        """Take what ``read`` takes and the words NaN and Infinity, 2.0 for an integer; else say what is wrong."""
        try:
            answer = json.loads(frame.decode())
        except RecursionError:
            raise _misfit("it is nested too deeply") from None
        answer = answer if type(answer) is dict else {"outputs": answer}
        if "error" in answer:
            # A model may quote half of a character, which is no text for anybody else.
            told = str(answer["error"]).encode(errors="backslashreplace").decode()
            raise Refused(422, f"the model cannot answer this input: {told}")
        outputs = answer.get("outputs")
        if type(outputs) is not dict:
            raise _misfit(f"expected an object with {listed(self._names)}, found {shown(outputs)}")
        fields = [field for field in self._fields if wanted is None or field.name in wanted]
        if missing := [field.name for field in fields if field.name not in outputs]:
            raise _misfit(f"it has no {listed(missing)}")
        return {field.name: settled(field, outputs[field.name], rows) for field in fields}


def settled(field: Field, values: Any, rows: int) -> list[Any]:
    """Return an output as it is answered: missing values as None, whole numbers as the signature's integers.

    Raises:
        Refused: 422 with the row and the output that is not what the signature says.
    """
    if type(values) is not list:
        raise _misfit(f"output {field.name!r}: expected a list with a value a row, found {shown(values)}")
    if len(values) != rows:
        raise _misfit(f"output {field.name!r}: expected a value for each of {rows} rows, found {len(values)}")
    field = field.or_missing()
    answered = []
    for row, value in enumerate(values):
        try:
            answered.append(field.entry(value))
        except MismatchError as mismatch:
            found = shown(mismatch.found)
            raise _misfit(f"row {row}, output {field.name!r}: expected {field.expected}, found {found}") from None
    return answered


def _misfit(what: str) -> Refused:
    return Refused(422, f"the model's answer is not what its signature says: {what}")


def _type(field: Field) -> Any:
    """Return the type that takes nothing but what the field promises; it may take less."""
    kind: Any = {"BOOL": bool, "BYTES": str}.get(field.datatype)
    if field.datatype.startswith("FP"):
        limit, exact = float_range(field.datatype)
        whole = Annotated[int, msgspec.Meta(ge=-exact, le=exact)]
        kind = whole | (float if field.datatype == "FP64" else Annotated[float, msgspec.Meta(gt=-limit, lt=limit)])
    elif kind is None:
        low, high = integer_range(field.datatype)
        kind = Annotated[int, msgspec.Meta(ge=low, le=min(high, 2**63 - 1))]  # msgspec compares no larger ones
    kind |= None
    for size in reversed(field.shape):
        kind = list.__class_getitem__(kind)
        if size >= 0:
            kind = Annotated[kind, msgspec.Meta(min_length=size, max_length=size)]
    return kind
