"""The process of one step: claim its record, run its function, keep the result or the error.

The exit code tells the operator what happened: 0 done, 65 refused (another try cannot help), 75 transient; another
one is a fault of Modelyard's own.
"""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from modelyard.deployment import ClusterAccess
from modelyard.errors import Fenced, ModelyardError, Unavailable
from modelyard.images import open_images
from modelyard.steps.context import StepContext
from modelyard.steps.plan import BY_NAME
from modelyard.store import Claim, Store, StoreAddress
from modelyard.supply_chain import SigningKey

HEARTBEAT_SECONDS = 5.0


def run_step(
    name: str,
    pipeline_run: str,
    address: StoreAddress,
    home: Path,
    *,
    try_number: int = 1,
    clear_number: int = 0,
    beside: Mapping[str, str] | None = None,
    git: tuple[str, str] | None = None,
    cluster: ClusterAccess | None = None,
    signing: SigningKey | None = None,
    runner_image: str | None = None,
    builder: str | None = None,
    deadline: int | None = None,
) -> int:
    """Run one try of a step to its end and return the exit code of its process.

    Doing it again after it has finished returns at once with the record that is there.
    """
    if name not in BY_NAME:
        print(f"There is no step '{name}'.\n  → one of: {', '.join(BY_NAME)}", flush=True)
        return 64  # EX_USAGE
    # A pod is stopped by SIGTERM: leave by way of every `finally`.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if deadline is not None:
        _end_after(deadline, name)
    try:
        with Store.open(address) as store:
            claim = store.steps.claim(pipeline_run, name, try_number=try_number, clear_number=clear_number)
            if not isinstance(claim, Claim):
                _log(f"Step '{name}' was done already by try {claim.try_number}; its result stands.")
                return 0
            try:
                with _own_folder(home / "work", f"{pipeline_run[:16]}-{name}-", claim.fence) as workdir:
                    context = StepContext(
                        store=store,
                        images=open_images(address, home, pardon=store.pardon_image),
                        run=store.pipelines.get(pipeline_run),
                        claim=claim,
                        workdir=workdir,
                        home=home,
                        beside=beside or {},
                        git=git,
                        log=_log,
                        cluster=cluster,
                        signing=signing,
                        runner_image=runner_image,
                        builder=builder,
                    )
                    result = _result_of(name, context)
            except Fenced:
                raise
            except Exception as error:
                claim.fail(error)
                raise
            claim.finish(result)
    except ModelyardError as error:
        if error.__cause__ is not None and isinstance(error, Unavailable):
            _log(f"({type(error.__cause__).__name__}: {error.__cause__})")
        _log(f"Step '{name}' failed: {error}")
        return error.exit_code
    except Exception:  # noqa: BLE001 - the last stop of a process: its trace, then its exit code
        traceback.print_exc()
        return 1
    return 0


def _result_of(name: str, context: StepContext) -> dict[str, object]:
    """Call the step's function, under the claim's heartbeat."""
    function = importlib.import_module(f"modelyard.steps.{name}").run
    with _heartbeat(context.claim):
        return asdict(function(context))


@contextmanager
def _own_folder(work: Path, name: str, fence: int) -> Iterator[Path]:
    """Make this claim's folder, and remove it in the end; those of older claims at once: killed, or to write no more.

    Each claim has its own: a try that was taken over and cleans up late removes nothing of the newer one's.
    """
    for left in work.glob(f"{name}*"):
        if int(left.name.removeprefix(name)) < fence:
            shutil.rmtree(left, ignore_errors=True)
    folder = work / f"{name}{fence}"
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _end_after(seconds: int, name: str) -> None:
    """End this whole process then: the first one of a container, so that all in it end."""

    def end() -> None:
        remedy = "let it take longer: deadline_seconds in Airflow's section [modelyard]"
        _log(f"Step '{name}' failed: It has taken {seconds} seconds, and may take no more.\n  → {remedy}")
        os._exit(ModelyardError.exit_code)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


@contextmanager
def _heartbeat(claim: Claim) -> Iterator[None]:
    """Beat until the block ends; once the claim is taken over, end this whole process, so that it writes no more."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(HEARTBEAT_SECONDS):
            try:
                claim.heartbeat()
            except Fenced as error:
                _log(str(error))
                os._exit(error.exit_code)
            except Unavailable as error:
                _log(f"Heartbeat missed: {error.message}")

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _log(line: str) -> None:
    print(line, flush=True)
