"""The model's own page in a browser: its form really predicts."""

from __future__ import annotations

import json
import shutil

import pytest

from .conftest import Running

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")
def test_the_form_predicts_and_shows_refusals(server: Running) -> None:
    from playwright.sync_api import sync_playwright

    errors: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"http://127.0.0.1:{server.port}/")
        assert "sha256:" in page.inner_text("dl")
        answer = page.locator("#answer")
        page.click("button")
        page.wait_for_function("document.getElementById('answer').textContent.startsWith('{')")
        assert json.loads(answer.inner_text())["predictions"][0]["prediction"] == 1.5
        page.fill("#body", '{"rows": [{"a": 1.5, "b": 1, "word": null}]}')
        page.click("button")
        page.wait_for_selector("#answer.refused")
        assert "row 0, field 'a'" in answer.inner_text()
        page.click("text=All routes")
        assert f"curl http://127.0.0.1:{server.port}/predict -d" in page.inner_text("pre >> nth=0")
        browser.close()
    assert errors == []
