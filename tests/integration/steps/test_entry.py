"""The process of a step: what the older of two tries leaves to the newer, and its end when nobody else ends it."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from tests.released_models import pipeline_run
from tests.step_context import context_of

from modelyard.execution.credentials import credentials_line
from modelyard.steps import entry
from modelyard.steps.context import StepContext
from modelyard.steps.results import Pushed
from modelyard.store import Claim, Store, StoreAddress


def test_a_try_that_was_taken_over_removes_its_own_folder_alone(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = pipeline_run(store, "wine", "one")
    any_context = context_of(store, run, "train", tmp_path / "home")
    folders: list[Path] = []
    newer_works, older_is_gone = threading.Event(), threading.Event()
    newer: list[Future[bool]] = []

    def work(context: StepContext) -> Pushed:
        """Of the older try: go on until the newer one works; of the newer: until the older one is gone."""
        (context.workdir / "work").write_text("half done")
        folders.append(context.workdir)
        if len(folders) == 1:
            newer.append(pool.submit(run_try, 2))
            assert newer_works.wait(60)
        else:
            newer_works.set()
            assert older_is_gone.wait(60)
            assert (context.workdir / "work").read_text() == "half done"
        return Pushed(version=1, image_digest="", reference="")

    def run_try(number: int) -> bool:
        claim = store.steps.claim(run.id, "push", try_number=number, clear_number=0)
        assert isinstance(claim, Claim)
        with entry._own_folder(tmp_path / "work", f"{run.id[:16]}-push-", claim.fence) as workdir:
            entry._result_of("push", replace(any_context, claim=claim, workdir=workdir))
        return True

    step = ModuleType("modelyard.steps.push")
    step.run = work  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, step.__name__, step)
    monkeypatch.setattr(entry, "HEARTBEAT_SECONDS", 600.0)  # the older one's would end this whole process
    left_by_a_killed_try = tmp_path / "work" / f"{run.id[:16]}-push-0"
    left_by_a_killed_try.mkdir(parents=True)
    with ThreadPoolExecutor(1) as pool:
        run_try(1)
        older_is_gone.set()
        assert newer[0].result()
    assert list((tmp_path / "work").iterdir()) == []


def test_at_its_deadline_it_ends_whatever_it_waits_for(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and answers nobody
        where = f"mongodb://127.0.0.1:{silent.getsockname()[1]}"
        line = credentials_line(StoreAddress(where, tmp_path.as_uri(), "registry.example.com"), None, None, None)
        command = [sys.executable, "-m", "modelyard", "step", "push", "--pipeline-run", "x", "--address", "-"]
        ended = subprocess.run(
            [*command, "--deadline", "1"], input=line, capture_output=True, text=True, timeout=60, cwd=tmp_path
        )
    assert ended.returncode == 65, ended.stderr
    assert ended.stdout == (
        "Step 'push' failed: It has taken 1 seconds, and may take no more.\n"
        "  → let it take longer: deadline_seconds in Airflow's section [modelyard]\n"
    )
