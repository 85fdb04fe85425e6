"""Records as database documents, and back.

Free-form JSON (a config, Params, a step's result) is kept as text: its keys may hold dots and ``$``, its integers may
be longer than 64 bits, and both come back as they were from any server. What is searched for gets fields of its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, fields, is_dataclass
from datetime import UTC, datetime
from functools import cache
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

Document = dict[str, Any]
Record = TypeVar("Record")
_hints: Callable[[Any], dict[str, Any]] = cache(get_type_hints)


def to_document(record: Any) -> Document:
    """Return a record's fields as the database keeps them; times lose what is below a millisecond."""
    return {item.name: encode(_hints(type(record))[item.name], getattr(record, item.name)) for item in fields(record)}


def from_document(kind: type[Record], document: Document) -> Record:
    """Return the record of a document; other fields in it are left out, missing ones take their default."""
    hints = _hints(kind)
    return kind(**{name: _decode(hint, document[name]) for name, hint in hints.items() if name in document})


def encode(hint: Any, value: Any) -> Any:
    """Return one field's value as the database keeps it, by the field's type."""
    if value is None:
        return None
    kind, item = _shape(hint)
    if kind is dict:
        return json.dumps(value, sort_keys=True)
    if kind is tuple:
        return [asdict(one) if is_dataclass(item) else one for one in value]
    return _milliseconds(value) if isinstance(value, datetime) else value


def now() -> datetime:
    """Return the time in UTC, as precise as the database keeps it."""
    return _milliseconds(datetime.now(UTC))


def _milliseconds(time: datetime) -> datetime:
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


def _decode(hint: Any, value: Any) -> Any:
    if value is None:
        return None
    kind, item = _shape(hint)
    if kind is dict:
        return json.loads(value)
    if kind is tuple:
        return tuple(from_document(item, one) if isinstance(one, dict) else one for one in value)
    return tuple(value) if isinstance(value, list) else value


def _shape(hint: Any) -> tuple[Any, Any]:
    """Return the container of an annotation, None taken out, and the type of its items: ``(tuple, AliasMove)``."""
    if get_origin(hint) in (Union, UnionType):
        hint = next(one for one in get_args(hint) if one is not type(None))
    return get_origin(hint) or hint, (get_args(hint) or (None,))[0]
