"""Airflow's REST API (v2), as far as the demo and the tests use it: what any client of Airflow would call."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from modelyard.errors import NotFound, RequestError, Unavailable

JSON = dict[str, Any]

# A run in one of these goes no further.
ENDED = frozenset({"success", "failed"})


@dataclass(frozen=True)
class TaskState:
    """One task of a run, now.

    Attributes:
        state: Airflow's; None before the scheduler has looked at it.
        try_number: of the latest try, 0 before the first.
        seconds: of the latest try, up to now.
    """

    task_id: str
    state: str | None
    try_number: int
    seconds: float | None


class AirflowApi:
    """A session with one Airflow, as one of its users. A context manager.

    Raises:
        RequestError: Airflow refuses; the message is its own.
        NotFound: no such DAG, run, task or connection.
        Unavailable: nobody answers at ``url``, or its answer is not that of a working Airflow.
    """

    def __init__(self, url: str, user: str, password: str) -> None:
        self._url = url
        self._client = httpx.Client(
            base_url=url, timeout=120
        )  # its database is SQLite: an answer may wait for a writer
        try:
            token = self._call("POST", "/auth/token", {"username": user, "password": password})["access_token"]
        except BaseException:
            self._client.close()
            raise
        self._client.headers["Authorization"] = f"Bearer {token}"

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close its connections."""
        self._client.close()

    def put_connection(self, connection_id: str, fields: JSON) -> None:
        """Make a connection, or change the one of this name to exactly these fields.

        Args:
            connection_id: its name.
            fields: as in Airflow's JSON of a connection (``AIRFLOW_CONN_…``): ``extra`` is an object.
        """
        body = {"connection_id": connection_id, **fields, "extra": json.dumps(fields.get("extra", {}))}
        try:
            self._call("PATCH", f"/api/v2/connections/{quote(connection_id)}", body)
        except NotFound:
            self._call("POST", "/api/v2/connections", body)

    def wait_for_dag(self, dag_id: str, seconds: float = 120) -> JSON:
        """Return a DAG once Airflow has read it.

        Raises:
            RequestError: a DAG file can't be read; the message has its error.
            NotFound: Airflow reads all files, and this DAG is not among them in time.
        """
        deadline = time.monotonic() + seconds
        while True:
            try:
                return self._call("GET", f"/api/v2/dags/{quote(dag_id)}/details")
            except NotFound:
                errors = self._call("GET", "/api/v2/importErrors")["import_errors"]
                if errors:
                    message = f"Airflow can't read {errors[0]['filename']}:\n{errors[0]['stack_trace']}"
                    raise RequestError(message, "mend the file") from None
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def trigger(self, dag_id: str, conf: JSON, run_id: str | None = None) -> str:
        """Start a run of a DAG with this conf, and return the run's id."""
        body = {"dag_run_id": run_id, "logical_date": None, "conf": conf}
        started: str = self._call("POST", f"/api/v2/dags/{quote(dag_id)}/dagRuns", body)["dag_run_id"]
        return started

    def runs(self, dag_id: str) -> list[JSON]:
        """Return the DAG's latest runs, newest first."""
        found: list[JSON] = self._call("GET", f"/api/v2/dags/{quote(dag_id)}/dagRuns?order_by=-run_after&limit=50")[
            "dag_runs"
        ]
        return found

    def run(self, dag_id: str, run_id: str) -> JSON:
        """Return one run."""
        return self._call("GET", _run(dag_id, run_id))

    def tasks(self, dag_id: str, run_id: str) -> list[TaskState]:
        """Return the tasks of a run in the order in which they go."""
        order = self._call("GET", f"/api/v2/dags/{quote(dag_id)}/tasks")["tasks"]
        instances = self._call("GET", f"{_run(dag_id, run_id)}/taskInstances?limit=100")["task_instances"]
        states = {
            item["task_id"]: TaskState(item["task_id"], item["state"], item["try_number"], item["duration"])
            for item in instances
        }
        return [states[task_id] for task_id in _in_order(order) if task_id in states]

    def wait(self, dag_id: str, run_id: str, seconds: float = 1800) -> str:
        """Return a run's state once it has ended.

        Raises:
            Unavailable: it goes on for longer than ``seconds``; the message has the states of its tasks.
        """
        deadline = time.monotonic() + seconds
        while (state := self.run(dag_id, run_id)["state"]) not in ENDED:
            if time.monotonic() > deadline:
                tasks = ", ".join(f"{task.task_id} {task.state}" for task in self.tasks(dag_id, run_id))
                raise Unavailable(
                    f"Run {run_id} of {dag_id} is not over after {seconds:g} s: {tasks}",
                    f"see the log of the task that is at work: {self._url}",
                )
            time.sleep(0.25)
        return str(state)

    def log(self, dag_id: str, run_id: str, task_id: str, try_number: int) -> list[JSON]:
        """Return the records of a task's log: ``event`` is the line; ``timestamp``, ``level`` and more may be there."""
        path = f"{_run(dag_id, run_id)}/taskInstances/{quote(task_id)}/logs/{try_number}?full_content=true"
        content = self._call("GET", path)["content"]
        return [{"event": record} if isinstance(record, str) else record for record in content]

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> Any:
        """Return what a task pushed."""
        path = f"{_run(dag_id, run_id)}/taskInstances/{quote(task_id)}/xcomEntries/{quote(key)}?deserialize=true"
        return self._call("GET", path)["value"]

    def get(self, path: str, **query: str) -> JSON:
        """Return any other answer: ``/assets/events``, say."""
        return self._call("GET", f"/api/v2{path}", query=query)

    def post(self, path: str, body: JSON) -> JSON:
        """Send any other request."""
        return self._call("POST", f"/api/v2{path}", body)

    def patch(self, path: str, body: JSON) -> JSON:
        """Change anything else."""
        return self._call("PATCH", f"/api/v2{path}", body)

    def _call(self, method: str, path: str, body: JSON | None = None, query: JSON | None = None) -> JSON:
        try:
            response = self._client.request(method, path, json=body, params=query)
        except httpx.TransportError as error:
            raise Unavailable(f"Airflow does not answer at {self._url}: {error}", "is it running? make demo") from error
        if response.is_server_error:
            raise Unavailable(
                f"Airflow at {self._url} answers {response.status_code} to {method} {path}",
                "try again; the API server's log tells why",
            )
        answer: Any = response.json() if response.content else {}
        if response.is_success:
            return dict(answer)
        kind = NotFound if response.status_code == httpx.codes.NOT_FOUND else RequestError
        raise kind(
            f"Airflow refuses {method} {path} ({response.status_code}): {_detail(answer)}", "correct what it names"
        )


def _run(dag_id: str, run_id: str) -> str:
    return f"/api/v2/dags/{quote(dag_id)}/dagRuns/{quote(run_id, safe='')}"


def _detail(answer: Any) -> str:
    detail = answer.get("detail", answer)
    if isinstance(detail, list):
        return "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in detail)
    return str(detail)


def _in_order(tasks: list[JSON]) -> list[str]:
    """Return the ids of a DAG's tasks, each after all that it waits for."""
    waits = {task["task_id"]: set[str]() for task in tasks}
    for task in tasks:
        for following in task["downstream_task_ids"]:
            waits[following].add(task["task_id"])
    ordered: list[str] = []
    while waits:
        ready = [task_id for task_id, before in waits.items() if before <= set(ordered)]
        ordered += ready
        for task_id in ready:
            del waits[task_id]
    return ordered
