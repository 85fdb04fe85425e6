from __future__ import annotations

import json
import socket
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

import modelyard
from modelyard.background import free_port
from modelyard.cli import main
from modelyard.doctor.probe import Seen


@pytest.fixture
def open_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_what_a_pod_tells(open_port: int, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").touch()
    closed = free_port()
    hosts = [f"127.0.0.1:{open_port}", f"127.0.0.1:{closed}", f"nowhere.invalid:{open_port}"]
    files = [str(tmp_path / name) for name in ("ca.pem", "missing.pem")]
    arguments = [*(f"--host={host}" for host in hosts), *(f"--file={file}" for file in files)]
    result = CliRunner().invoke(main, ["doctor-probe", *arguments])
    assert result.exit_code == 0
    seen = Seen.read(json.loads(result.stdout))
    assert seen.modelyard == modelyard.__version__
    assert abs(seen.time - time.time()) < 10
    good, refusing, unknown = seen.ways
    assert good.error is None
    assert good.ms is not None
    assert "takes no connection" in str(refusing.error)
    assert "its name is not known" in str(unknown.error)
    assert seen.missing_files == [files[1]]
    assert seen.missing_rights == {}
    assert seen.error is None
