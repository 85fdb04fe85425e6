from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelyard.demo.airflow import USER
from modelyard.demo.machine import Machine

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Chromium's own sandbox needs what containers and root do not have; it opens nothing but our pages.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any, machine: Machine) -> Iterator[Any]:
    """A page of Airflow where its administrator has logged in. A script's error on it fails the test."""
    context = browser.new_context(base_url=machine.airflow.url, viewport={"width": 1280, "height": 860})
    page = context.new_page()
    page.set_default_timeout(30_000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto("/")
    page.fill("input[name=username]", USER)
    page.fill("input[name=password]", machine.airflow.password)
    page.click("button[type=submit]")
    page.wait_for_url("**/")
    yield page
    context.close()
    assert errors == []


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Path:
    """Where screenshots go: with ``--pictures`` to the README's."""
    if pytestconfig.getoption("--pictures"):
        return Path(__file__).parent / "pictures"
    return tmp_path_factory.mktemp("pictures")
