"""One process of a server, from its start to its end: everything that answers requests, put together."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING

from modelyard.serving.access_log import AccessLog
from modelyard.serving.application import Application
from modelyard.serving.board import CHANGED, Board
from modelyard.serving.limits import Limits
from modelyard.serving.messages import NotServingError
from modelyard.serving.metrics import Metrics
from modelyard.serving.model import COMPILED, Model
from modelyard.serving.prediction_log import PredictionLog, Settings
from modelyard.serving.server import Server
from modelyard.serving.tokens import Tokens
from modelyard.serving.worker import Pool

if TYPE_CHECKING:
    from modelyard.serving.compiled import Compiled
    from modelyard.serving.tracing import Tracer, TraceSettings


@dataclass(frozen=True)
class Start:
    """What is settled before any process is there.

    Attributes:
        root: holds server, environment, project and model.
        model: described.
        workers: how many processes have the model loaded.
        board: what the server's processes share.
        listening: where clients come.
        controlling: where the supervisor comes; None without one.
        learning: seconds to go on taking connections after SIGTERM.
        tokens, limits: of requests.
        tracing, log: what is told to others of requests; None for nothing.
    """

    root: Path
    model: Model
    workers: int
    board: Board
    listening: socket.socket
    controlling: socket.socket | None
    learning: float
    tokens: Tokens
    limits: Limits
    tracing: TraceSettings | None
    log: Settings | None


async def serve(start: Start, *, again: bool) -> int:
    """Serve until SIGTERM; return the exit code: 1 when the model cannot be loaded.

    Args:
        start: of the server.
        again: one before this was killed.
    """
    model, board = start.model, start.board
    metrics = Metrics(model, board)
    output = FileIO(sys.stdout.fileno(), "wb", closefd=False)
    access_log = AccessLog(output, model.version, board, metrics.unlogged)
    predictor = _predictor(start, metrics, again=again)
    try:
        async with AsyncExitStack() as stack:
            stack.callback(access_log.close)
            predictions = await stack.enter_async_context(_logging(start))
            tracer = await stack.enter_async_context(_tracing(start))
            stack.push_async_callback(predictor.stop)
            application = Application(
                model, predictor, access_log, os.environ, metrics, start.tokens, start.limits, tracer, predictions
            )
            await _run(start, Server(application, model.headers, board), application, predictor, again=again)
    except NotServingError as error:
        say(f"cannot start: {error}")
        return 1
    return 0


async def _run(
    start: Start, server: Server, application: Application, predictor: Pool | Compiled, *, again: bool
) -> None:
    board, listening = start.board, start.listening
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(CHANGED, lambda: server.run(server.follow(listening)))
    if start.controlling is not None:
        application.private["/control/accept"] = lambda: _have_all(board, server, True)
        application.private["/control/pause"] = lambda: _have_all(board, server, False)
        await server.control(start.controlling)
    # A compiled model that is loaded again takes connections when it can answer: until then the others do.
    if not again or isinstance(predictor, Pool):
        await server.follow(listening)
    starting, stopping = asyncio.create_task(predictor.start()), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            await starting
            await server.follow(listening)
            if predictor.ready:  # the last process says so for all
                say(f"model {start.model.name} version {start.model.version} is ready")
            await stopping
            await server.drain(accepting_for=start.learning)
    finally:
        starting.cancel()


async def _have_all(board: Board, server: Server, take: bool) -> None:
    """Have all processes take connections, or none, and return when they do."""
    board.wanted = take
    os.kill(os.getpid(), CHANGED)
    while not (board.all_do or server.draining):  # noqa: ASYNC110 - the others are processes
        await asyncio.sleep(0.001)


def _predictor(start: Start, metrics: Metrics, *, again: bool) -> Pool | Compiled:
    folder, answer_seconds = start.root / "model", start.limits.answer_seconds
    if not (folder / COMPILED).is_file():
        return Pool(
            start.root,
            start.model,
            start.workers,
            say,
            patient=again,
            metrics=metrics,
            answer_seconds=answer_seconds,
        )
    from modelyard.serving.compiled import Compiled  # only here: what it imports takes a while

    return Compiled(folder, start.model, start.board, metrics, answer_seconds)


@asynccontextmanager
async def _logging(start: Start) -> AsyncIterator[PredictionLog | None]:
    if start.log is None:
        yield None
        return
    try:
        log = PredictionLog(start.log, start.model, say, start.board)
    except OSError as error:
        raise NotServingError(f"the prediction log has no folder: {error}") from error
    try:
        yield log
    finally:
        await log.close()


@asynccontextmanager
async def _tracing(start: Start) -> AsyncIterator[Tracer | None]:
    if start.tracing is None:
        yield None
        return
    from modelyard.serving.tracing import Tracer

    tracer = Tracer(start.tracing, start.model, say)
    try:
        yield tracer
    finally:
        await tracer.stop()


def say(text: str) -> None:
    """Write a line to the server's own log."""
    print(f"modelyard.serving: {text}", file=sys.stderr, flush=True)
