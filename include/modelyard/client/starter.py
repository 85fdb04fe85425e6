"""``python -I -c SOURCE SOCKET [SECONDS]``: starts commands of the project's interpreter for the step beside it.

Runs in the image of a project's own Dockerfile, where there is no credential and nothing of Modelyard: its source is
the container's argument, and it needs the standard library alone. ``client.stand_in`` is its other end. A connection is
a command: its arguments, variables, folder and open files come first; ``i`` from there interrupts it, the connection's
end kills it and all it has started, and its exit status goes back when it has ended. After SECONDS all
here ends.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import socket
import sys
from contextlib import suppress
from typing import Any

_MOST_FILES = 64
_LENGTH = 8  # digits before a message
# The image's own variables hold in its container, but for these.
_THE_STEPS = ("HOME", "TMPDIR")


def main() -> None:
    """Listen, and never return."""
    path = sys.argv[1]
    os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120 - every import of it is paid by each pod
    with suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108 - of this container's life before it was ended
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    for number in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, lambda *_: os._exit(0))  # the first process of a container has no default
    signal.alarm(int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # what nobody waits for leaves nothing behind
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _serve(connection)
            os._exit(0)
        connection.close()


def _serve(connection: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    asked, files = _receive(connection)
    command = os.fork()
    if command == 0:
        _become(asked, files)
    with suppress(OSError):  # as it does itself: whoever comes first
        os.setpgid(command, command)
    for file in files:
        os.close(file)
    ended = os.pidfd_open(command)
    while ended not in select.select([ended, connection.fileno()], [], [])[0]:
        if connection.recv(1) != b"i":
            break
        os.kill(command, signal.SIGINT)
    with suppress(ProcessLookupError):
        os.killpg(command, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(command, 0)[1])
    with suppress(OSError):  # nobody is there any more
        connection.sendall(str(code).encode())


def _receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    first, files, _, _ = socket.recv_fds(connection, _LENGTH, _MOST_FILES)
    text = b""
    while len(text) < int(first):
        more = connection.recv(int(first) - len(text))
        if not more:
            os._exit(1)
        text += more
    return json.loads(text), files


def _become(asked: dict[str, Any], files: list[int]) -> None:
    try:
        os.setpgid(0, 0)
        _place(files, asked["files"])
        sent: dict[str, str] = asked["variables"]
        # A folder of the step's own image is not in this one, and nobody who works in it means it.
        os.chdir(asked["folder"] if os.path.isdir(asked["folder"]) else sent.get("HOME", "/"))  # noqa: PTH112
        own = dict(os.environ)
        variables = sent | own | {name: sent[name] for name in _THE_STEPS if name in sent}
        paths = [one["PYTHONPATH"] for one in (sent, own) if one.get("PYTHONPATH")]
        variables["PYTHONPATH"] = ":".join(paths)
        os.execve(sys.executable, [sys.executable, *asked["arguments"]], variables)  # noqa: S606
    except BaseException as error:  # noqa: BLE001 - a forked process must never return
        with suppress(OSError):
            os.write(2, f"modelyard: the project's interpreter cannot be started: {error!r}\n".encode())
    os._exit(127)


def _place(files: list[int], numbers: list[int]) -> None:
    """Give the files the numbers that they had, and close all others: a copy left open keeps a pipe from ending."""
    above = max(numbers) + 1
    high = [fcntl.fcntl(file, fcntl.F_DUPFD, above) for file in files]
    for file in map(int, os.listdir("/proc/self/fd")):  # noqa: PTH208
        if file not in high:
            with suppress(OSError):  # the folder's own, closed by now
                os.close(file)
    for file, number in zip(high, numbers, strict=True):
        os.dup2(file, number)
        os.close(file)


if __name__ == "__main__":
    main()
