"""Work that takes long, beside the event loop: everybody else's requests go on meanwhile."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

# Bytes of a body; what is shorter takes a millisecond or three, which is less than a thread would hold others up.
MOST_AT_ONCE = 128 * 1024
# Seconds after which Python's threads take turns. The loop wants its turn back sooner than by default (0.005).
_TURN = 0.0005

P = ParamSpec("P")
T = TypeVar("T")


class Aside:
    """One thread: more would only compete with the loop for the interpreter."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "aside")
        sys.setswitchinterval(_TURN)

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what ``work`` returns, or raise what it raises."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: work(*args, **kwargs))
