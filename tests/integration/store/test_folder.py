import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from modelyard.errors import StoreError
from modelyard.store import StoreAddress
from modelyard.store.artifacts import open_artifacts

WRITER = """
import pathlib, sys
from modelyard.store import StoreAddress
from modelyard.store.artifacts import open_artifacts
artifacts = open_artifacts(StoreAddress("mongodb://unused", pathlib.Path(sys.argv[1]).as_uri(), "oci:/unused"))
for i in range(1000):
    print(artifacts.put_bytes(bytes([i % 256]) * 3_000_000 + str(i).encode(), "x").digest, flush=True)
"""


def test_a_kill_at_any_moment_leaves_only_whole_files_and_all_that_were_stored(tmp_path: Path):
    store = tmp_path / "artifacts"
    stored = []
    for pause in (0.0, 0.013, 0.029):
        with subprocess.Popen([sys.executable, "-c", WRITER, store], stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            stored.append(writer.stdout.readline().strip())
            time.sleep(pause)
            writer.send_signal(signal.SIGKILL)
            stored += writer.stdout.read().split()
    artifacts = open_artifacts(StoreAddress("mongodb://unused", store.as_uri(), "oci:/unused"))
    kept = [path.name for path in (store / "sha256").rglob("*") if path.is_file()]
    assert {f"sha256:{name}" for name in kept} >= set(stored)
    for name in kept:
        artifacts.read(f"sha256:{name}")


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path):
    script = f"""
import pathlib, resource, signal
from modelyard.errors import StoreError
from modelyard.store.folder import Folder
import io
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    Folder(pathlib.Path({str(tmp_path)!r})).write("sha256/x", io.BytesIO(bytes(5000)), 5000)
except StoreError as error:
    print(error)
"""
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert f"The artifacts in {tmp_path} cannot be used: File too large" in output
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a folder away")
def test_a_folder_of_somebody_else_is_told(tmp_path: Path):
    (tmp_path / "file").write_text("")
    artifacts = open_artifacts(StoreAddress("mongodb://unused", (tmp_path / "file").as_uri(), "oci:/unused"))
    with pytest.raises(StoreError, match="cannot be used"):
        artifacts.put_bytes(b"1", "x")
