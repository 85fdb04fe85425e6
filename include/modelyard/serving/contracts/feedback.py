"""What came true: ground truth by request id or by entity, at ``/feedback`` and in PredictionIO's words.

A truth is what the model would have answered had it been right: a value for its first output, or an object by output.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Any

from modelyard.serving.contracts.body import read_json, read_object
from modelyard.serving.datatypes import MismatchError
from modelyard.serving.messages import JSON, Handler, Refused, Request, Response, in_json
from modelyard.serving.model import Model
from modelyard.serving.prediction_log import PredictionLog
from modelyard.serving.signature import listed, shown

_KEYS = frozenset({"request_id", "row", "entity", "truth", "time"})
_EVENT_KEYS = frozenset(
    {"event", "entityType", "entityId", "targetEntityType", "targetEntityId", "properties", "eventTime", "prId", "tags"}
)
_SPECIAL, _RESERVED = frozenset({"$set", "$unset", "$delete"}), ("$", "pio_")
_MOST_RECORDS = 1000
_MOST_TEXT = 256
_MOST_ROW = 2**31


def truth(model: Model, log: PredictionLog | None) -> Handler:
    """``POST /feedback``: one object or a list of them; answered by ``{"accepted": n}`` once they are on disk.

    Each is ``{"request_id": id, "row": n, "truth": …}``, where ``row`` counts from 0 and is left out for a request of
    one row, or ``{"entity": id, "truth": …}``; with ``time`` (ISO 8601) where the truth is older than the message.
    """

    async def handler(request: Request) -> Response:
        if log is None:
            raise _no_log()
        value = read_json(request)
        records = value if type(value) is list else [value]
        if not 0 < len(records) <= _MOST_RECORDS:
            raise Refused(400, f"expected 1 to {_MOST_RECORDS} objects, found {len(records)}")
        await _keep(log, [_record(model, record, number) for number, record in enumerate(records)])
        return in_json({"accepted": len(records)}, 202)

    return handler


def event(model: Model, log: PredictionLog | None) -> Handler:
    """``POST /events.json`` of PredictionIO's event server; answered by ``{"eventId": id}`` once it is on disk.

    It is kept whole. Properties with names of the model's outputs are its truth; ``prId`` is the id of the request,
    ``entityId`` the entity. A refusal is ``{"message": text}``.
    """

    async def handler(request: Request) -> Response:
        try:
            if log is None:
                raise _no_log()
            record = _event(model, read_object(request))
            await _keep(log, [record])
        except Refused as refused:
            problems = {"problems": refused.problems} if refused.problems else {}
            return in_json({"message": refused.message, **problems}, refused.status, refused.headers)
        return in_json({"eventId": record["event_id"]}, 201)

    return handler


async def _keep(log: PredictionLog, records: list[JSON]) -> None:
    try:
        kept = await log.keep(records)
    except RecursionError as error:
        raise Refused(400, "the body is nested too deeply") from error
    if not kept:
        raise Refused(503, "there is no room for feedback now; send it again later", headers=(("retry-after", "60"),))


def _no_log() -> Refused:
    return Refused(404, "feedback is kept with the prediction log, which is off: model.yaml's serving.prediction_log")


def _record(model: Model, value: Any, number: int) -> JSON:
    place = f"record {number}"
    if type(value) is not dict or "truth" not in value:
        raise Refused(400, f"{place}: expected an object with truth, and request_id or entity, found {shown(value)}")
    if unknown := value.keys() - _KEYS:
        raise Refused(422, f"{place}: there is no {listed(sorted(unknown))}; there are {listed(sorted(_KEYS))}")
    record: JSON = {
        name: _text(value[name], f"{place}: {name}") for name in ("request_id", "entity") if value.get(name) is not None
    }
    if not record:
        raise Refused(422, f"{place}: whose truth is it? Expected request_id or entity")
    if (row := value.get("row")) is not None:
        if type(row) is not int or not 0 <= row < _MOST_ROW:
            raise Refused(422, f"{place}: row: expected a number from 0, found {shown(row)}")
        record["row"] = row
    if value.get("time") is not None:
        record["happened"] = _moment(value["time"], f"{place}: time")
    return record | {"source": "feedback", "truth": _truth(model, value["truth"], number)}


def _truth(model: Model, value: Any, number: int) -> JSON:
    """Return the truth by output, each value of the output's type; raises Refused: 422."""
    fields = {field.name: field for field in model.signature.outputs}
    if type(value) is not dict:
        value = {next(iter(fields)): value}
    if not value or value.keys() - fields.keys():
        raise Refused(422, f"record {number}: truth: expected values for {listed(fields)}, found {shown(list(value))}")
    found = {}
    for name, one in value.items():
        try:
            found[name] = fields[name].entry(one)
        except MismatchError as mismatch:
            problem = {
                "row": number,
                "field": name,
                "expected": fields[name].expected,
                "found": shown(mismatch.found),
            }
            message = f"record {number}, truth of {name!r}: expected {problem['expected']}, found {problem['found']}"
            raise Refused(422, message, [problem]) from None
    return found


