"""Copies of images on this machine: unpacked once, used by many, and taken away when nobody does any more."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from modelyard.deployment.state import Release, State, service_folder, write_state
from modelyard.environments.workspace import workspace
from modelyard.garbage.here import BUILDS, ENVIRONMENTS, IMAGES, LAYERS, rows_here
from modelyard.images import copies
from modelyard.images.image import empty
from modelyard.images.layer import Entry
from modelyard.images.layout import Layout
from modelyard.images.unpack import unpack_model_image

YESTERDAY = datetime.now(UTC) - timedelta(days=1)


def found(home: Path, delete: bool) -> dict[str, int]:
    return {row.kind: row.ripe for row in rows_here(home, YESTERDAY, delete) if row.ripe}


def unpacked(home: Path, lock: str, model: str) -> Path:
    layout = Layout(home / "images")
    layers = [
        layout.pack([Entry(f"opt/modelyard/environment/{lock}", b"packages")], "environment"),
        layout.pack([Entry("opt/modelyard/model/weights", model.encode())], "model"),
    ]
    return unpack_model_image(layout, "wine", layout.push("wine", empty("amd64").append(layers, {}, {})), home)


def not_used_for_long(*folders: Path) -> None:
    for folder in folders:
        os.utime(folder.with_name(f"{folder.name}.lock"), (1e9, 1e9))


def test_what_nobody_uses_goes_and_is_unpacked_again_when_it_is_wanted(tmp_path: Path):
    roots = [unpacked(tmp_path, lock, model) for lock, model in (("a", "1"), ("a", "2"), ("b", "3"))]
    environments = [(root / "environment").readlink() for root in roots]
    assert found(tmp_path, delete=True) == {}
    not_used_for_long(roots[0], roots[2], *environments)
    # The environment of two images stays with the one that does.
    assert found(tmp_path, delete=False) == {IMAGES: 2, ENVIRONMENTS: 1}
    assert all(root.exists() for root in roots)
    assert found(tmp_path, delete=True) == {IMAGES: 2, ENVIRONMENTS: 1}
    assert [root.exists() for root in (*roots, *environments)] == [False, True, False, True, True, False]
    assert found(tmp_path, delete=True) == {}
    assert unpacked(tmp_path, "b", "3") == roots[2]
    assert (roots[2] / "environment" / "b").read_bytes() == b"packages"
    not_used_for_long(roots[2])
    unpacked(tmp_path, "b", "3")  # used again
    assert found(tmp_path, delete=True) == {}


def test_what_a_service_or_a_process_uses_stays_however_long(tmp_path: Path):
    served, run, gone = (unpacked(tmp_path, lock, lock) for lock in ("served", "run", "gone"))
    service = service_folder(tmp_path, "production", "wine")
    service.mkdir(parents=True)
    write_state(service, State(18000, Release(1, 1, "sha256:…", 1, str(served), 1, 5.0)))
    every = [served, run, gone, *((root / "environment").readlink() for root in (served, run, gone))]
    not_used_for_long(*every)
    command = [sys.executable, "-c", "print(flush=True); input()", str(run)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()  # while it is being executed it has no command line
        assert found(tmp_path, delete=True) == {IMAGES: 1, ENVIRONMENTS: 1}
        process.stdin.write(b"\n")
    assert [folder.exists() for folder in every] == [True, True, False] * 2
    assert found(tmp_path, delete=True) == {IMAGES: 1, ENVIRONMENTS: 1}
    assert [folder.exists() for folder in every] == [True, False, False] * 2


def test_what_killed_processes_left_goes_and_what_is_at_work_stays(tmp_path: Path):
    half = tmp_path / "environments" / ("0fab" * 16)
    with pytest.raises(KeyboardInterrupt):
        copies.once(half, lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    half.with_name(f"{half.name}.partial").mkdir()
    not_used_for_long(half)
    layers = tmp_path / "cache" / "layers"
    layers.mkdir(parents=True)
    for name in ("old", ".partial-old", "new"):
        (layers / name).write_bytes(b"bytes")
        os.utime(layers / name, (1e9, 1e9) if "old" in name else None)
    with workspace(tmp_path, "of-a-killed-one"):
        pass
    (tmp_path / "cache" / "builds" / "of-a-killed-one").mkdir()
    with workspace(tmp_path, "at-work") as folder:
        folder.mkdir()
        expected = {ENVIRONMENTS: 1, LAYERS: 2, BUILDS: 1}
        assert found(tmp_path, delete=False) == found(tmp_path, delete=True) == expected
        assert folder.exists()
    assert [path.name for path in layers.iterdir()] == ["new"]
    assert [path.name for path in (tmp_path / "environments").iterdir()] == [f"{half.name}.lock"]
    assert found(tmp_path, delete=True) == {}


def test_nobody_is_given_a_folder_that_is_about_to_go(tmp_path: Path):
    folder, lot, gone = tmp_path / "copies" / "one", random.Random(7), 0

    def fill(partial: Path) -> None:
        for number in range(3):
            (partial / str(number)).write_text("whole")

    def use(wait: float) -> int:
        time.sleep(wait)
        copies.once(folder, fill)
        return len([path.read_text() for path in folder.iterdir()])

    def take(before: datetime, wait: float) -> bool:
        time.sleep(wait)
        return copies.take_away(folder, before)

    copies.once(folder, fill)
    with ThreadPoolExecutor(4) as pool:
        for _ in range(100):
            not_used_for_long(folder)
            taken = pool.submit(take, YESTERDAY, lot.random() / 1000)
            uses = [pool.submit(use, lot.random() / 1000) for _ in range(3)]
            assert [one.result() for one in uses] == [3, 3, 3]
            gone += taken.result()
    assert 0 < gone < 100
