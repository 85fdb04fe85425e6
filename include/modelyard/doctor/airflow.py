"""Airflow, asked from outside: what it is set to, where its connections lead, and whether its processes live.

The plugin's module ``model_store.facts`` tells it in a process of its own: this library never imports Airflow.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from modelyard.doctor import clock
from modelyard.doctor.airflow_settings import SETTINGS
from modelyard.doctor.finding import Finding
from modelyard.provider_info import CONNECTION_ID
from modelyard.store import StoreAddress

SUBJECT = "Airflow"
PROCESSES = "Airflow's processes"
_SECONDS = 60
_OLDEST = (3, 3)
_MODES = ("local", "docker", "kubernetes")
# Airflow puts its plugins folder onto the path when it is imported. What it prints meanwhile is kept from the answer.
_CODE = """
import os, sys
sys.argv.insert(1, str(os.dup(1)))
os.dup2(2, 1)
import airflow, runpy
runpy.run_module("model_store.facts", run_name="__main__")
"""


_OTHERS = (
    "core.executor",
    "core.execution_api_server_url",
    "api.base_url",
    "modelyard.kubernetes_conn_id",
    "modelyard.namespace",
    "modelyard.builder_image",
    "modelyard.builder_seccomp_profile",
    "modelyard.runner_image",
    "modelyard.pod_template",
    "modelyard.store_secret",
)


@dataclass(frozen=True)
class Airflow:
    """What Airflow is set to. Holds secrets.

    Attributes:
        settings: by ``section.key``.
        modes: that models' steps run in, that of most models first; none where the setting cannot be read.
        modes_error: what is wrong with that setting then.
        address: of the store that its connection names.
        address_error: message and remedy, where that connection is no good.
        cluster: the extra fields of its connection to the cluster.
        registry_conn_id: of the connection that the store's names for its registry.
        keys: whether it has a key of that ``section.key``.
    """

    settings: Mapping[str, str | None]
    modes: Sequence[str]
    modes_error: str | None
    address: StoreAddress | None
    address_error: tuple[str, str | None] | None
    cluster: Mapping[str, Any]
    registry_conn_id: str | None = None
    keys: Mapping[str, bool] = field(default_factory=dict)

    @property
    def runs_pods(self) -> bool:
        """Whether steps are pods."""
        return "kubernetes" in self.modes

    @property
    def runs_containers(self) -> bool:
        """Whether steps are containers of a Docker engine."""
        return "docker" in self.modes

    @property
    def cluster_conn_id(self) -> str:
        """The connection to the cluster of the steps."""
        return self.settings["modelyard.kubernetes_conn_id"] or "kubernetes_default"

    @property
    def url(self) -> str:
        """Where tasks find Airflow's API server."""
        own = self.settings["core.execution_api_server_url"] or self.settings["api.base_url"] or ""
        return own.rstrip("/").removesuffix("/execution")


def is_here(environment: Mapping[str, str]) -> str | None:
    """Return Airflow's version if one is installed beside this Modelyard and set up, else None."""
    try:
        found = version("apache-airflow-core")
    except PackageNotFoundError:
        return None
    set_up = "AIRFLOW_HOME" in environment or any(name.startswith("AIRFLOW__") for name in environment)
    return found if set_up or Path("~/airflow/airflow.cfg").expanduser().is_file() else None


