"""The prediction log: what was asked and answered, written to disk beside the answers and never before them.

A request pays for its line of JSON: to keep what the line is made of, to encode it later, would cost it more. A quarter
of a second of lines is a batch, which a thread compresses and appends to a segment (``log_folder``). So a kill costs at
most the batch that is not written yet, and a disk that is slow or full costs records, counted, but no answer.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import msgspec

from modelyard.serving.board import Board
from modelyard.serving.log_folder import LogFolder, shipped, waiting
from modelyard.serving.messages import Columns, Outputs, Request
from modelyard.serving.model import Model
from modelyard.serving.segment import KINDS
from modelyard.serving.signature import listed

VARIABLE = "MODELYARD_PREDICTION_LOG"
ENTITY = "modelyard-entity"  # the header that says whom or what a request is about
SMOKE = "modelyard-smoke"  # so begins the id of a request that a deployment makes: no prediction for anybody

_BATCH_SECONDS = 0.25
_MOST_BYTES = 32 * 1024 * 1024  # in memory, when the disk is too slow
_MOST_ENTITY = 256


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the deployment says of the log, as JSON in ``VARIABLE``.

    Attributes:
        folder: where segments are written; whoever sends them away takes them from there.
        sample: the share of the answers that are logged, from 0 to 1.
        hide: names of inputs and outputs whose values are not.
        most_bytes: of the folder; what would go beyond is dropped.
        seconds: after which a segment is closed, so that it can be sent away.
    """

    folder: str
    sample: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
    hide: tuple[str, ...] = ()
    most_bytes: Annotated[int, msgspec.Meta(ge=1)] = 1024**3
    seconds: Annotated[float, msgspec.Meta(gt=0)] = 60.0


