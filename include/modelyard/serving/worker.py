"""The model in a process of its own, in the project's environment: frames of 4-byte length + JSON on a socket pair."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import msgspec

from modelyard.serving.answers import Answers
from modelyard.serving.batching import Batcher, Then
from modelyard.serving.channel import Channel
from modelyard.serving.limits import Limits, processors
from modelyard.serving.messages import JSON, Columns, NotServingError, Outputs, Refused, Wanted
from modelyard.serving.metrics import Metrics
from modelyard.serving.model import Model

# Lends the model's process our client without putting the server's own packages on its path: these are not the
# project's business. The kernel ends the process with its server, whatever it is doing (prctl(2): PR_SET_PDEATHSIG is
# 1, SIGKILL is 9).
_START = """\
import ctypes, importlib.util, os, runpy, sys
server, ours, sys.path[0], *sys.argv[1:] = sys.argv[1:]
ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)
if os.getppid() != int(server):
    sys.exit("the server has ended already")
spec = importlib.util.spec_from_file_location("modelyard", ours + "/__init__.py", submodule_search_locations=[ours])
sys.modules["modelyard"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["modelyard"])
runpy.run_module("modelyard.client.worker", run_name="__main__", alter_sys=True)
"""
# Without them each library takes all of the machine's processors, whatever the limit, and they stall each other.
_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)
_PACKAGE = Path(__file__).resolve().parents[1]
_LONGEST_WAIT = 10.0  # seconds between two starts of a worker that keeps ending
_PATIENCE = 20.0  # seconds that requests wait for a model whose process has ended, before they are refused


class WorkerEndedError(NotServingError):
    """The model's process is gone, or answers nonsense."""


class Worker:
    """One process with the model loaded; it takes one call at a time."""

    def __init__(self, root: Path, model: Model, threads: int, answer_seconds: float) -> None:
        self._answer_seconds = answer_seconds
        self._root = root
        self._model = model
        self._threads = str(threads)
        self._answers = Answers(model.signature.outputs)

    async def start(self) -> None:
        """Start the process and have it answer the golden rows: what is slow the first time is over before anyone asks.

        Raises:
            WorkerEndedError: it does not start, or cannot answer them.
        """
        ours, theirs = socket.socketpair()
        project = self._root / "project"
        with theirs:
            try:
                self._process = await asyncio.create_subprocess_exec(
                    self._root / "environment" / "bin" / "python",
                    *("-u", "-c", _START, str(os.getpid()), _PACKAGE, project),
                    *(self._root / "model", "--fd", str(theirs.fileno())),
                    pass_fds=[theirs.fileno()],
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=sys.stderr,  # standard output is the access log's
                    cwd=project if project.is_dir() else self._root,
                    env=dict.fromkeys(_THREADS, self._threads) | os.environ,
                )
            except OSError as error:
                ours.close()
                raise WorkerEndedError(f"the model's process cannot be started: {error}") from error
        self._channel = await Channel.over(ours)
        rows = len(next(iter(self._model.golden.values())))
        answered: asyncio.Future[Outputs | Exception] = asyncio.get_running_loop().create_future()
        try:
            self._ask(self._model.golden, rows, None, answered.set_result, None)
            if isinstance(result := await answered, Exception):
                raise result
        except BaseException as error:
            await self.stop()
            if isinstance(error, Refused):
                raise WorkerEndedError(f"the model cannot answer its own golden rows: {error.message}") from error
            raise

    def ask(self, columns: Columns, rows: int, wanted: Wanted, then: Then) -> None:
        """Send checked columns and have ``then`` called with the answer, or with an error.

        Args:
            columns: of the signature.
            rows: in each.
            wanted: outputs; None: all.
            then: gets Refused (422) when the model raised for these rows, or what it answers is not what its signature
                says; WorkerEndedError when there will be no answer, or not in the time that anybody waits for it.
        """
        self._ask(columns, rows, wanted, then, self._answer_seconds)

    def _ask(self, columns: Columns, rows: int, wanted: Wanted, then: Then, seconds: float | None) -> None:
        message: JSON = {"columns": columns}
        if self._model.signature.kind == "tensor":
            field = self._model.signature.inputs[0]
            data = columns[field.name]
            message = {"tensor": {"data": data, "shape": [rows, *_inner_shape(data[0])]}}
        if wanted is not None:
            message["outputs"] = wanted

        def answered(told: bytes | Exception) -> None:
            if isinstance(told, TimeoutError):
                then(WorkerEndedError(f"the model's process has not answered in {seconds:g} s"))
                return
            try:
                if isinstance(told, Exception):
                    raise told
                outputs = self._answers.read(told, rows, wanted)
            except Refused as refused:
                then(refused)
            except (OSError, ValueError):
                self._last_words = asyncio.create_task(self._tell_ending(then))
            except Exception as error:  # noqa: BLE001 - a mistake of ours, told where the process is looked after
                then(error)
            else:
                then(outputs)

        self._channel.ask(msgspec.json.encode(message), seconds, answered)

    async def stop(self) -> None:
        """End the process and wait until it has."""
        self._channel.close()
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def _tell_ending(self, then: Then) -> None:
        then(WorkerEndedError(f"the model's process ended ({await self._ending()})"))

    async def _ending(self) -> str:
        try:
            code = await asyncio.wait_for(self._process.wait(), 1)
        except TimeoutError:
            return "it closed its socket"
        return f"signal {-code}" if code < 0 else f"exit code {code}"


