"""Steady requests to a service while it changes: what its clients would see."""

from __future__ import annotations

import http.client
import json
import threading
import time
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
                connection = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
                connection.request("POST", "/predict", body, {} if keep else {"connection": "close"})
                response = connection.getresponse()
                answer = json.loads(response.read())
                version = int(response.headers["modelyard-model-version"])
                assert response.status == 200, answer
                assert answer["predictions"][0]["prediction"] == self.expected(version), (answer, version)
                self.answers.append((asked, version))
            except Exception as error:  # noqa: BLE001 - every kind of failure counts
                self.failures.append(f"{'kept' if keep else 'new'} connection: {type(error).__name__}: {error}")
                connection = None
            if not keep and connection:
                connection.close()
                connection = None
        if connection:
            connection.close()
