"""MongoDB goes away while a run is recorded, and comes back: nothing is lost, and nothing is there twice."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from modelyard.client.observer import RelayObserver
from modelyard.client.plain import plain
from modelyard.client.relay import Relay, RelayError
from modelyard.errors import Fenced, Unavailable
from modelyard.recording import run as runs
from modelyard.recording.observer import StoreObserver
from modelyard.recording.recorder import Recorder
from modelyard.store import Store, StoreAddress


class Line:
    """A TCP line to the database that can be cut and mended."""

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._pairs: list[socket.socket] = []
        self._cut = False
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self._cut = True
        for end in self._pairs:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._pairs = []

    def mend(self) -> None:
        self._cut = False

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._cut:
                client.close()
                continue
            server = socket.create_connection(self._to)
            self._pairs += [client, server]
            for ends in ((client, server), (server, client)):
                threading.Thread(target=self._pass_on, args=ends, daemon=True).start()

    @staticmethod
    def _pass_on(source: socket.socket, to: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                to.sendall(data)
        except OSError:
            pass
        finally:
            for end in (source, to):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def line(store_address: StoreAddress) -> Iterator[Line]:
    parts = urlsplit(store_address.mongo_uri)
    line = Line(parts.hostname or "", parts.port or 27017)
    yield line
    line.close()


@pytest.fixture
def shaky(store_address: StoreAddress, line: Line) -> Iterator[Store]:
    """The store, at the other end of the line."""
    parts = urlsplit(store_address.mongo_uri)
    login, at, _ = parts.netloc.rpartition("@")
    # Direct: a server that counts itself a replica set tells its own address, and the line would carry nothing.
    query = f"{parts.query}&directConnection=true".lstrip("&")
    uri = parts._replace(netloc=f"{login}{at}127.0.0.1:{line.port}", path=parts.path or "/", query=query).geturl()
    with Store.open(replace(store_address, mongo_uri=uri)) as store:
        yield store


def started(recorder: Recorder) -> RelayObserver:
    observer = RelayObserver(lambda: Relay.connect(recorder.address))
    facts: dict[str, Any] = {"ex_info": {"name": "e", "base_dir": "/", "sources": []}, "host_info": {}, "meta_info": {}}
    observer.started_event(command="main", start_time=now(), config={}, _id=None, **facts)
    return observer


def points(first: int, count: int) -> dict[str, Any]:
    steps = list(range(first, first + count))
    return {"loss": {"steps": steps, "values": [float(step) for step in steps], "timestamps": [now()] * count}}


def now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


def test_an_outage_loses_nothing(
    tmp_path: Path, shaky: Store, store: Store, line: Line, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(runs, "_LONGEST_PAUSE", 1.0)
    log: list[str] = []
    with Recorder(shaky, log.append, tmp_path) as recorder:
        observer = started(recorder)
        observer.log_metrics(points(0, 2), {})
        while not store.runs.metrics(1):
            time.sleep(0.02)
        line.cut()
        begun = time.monotonic()
        for number in range(5):
            observer.log_metrics({**points(2 + number, 1), f"m{number}": points(0, 1)["loss"]}, {})
            observer.heartbeat_event({"beat": number}, "output\n" * number, now(), None)
        observer.completed_event(now(), 1.5)
        assert time.monotonic() - begun < 2, "the experiment does not wait for the database"
        while not any("the store is away" in text for text in log):
            time.sleep(0.02)
        assert store.runs.get(1)["status"] == "RUNNING"
        line.mend()
        recorder.finish("FAILED", "not reached")
    found = store.runs.get(1)
    assert (found["status"], found["info"]["beat"], found["captured_out"]) == ("COMPLETED", 4, "output\n" * 4)
    assert store.runs.metrics(1)["loss"]["steps"] == list(range(7))
    assert sorted(entry["name"] for entry in found["info"]["metrics"]) == ["loss", *(f"m{n}" for n in range(5))]
    assert sum("the store is away" in text for text in log) == 1, "told once, however often it was tried"


def test_what_was_written_without_an_answer_is_not_written_again(store: Store):
    observer = StoreObserver(store)
    facts: dict[str, Any] = {"ex_info": {"base_dir": "/", "sources": []}, "host_info": {}, "meta_info": {}}
    observer.started_event(sources={}, command="main", start_time=now(), config={}, _id=None, **facts)
    observer.log_metrics(points(0, 2), {})
    kept = dict(observer._metrics_kept)
    observer.log_metrics(points(2, 3), {})
    observer._metrics_kept = kept  # as if the answer to that had been lost
    observer.log_metrics(points(2, 3), {}, again=True)
    assert store.runs.metrics(1)["loss"]["steps"] == [0, 1, 2, 3, 4]
    observer.log_metrics(points(5, 1), {}, again=True)
    assert store.runs.metrics(1)["loss"]["steps"] == [0, 1, 2, 3, 4, 5]


def test_a_run_does_not_start_without_the_store(tmp_path: Path, shaky: Store, line: Line):
    line.cut()
    with Recorder(shaky, lambda _: None, tmp_path) as recorder:
        with pytest.raises(RelayError, match="cannot be reached"):
            started(recorder)
        with pytest.raises(Unavailable):
            recorder.finish("FAILED", "its process ended")


def test_a_store_that_stays_away_is_told(tmp_path: Path, shaky: Store, line: Line, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(runs, "_PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(runs.RecordedRun.wait, "__defaults__", (0.0,))
    with Recorder(shaky, lambda _: None, tmp_path) as recorder:
        observer = started(recorder)
        line.cut()
        observer.completed_event(now(), None)
        with pytest.raises(Unavailable):
            recorder.finish("FAILED", "not reached")


def test_a_run_that_another_has_closed_is_left_alone(tmp_path: Path, store: Store):
    with Recorder(store, lambda _: None, tmp_path) as recorder:
        observer = started(recorder)
        store.runs.interrupt(1, "a newer try takes its place")
        observer.heartbeat_event({}, "too late", now(), None)
        while not recorder.runs[0].failed:
            time.sleep(0.02)
        with pytest.raises(RelayError, match="closed by another process"):
            observer.heartbeat_event({}, "too late", now(), None)
        with pytest.raises(Fenced):
            recorder.finish("FAILED", "not reached")
    assert store.runs.get(1)["status"] == "INTERRUPTED"
    assert store.runs.get(1)["captured_out"] == ""


class Unreadable:
    """A witness that finds a file of the project that it may not read."""

    def started(self, run: runs.RecordedRun) -> None:
        raise PermissionError(13, "Permission denied", "/projects/wine/secret.csv")

    def ended(self, run: runs.RecordedRun) -> None:
        raise AssertionError("it has not started")


def test_a_file_that_cannot_be_read_is_told_to_the_experiment(tmp_path: Path, store: Store):
    with Recorder(store, lambda _: None, tmp_path, witness=Unreadable()) as recorder:
        with pytest.raises(RelayError, match=r"cannot be recorded: Permission denied: /projects/wine/secret\.csv"):
            started(recorder)
        recorder.finish("FAILED", "its process ended")
    assert store.runs.get(1)["status"] == "FAILED"


def test_times_arrive_as_times(tmp_path: Path, store: Store):
    with Recorder(store, lambda _: None, tmp_path) as recorder:
        observer = started(recorder)
        moment = datetime(2026, 1, 2, 3, 4, 5)  # noqa: DTZ001 - Sacred's are naive
        observer.heartbeat_event({"at": moment}, "", moment, None)
        observer.completed_event(moment, None)
        recorder.finish("FAILED", "not reached")
    found = store.runs.get(1)
    assert plain(found["heartbeat"])["$date"].startswith("2026-01-02T03:04:05")
    assert found["stop_time"] == found["heartbeat"]
