"""A run of a DAG while it runs: a table that moves in a terminal, a line for each change anywhere else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from modelyard.demo.rest import ENDED, AirflowApi, TaskState

_EVERY = 0.5

# How a task's state is drawn; any other means that it waits for others.
_LOOKS = {
    "success": ("✔", "green"),
    "failed": ("✘", "bold red"),
    "upstream_failed": ("✘", "red"),
    "skipped": ("–", "dim"),
    "up_for_retry": ("↻", "yellow"),
    "awaiting_input": ("?", "yellow"),
}
_WAITS = ("·", "dim")
_RUNNING = "running"


def follow(api: AirflowApi, dag_id: str, run_id: str, console: Console) -> str:
    """Show a run until it has ended, and return its state: ``success`` or ``failed``."""
    changes = _watch(api, dag_id, run_id)
    if console.is_terminal:
        _show_table(changes, lambda tasks: _saying(api, dag_id, run_id, tasks), console)
    else:
        _show_lines(changes, console)
    return str(api.run(dag_id, run_id)["state"])


def _watch(api: AirflowApi, dag_id: str, run_id: str) -> Iterator[list[TaskState]]:
    """Yield a run's tasks again and again, the last time after it has ended."""
    ended = False
    while not ended:
        ended = api.run(dag_id, run_id)["state"] in ENDED
        yield api.tasks(dag_id, run_id)
        if not ended:
            time.sleep(_EVERY)


def failures(api: AirflowApi, dag_id: str, run_id: str) -> dict[str, str]:
    """Return why a run failed, by task: the error that its log ends with, or else the log's last lines."""
    return {
        task.task_id: _error(api.log(dag_id, run_id, task.task_id, task.try_number))
        for task in api.tasks(dag_id, run_id)
        if task.state == "failed"
    }


def _error(records: list[dict[str, Any]]) -> str:
    for record in reversed(records):
        if details := record.get("error_detail"):
            return str(details[0]["exc_value"])
    return "\n".join(str(record["event"]) for record in records[-20:])


def _saying(api: AirflowApi, dag_id: str, run_id: str, tasks: list[TaskState]) -> str:
    """Return the latest line of the task that runs now."""
    for task in tasks:
        if task.state == _RUNNING and task.try_number:
            records = api.log(dag_id, run_id, task.task_id, task.try_number)
            return next((str(record["event"]) for record in reversed(records) if record["event"]), "")
    return ""


def _show_table(changes: Iterator[list[TaskState]], saying: Callable[[list[TaskState]], str], console: Console) -> None:
    """For a terminal: every task in a row, the running one with its latest line."""
    spinner = Spinner("dots", style="cyan")
    with Live(console=console, refresh_per_second=8) as live:
        for tasks in changes:
            table = Table.grid(padding=(0, 2))
            table.add_column(width=1)
            table.add_column()
            table.add_column(justify="right", min_width=7)
            table.add_column(no_wrap=True, overflow="ellipsis")
            line = saying(tasks)
            for task in tasks:
                running = task.state == _RUNNING
                symbol, style = ("", "cyan") if running else _LOOKS.get(task.state or "", _WAITS)
                table.add_row(
                    spinner if running else Text(symbol, style=style),
                    Text(task.task_id, style=style),
                    Text(_seconds(task), style="dim"),
                    Text(line if running else task.state or "", style="dim"),
                )
            live.update(table)


def _show_lines(changes: Iterator[list[TaskState]], console: Console) -> None:
    """For a file or a pipe: a line whenever a task has come to a state that means something to a reader."""
    shown: dict[str, TaskState] = {}
    for tasks in changes:
        for task in tasks:
            before = shown.get(task.task_id)
            if task.state not in {_RUNNING, *_LOOKS}:
                continue
            if before is None or (before.state, before.try_number) != (task.state, task.try_number):
                shown[task.task_id] = task
                seconds = "" if task.state == _RUNNING else _seconds(task)
                console.print(f"  {task.task_id:<16}{task.state:<16}{seconds}".rstrip(), highlight=False)


def _seconds(task: TaskState) -> str:
    return "" if task.seconds is None else f"{task.seconds:.1f} s"
