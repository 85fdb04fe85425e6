"""A compiled model: ``model/compiled/model.onnx``, run by onnxruntime in this process, without the project's packages.

``python -I -m modelyard.serving.compiled MODEL_DIR --fd N`` answers on a socket instead, as ``modelyard.client.worker``
does for the model itself: so that the two can be compared before one serves for the other.
"""

from __future__ import annotations

import os

# As both libraries are loaded: onnxruntime reports its use to its makers, by a thread of its own, and NumPy starts
# threads for products of matrices, which nothing here asks it for. A process without threads can be forked.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse
import asyncio
import json
import math
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from modelyard.client import frames
from modelyard.serving.answers import settled
from modelyard.serving.batching import busy, late
from modelyard.serving.board import Board
from modelyard.serving.limits import processors
from modelyard.serving.messages import JSON, Columns, NotServingError, Outputs, Refused, Wanted
from modelyard.serving.metrics import Metrics
from modelyard.serving.model import COMPILED, Model, read_model
from modelyard.serving.signature import Field
from modelyard.serving.turn import Turn

METADATA = "modelyard"
# What a thread of its own is worth: a shorter call is sooner over than handed on.
_INLINE_SECONDS = 0.001
_MOST_WAITING = 1024
_WARM_ROWS, _WARM_CALLS = 128, 5
_KINDS: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.object_,
    **{f"tensor({sign}int{bits})": np.dtype(f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)},
}
_FEW = 8  # numbers that Python has added up before a function of NumPy's has begun


class CompiledError(NotServingError):
    """The file is no compiled model of this signature."""


class Session:
    """The model in onnxruntime: columns in, outputs out, in the caller's thread and no other."""

    def __init__(self, folder: Path, model: Model) -> None:
        options = onnxruntime.SessionOptions()
        # One call, one thread: calls run beside each other, never against each other.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            session = onnxruntime.InferenceSession(str(folder / COMPILED), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors have no common class but this
            raise CompiledError(f"onnxruntime cannot load {COMPILED}: {error}") from error
        self._run = session._sess.run  # what its public `run` calls, after checks that the signature has made already
        self._inputs = _inputs(session, model)
        self._narrow = any(kind in (np.float16, np.float32) for _, _, kind in self._inputs)
        fields, given = model.signature.outputs, session.get_outputs()
        self._names = [output.name for output in given]
        if len(given) < len(fields):
            raise CompiledError(f"{COMPILED} has outputs {', '.join(self._names)}; the signature has {len(fields)}")
        del self._names[len(fields) :]
        self._readers = [_reader(field, output.type) for field, output in zip(fields, given, strict=False)]

    def predict(self, columns: Columns, rows: int, wanted: Wanted = None) -> Outputs:
        """Answer checked columns by the wanted outputs, None for all: to make lists of an array takes its time.

        Raises:
            Refused: 422, the model cannot answer these rows, or not as its signature says.
        """
        try:
            feed = self._feed(columns)
            found = self._run(self._names, feed, None)
        except (ValueError, TypeError, ArithmeticError, RuntimeError) as error:
            raise Refused(422, f"the model cannot answer this input: {error}") from error
        except Exception as error:
            if type(error).__module__.startswith("onnxruntime"):
                raise Refused(422, f"the model cannot answer this input: {error}") from error
            raise
        return {
            name: read(array, rows)
            for (name, read), array in zip(self._readers, found, strict=True)
            if wanted is None or name in wanted
        }

    def _feed(self, columns: Columns) -> dict[str, Any]:
        if not self._narrow:
            return {name: _array(columns, names, kind) for name, names, kind in self._inputs}
        with np.errstate(over="raise"):  # a number too large for its bits is refused, where it would be infinite
            return {name: _array(columns, names, kind) for name, names, kind in self._inputs}


def _inputs(session: Any, model: Model) -> list[tuple[str, list[str], Any]]:
    given = session.get_inputs()
    try:
        columns = json.loads(session.get_modelmeta().custom_metadata_map[METADATA])
    except (KeyError, ValueError) as error:
        raise CompiledError(f"{COMPILED} does not say which columns its inputs are") from error
    if len(columns) != len(given) or sorted(name for names in columns for name in names) != sorted(
        model.signature.names
    ):
        raise CompiledError(f"{COMPILED} takes other columns than the signature")
    if unknown := [f"{one.name} ({one.type})" for one in given if one.type not in _KINDS]:
        raise CompiledError(f"{COMPILED} has inputs that no request can give: {', '.join(unknown)}")
    return [(one.name, names, _KINDS[one.type]) for one, names in zip(given, columns, strict=True)]


def _array(columns: Columns, names: list[str], kind: Any) -> Any:
    if len(names) > 1:
        # Rows of one array, seen as columns: quicker than to stack arrays of one column each.
        return np.array([columns[name] for name in names], kind).T
    array = np.array(columns[names[0]], kind)
    return array if array.ndim > 1 else array.reshape(-1, 1)


def _reader(field: Field, given: str) -> tuple[str, Callable[[Any, int], list[Any]]]:
    """Return an output's name, and what makes its list of an array, which is of the type ``given``."""
    shape, dimensions = field.shape, len(field.shape) + 1
    kind, promised = np.dtype(_KINDS.get(given, np.object_)), _promised(field.datatype)
    # Labels may come as other numbers than they are: truth values as 0 and 1, and the other way round.
    cast = kind.kind != promised.kind and ("b" in (kind.kind, promised.kind) or promised.kind == "f")
    kind = promised if cast else kind
    # No value of a type that fits can be any that the field's is not, but for an infinite one.
    fits, fractions = np.can_cast(kind, promised), kind.kind == "f"

    def read(array: Any, rows: int) -> list[Any]:
        if array.ndim != dimensions:
            array = array.reshape((rows, *shape))
        if cast:
            array = array.astype(promised)
        values: list[Any] = array.tolist()
        if fits and (not fractions or _finite(array, values)):
            return values
        return settled(field, values, rows)

    return field.name, read


