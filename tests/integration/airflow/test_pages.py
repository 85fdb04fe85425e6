"""The Models page under a real Airflow: what it shows, and to whom."""

from __future__ import annotations

import html
import re

import httpx
import pytest
from tests.released_models import image_of, pipeline_run, release, sacred_run, version

from modelyard.demo.machine import Machine
from modelyard.store import Store

from .conftest import browser

PAGES = [
    "/modelyard/models",
    "/modelyard/search",
    "/modelyard/models/grapes",
    "/modelyard/models/grapes/compare?version=1&version=2",
    "/modelyard/models/grapes/versions/1",
    "/modelyard/models/grapes/versions/1/run",
    "/modelyard/models/grapes/runs/1",
    "/modelyard/models/grapes/versions/1/report",
]

KEY = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"


@pytest.fixture(scope="module", autouse=True)
def grapes(filled: Store) -> None:
    """Two versions, of which the second is live, a candidate with faults, and a run that failed."""
    release(filled, version(filled, "grapes", 1), generation=1)
    beside = {"bill_of_materials": f"sha256:{'b' * 64}", "provenance": f"sha256:{'c' * 64}", "signed_by": KEY}
    filled.versions.set_image("grapes", 1, image_of(1), attached=beside)
    better = {"metrics": {"accuracy": 0.981, "loss": 0.15}, "config": {"model": {"C": 1.5}, "seed": 42}}
    release(filled, version(filled, "grapes", 2, **better), generation=2, verified_by=KEY)
    filled.versions.set_image("grapes", 2, image_of(2), attached=beside | {"signed_by": None})
    version(
        filled, "grapes", 3, dirty=True, package_differences=("numpy 1 is installed, the lock says 2",), tags=("x",)
    )
    version(filled, "villas", 4, metrics={"rmse": 24310.5})
    failed = pipeline_run(filled, "grapes", "manual__failed")
    sacred_run(filled, 5, failed.id, status="FAILED", fail_trace=["ValueError: <script>alert(1)</script>\n"])


def text(response: httpx.Response, status: int = 200) -> str:
    assert response.status_code == status, response.text
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", response.text)))


def test_nobody_sees_anything_without_airflows_login(machine: Machine):
    with browser(machine) as stranger:
        for page in PAGES:
            shown = stranger.get(page)
            assert shown.status_code == 303, page
            assert shown.headers["location"].startswith("/auth/login?next=")
            refused = stranger.get(page, headers={"Accept": "application/json"})
            assert (refused.status_code, refused.json()) == (401, {"detail": "Not authenticated"})
        stranger.cookies.set("_token", "forged")
        assert stranger.get(PAGES[0]).status_code in {303, 403}


def test_a_person_who_may_only_look_may_look(machine: Machine):
    with browser(machine, "vera") as vera:
        for page in PAGES:
            assert vera.get(page).status_code == 200, page


def test_the_list_shows_what_is_live_and_finds_models(admin: httpx.Client):
    shown = text(admin.get("/modelyard/models"))
    assert "grapes production: 2 3 accuracy 0.97" in shown
    assert "villas nothing 1 rmse 24310.5" in shown
    found = text(admin.get("/modelyard/models", params={"q": "vil"}))
    assert "villas" in found
    assert "grapes" not in found
    assert "No model has “none” in its name" in text(admin.get("/modelyard/models", params={"q": "none"}))


def test_a_model_shows_its_versions_aliases_and_deployments(admin: httpx.Client):
    shown = text(admin.get("/modelyard/models/grapes"))
    assert "production version 2 at http://127.0.0.1:18000" in shown
    assert "3 candidate" in shown
    assert "uncommitted" in shown
    assert "production 1 replaced ada better on hue" in shown


def test_a_version_shows_where_it_comes_from(admin: httpx.Client):
    shown = text(admin.get("/modelyard/models/grapes/versions/3"))
    for fact in ("with uncommitted changes", "numpy 1 is installed, the lock says 2", "manual__3", "178", "FP64"):
        assert fact in shown
    assert "this version is a candidate" in shown
    assert f"grapes@{image_of(2)}" in text(admin.get("/modelyard/models/grapes/versions/2"))


