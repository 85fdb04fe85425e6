"""The prediction log from the answer to the object store and back, with real processes that are killed and cut off."""

from __future__ import annotations

import json
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.away import away

from modelyard.serving.segment import SegmentName, members

from .conftest import PREFIX, Place, Serve, Server, Ship, until


def on_disk(folder: Path) -> int:
    """Return the records in all files of a log's folder."""
    files = [path for path in folder.iterdir() if SegmentName.parse(path.name)]
    return sum(lines for path in files for _, lines in members(path.read_bytes()))


def closed(folder: Path) -> list[Path]:
    return list(folder.glob("*.jsonl.gz"))


def ask(server: Server, numbers: range, threads: int = 4) -> None:
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(server.predict, numbers))


@pytest.fixture(params=["in_folder", "in_s3"])
def place(request: pytest.FixtureRequest) -> Place:
    found: Place = request.getfixturevalue(request.param)
    return found


def test_an_answer_is_read_back_from_the_object_store(serve: Serve, ship: Ship, place: Place) -> None:
    server = serve(seconds=0.5)
    shipper = ship(place)
    before = datetime.now(UTC)
    headers = {"X-Request-Id": "order-17", "Modelyard-Entity": "customer-4"}
    status, answer = server.post(
        "/predict", [{"a": 1, "b": 0.5, "word": "x"}, {"a": 2, "b": 1, "word": None}], **headers
    )
    assert status == 200
    server.post("/v1/models/sum:predict", {"instances": [{"a": 9, "b": 0.5, "word": "y"}]})
    assert server.post("/predict", [{"a": "no number", "b": 0, "word": None}])[0] == 422
    until(lambda: len(place.predictions()) == 2)

    now = datetime.now(UTC)
    first, second = place.segments().predictions(before, now)
    assert before <= first.time <= now
    assert (first.request_id, first.entity, first.version, first.route) == ("order-17", "customer-4", "3", "/predict")
    assert first.inputs == {"a": [1, 2], "b": [0.5, 1], "word": ["x", None]}
    assert first.outputs["prediction"] == [row["prediction"] for row in answer["predictions"]] == [1.5, 3.0]
    assert first.rows == 2
    assert 0 < first.milliseconds < 5000
    assert (second.inputs["a"], second.route, second.entity) == ([9], "/v1/models/sum:predict", None)

    assert not list(place.segments().predictions(before - timedelta(hours=3), before))
    assert not list(place.segments().predictions(now, now + timedelta(hours=3)))
    assert len(list(place.segments().predictions(before - timedelta(days=3), now + timedelta(days=2), version=3))) == 2
    assert not list(place.segments().predictions(before, now, version=2))
    until(lambda: server.metrics().get('shipped_total{kind="predictions"}') == 2)
    shipper.send_signal(signal.SIGTERM)
    assert shipper.wait(20) == 0


def test_objects_lie_by_model_environment_kind_day_and_hour(serve: Serve, ship: Ship, in_folder: Place) -> None:
    server = serve(seconds=0.2)
    ship(in_folder)
    server.predict(1)
    server.post("/feedback", {"entity": "x", "truth": 2.0})
    root = Path(urlsplit(in_folder.destination.artifacts).path)
    until(lambda: len(list(root.rglob("*.gz"))) == 2)
    for path in root.rglob("*.gz"):
        shape = (
            PREFIX + r"/(predictions|feedback)/\d{4}-\d\d-\d\d/\d\d/3\.\d{8}T\d{6}Z\.[0-9a-f]{12}\.\d+\.1\.jsonl\.gz"
        )
        assert re.fullmatch(shape, path.relative_to(root).as_posix())


def test_a_graceful_stop_loses_nothing(serve: Serve, ship: Ship, in_s3: Place) -> None:
    server = serve(seconds=600)
    shipper = ship(in_s3)
    ask(server, range(300))
    server.end()
    shipper.send_signal(signal.SIGTERM)
    assert shipper.wait(20) == 0
    assert sorted(in_s3.predictions()) == list(range(300))
    assert not list(server.folder.glob("predictions.*"))


