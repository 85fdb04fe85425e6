"""``python -I -m modelyard.serving --root DIR``: what every model image starts."""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from modelyard.serving.board import Board
from modelyard.serving.keeper import keep
from modelyard.serving.limits import Limits
from modelyard.serving.model import COMPILED, Model, read_model
from modelyard.serving.prediction_log import settings_of
from modelyard.serving.process import Start, say, serve
from modelyard.serving.server import BACKLOG
from modelyard.serving.tokens import Tokens

if TYPE_CHECKING:
    from modelyard.serving.tracing import TraceSettings

# Seconds in which a load balancer learns that this process is going.
_LEARNING = "3"
_COLLECT_AFTER = 50_000  # objects more than there were; Python itself looks after 700
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
        log = settings_of(os.environ, model)
        listening = _listening(arguments.fd, arguments.host, int(os.environ.get("AIP_HTTP_PORT", arguments.port)))
        controlling = _controlling(arguments.control)
        limits = Limits.from_environment(os.environ)
        tokens = Tokens.taken_from(os.environ)
        tracing = _tracing(model)
        _end_after(int(os.environ.get("MODELYARD_DEADLINE_SECONDS", "0")))
    except (OSError, ValueError, KeyError) as error:
        say(f"cannot start: {error}")
        return 1
    if tokens.demanded or (tracing is not None and tracing.headers):
        _hide()
    compiled = (arguments.root / "model" / COMPILED).is_file()
    board = Board(max(1, arguments.workers) if compiled else 1)  # else a pool of workers is behind the one process
    board.wanted = controlling is None
    start = Start(
        root=arguments.root,
        model=model,
        workers=arguments.workers,
        board=board,
        listening=listening,
        controlling=controlling,
        learning=arguments.learning if arguments.fd is None else 0,
        tokens=tokens,
        limits=limits,
        tracing=tracing,
        log=log,
    )

    def run(_number: int, again: bool) -> int:
        code: int = uvloop.run(serve(start, again=again))
        return code

    # A request's values are gone with it: to look for those that refer to each other is work for nothing, mostly.
    gc.set_threshold(_COLLECT_AFTER)
    if board.processes > 1:
        import modelyard.serving.compiled  # noqa: F401 - so that what it loads is there once, for all processes

        gc.freeze()
    return keep(run, say, board) if arguments.fd is None or board.processes > 1 else run(0, False)


def _tracing(model: Model) -> TraceSettings | None:
    if not any(name.startswith("OTEL_EXPORTER_OTLP_") for name in os.environ):
        return None
    from modelyard.serving.tracing import TraceSettings  # only here: few need it, and it takes a while

    try:
        return TraceSettings.taken_from(os.environ, model)
    except ValueError as error:  # often set for all programs of a cluster: no reason not to serve
        say(f"there will be no traces: {error}")
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


def _end_after(seconds: int) -> None:
    """Have this process end then, and with it its container, where nothing else would end it; 0 is never."""
    signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
    signal.alarm(seconds)


def _hide() -> None:
    """Close memory and environment, where a token was, to others of the same user: the model's code is one."""
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main())
