"""Who may see what: a model's pages ask for the same permissions as its DAG, through Airflow's own auth manager."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import get_user, requires_access_dag
from fastapi import Depends, Request
from fastapi.responses import RedirectResponse, Response

User = Annotated[BaseUser, Depends(get_user)]

# The path of each route names the model as `dag_id`: a model and its DAG have one name.
MAY_READ_RUNS = Depends(requires_access_dag("GET", DagAccessEntity.RUN))
MAY_READ_LOGS = Depends(requires_access_dag("GET", DagAccessEntity.TASK_LOGS))


def readable(models: Iterable[str], user: BaseUser) -> list[str]:
    """Return the models whose DAG this user may read, in their order."""
    names = list(models)
    allowed = get_auth_manager().filter_authorized_dag_ids(dag_ids=set(names), user=user, method="GET")
    return [name for name in names if name in allowed]


def to_login(request: Request) -> Response:
    """Return the way to Airflow's login and back here."""
    target = get_auth_manager().get_url_login(next_url=str(request.url))
    return RedirectResponse(target, status_code=303)
