"""What the parent refuses: the sender runs a project's code, which may send anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest
from tests.unit.recording.full_disk import disk_for

from modelyard.client.relay import Relay, RelayError
from modelyard.recording import run as runs
from modelyard.recording.recorder import Recorder
from modelyard.recording.spool import FileSpool
from modelyard.store import Store


def kept(files: FileSpool, folder: Path, content: Any) -> str:
    path = folder / "file.json"
    path.write_text(json.dumps(content))
    with path.open("rb") as file:
        return files.keep(file.fileno(), path.name)[0]


@pytest.mark.parametrize(
    ("event", "says"),
    [
        ({"event": "model", "files": [{"path": "../../etc/cron", "digest": "@"}]}, "cannot be called"),
        ({"event": "model", "files": [{"path": "/etc/cron", "digest": "@"}]}, "cannot be called"),
        ({"event": "model", "files": [{"path": "model.joblib", "digest": "@"}]}, "needs a modelyard.json"),
        ({"event": "model", "files": [{"path": "modelyard.json", "digest": "sha256:1"}]}, "no file sha256:1"),
        ({"event": "data", "role": "secret"}, "role 'secret'"),
        ({"event": "lost"}, "no event 'lost'"),
        ({"event": "shutdown"}, "no event 'shutdown'"),
    ],
)
def test_what_no_client_sends_is_refused(tmp_path: Path, event: dict[str, Any], says: str):
    files = FileSpool(tmp_path)
    digest = kept(files, tmp_path, {"format": 1})
    for file in event.get("files", []):
        file["digest"] = file["digest"].replace("@", digest)
    with pytest.raises(ValueError, match=says):
        runs._check(event, files)


def test_long_output_keeps_its_start_and_its_end():
    text = "".join(f"line {number}\n" for number in range(600_000))
    found = runs._bounded(text)
    assert len(found) < 4.1 * 1024 * 1024
    assert found.startswith("line 0\n")
    assert found.endswith("line 599999\n")
    assert "characters are left out" in found
    assert runs._bounded("short") == "short"


def test_nothing_is_taken_before_a_run_has_started(tmp_path: Path):
    with Recorder(cast("Store", None), lambda _: None, tmp_path) as recorder:
        relay = Relay.connect(recorder.address)
        for event in ("heartbeat", "completed", "nonsense"):
            with pytest.raises(RelayError, match="before the run has started"):
                relay.request(event)
        relay.close()
        assert recorder.finish("FAILED", "") == []
    assert not Path(recorder.address).parent.exists()
    assert list(tmp_path.iterdir()) == []


def test_what_waits_is_in_the_workdir_which_somebody_clears_up(tmp_path: Path):
    model = tmp_path / "model.bin"
    model.write_bytes(b"a model")
    with Recorder(cast("Store", None), lambda _: None, tmp_path) as recorder:
        relay = Relay.connect(recorder.address)
        digest = relay.put(model).digest
        assert [path.read_bytes() for path in tmp_path.glob("spool-*/*")] == [b"a model"]
        assert [path.name for path in Path(recorder.address).parent.iterdir()] == ["relay"]
        relay.close()
    assert digest.startswith("sha256:")
    assert [path.name for path in tmp_path.iterdir()] == ["model.bin"]


def test_a_disk_that_takes_no_more_is_told_and_does_not_break_the_connection(tmp_path: Path):
    large, small = tmp_path / "large.bin", tmp_path / "small.bin"
    large.write_bytes(bytes(3 * 2**20))
    small.write_bytes(b"x")
    said: list[str] = []
    with Recorder(cast("Store", None), said.append, tmp_path) as recorder:
        relay = Relay.connect(recorder.address)
        with disk_for(2 * 2**20), pytest.raises(RelayError) as refused:
            relay.put(large)
        assert f"The run cannot be recorded: File too large: {tmp_path}/spool-" in str(refused.value)
        assert "→ make room there" in str(refused.value)
        assert relay.put(small).size == 1
        relay.close()
    assert said == [str(refused.value)]


def test_a_forgotten_connection_does_not_hold_up_the_end(tmp_path: Path):
    with Recorder(cast("Store", None), lambda _: None, tmp_path) as recorder:
        relay = Relay.connect(recorder.address)
        assert recorder.finish("FAILED", "") == []
        with pytest.raises(RelayError):
            relay.request("heartbeat")
        relay.close()
