"""The pages' application by itself, on a real store: who may see which model, and what can't be asked, in words."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.api_fastapi.core_api.security import get_user
from starlette.testclient import TestClient
from tests.released_models import version

from model_store.pages import access, routes
from model_store.pages.app import create_app
from modelyard.store import Store

MINE = {"mine"}


@pytest.fixture
def visitor(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """A browser of a user who may see one model alone: Airflow's simple auth manager knows no such user."""
    manager = SimpleNamespace(filter_authorized_dag_ids=lambda dag_ids, user, method: MINE & dag_ids)
    monkeypatch.setattr(access, "get_auth_manager", lambda: manager)
    app = create_app()
    unasked: list[Any] = [get_user, access.MAY_READ_RUNS.dependency]
    app.dependency_overrides = dict.fromkeys(unasked, lambda: None) | {routes.shared_store.get: lambda: store}
    with TestClient(app, headers={"Accept": "text/html"}) as client:
        yield client


def text(page: str) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page)))


def test_a_search_never_names_a_model_that_the_user_may_not_see(
    visitor: TestClient, store: Store, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(routes, "_PAGE_SIZE", 2)
    for run_id in range(1, 10):
        version(store, "mine" if run_id in (1, 2, 5) else "secret-merger", run_id)
    seen, query = [], ""
    while True:
        page = visitor.get(f"/search?{query}").text
        assert "secret" not in page
        seen.append(re.findall(r"/models/mine/versions/(\d+)", page))
        following = re.search(r'rel="next" href="\?([^"]+)"', page)
        if following is None:
            break
        query = html.unescape(following[1])
    assert seen == [["3", "2"], ["1"]]
    hidden = visitor.get("/search", params={"name": "secret-merger"}).text
    assert "No version meets these conditions" in hidden
    assert "/versions/" not in hidden


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("/search?lowest=abc", "'lowest' is 'abc', and should be a number."),
        ("/search?state=gone", "'state' is 'gone', and should be 'candidate', 'released' or 'live'."),
        ("/search?commit=xyz", "'xyz' does not begin a commit hash"),
        ("/search?after=x", "The page asked for does not exist start again at the first page"),
        ("/models?page=0", "'page' is '0', and should be greater than or equal to 1."),
        ("/models/mine?after=x", "The page asked for does not exist"),
        ("/models/mine/versions/newest", "'version' is 'newest', and should be a whole number."),
        ("/models/mine/compare", "No version is marked Go back and mark the versions to compare."),
        ("/models/mine/compare?version=1&version=b", "'version' is 'b', and should be a whole number."),
        (
            "/models/mine/compare?" + "&".join(f"version={number}" for number in range(1, 8)),
            "7 versions are marked, and a page has room for 6 Go back and mark 6 at most.",
        ),
    ],
)
def test_what_cannot_be_asked_is_told_to_a_person_in_words(visitor: TestClient, address: str, told: str):
    page = visitor.get(address)
    assert page.status_code == 400
    assert "<h1>This can&#39;t be asked</h1>" in page.text
    assert told in text(page.text)


def test_a_program_is_told_in_json(visitor: TestClient):
    answer = visitor.get("/search?lowest=abc", headers={"Accept": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["query", "lowest"]


def test_as_many_versions_as_a_page_has_room_for_are_compared(visitor: TestClient, store: Store):
    for run_id in range(1, 7):
        version(store, "mine", run_id)
    page = visitor.get("/models/mine/compare?" + "&".join(f"version={number}" for number in range(1, 7)))
    assert page.status_code == 200
    assert set(re.findall(r"/models/mine/versions/(\d+)", page.text)) == set("123456")