def test_a_version_shows_whose_signature_its_image_has_and_what_lies_beside_it(admin: httpx.Client):
    signed = text(admin.get("/modelyard/models/grapes/versions/1"))
    assert f"by the key {KEY} no verification key is set" in signed
    assert "not verified it went live where no verification key was set" in signed
    assert f"Bill of materials CycloneDX, grapes@sha256:{'b' * 64}" in signed
    assert f"Provenance in-toto, SLSA, grapes@sha256:{'c' * 64}" in signed
    unsigned = text(admin.get("/modelyard/models/grapes/versions/2"))
    assert "unsigned the store had no signing key when it was released" in unsigned
    assert f"verified signed by {KEY} when it went live" in unsigned
    assert "Bill of materials" not in text(admin.get("/modelyard/models/grapes/versions/3"))


def test_versions_are_compared(admin: httpx.Client):
    page = admin.get("/modelyard/models/grapes/compare", params={"version": [1, 2]})
    assert "accuracy 0.97 0.981" in text(page)
    differing = re.findall(r'class="differs"><th>([^<]+)', page.text)
    assert differing == ["accuracy", "loss", "model.C", "created", "image"]


@pytest.mark.parametrize(
    ("conditions", "found"),
    [
        ({}, {"grapes 1", "grapes 2", "grapes 3", "villas 1"}),
        ({"name": "grapes", "metric": "accuracy", "lowest": "0.975", "highest": "", "tag": ""}, {"grapes 2"}),
        ({"parameter": "model.C=1.5"}, {"grapes 2"}),
        ({"tag": "x"}, {"grapes 3"}),
        ({"state": "live"}, {"grapes 2"}),
        ({"commit": "0000"}, set()),
    ],
)
def test_versions_are_found(admin: httpx.Client, conditions: dict[str, str], found: set[str]):
    page = admin.get("/modelyard/search", params=conditions)
    assert page.status_code == 200
    links = re.findall(r"/models/([a-z]+)/versions/(\d+)", page.text)
    assert {f"{name} {number}" for name, number in links} == found


def test_a_run_shows_its_course_and_its_output_as_text(admin: httpx.Client):
    page = admin.get("/modelyard/models/grapes/runs/1")
    assert "fitting &lt;b&gt;the model&lt;/b&gt;" in page.text
    assert page.text.count("<polyline") == 2
    failed = admin.get("/modelyard/models/grapes/runs/5")
    assert "ValueError: &lt;script&gt;" in failed.text


def test_one_models_pages_never_show_another_ones_run(admin: httpx.Client):
    assert "'villas' has no run 1" in text(admin.get("/modelyard/models/villas/runs/1"), 404)


def test_a_report_runs_in_an_origin_of_its_own(admin: httpx.Client):
    page = admin.get("/modelyard/models/grapes/versions/1/report")
    assert page.text.startswith("<h1>Report</h1>")
    assert page.headers["content-security-policy"].startswith("sandbox allow-scripts; default-src 'none'")
    assert "has no report" in text(admin.get("/modelyard/models/grapes/versions/3/report"), 404)


def test_every_page_of_ours_forbids_what_it_does_not_need(admin: httpx.Client):
    for page in PAGES[:-1]:
        shown = admin.get(page)
        assert "default-src 'none'; style-src 'self'; script-src 'self'" in shown.headers["content-security-policy"]
        assert shown.headers["x-content-type-options"] == "nosniff"
        assert not re.search(r"<script>|style=|\son\w+=", shown.text)


@pytest.mark.parametrize("page", ["models/nothing", "models/grapes/versions/99", "models/grapes/runs/99", "nowhere"])
def test_what_is_not_there_is_told_in_words(admin: httpx.Client, page: str):
    shown = admin.get(f"/modelyard/{page}")
    assert shown.status_code == 404
    assert "<h1>" in shown.text
    assert "Traceback" not in shown.text


def test_it_is_in_airflows_navigation(admin: httpx.Client):
    plugins = {plugin["name"]: plugin for plugin in admin.get("/api/v2/plugins").json()["plugins"]}
    (view,) = plugins["model_store"]["external_views"]
    assert (view["name"], view["href"], view["destination"]) == ("Models", "/modelyard/models", "nav")
    assert admin.get(view["icon"]).headers["content-type"] == "image/svg+xml"