def test_a_kill_loses_at_most_the_batch_that_was_not_written(serve: Serve, ship: Ship, in_folder: Place) -> None:
    server = serve(seconds=600)
    ask(server, range(200))
    time.sleep(1)
    ask(server, range(200, 220))
    server.process.kill()  # the keeper; its child goes with it
    server.process.wait()
    shipper = ship(in_folder)
    until(lambda: not list(server.folder.glob("predictions.*")))
    found = sorted(in_folder.predictions())
    assert found[:200] == list(range(200))
    assert len(set(found)) == len(found)
    shipper.send_signal(signal.SIGTERM)
    assert shipper.wait(20) == 0


def test_a_server_that_is_killed_and_started_again_goes_on(serve: Serve, ship: Ship, in_folder: Place) -> None:
    first = serve(seconds=600)
    ship(in_folder)
    ask(first, range(10))
    time.sleep(1)
    first.process.kill()
    first.process.wait()
    second = serve(seconds=600)
    ask(second, range(10, 20))
    second.end()
    until(lambda: sorted(in_folder.predictions()) == list(range(20)))


def test_while_s3_is_away_everything_waits_and_comes_once_when_it_is_back(
    serve: Serve, ship: Ship, in_s3: Place
) -> None:
    server = serve(seconds=0.3)
    shipper = ship(in_s3)
    server.predict(0)
    until(lambda: in_s3.predictions() == [0])
    port = urlsplit(in_s3.destination.s3_endpoint_url or "").port
    assert port
    with away([port]):
        for number in range(1, 41):
            server.predict(number)
            time.sleep(0.05)
        until(lambda: server.metrics()['waiting{kind="predictions"}'] == 40)
        assert server.metrics()['dropped_total{kind="predictions"}'] == 0
        shipper.kill()  # in the middle of a request to S3: its next one ships the same segment again
        shipper.wait()
        ship(in_s3)
        time.sleep(1)
    until(lambda: len(in_s3.predictions()) == 41)
    assert sorted(in_s3.predictions()) == list(range(41))
    until(lambda: server.metrics()['waiting{kind="predictions"}'] == 0)


def test_the_folder_is_bounded_and_what_was_written_once_stays(serve: Serve, ship: Ship, in_folder: Place) -> None:
    most = 20_000
    server = serve(seconds=0.3, most_bytes=most)
    for _ in range(12):
        ask(server, range(100))
        time.sleep(0.3)
    metrics = server.metrics()
    written, dropped = metrics['written_total{kind="predictions"}'], metrics['dropped_total{kind="predictions"}']
    assert dropped > 0
    assert written + dropped == 1200
    assert sum(path.stat().st_size for path in server.folder.iterdir()) <= most
    assert "is full" in server.err.read_text()

    def feedback() -> int:
        return server.post("/feedback", {"entity": "x", "truth": 1.0})[0]

    until(lambda: feedback() == 503)  # what is not kept is not accepted
    ship(in_folder)
    until(lambda: len(in_folder.predictions()) == written)
    until(lambda: feedback() == 202)
    server.predict(1)
    until(lambda: len(in_folder.predictions()) == written + 1)


def test_a_disk_that_takes_nothing_costs_records_and_no_answer(serve: Serve, tmp_path: Path) -> None:
    server = serve(seconds=600)
    server.predict(1)
    until(lambda: on_disk(server.folder) == 1)
    server.end()
    (path,) = closed(server.folder)
    path.unlink()
    server.folder.rmdir()
    server.folder.symlink_to("/sys/kernel")  # nobody can make a file there, not even root
    other = serve(seconds=600)
    ask(other, range(20))
    until(lambda: other.metrics()['dropped_total{kind="predictions"}'] == 20)
    assert "cannot be written" in other.err.read_text()
    other.end()
    assert other.process.returncode == 0


