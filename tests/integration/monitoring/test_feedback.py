"""Ground truth by request id and by entity, told to a real server and read back from the object store."""

from __future__ import annotations

import signal
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from openapi_spec_validator import validate

from modelyard.monitoring.segments import Feedback
from modelyard.serving.segment import members

from .conftest import Place, Serve, Server, Ship, until

EVENT = {"event": "rate", "entityType": "user", "entityId": "u-1"}


@pytest.fixture
def server(serve: Serve) -> Server:
    return serve(seconds=0.3)


def kept(place: Place) -> list[Feedback]:
    now = datetime.now(UTC)
    return list(place.segments().feedback(now - timedelta(hours=1), now + timedelta(hours=1)))


def test_truth_by_request_and_by_entity_is_read_back(server: Server, ship: Ship, in_s3: Place) -> None:
    records = [
        {"request_id": "order-1", "row": 2, "truth": {"prediction": 2.5}, "time": "2026-03-01T12:00:00+01:00"},
        {"entity": "customer-4", "truth": 7},
    ]
    assert server.post("/feedback", records) == (202, {"accepted": 2})
    assert server.post("/feedback", {"request_id": "order-2", "truth": 1.0}) == (202, {"accepted": 1})
    ship(in_s3)
    until(lambda: len(kept(in_s3)) == 3)
    first, second, third = kept(in_s3)
    assert (first.request_id, first.row, first.truth, first.version) == ("order-1", 2, {"prediction": 2.5}, "3")
    assert first.happened == datetime(2026, 3, 1, 11, tzinfo=UTC)
    assert datetime.now(UTC) - first.time < timedelta(minutes=1)
    assert (second.entity, second.request_id, second.truth) == ("customer-4", None, {"prediction": 7.0})
    assert third.request_id == "order-2"


def test_a_predictionio_event_is_kept_whole(server: Server, ship: Ship, in_folder: Place) -> None:
    properties = {"prediction": 4.5, "comment": "as told on the telephone"}
    event = EVENT | {"properties": properties, "eventTime": "2026-03-01T12:00:00.000Z", "prId": "order-9"}
    status, answer = server.post("/events.json?accessKey=abc", event)
    assert status == 201
    assert len(answer["eventId"]) == 32
    assert server.post("/events.json", EVENT | {"targetEntityType": "item", "targetEntityId": "i-2"})[0] == 201
    ship(in_folder)
    until(lambda: len(kept(in_folder)) == 2)
    first, second = kept(in_folder)
    assert (first.request_id, first.entity, first.truth) == ("order-9", "u-1", {"prediction": 4.5})
    assert first.happened == datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert first.event is not None
    assert first.event["properties"] == {"comment": "as told on the telephone"}
    assert second.truth is None
    assert second.event is not None
    assert second.event["targetEntityId"] == "i-2"


def test_what_was_accepted_survives_a_kill_at_once(server: Server, ship: Ship, in_folder: Place) -> None:
    assert server.post("/feedback", {"entity": "x", "truth": 1.0})[0] == 202
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    (path,) = server.folder.glob("feedback.*")
    assert [lines for _, lines in members(path.read_bytes())] == [1]
    ship(in_folder)
    until(lambda: len(kept(in_folder)) == 1)


