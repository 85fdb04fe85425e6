"""``schedule`` of model.yaml; one that Airflow would refuse is found without importing Airflow."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Discriminator, Field, Tag

from modelyard.project.section import Section

# The presets that make sense for training; `@continuous` would train without pause.
PRESETS = ("@hourly", "@daily", "@weekly", "@monthly", "@quarterly", "@yearly", "@once")


def check_cron(expression: str) -> str:
    """Return ``expression`` when Airflow accepts it as a schedule, else raise ValueError.

    Uses croniter, as Airflow's cron timetables do.
    """
    if expression.startswith("@"):
        if expression not in PRESETS:
            raise ValueError(f"'{expression}' is none of the presets {', '.join(PRESETS)}")
        return expression
    from croniter import CroniterError, croniter

    if len(expression.split()) != 5:
        raise ValueError(f"'{expression}' is no cron expression: it has {len(expression.split())} fields, not five")
    try:
        croniter(expression).get_next()
    except CroniterError as error:
        raise ValueError(f"'{expression}' is no cron expression: {error}") from error
    return expression


def check_timetable(path: str) -> str:
    """Return ``path`` when it can be the import path of a class, else raise ValueError."""
    names = path.split(".")
    if len(names) < 2 or not all(name.isidentifier() for name in names):
        raise ValueError(f"'{path}' is no import path of a class, like airflow.sdk.CronTriggerTimetable")
    return path


class AssetSchedule(Section):
    """Train whenever an Airflow asset is updated."""

    asset: str = Field(
        pattern=r"^[a-z][a-z0-9+.-]*:[^\s]+$", description="The asset's URI.", examples=["s3://bucket/houses.csv"]
    )


class TimetableSchedule(Section):
    """Train by any of Airflow's timetables, or one of your own."""

    timetable: Annotated[str, AfterValidator(check_timetable)] = Field(
        description="Import path of the timetable's class.", examples=["airflow.sdk.CronTriggerTimetable"]
    )
    arguments: dict[str, Any] = Field(
        default_factory=dict,
        description="Its keyword arguments.",
        examples=[{"expression": "0 3 * * *", "timezone": "Europe/Rome"}],
    )


def _kind_of_schedule(value: Any) -> str:
    if isinstance(value, dict):
        return "timetable" if "timetable" in value else "asset"
    if isinstance(value, AssetSchedule | TimetableSchedule):
        return "asset" if isinstance(value, AssetSchedule) else "timetable"
    return "cron"


Schedule = Annotated[
    Annotated[str, AfterValidator(check_cron), Tag("cron")]
    | Annotated[AssetSchedule, Tag("asset")]
    | Annotated[TimetableSchedule, Tag("timetable")],
    Discriminator(_kind_of_schedule),
]
