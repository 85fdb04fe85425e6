"""What Airflow hands to a task, as far as our operators look at it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from airflow.sdk.execution_time.context import OutletEventAccessors


def context(params: dict[str, Any] | None = None, **dag_run: Any) -> Any:
    """Return the context of a task's first try in a run that ada started."""
    run = {
        "dag_id": "wine",
        "run_id": "manual__1",
        "clear_number": 0,
        "triggering_user_name": "ada",
        "run_type": SimpleNamespace(value="manual"),
    }
    return {
        "params": {"environment": "production", "version": None, "release": True} | (params or {}),
        "dag_run": SimpleNamespace(**(run | dag_run)),
        "ti": SimpleNamespace(try_number=1),
        "outlet_events": OutletEventAccessors(),
    }
