"""Stands for the interpreter of a project's own image, which is in the container beside this one.

``lay`` makes a program of this file: called as ``python ARGUMENTS``, it has ``client.starter`` run that in the
project's container, with the variables, the folder and the open files that it was given, and ends as that ends. So
whoever starts a project's code need not know where it runs. Both containers have the step's folders at the same place.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

FOLDER = "project-python"  # below the step's home
SOCKET = "socket"
_START_SECONDS = 60.0  # the container has started; its process soon listens
_LOOK_SECONDS = 0.05


def main() -> None:
    """Run the command there."""
    connection = _connect(os.path.join(os.path.dirname(os.path.dirname(sys.argv[0])), SOCKET))  # noqa: PTH118, PTH120
    files = [number for number in map(int, os.listdir("/proc/self/fd")) if _is_given(number)]  # noqa: PTH208
    variables = {name: value for name, value in os.environ.items() if name != "PATH"}  # the image has its own
    asked = {"arguments": sys.argv[1:], "variables": variables, "folder": os.getcwd(), "files": files}  # noqa: PTH109
    text = json.dumps(asked).encode()
    signal.signal(signal.SIGINT, lambda *_: connection.send(b"i"))
    socket.send_fds(connection, [b"%08d" % len(text)], files)
    connection.sendall(text)
    code = connection.recv(16)
    if not code:
        print("modelyard: the container of the project's image has ended", file=sys.stderr, flush=True)
        _end(-signal.SIGKILL)  # its memory's end, mostly
    _end(int(code))


def _connect(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            connection.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            if time.monotonic() > deadline:
                sys.exit("modelyard: nothing serves the project's image beside this step")
            time.sleep(_LOOK_SECONDS)
        else:
            return connection


def _is_given(number: int) -> bool:
    try:
        return os.get_inheritable(number)
    except OSError:
        return False  # the folder's own, closed by now


def _end(code: int) -> None:
    if code < 0:
        if -code == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


def lay(home: Path) -> Path:
    """Return a program that stands for the interpreter in the container beside this one.

    Args:
        home: the folder that both containers have.
    """
    program = home / FOLDER / "bin" / "python"
    program.parent.mkdir(parents=True, exist_ok=True)
    new = program.with_name(f".python.{os.getpid()}")
    new.write_text(f"#!{sys.executable} -IS\n{Path(__file__).read_text(encoding='utf-8')}", encoding="utf-8")
    new.chmod(0o755)
    new.replace(program)
    return program


if __name__ == "__main__":
    main()
