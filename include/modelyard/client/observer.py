"""The Sacred observer of a project's own process: every event goes to the parent, which writes it to MongoDB."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from modelyard.client import packages
from modelyard.client.plain import plain
from modelyard.client.relay import Relay

# As Sacred's MongoObserver, and before it in line: the run's number is the one in Modelyard's store.
_PRIORITY = 31


class RelayObserver:
    """Relays one run; quacks like ``sacred.observers.RunObserver``, of which no version is imported.

    Args:
        connect: opens the connection when the run starts, so that ``print_config`` and its like need none.
    """

    priority = _PRIORITY

    def __init__(self, connect: Callable[[], Relay]) -> None:
        self._connect = connect
        self._relay: Relay | None = None
        self._captured = ""

    @property
    def relay(self) -> Relay:
        """The connection of the run that has started."""
        if self._relay is None:
            raise RuntimeError("The run has not started")
        return self._relay

    def queued_event(self, **_: Any) -> None:
        """Refuse: a run that is queued here would be started by nobody."""
        raise RuntimeError("Modelyard records no queued runs: leave out --queue")

    def started_event(
        self,
        ex_info: dict[str, Any],
        command: str,
        host_info: dict[str, Any],
        start_time: datetime,
        config: dict[str, Any],
        meta_info: dict[str, Any],
        _id: Any,
    ) -> int:
        """Hand over what is known at the start, the sources among it, and return the run's number."""
        self._relay = self._connect()
        base = ex_info["base_dir"]
        sources = [
            {"name": name, "md5": md5, "digest": self._relay.put(os.path.join(base, name)).digest}  # noqa: PTH118
            for name, md5 in ex_info["sources"]
        ]
        answer = self._relay.request(
            "started",
            ex_info=plain({**ex_info, "sources": []}),
            sources=sources,
            command=command,
            host_info=plain(host_info),
            start_time=plain(start_time),
            config=plain(config),
            meta_info=plain(meta_info),
            run_id=_id,
            python=platform.python_version(),
            packages=packages.installed(),
        )
        return int(answer["run_id"])

    def heartbeat_event(self, info: dict[str, Any], captured_out: str, beat_time: datetime, result: Any) -> None:
        """Relay what is new; of the output only what was added."""
        known = len(self._captured) if captured_out.startswith(self._captured) else 0
        self.relay.request(
            "heartbeat",
            info=plain(info),
            captured={"from": known, "text": captured_out[known:]},
            beat_time=plain(beat_time),
            result=plain(result),
        )
        self._captured = captured_out

    def log_metrics(self, metrics_by_name: dict[str, Any], info: dict[str, Any]) -> None:  # noqa: ARG002 - Sacred's
        """Relay the points since the last heartbeat."""
        if metrics_by_name:
            self.relay.request("metrics", metrics=plain(metrics_by_name))

    def resource_event(self, filename: str) -> None:
        """Relay name and MD5: that is what Sacred keeps of a resource."""
        self.relay.request("resource", filename=filename, md5=_md5(filename))

    def artifact_event(
        self,
        name: str,
        filename: str,
        metadata: Any = None,  # noqa: ARG002 - Sacred's
        content_type: str | None = None,  # noqa: ARG002 - Sacred's
    ) -> None:
        """Hand over the file."""
        kept = self.relay.put(filename)
        self.relay.request("artifact", name=name, digest=kept.digest, size=kept.size)

    def completed_event(self, stop_time: datetime, result: Any) -> None:
        """Relay the end of a run that went well."""
        self._end("completed", stop_time=plain(stop_time), result=plain(result))

    def interrupted_event(self, interrupt_time: datetime, status: str) -> None:
        """Relay that the run was stopped."""
        self._end("interrupted", stop_time=plain(interrupt_time), status=status)

    def failed_event(self, fail_time: datetime, fail_trace: list[str]) -> None:
        """Relay that the run failed, with its trace."""
        self._end("failed", stop_time=plain(fail_time), fail_trace=plain(fail_trace))

    def join(self) -> None:
        """Nothing to wait for: every message was answered."""

    def _end(self, event: str, **content: Any) -> None:
        if self._relay is None:
            return  # it failed before it started: there is no run to end
        try:
            self._relay.request(event, **content)
        finally:
            self._relay.close()


def _md5(path: str) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def relay_of(run: Any) -> Relay | None:
    """Return the connection that records a Sacred run, None when nothing does."""
    return next((observer.relay for observer in run.observers if isinstance(observer, RelayObserver)), None)