def ask() -> Airflow | Finding:
    """Ask Airflow what it is set to; a finding is why it does not tell."""
    names = [*(setting.name for setting in SETTINGS), *_OTHERS]
    try:
        done = subprocess.run(
            [sys.executable, "-c", _CODE, *names], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Finding(
            "failed",
            SUBJECT,
            f"tells nothing within {_SECONDS} seconds",
            "is its database away, or this machine too busy?",
        )
    if done.returncode != 0:
        return _not_told(done.stderr)
    facts = json.loads(done.stdout)
    address = facts["address"]
    error = facts["address_error"]
    return Airflow(
        facts["settings"],
        tuple(facts["modes"]),
        facts["modes_error"],
        None if address is None else StoreAddress.from_json(address),
        None if error is None else (error[0], error[1]),
        facts["cluster"],
        facts["registry_conn_id"],
        facts["keys"],
    )


def _not_told(said: str) -> Finding:
    if "No module named 'model_store'" in said:
        return Finding(
            "failed",
            SUBJECT,
            "it does not find the plugin model_store",
            "set [core] plugins_folder to the folder of Modelyard's plugins",
        )
    # The last line may have an address with a password in it: only the kind of error is told.
    lines = said.strip().splitlines()
    kind = lines[-1].partition(":")[0].strip() if lines else "no reason"
    return Finding("failed", SUBJECT, f"it cannot be asked: {kind}", "see what `airflow info` says here")


def _provider() -> str | None:
    try:
        return version("apache-airflow-providers-cncf-kubernetes")
    except PackageNotFoundError:
        return None


def settings(airflow: Airflow, found_version: str) -> Iterator[Finding]:
    """Tell what is set, and what of it is not right."""
    yield from _modes(airflow, found_version)
    if tuple(map(int, found_version.split(".")[:2])) < _OLDEST:
        remedy = f"use Airflow {_OLDEST[0]}.{_OLDEST[1]} or newer"
        yield Finding("failed", SUBJECT, f"{found_version} is older than Modelyard's plugin", remedy)
    if airflow.runs_pods and _provider() is None:
        remedy = "install apache-airflow-providers-cncf-kubernetes"
        yield Finding("failed", SUBJECT, "steps are pods, and their operator's provider is not there", remedy)
    if (airflow.runs_pods or airflow.runs_containers) and not airflow.settings["modelyard.runner_image"]:
        remedy = "make it with: modelyard image runner --push host/prefix/runner:tag, and set it"
        what = "pods" if airflow.runs_pods else "containers"
        yield Finding("failed", "[modelyard] runner_image", f"is not set, and steps are {what}", remedy)
    for setting in SETTINGS:
        value = airflow.settings[setting.name]
        if (airflow.runs_pods or not setting.pods) and (value is None or not setting.is_right(value)):
            remedy = "take the value of airflow.cfg.example"
            yield Finding("warning", str(setting), f"is {value or 'not set'}: {setting.otherwise}", remedy)
    yield from _missing_keys(airflow.keys)
    if airflow.address_error is not None:
        yield Finding("failed", f"Connection {CONNECTION_ID}", *airflow.address_error)


def _modes(airflow: Airflow, found_version: str) -> Iterator[Finding]:
    if airflow.modes_error is not None:
        yield Finding("failed", "[modelyard] execution_of", *airflow.modes_error.split("\n  → ", 1))
        return
    executor, execution, *others = airflow.settings["core.executor"], *airflow.modes
    remedy = f"set it to {', '.join(_MODES[:-1])} or {_MODES[-1]}"
    if execution not in _MODES:
        yield Finding("failed", "[modelyard] execution", f"'{execution}' is no way to run steps", remedy)
    else:
        yield Finding("ok", SUBJECT, f"{found_version}, {executor}, steps run by execution = {execution}")
    for mode in others:
        if mode not in _MODES:
            yield Finding("failed", "[modelyard] execution_of", f"'{mode}' is no way to run steps", remedy)


def _missing_keys(keys: Mapping[str, bool]) -> Iterator[Finding]:
    # A worker's machine may do without the first: who signs tokens and who checks them must have the same.
    if not keys.get("api_auth.jwt_secret") and not keys.get("api_auth.jwt_private_key_path"):
        why = "is not set: scheduler and API server each make their own, and every task ends with 'Invalid auth token'"
        remedy = "set it for all of Airflow's processes to what this prints once: openssl rand -hex 32"
        yield Finding("warning", "[api_auth] jwt_secret", why, remedy)
    if not keys.get("core.fernet_key"):
        why = "is not set: passwords of connections lie readable in Airflow's database"
        remedy = (
            "set it for all of Airflow's processes to what this prints once: openssl rand -base64 32 | tr '+/' '-_'"
        )
        yield Finding("warning", "[core] fernet_key", why, remedy)


def health(airflow: Airflow) -> Iterator[Finding]:
    """Ask Airflow's API server, as tasks do, whether the other processes live."""
    import requests

    url = f"{airflow.url}/api/v2/monitor/health"
    before = datetime.now(UTC)
    try:
        answer = requests.get(url, timeout=(5, 10))
        after = datetime.now(UTC)
        told = answer.json() if answer.ok else None
    except (requests.RequestException, ValueError) as error:
        yield Finding(
            "failed",
            PROCESSES,
            f"nobody answers at {urlsplit(url).netloc}: {type(error).__name__}",
            "start the API server, and set [api] base_url or [core] execution_api_server_url to where workers reach it",
        )
        return
    if told is None:
        yield Finding(
            "failed", PROCESSES, f"{urlsplit(url).netloc} answers {answer.status_code}", "see the server's log"
        )
        return
    states = {name: (told.get(name) or {}).get("status") for name in ("scheduler", "dag_processor", "triggerer")}
    for name in ("scheduler", "dag_processor"):
        if states[name] != "healthy":
            yield Finding("failed", PROCESSES, f"the {name} is not alive", f"start airflow {name.replace('_', '-')}")
    if states["triggerer"] != "healthy":
        remedy = "start airflow triggerer, if anything defers"
        yield Finding(
            "warning", PROCESSES, "no triggerer lives: steps with `defer` and deferrable sensors wait", remedy
        )
    if all(state == "healthy" for state in states.values()):
        yield Finding("ok", PROCESSES, "scheduler, DAG processor and triggerer live")
    yield from clock.by_header(PROCESSES, answer.headers.get("Date"), before, after)
