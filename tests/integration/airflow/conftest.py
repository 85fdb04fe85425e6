"""A real Airflow with our DAGs and plugins, a store of its own, and two users: one may do all, one may only look."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from modelyard.demo.machine import Machine
from modelyard.store import Store

REPOSITORY = Path(__file__).parents[3]
EXAMPLES = REPOSITORY / "include" / "examples"
SETTINGS = {
    "core": {"simple_auth_manager_users": "admin:admin,vera:viewer"},
    "dag_processor": {"min_file_process_interval": "2", "refresh_interval": "5"},
}


@pytest.fixture(scope="package")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "projects").mkdir()
    projects = [EXAMPLES, folder / "projects"]
    machine = Machine(folder / "home", REPOSITORY, projects, os.environ, settings=SETTINGS)
    try:
        machine.start(print)
        yield machine
    finally:
        machine.stop(print)


@pytest.fixture(scope="package")
def filled(machine: Machine) -> Iterator[Store]:
    """The machine's store, open."""
    with Store.open(machine.store) as store:
        yield store


def browser(machine: Machine, user: str | None = None) -> httpx.Client:
    """Return a client that holds what a browser holds after the login of ``user``; nothing without one."""
    cookies = {}
    if user is not None:
        passwords = json.loads((machine.home / "airflow" / "passwords.json").read_text())
        login = {"username": user, "password": passwords[user]}
        answer = httpx.post(f"{machine.airflow.url}/auth/token", json=login, timeout=60).raise_for_status()
        cookies["_token"] = answer.json()["access_token"]
    return httpx.Client(base_url=machine.airflow.url, headers={"Accept": "text/html"}, cookies=cookies, timeout=60)


@pytest.fixture
def admin(machine: Machine) -> Iterator[httpx.Client]:
    with browser(machine, "admin") as client:
        yield client
