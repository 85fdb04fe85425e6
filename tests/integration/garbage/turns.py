"""Threads that take turns: one runs at a time, and where it stops is drawn by lot, so that a seed gives one history."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

import pytest


class Turns:
    """Actors, each in a thread, that hand over to each other before every operation on what they share."""

    def __init__(self, seed: int) -> None:
        self._lot = random.Random(seed)
        self._changed = threading.Condition()
        self._waiting: list[threading.Thread] = []
        self._turn: threading.Thread | None = None
        self._actors: list[threading.Thread] = []
        self._errors: list[BaseException] = []
        self.taken = 0

    def at(self, monkeypatch: pytest.MonkeyPatch, owner: type, *names: str) -> None:
        """Have a turn end before each call of these methods."""
        for name in names:
            method = getattr(owner, name)

            def stopping(*args: Any, _method: Callable[..., Any] = method, **kwargs: Any) -> Any:
                self.end()
                return _method(*args, **kwargs)

            monkeypatch.setattr(owner, name, stopping)

    def end(self) -> None:
        """End this actor's turn, and wait for its next one. Threads that are no actors are not held up."""
        me = threading.current_thread()
        if me not in self._actors:
            return
        with self._changed:
            self._waiting.append(me)
            self._draw()
            self._changed.wait_for(lambda: self._turn is me)
            self._waiting.remove(me)
            self._turn = None
            self.taken += 1

    def play(self, *actors: Callable[[], None]) -> None:
        """Run actors to their end; raise the first error of any of them."""
        self._actors = [threading.Thread(target=self._act, args=(actor,), daemon=True) for actor in actors]
        for thread in list(self._actors):
            thread.start()
        for thread in list(self._actors):
            thread.join()
        if self._errors:
            raise self._errors[0]

    def _act(self, actor: Callable[[], None]) -> None:
        try:
            self.end()
            actor()
        except BaseException as error:  # noqa: BLE001 - told by `play`
            self._errors.append(error)
        finally:
            with self._changed:
                self._actors.remove(threading.current_thread())
                self._draw()

    def _draw(self) -> None:
        if self._turn is None and self._waiting and len(self._waiting) == len(self._actors):
            self._turn = self._lot.choice(self._waiting)
            self._changed.notify_all()
