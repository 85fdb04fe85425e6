"""The buttons on a step's page in Airflow: what the step made, in the Models page or wherever it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.sdk import BaseOperatorLink, conf

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

PAGES = "/modelyard"

JSON = dict[str, Any]


class StepLink(BaseOperatorLink):
    """A button that leads to what a step left; it is grey until the step has left something.

    Airflow asks for the address in the worker, right after the task, and keeps it as XCom.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    @property
    def name(self) -> str:
        """The button's text."""
        return self._name

    @property
    def xcom_key(self) -> str:
        """The address's XCom, one for each button."""
        return f"_link_{self._name.lower().replace(' ', '_')}"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002
        """Return the address that the operator found, "" when it has none."""
        links: Mapping[str, str] = getattr(operator, "links", {})
        return links.get(self._name, "")


RUN, VERSION, REPORT = StepLink("Sacred run"), StepLink("Model version"), StepLink("Validation report")
IMAGE, SERVICE = StepLink("Image"), StepLink("Service")

BUTTONS: dict[str, tuple[StepLink, ...]] = {
    "train": (RUN,),
    "log_to_sacred": (RUN, VERSION),
    "validate": (REPORT, VERSION),
    "containerise": (IMAGE,),
    "test_image": (IMAGE,),
    "push": (IMAGE, VERSION),
    "deploy": (SERVICE, VERSION),
    "rollback": (SERVICE, VERSION),
}


def addresses(model: str, result: JSON) -> dict[str, str]:
    """Return where each button leads, from what a step left (``modelyard.steps.results``, as JSON)."""
    found = {}
    if result.get("run_id") is not None:
        found[RUN.name] = page(model, "runs", result["run_id"])
    if result.get("version") is not None:
        found[VERSION.name] = page(model, "versions", result["version"])
        found[REPORT.name] = page(model, "versions", result["version"], "report")
        found[IMAGE.name] = page(model, "versions", result["version"]) + "#image"
    if result.get("address"):
        found[SERVICE.name] = f"{result['address']}/docs"
    return found


def page(model: str, *parts: object) -> str:
    """Return the address of a page of ours, below the path that Airflow is served under."""
    return "/".join([f"{airflow_root()}{PAGES}/models/{model}", *map(str, parts)])


def airflow_root() -> str:
    """Return the path that Airflow is served under, "" for none."""
    return urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")