def _inner_shape(row: object) -> list[int]:
    shape = []
    while isinstance(row, list):
        shape.append(len(row))
        row = row[0] if row else None
    return shape


class Pool:
    """``count`` workers behind one queue; one that ends is started again.

    While none is there, requests wait: for a while, and not before the model was ever ready, unless ``patient`` says
    that it was.
    """

    def __init__(
        self,
        root: Path,
        model: Model,
        count: int,
        log: Callable[[str], None],
        *,
        patient: bool = False,
        metrics: Metrics | None = None,
        answer_seconds: float = Limits.answer_seconds,
    ) -> None:
        self._answer_seconds = answer_seconds
        self._root = root
        self._model = model
        self._count = count
        self._threads = max(1, processors() // count)
        self._log = log
        self._batcher = Batcher(metrics, answer_seconds)
        self._tasks: list[asyncio.Task[None]] = []
        self._alive = 0
        self._refusing = not patient
        self._giving_up: asyncio.TimerHandle | None = None
        self.restarts = 0

    @property
    def ready(self) -> bool:
        """At least one worker answers."""
        return self._alive > 0

    async def predict(self, columns: Columns, rows: int, wanted: Wanted) -> Outputs:
        """Have any worker answer checked columns by the wanted outputs, or more.

        Raises:
            Refused: 503, there is no worker for too long; what ``Batcher.predict`` refuses.
        """
        if self._refusing:
            raise _no_worker()
        return await self._batcher.predict(columns, rows, wanted)

    async def start(self) -> None:
        """Start all workers and return when each has answered the golden rows.

        Raises:
            WorkerEndedError: one does not come up; the others are stopped.
        """
        if not self._refusing:
            self._be_patient()
        workers = [self._worker() for _ in range(self._count)]
        started = await asyncio.gather(*(worker.start() for worker in workers), return_exceptions=True)
        errors = [result for result in started if isinstance(result, BaseException)]
        if errors:
            for worker, result in zip(workers, started, strict=True):
                if result is None:
                    await worker.stop()
            raise errors[0]
        self._alive = self._count
        self._there_is_one()
        self._tasks = [asyncio.create_task(self._keep(worker)) for worker in workers]

    async def stop(self) -> None:
        """End all workers."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._give_up()

    def _worker(self) -> Worker:
        return Worker(self._root, self._model, self._threads, self._answer_seconds)

    def _be_patient(self) -> None:
        if self._giving_up is None:
            self._giving_up = asyncio.get_running_loop().call_later(_PATIENCE, self._give_up)

    def _give_up(self) -> None:
        self._refusing = True
        self._batcher.refuse(_no_worker())

    def _there_is_one(self) -> None:
        self._refusing = False
        if self._giving_up is not None:
            self._giving_up.cancel()
            self._giving_up = None

    async def _keep(self, worker: Worker) -> None:
        while True:
            wait = 0.0
            try:
                await self._batcher.serve(worker.ask, WorkerEndedError)
            except Exception as error:  # noqa: BLE001 - whatever it is, without a worker nobody is answered any more
                self._alive -= 1
                self.restarts += 1
                self._log(f"{_told(error)}; starting it again")
                if not self._alive:
                    self._be_patient()
            finally:
                await worker.stop()
            while True:
                await asyncio.sleep(wait)
                wait = min(_LONGEST_WAIT, wait * 2 or 0.5)
                worker = self._worker()
                try:
                    await worker.start()
                except Exception as error:  # noqa: BLE001 - as above
                    self._log(f"{_told(error)}; trying again in {wait:g} s")
                else:
                    self._alive += 1
                    self._there_is_one()
                    break


def _told(error: Exception) -> str:
    """Return what the log says of a worker's end; of a mistake of ours it gets the trace, too."""
    if isinstance(error, WorkerEndedError):
        return str(error)
    traceback.print_exception(error)
    return f"the server made a mistake with the model's process ({error!r})"


def _no_worker() -> Refused:
    return Refused(503, "the model's process is being started again", headers=(("retry-after", "1"),))
