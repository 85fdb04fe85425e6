"""The prediction log of a local service: its shipper stays while versions come and go, and has what they have not."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
from tests.conftest import S3
from tests.landlock import needs_landlock

from modelyard.client.child import confined
from modelyard.credential_places import credential_places
from modelyard.deployment import PredictionLog, ServiceSpec
from modelyard.deployment.local import LocalTarget, start_all, stop_all
from modelyard.deployment.state import SEGMENTS, service_folder
from modelyard.errors import DeploymentFailed
from modelyard.monitoring.destination import ACCESS_KEY, SECRET_KEY, Destination, credential_folder
from modelyard.monitoring.segments import Prediction, Segments

from .conftest import Deploy, Images


def log_to(destination: Destination, **settings: object) -> PredictionLog:
    log = PredictionLog(
        sample=1.0,
        hide=(),
        most_bytes=2**24,
        seconds=1,
        prefix="served/sum/production",
        destination=destination.to_environment(),
        needs_credential=destination.needs_credential,
    )
    return replace(log, **settings)  # type: ignore[arg-type]


@pytest.fixture
def destination(tmp_path: Path) -> Destination:
    return Destination((tmp_path / "objects").as_uri())


def with_log(spec: ServiceSpec, destination: Destination, **settings: object) -> ServiceSpec:
    return replace(spec, log=log_to(destination, **settings))


def ask(port: int, number: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", "/predict", json.dumps([{"a": number, "b": 1.0, "word": None}]))
        assert connection.getresponse().status == 200
    finally:
        connection.close()


def answered(destination: Destination) -> list[Prediction]:
    def say(text: str) -> None:
        raise AssertionError(text)

    now = datetime.now(UTC)
    segments = Segments(destination.open(), "sum", "production", say)
    return list(segments.predictions(now - timedelta(hours=1), now + timedelta(hours=1)))


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it never came so far"
        time.sleep(0.1)


def processes(word: str, home: Path) -> list[psutil.Process]:
    """Return the processes of this test's services that have a word among their arguments."""
    found = []
    for one in psutil.process_iter():
        try:
            if word in one.cmdline() and Path(one.cwd()).is_relative_to(home.resolve()):
                found.append(one)
        except psutil.Error:
            continue
    return found


def test_answers_of_all_versions_arrive_and_no_smoke_test(
    deploy: Deploy, images: Images, destination: Destination, home: Path
) -> None:
    port = deploy(with_log(images.spec(1), destination))
    ask(port, 1)
    (shipper,) = processes("ship", home)
    deploy(with_log(images.spec(2), destination))
    ask(port, 2)
    until(lambda: len(answered(destination)) == 2)
    assert {one.inputs["a"][0]: one.version for one in answered(destination)} == {1: "1", 2: "2"}
    assert processes("ship", home) == [shipper]


def test_stopping_the_services_sends_what_is_left(
    deploy: Deploy, images: Images, destination: Destination, home: Path
) -> None:
    port = deploy(with_log(images.spec(1), destination, seconds=3600))
    for number in range(20):
        ask(port, number)
    stop_all(home)
    assert len(answered(destination)) == 20
    assert not processes("ship", home)


def test_a_shipper_that_is_only_starting_when_all_stops_sends_what_is_left_too(
    deploy: Deploy, images: Images, destination: Destination, home: Path
) -> None:
    port = deploy(with_log(images.spec(1), destination, seconds=3600))
    (shipper,) = processes("ship", home)
    shipper.suspend()
    ask(port, 1)
    with ThreadPoolExecutor(1) as pool:
        stopped = pool.submit(stop_all, home)
        until(lambda: not processes("modelyard.serving", home))
        time.sleep(0.3)
        shipper.resume()
        assert stopped.result() == 1
    assert len(answered(destination)) == 1