class Prediction(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One line of kind ``predictions``; columns as the model got and gave them, a value a row."""

    time: float
    request_id: str
    version: str
    route: str
    rows: int
    microseconds: int
    inputs: Columns
    outputs: Outputs
    entity: str | None = None


def settings_of(environment: Mapping[str, str], model: Model) -> Settings | None:
    """Return what the environment says of the log; None when nothing is to be logged.

    Raises:
        ValueError: it is no such thing, or hides what the model does not have: a misspelled name would be logged.
    """
    if not (text := environment.get(VARIABLE)):
        return None
    try:
        settings = msgspec.json.decode(text, type=Settings)
    except msgspec.MsgspecError as error:
        raise ValueError(f"{VARIABLE} is not what it should be: {error}") from error
    known = [field.name for field in (*model.signature.inputs, *model.signature.outputs)]
    if unknown := sorted(set(settings.hide) - set(known)):
        raise ValueError(f"the prediction log shall hide {listed(unknown)}; the model has only {listed(known)}")
    return settings


class PredictionLog:
    """Notes answers and ground truth; to be closed before the process ends, or the last batch is lost.

    Args:
        settings: the deployment's.
        model: the one that answers.
        say: one line for the server's own log.
        board: where the processes of the server count what each has written and dropped.

    Raises:
        OSError: the folder cannot be made.
    """

    def __init__(self, settings: Settings, model: Model, say: Callable[[str], None], board: Board) -> None:
        self._folder = Path(settings.folder)
        self._sample = settings.sample
        self._hidden = frozenset(settings.hide)
        self._shown_inputs = tuple(field.name for field in model.signature.inputs if field.name not in self._hidden)
        self._shown_outputs = tuple(field.name for field in model.signature.outputs if field.name not in self._hidden)
        self._version = model.version
        self._written = LogFolder(
            self._folder, model.version, settings.most_bytes, settings.seconds, say, board.take(2)
        )
        encoder = msgspec.json.Encoder()
        self._encode_into, self._encode_lines = encoder.encode_into, encoder.encode_lines
        self._lines = bytearray()
        self._records = 0
        self._counts = board.take(2 * len(KINDS))
        self._thread = ThreadPoolExecutor(1, "prediction-log")
        self._ticking = asyncio.create_task(self._tick())

    def note(self, request: Request, inputs: Columns, rows: int, outputs: Outputs, seconds: float) -> None:
        """Note one answer, or leave it to chance, as the settings say.

        Args:
            request: what was asked; one of the control socket's, or of a deployment, is not noted.
            inputs: checked columns, not changed afterwards.
            rows: in each of them.
            outputs: what the model answered, not changed afterwards.
            seconds: from the request's parsing to its answer.
        """
        if (self._sample < 1 and random.random() >= self._sample) or request.private:  # noqa: S311 - no secret
            return
        if request.id.startswith(SMOKE):
            return
        if self._hidden:
            inputs = {name: inputs[name] for name in self._shown_inputs}
            outputs = {name: outputs[name] for name in self._shown_outputs if name in outputs}
        entity = request.headers.get(ENTITY)
        lines, before = self._lines, len(self._lines)
        if before > _MOST_BYTES:
            self._count("predictions", 1, kept=False)
            return
        line = Prediction(
            time.time(),
            request.id,
            self._version,
            request.path,
            rows,
            int(seconds * 1_000_000),
            inputs,
            outputs,
            None if entity is None else entity[:_MOST_ENTITY],
        )
        try:
            self._encode_into(line, lines, -1)
        except (msgspec.MsgspecError, TypeError, ValueError, ArithmeticError, RecursionError):
            del lines[before:]  # an answer that is no JSON, and was none: as bytes of a tensor, as CSV
            self._count("predictions", 1, kept=False)
            return
        lines += b"\n"
        self._records += 1

    async def keep(self, feedback: list[dict[str, Any]]) -> bool:
        """Write ground truth at once; return whether it is on disk, safe from the end of this process.

        Args:
            feedback: records; a time and the version that serves now are added. Hidden names are left out of ``truth``
                and of the properties of an ``event``.
        """
        told = {"time": time.time(), "version": self._version}
        lines = self._encode_lines([told | self._without_hidden(record) for record in feedback])
        return await self._write("feedback", lines, len(feedback))

    async def close(self) -> None:
        """Write everything that was noted and close the segments."""
        self._ticking.cancel()
        await asyncio.gather(self._ticking, return_exceptions=True)
        await self._flush()
        await self._in_thread(self._written.close)
        self._thread.shutdown()

    def metrics(self) -> list[str]:
        """Return lines for Prometheus: what all processes have written and dropped, what waits or has left."""
        (unsent, size), sent = waiting(self._folder), shipped(self._folder)
        written, dropped = (
            {kind: self._counts.total(_place(kind, kept=kept)) for kind in KINDS} for kept in (True, False)
        )
        lines = []
        for what, kind, values in (
            ("written_total", "counter", written),
            ("dropped_total", "counter", dropped),
            ("waiting", "gauge", dict(unsent)),
            ("shipped_total", "counter", sent),
        ):
            name = f"modelyard_prediction_log_{what}"
            lines += [f"# TYPE {name} {kind}", *(f'{name}{{kind="{key}"}} {value}' for key, value in values.items())]
        return [*lines, "# TYPE modelyard_prediction_log_bytes gauge", f"modelyard_prediction_log_bytes {size}"]

    def _without_hidden(self, record: dict[str, Any]) -> dict[str, Any]:
        if not self._hidden:
            return record
        shown = dict(record)
        if record.get("truth"):
            shown["truth"] = self._shown(record["truth"])
        if "event" in record:
            shown["event"] = record["event"] | {"properties": self._shown(record["event"]["properties"])}
        return shown

    def _shown(self, values: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in values.items() if name not in self._hidden}

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_BATCH_SECONDS)
            # Not given up half way when the log is closed: what is being written is awaited there.
            await asyncio.shield(asyncio.ensure_future(self._flush()))

    async def _flush(self) -> None:
        if self._records:
            lines, records = self._lines, self._records
            self._lines, self._records = bytearray(), 0
            await self._write("predictions", lines, records)
        if self._written.due:
            await self._in_thread(self._written.close_due)

    async def _write(self, kind: str, lines: bytes | bytearray, records: int) -> bool:
        kept: bool = await self._in_thread(self._written.write, kind, lines, records)
        self._count(kind, records, kept=kept)
        return kept

    def _count(self, kind: str, records: int, *, kept: bool) -> None:
        self._counts.mine[_place(kind, kept=kept)] += records

    async def _in_thread(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)


def _place(kind: str, *, kept: bool) -> int:
    return 2 * KINDS.index(kind) + kept
