"""A version's server in the foreground of a terminal: what a container would start, confined as a service is."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from modelyard.client.child import confined
from modelyard.credential_places import credential_places
from modelyard.deployment.server_process import server_environment
from modelyard.deployment.state import Release
from modelyard.errors import DeploymentFailed

if TYPE_CHECKING:
    from modelyard.store import ModelVersion


def serve_image(
    root: Path,
    version: ModelVersion,
    digest: str,
    *,
    home: Path,
    host: str,
    port: int,
    workers: int,
    settings: Mapping[str, str],
    told: Callable[[str], None],
) -> int:
    """Serve an unpacked model image until this process is told to end; return the server's exit code.

    Args:
        root: the image's folder.
        version: what is in it, for every answer to carry.
        digest: the image's, for the same.
        home: this machine's folder: the server may not read the credentials in it.
        host: the address to listen on.
        port: 0 for any that is free.
        workers: processes with the model loaded.
        settings: more of the server's environment: of ``SETTINGS``.
        told: given the address as soon as it is listened to, ready or not.

    Raises:
        DeploymentFailed: the address cannot be had.
    """
    try:
        listening = socket.create_server((host, port), family=_family(host), backlog=1024)
    except OSError as error:
        raise DeploymentFailed(
            f"{host}:{port} cannot be listened to: {error.strerror}", "choose another with --port; 0 is any free one"
        ) from error
    release = Release(version.version, version.run_id, digest, 0, str(root), workers, 0.0)
    with listening:
        descriptor = listening.fileno()
        command: list[str | Path] = [root / "server" / "bin" / "python", "-I", "-m", "modelyard.serving"]
        command += ["--root", root, "--fd", str(descriptor), "--workers", str(workers)]
        process = subprocess.Popen(
            confined(command, hidden=credential_places(home)),
            stdin=subprocess.DEVNULL,
            cwd=root,
            pass_fds=[descriptor],
            env={**server_environment(os.environ, version.name, release), **settings},
        )
        told(f"http://{_shown(host)}:{listening.getsockname()[1]}")
        return _wait(process)


def _wait(process: subprocess.Popen[bytes]) -> int:
    """Pass signals on until the process has ended: a terminal's Ctrl-C reaches it by itself, and may come twice."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        code = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
