"""What was found, and the time in which it must be."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from modelyard.errors import ModelyardError

State = Literal["ok", "warning", "failed", "skipped"]


@dataclass(frozen=True)
class Finding:
    """One line of the report. Holds no secret.

    Attributes:
        state: ``warning``: the pipeline runs, if not well. ``failed``: it does not. ``skipped``: nobody looked.
        subject: the thing that was looked at.
        found: what is there, or why it is wrong.
        remedy: what to do about it.
    """

    state: State
    subject: str
    found: str
    remedy: str | None = None


def refused(subject: str, error: ModelyardError) -> Finding:
    """Return the finding that an error of Modelyard's own is."""
    return Finding("failed", subject, error.message, error.remedy)


class Look:
    """One look at one thing, which begins at once and ends in time, whatever the thing does.

    Args:
        subject: the thing.
        seconds: after these it has not answered.
        remedy: for the one who reads that.
        look: gives findings one by one; an error of Modelyard's own is one more.
    """

    def __init__(self, subject: str, seconds: float, remedy: str, look: Callable[[], Iterable[Finding]]) -> None:
        self._subject = subject
        self._seconds = seconds
        self._remedy = remedy
        self._look = look
        self._found: list[Finding] = []
        self._bug: BaseException | None = None
        self._deadline = time.monotonic() + seconds
        # Not one of a pool: the interpreter would wait for it at its end.
        self._thread = threading.Thread(target=self._run, name=f"doctor-{subject}", daemon=True)
        self._thread.start()

    def findings(self) -> list[Finding]:
        """Wait for what was found until now or the time limit, whichever is earlier."""
        self._thread.join(max(0.0, self._deadline - time.monotonic()))
        found = list(self._found)
        if self._thread.is_alive():
            found.append(Finding("failed", self._subject, f"no answer within {self._seconds:g} seconds", self._remedy))
        elif self._bug is not None:
            raise self._bug
        return found

    def _run(self) -> None:
        try:
            for finding in self._look():
                self._found.append(finding)
        except ModelyardError as error:
            self._found.append(refused(self._subject, error))
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
            self._bug = error
