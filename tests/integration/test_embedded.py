import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from modelyard import embedded
from modelyard.store.address import StoreAddress

Client = MongoClient[dict[str, Any]]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "mongo"
    embedded.stop(tmp_path / "mongo")


def server(folder: Path) -> Any:
    return json.loads((folder / "server.json").read_text())


def is_listening(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_it_is_started_once_asks_for_its_password_and_stops_without_a_trace(folder: Path):
    uri = embedded.start(folder)
    first = server(folder)
    assert embedded.start(folder) == uri == embedded.uri(folder)
    assert server(folder) == first
    assert stat.S_IMODE((folder / "server.json").stat().st_mode) == 0o600
    assert str(first["password"]) not in Path(f"/proc/{first['pid']}/cmdline").read_text()
    with Client(uri) as client:
        client.x.y.insert_one({"_id": 1})
    with Client("127.0.0.1", first["port"]) as stranger, pytest.raises(OperationFailure):
        stranger.x.y.find_one()

    assert embedded.stop(folder)
    assert not embedded.stop(folder)
    assert not Path(f"/proc/{first['pid']}").exists()
    assert not is_listening(first["port"])


def test_after_a_kill_it_comes_back_at_its_port_with_every_acknowledged_write(folder: Path):
    uri = embedded.start(folder)
    with Client(uri) as client:
        client.x.y.insert_one({"_id": 1})
        os.kill(server(folder)["pid"], signal.SIGKILL)
    assert embedded.start(folder) == uri
    with Client(uri) as client:
        assert client.x.y.find_one() == {"_id": 1}


def test_a_port_that_somebody_has_taken_meanwhile_is_left_to_them(folder: Path):
    embedded.start(folder)
    embedded.stop(folder)
    taken = server(folder)["port"]
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # its last connection may linger
        other.bind(("127.0.0.1", taken))
        other.listen()
        uri = embedded.start(folder)
    assert server(folder)["port"] != taken
    assert StoreAddress.from_environment({"MODELYARD_HOME": str(folder.parent)}).mongo_uri == uri


def test_it_outlives_whoever_started_it_and_two_at_once_get_the_same_server(folder: Path):
    code = f"import pathlib; from modelyard import embedded; print(embedded.start(pathlib.Path({str(folder)!r})))"
    starters = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    first, second = (starter.communicate(timeout=60)[0].strip() for starter in starters)
    assert first == second == embedded.uri(folder)
    time.sleep(0.1)
    with Client(first) as client:
        assert client.admin.command("ping")["ok"] == 1


def test_a_start_killed_while_the_user_was_made_is_taken_up(folder: Path):
    embedded.start(folder)
    embedded.stop(folder)
    state = server(folder) | {"user_made": False, "password": "another"}
    (folder / "server.json").write_text(json.dumps(state))
    with Client(embedded.start(folder)) as client:
        assert client.admin.command("ping")["ok"] == 1