def test_what_could_not_be_sent_before_a_stop_is_sent_after_the_next_start(
    deploy: Deploy, images: Images, destination: Destination, home: Path, tmp_path: Path
) -> None:
    port = deploy(with_log(images.spec(1), destination))
    blocked = tmp_path / "objects"
    blocked.write_text("a file where a folder must be: the store refuses")
    ask(port, 1)
    stop_all(home)
    folder = service_folder(home.resolve(), "production", "sum")
    assert len(list((folder / SEGMENTS).glob("predictions.*.jsonl.gz"))) == 1
    assert "is left of the prediction log" in (folder / "service.log").read_text()
    blocked.unlink()
    start_all(home)
    until(lambda: len(answered(destination)) == 1)


def test_a_killed_server_and_a_killed_shipper_lose_nothing_that_was_written(
    deploy: Deploy, images: Images, destination: Destination, home: Path
) -> None:
    port = deploy(with_log(images.spec(1), destination, seconds=3600))
    for number in range(10):
        ask(port, number)
    time.sleep(1)
    for one in (*processes("ship", home), *processes("modelyard.serving", home)):
        one.send_signal(signal.SIGKILL)
    until(lambda: sorted(one.inputs["a"][0] for one in answered(destination)) == list(range(10)))
    until(lambda: processes("ship", home))


def test_without_a_log_any_more_the_shipper_ends_with_all_sent(
    deploy: Deploy, images: Images, destination: Destination, home: Path
) -> None:
    port = deploy(with_log(images.spec(1), destination, seconds=3600))
    ask(port, 1)
    deploy(images.spec(2))
    assert len(answered(destination)) == 1
    assert not processes("ship", home)


def test_a_log_that_hides_what_the_model_has_not_is_no_version_to_go_live(
    deploy: Deploy, images: Images, destination: Destination
) -> None:
    with pytest.raises(DeploymentFailed, match="shall hide wrod; the model has only"):
        deploy(with_log(images.spec(1), destination, hide=("wrod",)))


@needs_landlock
def test_what_serves_is_closed_to_the_folder_of_the_credential(tmp_path: Path) -> None:
    folder = credential_folder(tmp_path, "sum")
    folder.mkdir(parents=True)
    (folder / SECRET_KEY).write_text("secret")
    read = [sys.executable, "-c", f"print(open({str(folder / SECRET_KEY)!r}).read())"]
    assert subprocess.run(read, capture_output=True, text=True).stdout == "secret\n"
    confined_too = confined(read, hidden=credential_places(tmp_path))
    ended = subprocess.run(confined_too, capture_output=True, text=True)
    assert ended.stdout == ""
    assert "PermissionError" in ended.stderr


def test_into_s3_it_takes_a_credential_that_no_server_can_read(
    deploy: Deploy, target: LocalTarget, images: Images, home: Path, s3: S3
) -> None:
    destination = Destination.of(s3.address("store"))
    spec = with_log(images.spec(1), destination)
    folder = credential_folder(home, "sum")
    with pytest.raises(DeploymentFailed) as refused:
        target.deploy(spec, print)
    assert str(folder) in str(refused.value)
    folder.mkdir(parents=True)
    (folder / ACCESS_KEY).write_text(s3.access_key)
    (folder / SECRET_KEY).write_text(s3.secret_key)
    port = deploy(spec)
    ask(port, 1)
    until(lambda: answered(replace(destination, s3_access_key=s3.access_key, s3_secret_key=s3.secret_key)))

    (shipper,), servers = processes("ship", home), processes("modelyard.serving", home)
    assert servers
    for one in (shipper, *servers):
        # The shipper has closed its memory and environment to others of its user; root sees that none is there either.
        told = " ".join(one.cmdline()) + (str(one.environ()) if os.geteuid() == 0 else "")
        assert s3.secret_key not in told
    assert all("SHIPPER" not in name and "S3" not in name for one in servers for name in one.environ())
    log = (service_folder(home.resolve(), "production", "sum") / "service.log").read_text()
    assert s3.secret_key not in log
