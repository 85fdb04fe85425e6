"""``python -I -m modelyard.serving --root DIR``: what every model image starts."""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import gc
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from modelyard.serving.access_log import AccessLog
from modelyard.serving.application import Application
from modelyard.serving.board import CHANGED, Board
from modelyard.serving.keeper import keep
from modelyard.serving.limits import Limits
from modelyard.serving.messages import NotServingError
from modelyard.serving.metrics import Metrics
from modelyard.serving.model import COMPILED, Model, read_model
from modelyard.serving.server import BACKLOG, Server
from modelyard.serving.tokens import Tokens
from modelyard.serving.worker import Pool

if TYPE_CHECKING:
    from modelyard.serving.compiled import Compiled
    from modelyard.serving.tracing import TraceSettings

# Seconds in which a load balancer learns that this process is going.
_LEARNING = "3"
_PR_SET_DUMPABLE = 4


def main() -> int:
    """Serve until SIGTERM; return the exit code: 1 when the model cannot be loaded, 2 for wrong arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m modelyard.serving", description="Serve the model in a model image."
    )
    parser.add_argument("command", nargs="?", choices=["serve"], help="as SageMaker starts an image; changes nothing")
    parser.add_argument("--root", type=Path, required=True, help="folder with environment/, project/ and model/")
    parser.add_argument("--fd", type=int, help="a listening socket that was handed on")
    parser.add_argument("--host", default="0.0.0.0", help="address to listen on (default: all)")  # noqa: S104
    parser.add_argument("--port", type=int, default=8080, help="port to listen on; AIP_HTTP_PORT wins")
    parser.add_argument("--control", help="a Unix socket for the supervisor; connections are taken when it says so")
    parser.add_argument("--workers", type=int, default=1, help="processes with the model loaded")
    parser.add_argument(
        "--learning",
        type=float,
        default=os.environ.get("MODELYARD_LEARNING_SECONDS", _LEARNING),
        help="seconds to go on taking connections after SIGTERM (3); none with --fd, where others take them",
    )
    arguments = parser.parse_args()
    try:
        model = read_model(arguments.root / "model", os.environ)
        listening = _listening(arguments.fd, arguments.host, int(os.environ.get("AIP_HTTP_PORT", arguments.port)))
        controlling = _controlling(arguments.control)
        limits = Limits.from_environment(os.environ)
        tokens = Tokens.taken_from(os.environ)
        tracing = _tracing(model)
    except (OSError, ValueError, KeyError) as error:
        _say(f"cannot start: {error}")
        return 1
    if tokens.demanded or (tracing is not None and tracing.headers):
        _hide()
    compiled = (arguments.root / "model" / COMPILED).is_file()
    board = Board(max(1, arguments.workers) if compiled else 1)  # else a pool of workers is behind the one process
    board.wanted = controlling is None

    def serve(_number: int, again: bool) -> int:
        code: int = uvloop.run(
            _serve(arguments, model, board, listening, controlling, tokens, limits, tracing, again=again)
        )
        return code

    if board.processes > 1:
        import modelyard.serving.compiled  # noqa: F401 - so that what it loads is there once, for all processes

        gc.freeze()
    return keep(serve, _say, board) if arguments.fd is None or board.processes > 1 else serve(0, False)


async def _serve(
    arguments: argparse.Namespace,
    model: Model,
    board: Board,
    listening: socket.socket,
    controlling: socket.socket | None,
    tokens: Tokens,
    limits: Limits,
    tracing: TraceSettings | None,
    *,
    again: bool,
) -> int:
    log = AccessLog(sys.stdout.buffer, model.version, board)
    metrics = Metrics(model, board)
    predictor = _predictor(arguments, model, board, metrics, limits, again=again)
    tracer = None
    if tracing is not None:
        from modelyard.serving.tracing import Tracer

        tracer = Tracer(tracing, model, _say)
    application = Application(model, predictor, log, os.environ, metrics, tokens, limits, tracer)
    server = Server(application, model.headers, board)
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(CHANGED, lambda: server.run(server.follow(listening)))
    # A compiled model that is loaded again takes connections when it can answer: until then the others do.
    at_once = not again or isinstance(predictor, Pool)
    if controlling is not None:
        application.private["/control/accept"] = lambda: _have_all(board, server, True)
        application.private["/control/pause"] = lambda: _have_all(board, server, False)
        await server.control(controlling)
    if at_once:
        await server.follow(listening)
    starting, stopping = asyncio.create_task(predictor.start()), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            await starting
            await server.follow(listening)
            if predictor.ready:  # the last process says so for all
                _say(f"model {model.name} version {model.version} is ready")
            await stopping
            await server.drain(accepting_for=arguments.learning if arguments.fd is None else 0)
    except NotServingError as error:
        _say(f"cannot start: {error}")
        return 1
    finally:
        starting.cancel()
        await predictor.stop()
        if tracer is not None:
            await tracer.stop()
        log.flush()
    return 0


async def _have_all(board: Board, server: Server, take: bool) -> None:
    """Have all processes take connections, or none, and return when they do."""
    board.wanted = take
    os.kill(os.getpid(), CHANGED)
    while not (board.all_do or server.draining):  # noqa: ASYNC110 - the others are processes
        await asyncio.sleep(0.001)


def _predictor(
    arguments: argparse.Namespace, model: Model, board: Board, metrics: Metrics, limits: Limits, *, again: bool
) -> Pool | Compiled:
    folder = arguments.root / "model"
    if not (folder / COMPILED).is_file():
        return Pool(
            arguments.root,
            model,
            arguments.workers,
            _say,
            patient=again,
            metrics=metrics,
            answer_seconds=limits.answer_seconds,
        )
    from modelyard.serving.compiled import Compiled  # only here: what it imports takes a while

    return Compiled(folder, model, board, metrics, limits.answer_seconds)


def _tracing(model: Model) -> TraceSettings | None:
    if not any(name.startswith("OTEL_EXPORTER_OTLP_") for name in os.environ):
        return None
    from modelyard.serving.tracing import TraceSettings  # only here: few need it, and it takes a while

    try:
        return TraceSettings.taken_from(os.environ, model)
    except ValueError as error:  # often set for all programs of a cluster: no reason not to serve
        _say(f"there will be no traces: {error}")
        return None


def _controlling(path: str | None) -> socket.socket | None:
    if path is None:
        return None
    controlling = socket.socket(socket.AF_UNIX)
    controlling.bind(path)
    controlling.listen()
    return controlling


def _listening(fd: int | None, host: str, port: int) -> socket.socket:
    if fd is not None:
        return socket.socket(fileno=fd)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG)


def _hide() -> None:
    """Close memory and environment, where a token was, to others of the same user: the model's code is one."""
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _say(text: str) -> None:
    print(f"modelyard.serving: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
