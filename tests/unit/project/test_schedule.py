from __future__ import annotations

import pytest

from modelyard.project.schedule import PRESETS, check_cron


@pytest.mark.parametrize("expression", ["0 3 * * *", "*/15 8-18 * * MON-FRI", "0 0 1 */3 *", "0 0 L * *", *PRESETS])
def test_what_is_accepted_airflow_accepts(expression: str) -> None:
    from airflow.sdk import DAG

    assert check_cron(expression) == expression
    DAG("x", schedule=expression, start_date=None).timetable.validate()


@pytest.mark.parametrize("expression", ["61 3 * * *", "0 3 * *", "daily", "@dayly", "@continuous", "0 0 31 2 *", ""])
def test_what_airflow_or_sense_refuses(expression: str) -> None:
    with pytest.raises(ValueError, match=r"cron expression|presets"):
        check_cron(expression)