def test_a_share_of_the_answers_is_logged_and_hidden_fields_never(serve: Serve, ship: Ship, in_folder: Place) -> None:
    server = serve(seconds=600, sample=0.25, hide=["word", "probability"])
    words = [{"a": number, "b": 0.5, "word": f"secret-{number}"} for number in range(400)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda row: server.post("/predict", [row]), words))
    server.end()
    data = [path.read_bytes() for path in closed(server.folder)]
    assert data
    ship(in_folder)
    until(lambda: 50 < len(in_folder.predictions()) < 150)
    now = datetime.now(UTC)
    for prediction in in_folder.segments().predictions(now - timedelta(hours=1), now):
        assert set(prediction.inputs) == {"a", "b"}
        assert set(prediction.outputs) == {"prediction"}
        assert "secret" not in str(prediction)


def test_a_smoke_test_is_no_prediction_for_anybody(serve: Serve) -> None:
    server = serve(seconds=600)
    server.predict(1, **{"X-Request-Id": "modelyard-smoke-3"})
    server.end()
    assert not closed(server.folder)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"hide": ["wrod"]}, "shall hide wrod; the model has only a, b, word, prediction, probability"),
        ({"sample": 2}, "MODELYARD_PREDICTION_LOG"),
        ({"secnods": 2}, "MODELYARD_PREDICTION_LOG"),
    ],
)
def test_a_server_with_settings_that_cannot_be_meant_does_not_start(
    serve: Serve, tmp_path: Path, settings: dict[str, object], words: str
) -> None:
    with pytest.raises(AssertionError, match=re.escape(words)):
        serve(**settings)


def test_a_file_that_is_no_segment_is_never_shipped(serve: Serve, ship: Ship, in_folder: Place, tmp_path: Path) -> None:
    """The model's code can write to the folder, and the shipper has a credential."""
    server = serve(seconds=600)
    server.predict(1)
    secret = tmp_path / "secret"
    secret.write_text("the shipper's own")
    name = "predictions.3.20260203T040506Z.0123456789ab.{}.1.jsonl.gz"
    (server.folder / name.format(1)).symlink_to(secret)
    (server.folder / name.format(2)).hardlink_to(secret)
    (server.folder / name.format(3)).mkdir()
    (server.folder / "predictions.3.20260203T040506Z.0123456789ab.4.open").symlink_to(secret)
    (server.folder / "readme.txt").write_text("not mine")
    shipper = ship(in_folder)
    server.end()
    until(lambda: in_folder.predictions() == [1])
    shipper.send_signal(signal.SIGTERM)
    shipper.wait(20)
    assert secret.read_text() == "the shipper's own"
    root = Path(urlsplit(in_folder.destination.artifacts).path)
    assert len(list(root.rglob("*.gz"))) == 1
    assert (tmp_path / "shipper").read_text().count("is left alone") == 5


def test_what_cannot_be_read_back_is_told_and_the_rest_is_read(serve: Serve, ship: Ship, in_folder: Place) -> None:
    server = serve(seconds=600)
    server.predict(1)
    shipper = ship(in_folder)
    server.end()
    until(lambda: in_folder.predictions() == [1])
    shipper.kill()
    root = Path(urlsplit(in_folder.destination.artifacts).path)
    (path,) = root.rglob("*.gz")
    good = path.read_bytes()
    now = datetime.now(UTC)
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    for number, data in enumerate((good[:-9], b"no gzip", good + good[:20])):
        (path.parent / f"3.{stamp}.ffffffffffff.{number}.1.jsonl.gz").write_bytes(data)
    (path.parent / "whatever.gz").write_bytes(good)
    told: list[str] = []
    segments = in_folder.segments()
    segments._say = told.append
    found = list(segments.predictions(now - timedelta(hours=1), now + timedelta(seconds=1)))
    assert [prediction.inputs["a"] for prediction in found].count([1]) >= 2
    assert len(told) == 4


def test_the_shipper_waits_for_its_credential_and_says_what_is_missing(
    serve: Serve, ship: Ship, in_s3: Place, tmp_path: Path
) -> None:
    assert in_s3.credential is not None
    hidden = in_s3.credential.rename(tmp_path / "elsewhere")
    server = serve(seconds=0.2)
    server.predict(1)
    ship(in_s3)
    said = tmp_path / "shipper"
    until(lambda: "has no credential" in said.read_text())
    hidden.rename(in_s3.credential)
    until(lambda: in_s3.predictions() == [1])
    assert json.dumps(in_s3.destination.s3_secret_key) not in said.read_text()