def _promised(datatype: str) -> Any:
    return np.dtype({"BOOL": "bool", "BYTES": "object"}.get(datatype, datatype.lower().replace("fp", "float")))


def _finite(array: Any, values: list[Any]) -> bool:
    """Return whether all numbers are finite, which is seen at once; False, too, where they are very large."""
    if array.size > _FEW or array.ndim > 2:
        return math.isfinite(np.vdot(array, array))
    return math.isfinite(sum(values) if array.ndim == 1 else sum(map(sum, values)))


class Compiled:
    """Answers from a compiled model: at once, or by a thread when that would hold up others for long.

    What waits for a thread is bounded. Nothing waits for a batch: what a turn of the loop has brought is one.
    """

    def __init__(self, folder: Path, model: Model, board: Board, metrics: Metrics, answer_seconds: float) -> None:
        self._answer_seconds = answer_seconds
        self._folder = folder
        self._model = model
        self._board = board
        self._session: Session | None = None
        self._turn: Turn
        self._threads = ThreadPoolExecutor(max(1, processors() // board.processes), "model")
        self._metrics = metrics
        self._inline_rows = 0
        self._waiting = 0

    @property
    def ready(self) -> bool:
        """It is loaded, and has answered the golden rows; so have all other processes, once."""
        return self._session is not None and self._board.all_loaded

    @property
    def restarts(self) -> int:
        """How often a process of this server was started again."""
        return self._board.restarts

    async def start(self) -> None:
        """Load the model and have it answer the golden rows.

        Raises:
            CompiledError: it can't be loaded, or can't answer them.
        """
        session = await asyncio.get_running_loop().run_in_executor(self._threads, self._load)

        def call_model(columns: Columns, rows: int, wanted: Wanted) -> Outputs:
            self._metrics.batch(rows)
            return session.predict(columns, rows, wanted)

        self._turn = Turn(call_model, self._inline_rows)
        self._session = session
        self._board.loaded()

    async def stop(self) -> None:
        """Take no more calls."""
        self._session = None
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def predict(self, columns: Columns, rows: int, wanted: Wanted) -> Outputs:
        """Answer checked columns; raises Refused: 429 when too many wait, and what the model cannot answer."""
        session = self._session
        if session is None:
            raise Refused(503, "the model is being loaded", headers=(("retry-after", "1"),))
        if rows <= self._inline_rows:
            return await self._turn.predict(columns, rows, wanted)
        if self._waiting >= _MOST_WAITING:
            raise busy(self._metrics)
        self._wait(1)
        try:
            self._metrics.batch(rows)
            async with asyncio.timeout(self._answer_seconds):
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(self._threads, session.predict, columns, rows, wanted)
        except TimeoutError:
            raise late(self._answer_seconds) from None
        finally:
            self._wait(-1)

    def _wait(self, change: int) -> None:
        self._waiting += change
        self._metrics.queued(self._waiting)

    def _load(self) -> Session:
        session = Session(self._folder, self._model)
        golden = self._model.golden
        many = {name: (values * _WARM_ROWS)[:_WARM_ROWS] for name, values in golden.items()}
        one = {name: values[:1] for name, values in golden.items()}
        try:
            session.predict(golden, len(next(iter(golden.values()))))
            call = min(_seconds(session, one, 1) for _ in range(_WARM_CALLS))
            batch = min(_seconds(session, many, _WARM_ROWS) for _ in range(_WARM_CALLS))
        except Refused as refused:
            raise CompiledError(f"it does not answer the golden rows: {refused}") from refused
        row = max(batch - call, 1e-9) / (_WARM_ROWS - 1)
        self._inline_rows = int((_INLINE_SECONDS - call) / row)
        return session


def _seconds(session: Session, columns: Columns, rows: int) -> float:
    began = time.perf_counter()
    session.predict(columns, rows)
    return time.perf_counter() - began


def main() -> None:
    """Answer on a socket until the other side ends it."""
    parser = argparse.ArgumentParser(prog="modelyard.serving.compiled")
    parser.add_argument("model", type=Path)
    parser.add_argument("--fd", type=int, required=True)
    arguments = parser.parse_args()
    with socket.socket(fileno=arguments.fd) as connection:
        model = read_model(arguments.model, os.environ)
        session: Session | CompiledError
        try:
            session = Session(arguments.model, model)
        except CompiledError as error:
            session = error
        while (request := frames.receive(connection)) is not None:
            frames.send(connection, _answer(session, model, request))


def _answer(session: Session | CompiledError, model: Model, request: JSON) -> JSON:
    if isinstance(session, CompiledError):
        return {"error": str(session)}
    columns: Columns = request.get("columns") or {model.signature.inputs[0].name: request["tensor"]["data"]}
    try:
        columns = model.signature.check(columns)
        outputs = session.predict(columns, len(next(iter(columns.values()))))
    except Refused as refused:
        return {"error": refused.message}
    return {"outputs": outputs}


if __name__ == "__main__":
    main()