def test_hidden_outputs_are_hidden_in_feedback_too(serve: Serve, ship: Ship, in_folder: Place) -> None:
    server = serve(seconds=0.3, hide=["probability", "word"])
    truth = {"prediction": 1.0, "probability": [0.0, 1.0]}
    assert server.post("/feedback", {"entity": "x", "truth": truth})[0] == 202
    assert server.post("/events.json", EVENT | {"properties": truth | {"word": "secret", "open": "said"}})[0] == 201
    ship(in_folder)
    until(lambda: len(kept(in_folder)) == 2)
    assert "said" in str(kept(in_folder))
    assert "secret" not in str(kept(in_folder))
    assert [one.truth for one in kept(in_folder)] == [{"prediction": 1.0}] * 2
    assert "probability" not in str(kept(in_folder))


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"truth": 1.0}, 422, "record 0: whose truth is it? Expected request_id or entity"),
        ({"request_id": "x"}, 400, "record 0: expected an object with truth"),
        (
            [{"entity": "x", "truth": 1}, {"entity": "x", "truth": "one"}],
            422,
            "truth of 'prediction': expected a number",
        ),
        ({"entity": "x", "truth": {"predicton": 1.0}}, 422, "expected values for prediction, probability"),
        ({"entity": "x", "truth": {"probability": [1.0]}}, 422, "a list of shape 2"),
        ({"entity": "x", "truth": {}}, 422, "expected values for"),
        ({"entity": "x", "truth": None}, 422, "found null"),
        ({"entity": "x", "truth": 1.0, "colour": "red"}, 422, "there is no colour"),
        ({"entity": "", "truth": 1.0}, 400, "1 to 256 characters"),
        ({"entity": "x" * 257, "truth": 1.0}, 400, "1 to 256 characters"),
        ({"request_id": "x", "row": -1, "truth": 1.0}, 422, "a number from 0"),
        ({"request_id": "x", "row": True, "truth": 1.0}, 422, "a number from 0"),
        ({"entity": "x", "truth": 1.0, "time": "yesterday"}, 400, "ISO 8601"),
        ({"entity": "x", "truth": 1.0, "time": "2026-03-01T12:00:00"}, 400, "with its zone"),
        ({"entity": "x", "truth": 1.0, "time": "9999-12-31T23:59:59-23:59"}, 400, "ISO 8601"),
        ({"entity": "x", "truth": 1.0, "time": "0001-01-01T00:00:00+23:59"}, 400, "ISO 8601"),
        ([], 400, "1 to 1000 objects"),
    ],
)
def test_what_is_no_truth_is_refused_by_name(server: Server, body: Any, status: int, words: str) -> None:
    found, answer = server.post("/feedback", body)
    assert (found, words in answer["error"]) == (status, True), answer
    assert server.metrics()['written_total{kind="feedback"}'] == 0


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ({"event": "rate"}, "entityType"),
        (EVENT | {"event": "$buy"}, "is not a supported reserved event name"),
        (EVENT | {"targetEntityId": "i"}, "must be specified together"),
        (EVENT | {"event": "$set", "targetEntityType": "item", "targetEntityId": "i"}, "cannot have targetEntity"),
        (EVENT | {"event": "$unset"}, "properties cannot be empty"),
        (EVENT | {"event": "pio_x"}, "is not a supported reserved event name"),
        (EVENT | {"entityType": "pio_user"}, "reserved"),
        (EVENT | {"properties": {"pio_x": 1}}, "reserved"),
        (EVENT | {"properties": {"pio_pr": 1}}, "reserved"),
        (EVENT | {"tags": 5}, "tags: expected a list of texts"),
        (EVENT | {"tags": ["a", 5]}, "tags: expected a list of texts"),
        (EVENT | {"properties": [1]}, "expected an object"),
        (EVENT | {"eventTime": "soon"}, "eventTime"),
    ],
)
def test_what_predictionio_refuses_is_refused_in_its_words(server: Server, event: Any, words: str) -> None:
    status, answer = server.post("/events.json", event)
    assert (status, words in answer["message"]) == (400, True), answer


@pytest.mark.parametrize("more", [{"entityType": "pio_pr"}, {"tags": ["a"]}, {"event": "$set", "properties": {"x": 1}}])
def test_what_predictionio_takes_is_taken(server: Server, more: Any) -> None:
    assert server.post("/events.json", EVENT | more)[0] == 201


def test_a_truth_of_the_wrong_type_is_refused_in_an_event_too(server: Server) -> None:
    status, answer = server.post("/events.json", EVENT | {"properties": {"prediction": "much"}})
    assert (status, answer["problems"][0]["field"]) == (422, "prediction")


def test_the_document_tells_of_feedback_and_its_examples_are_taken(server: Server) -> None:
    document = server.get("/openapi.json")
    validate(document)
    for path, status in (("/feedback", 202), ("/events.json", 201)):
        operation = document["paths"][path]["post"]
        example = operation["requestBody"]["content"]["application/json"]["example"]
        found, answer = server.post(path, example)
        assert found == status, answer
        assert str(status) in operation["responses"]


def test_without_a_prediction_log_it_is_said_how_to_get_one(serve: Serve) -> None:
    server = serve(log=False)
    status, answer = server.post("/feedback", {"entity": "x", "truth": 1.0})
    assert (status, "serving.prediction_log" in answer["error"]) == (404, True)
    status, answer = server.post("/events.json", EVENT)
    assert (status, "serving.prediction_log" in answer["message"]) == (404, True)
    assert "/feedback" not in server.get("/openapi.json")["paths"]
    assert not server.metrics()
