"""The settings of airflow.cfg.example that a pipeline runs badly without."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Setting:
    """A setting of airflow.cfg.example, and what happens without it.

    Attributes:
        name: ``section.key``.
        least, most: the numbers between which it is right.
        wanted: the word that it is to be, where it is no number.
        otherwise: what happens.
        pods: whether it matters only where steps are pods.
    """

    name: str
    otherwise: str
    least: float | None = None
    most: float | None = None
    wanted: str | None = None
    pods: bool = False

    def is_right(self, value: str) -> bool:
        """Whether Modelyard runs well with this value."""
        if self.wanted is not None:
            return value.lower() == self.wanted.lower()
        try:
            number = float(value)
        except ValueError:
            return False
        return (self.least is None or number >= self.least) and (self.most is None or number <= self.most)

    def __str__(self) -> str:
        section, _, key = self.name.partition(".")
        return f"[{section}] {key}"


SETTINGS = (
    Setting("core.lazy_load_plugins", "each task imports the operators anew: seconds", wanted="False", pods=True),
    Setting("workers.execution_api_retries", "a restart of the API server fails a running step", least=10),
    Setting("workers.api_retries", "a restart of the cluster's API server fails a running step", least=10, pods=True),
    Setting("workers.max_failed_heartbeats", "a restart of the API server ends a running step", least=60),
    Setting("workers.min_heartbeat_interval", "half of the tasks end seconds late", most=1),
    Setting("scheduler.task_instance_heartbeat_timeout", "a dead worker's step waits this long", least=60, most=120),
    Setting("scheduler.scheduler_idle_sleep_time", "each step begins late by it", most=0.5),
)
