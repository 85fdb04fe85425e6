"""``python -I -m modelyard.serving --root DIR``: what every model image starts."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from modelyard.serving.access_log import AccessLog
from modelyard.serving.application import Application
from modelyard.serving.keeper import keep
from modelyard.serving.messages import NotServingError
from modelyard.serving.model import COMPILED, Model, read_model
from modelyard.serving.prediction_log import PredictionLog, Settings, settings_of
from modelyard.serving.server import Server
from modelyard.serving.worker import Pool

if TYPE_CHECKING:
    from modelyard.serving.compiled import Compiled

# Seconds in which a load balancer learns that this process is going.
_LEARNING = "3"


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
        log_settings = settings_of(os.environ, model)
        listening = _listening(arguments.fd, arguments.host, int(os.environ.get("AIP_HTTP_PORT", arguments.port)))
    except (OSError, ValueError, KeyError) as error:
        _say(f"cannot start: {error}")
        return 1

    def serve(again: bool) -> int:
        code: int = uvloop.run(_serve(arguments, model, listening, log_settings, again=again))
        return code

    return keep(serve, _say) if arguments.fd is None else serve(False)


async def _serve(
    arguments: argparse.Namespace,
    model: Model,
    listening: socket.socket,
    log_settings: Settings | None,
    *,
    again: bool,
) -> int:
    log = AccessLog(sys.stdout.buffer, model.version)
    try:
        predictions = None if log_settings is None else PredictionLog(log_settings, model, _say)
    except OSError as error:
        _say(f"cannot start: the prediction log has no folder: {error}")
        return 1
    predictor = _predictor(arguments, model, again=again)
    application = Application(model, predictor, log, os.environ, predictions)
    server = Server(application, model.headers)
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if arguments.control:
        application.private["/control/accept"] = lambda: server.accept(listening)
        application.private["/control/pause"] = server.pause
        await server.control(arguments.control)
    else:
        await server.accept(listening)
    starting, stopping = asyncio.create_task(predictor.start()), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            await starting
            _say(f"model {model.name} version {model.version} is ready")
            await stopping
            await server.drain(accepting_for=arguments.learning if arguments.fd is None else 0)
    except NotServingError as error:
        _say(f"cannot start: {error}")
        return 1
    finally:
        starting.cancel()
        await predictor.stop()
        if predictions is not None:
            await predictions.close()
        log.flush()
    return 0


def _predictor(arguments: argparse.Namespace, model: Model, *, again: bool) -> Pool | Compiled:
    folder = arguments.root / "model"
    if not (folder / COMPILED).is_file():
        return Pool(arguments.root, model, arguments.workers, _say, patient=again)
    from modelyard.serving.compiled import Compiled  # only here: what it imports takes a while

    return Compiled(folder, model)


def _listening(fd: int | None, host: str, port: int) -> socket.socket:
    if fd is not None:
        return socket.socket(fileno=fd)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=1024)


def _say(text: str) -> None:
    print(f"modelyard.serving: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
