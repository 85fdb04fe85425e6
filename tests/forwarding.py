"""A server of this machine's loopback at another of its addresses: for pods, which have a loopback of their own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def forwarded(address: str, behind: tuple[str, int]) -> Iterator[str]:
    """Forward connections to a free port of ``address`` to ``behind``; yields host:port."""
    with socket.create_server((address, 0)) as listener:
        threading.Thread(target=_accept, args=(listener, behind), daemon=True).start()
        yield f"{address}:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def _accept(listener: socket.socket, behind: tuple[str, int]) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:  # closed
            return
        try:
            server = socket.create_connection(behind)
        except OSError:
            client.close()
            continue
        for source, sink in ((client, server), (server, client)):
            threading.Thread(target=_copy, args=(source, sink), daemon=True).start()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
