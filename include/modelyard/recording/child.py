"""Runs a project's process: its output goes on line by line, and nothing of it stays when it has ended."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Literal, cast

from modelyard.client.child import confined

# Enough for Sacred to say that the run was interrupted.
_GRACE_SECONDS = 10.0
_FROM_OUTSIDE = ("SIGHUP", "SIGINT", "SIGKILL", "SIGTERM")


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path,
    environment: Mapping[str, str],
    hidden: Sequence[Path],
    log: Callable[[str], None],
) -> int:
    """Run a command confined (``client.confine``); return how it ended as ``subprocess`` does: negative for a signal.

    When this is interrupted (an exception, as a signal's handler raises it), the command is, too, and is given time to
    say so. Call it from a thread that lives until it returns: the command ends with it.
    """
    process = subprocess.Popen(
        confined(command, hidden=hidden),
        cwd=cwd,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # a process group of its own, to be ended as a whole
    )
    reader = threading.Thread(target=_pass_on, args=(process, log), name="modelyard-output")
    reader.start()
    try:
        return process.wait()
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        # What it started in other sessions may hold the pipe for a moment (Sacred's own tee does).
        reader.join(_GRACE_SECONDS)


def ended(returncode: int) -> tuple[Literal["INTERRUPTED", "FAILED"], str]:
    """Return Sacred's word for a run whose process ended this way without telling, and the way in words."""
    if returncode >= 0:
        return "FAILED", f"ended with exit code {returncode}"
    name = signal.Signals(-returncode).name
    hint = ": out of memory, or killed by somebody" if name == "SIGKILL" else ""
    return "INTERRUPTED" if name in _FROM_OUTSIDE else "FAILED", f"was ended by {name}{hint}"


def _pass_on(process: subprocess.Popen[bytes], log: Callable[[str], None]) -> None:
    with cast("IO[bytes]", process.stdout) as output:
        for line in output:
            # A progress bar rewrites its line: its last state is what a log needs.
            text = line.decode("utf-8", "replace").rstrip("\r\n")
            log(text.rpartition("\r")[2])
