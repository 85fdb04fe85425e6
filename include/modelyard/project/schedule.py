"""Schedules that Airflow would refuse, found without importing Airflow."""

from __future__ import annotations

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
