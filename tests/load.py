"""Steady requests to a service while it changes: what its clients would see.

``python load.py HOST PORT REQUEST FACTOR`` is the same where the tests themselves are not: it expects FACTOR times the
version, writes what it has seen as a JSON line ten times a second, and needs nothing but Python.
"""

from __future__ import annotations

import http.client
import json
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass
class Load:
    """Clients that ask without a pause and without a second try, half of them on one connection as long as it lasts."""

    port: int
    request: Any  # the body of every request, as JSON
    expected: Callable[[int], Any]  # by version: the prediction for its first row
    answers: list[tuple[float, int]] = field(default_factory=list)  # when asked, version that answered
    failures: list[str] = field(default_factory=list)
    host: str = "127.0.0.1"
    _began: float = field(default_factory=time.monotonic)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Self:
        for number in range(16):
            thread = threading.Thread(target=self._ask, args=(number % 2 == 0,), daemon=True)
            self._threads.append(thread)
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def wait_for(self, more: int) -> None:
        """Wait until that many more requests were answered."""
        goal, deadline = len(self.answers) + more, time.monotonic() + 60
        while len(self.answers) < goal and not self.failures:
            assert time.monotonic() < deadline, "the load does not get on"
            time.sleep(0.01)

    def _ask(self, keep: bool) -> None:
        body = json.dumps(self.request)
        connection = None
        while not self._stop.is_set():
            asked = time.monotonic()
            try:
                connection = connection or http.client.HTTPConnection(self.host, self.port, timeout=30)
                connection.request("POST", "/predict", body, {} if keep else {"connection": "close"})
                response = connection.getresponse()
                answer = json.loads(response.read())
                version = int(response.headers["modelyard-model-version"])
                assert response.status == 200, answer
                assert answer["predictions"][0]["prediction"] == self.expected(version), (answer, version)
                self.answers.append((asked, version))
            except Exception as error:  # noqa: BLE001 - every kind of failure counts
                kind, after = "kept" if keep else "new", time.monotonic() - self._began
                self.failures.append(f"{kind} connection after {after:.2f} s: {type(error).__name__}: {error}")
                connection = None
            if not keep and connection:
                connection.close()
                connection = None
        if connection:
            connection.close()


def _wait_until_reached(host: str, port: int) -> None:
    """A node learns of a new Service a moment after its pods are ready: until then it refuses connections."""
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection((host, port), timeout=5).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def main(host: str, port: str, request: str, factor: str) -> None:
    """Ask until this process is ended."""
    _wait_until_reached(host, int(port))
    with Load(int(port), json.loads(request), lambda version: int(factor) * version, host=host) as load:
        answers = failures = 0
        while True:
            time.sleep(0.1)
            new, told = load.answers[answers:], load.failures[failures:]
            answers, failures = answers + len(new), failures + len(told)
            versions = Counter(version for _, version in new)
            print(json.dumps({"versions": versions, "failures": told}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
