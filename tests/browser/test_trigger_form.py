"""The second way in: a person who clicks through Airflow's trigger form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.fixtures_machine import wait_until

from modelyard.demo.rest import AirflowApi
from modelyard.demo.show import failures


def test_a_person_trains_and_releases_a_model_by_the_form(page: Any, api: AirflowApi, pictures: Path):
    api.wait_for_dag("wine")
    before = {run["dag_run_id"] for run in api.runs("wine")}
    page.goto("/dags/wine")
    page.get_by_role("button", name="Trigger").first.click()
    form = page.get_by_role("dialog")
    form.get_by_role("button", name="Training").click()
    page.locator("[name='element_config.C']").fill("0.75")
    form.get_by_role("button", name="Release").click()
    page.locator("[name='element_reason']").fill("By hand")
    page.wait_for_timeout(500)  # sections unfold slowly
    page.screenshot(path=pictures / "trigger-form.png")
    form.get_by_role("button", name="Trigger", exact=True).click()

    new = wait_until(lambda: [run for run in api.runs("wine") if run["dag_run_id"] not in before], 30, "A run")
    run = new[0]["dag_run_id"]
    assert new[0]["conf"]["config.C"] == 0.75
    assert api.wait("wine", run) == "success", failures(api, "wine", run)

    page.goto(f"/dags/wine/runs/{run}")
    page.get_by_text("deploy").first.wait_for()
    page.wait_for_timeout(1500)  # the grid is drawn after its texts
    page.screenshot(path=pictures / "dag-run.png")

    page.goto("/plugin/models")
    models = page.frame_locator("iframe")
    models.get_by_text("wine").first.wait_for()
    page.wait_for_timeout(500)
    page.screenshot(path=pictures / "models.png")


def test_the_form_says_what_is_wrong_before_anything_runs(page: Any, api: AirflowApi):
    api.wait_for_dag("wine")
    page.goto("/dags/wine")
    page.get_by_role("button", name="Trigger").first.click()
    form = page.get_by_role("dialog")
    trigger = form.get_by_role("button", name="Trigger", exact=True)
    wait_until(trigger.is_enabled, 10, "A form that can be sent as it is")
    form.get_by_role("button", name="Training").click()
    page.locator("[name='element_config.C']").fill("")
    page.locator("[name='element_config.test_size']").click()
    form.get_by_text("This field is required").wait_for()
    assert trigger.is_disabled()
    page.locator("[name='element_config.C']").fill("0.5")
    page.locator("[name='element_config.test_size']").click()
    wait_until(trigger.is_enabled, 10, "A form that can be sent again")