def _event(model: Model, body: JSON) -> JSON:
    named = {name: _text(body.get(name), name) for name in ("event", "entityType", "entityId")}
    optional = ("targetEntityType", "targetEntityId", "prId")
    named |= {name: _text(body[name], name) for name in optional if body.get(name) is not None}
    properties = body.get("properties") or {}
    if type(properties) is not dict:
        raise Refused(400, f"properties: expected an object, found {shown(properties)}")
    _check_names(named, properties)
    tags = body.get("tags")
    if tags is not None and not (type(tags) is list and all(type(tag) is str for tag in tags)):
        raise Refused(400, f"tags: expected a list of texts, found {shown(tags)}")
    happened = None if body.get("eventTime") is None else _moment(body["eventTime"], "eventTime")
    outputs = {field.name for field in model.signature.outputs}
    told = {name: value for name, value in properties.items() if name in outputs}
    event_id = secrets.token_hex(16)
    return {
        **({"request_id": named["prId"]} if "prId" in named else {}),
        "entity": named["entityId"],
        **({"happened": happened} if happened else {}),
        "source": "events.json",
        "truth": _truth(model, told, 0) if told else None,
        "event_id": event_id,
        "event": {
            **{name: value for name, value in body.items() if name in _EVENT_KEYS - {"properties"}},
            "properties": {name: value for name, value in properties.items() if name not in outputs},
        },
    }


def _check_names(named: dict[str, str], properties: JSON) -> None:
    """Refuse what PredictionIO's event server refuses."""
    name = named["event"]
    if name.startswith(_RESERVED) and name not in _SPECIAL:
        raise Refused(400, f"{shown(name)} is not a supported reserved event name.")
    if ("targetEntityType" in named) != ("targetEntityId" in named):
        raise Refused(400, "targetEntityType and targetEntityId must be specified together.")
    if name in _SPECIAL and "targetEntityId" in named:
        raise Refused(400, f"Reserved event {name} cannot have targetEntity")
    if name == "$unset" and not properties:
        raise Refused(400, "properties cannot be empty for $unset event")
    kinds = [text for text in (named["entityType"], named.get("targetEntityType", "")) if text != "pio_pr"]
    for text in (*kinds, *properties):
        if text.startswith(_RESERVED):
            raise Refused(400, f"{shown(text)} is reserved: no name may begin with 'pio_' or '$'")


def _text(value: Any, place: str) -> str:
    if type(value) is int:
        value = str(value)
    if type(value) is str and 0 < len(value) <= _MOST_TEXT:
        return value
    raise Refused(400, f"{place}: expected text of 1 to {_MOST_TEXT} characters, found {shown(value)}")


def _moment(value: Any, place: str) -> float:
    """Return a time in seconds since 1970."""
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise ValueError
        # Whoever reads it will have it in UTC, where the first and the last years end sooner or later than elsewhere.
        return moment.astimezone(UTC).timestamp()
    except (TypeError, ValueError, OverflowError):
        raise Refused(400, f"{place}: expected a time in ISO 8601 with its zone (…Z), found {shown(value)}") from None
