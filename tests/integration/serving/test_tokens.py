"""A server that asks for a token: who gets in, what stays open, and where no token is ever seen."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import psutil
import pytest
from tests.image_roots import make_root
from tests.processes import below, wait_until

from .conftest import FACTS, Running, Start

ROW = {"a": 1, "b": 2.0, "word": "x"}
OPEN = ["/", "/healthz", "/readyz", "/ping", "/health", "/v2/health/live", "/v2/health/ready", "/v2/models/sum/ready"]


def made_up() -> str:
    return secrets.token_urlsafe()


OURS = made_up()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokens") / "tokens"
    path.write_text(f"{made_up()}\n{made_up()}\n")
    return path


@pytest.fixture(scope="module")
def closed(start: Start, tmp_path_factory: pytest.TempPathFactory, file: Path) -> Running:
    root = make_root(tmp_path_factory.mktemp("image") / "root")
    given = {"MODELYARD_TOKENS_FILE": str(file), "MODELYARD_TOKENS": OURS}
    return start(root, environment={**FACTS, **given})


def with_token(server: Running, token: str, scheme: str = "Bearer") -> int:
    headers = {"authorization": f"{scheme} {token}"}
    return server.request("POST", "/predict", [ROW], headers).status


def test_who_has_a_token_is_answered(closed: Running, file: Path) -> None:
    for token in (OURS, *file.read_text().split()):
        assert with_token(closed, token) == 200
        assert with_token(closed, token, "bearer") == 200


@pytest.mark.parametrize(
    "given",
    ["", "Bearer", "Bearer ", f"Basic {OURS}", f"Bearer {OURS}x", OURS, "Bearer zwölf"],
    ids=["none", "scheme", "empty", "another scheme", "longer", "no scheme", "not ASCII"],
)
def test_nobody_else_is(closed: Running, given: str) -> None:
    answer = closed.request("POST", "/predict", [ROW], {"authorization": given} if given else {})
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert "token" in answer.json["error"]


@pytest.mark.parametrize("path", ["/metrics", "/docs", "/openapi.json", "/v2/models/sum", "/v1/models", "/nothing"])
def test_what_tells_of_the_model_is_closed_too(closed: Running, path: str) -> None:
    assert closed.get(path).status == 401


def test_probes_need_none(closed: Running) -> None:
    for path in OPEN:
        assert closed.get(path).status == 200, path
    page = closed.request("GET", "/", None, {"accept": "text/html"})
    assert page.body == b"Healthy", "not the page with the model's facts"


@pytest.mark.parametrize(
    "routes",
    [{"AIP_PREDICT_ROUTE": "/"}, {"AIP_PREDICT_ROUTE": "/same", "AIP_HEALTH_ROUTE": "/same"}],
    ids=["where a probe of Azure's asks", "where its own probe asks"],
)
def test_vertex_s_routes_open_no_prediction(start: Start, tmp_path: Path, routes: dict[str, str]) -> None:
    running = start(make_root(tmp_path / "root"), environment={"MODELYARD_TOKENS": OURS, **routes})
    path = routes["AIP_PREDICT_ROUTE"]
    assert running.get(path).status == running.request("HEAD", path).status == 200
    assert running.post(path, {"instances": [ROW]}).status == 401
    token = {"authorization": f"Bearer {OURS}"}
    assert running.request("POST", path, {"instances": [ROW]}, token).status == 200


def test_a_token_may_be_changed_while_it_serves(start: Start, tmp_path: Path) -> None:
    file, before, after = tmp_path / "tokens", made_up(), made_up()
    file.write_text(before)
    running = start(make_root(tmp_path / "root"), environment={"MODELYARD_TOKENS_FILE": str(file)})
    assert with_token(running, before) == 200
    (tmp_path / "new").write_text(after)
    (tmp_path / "new").replace(file)
    wait_until(lambda: with_token(running, after) == 200, "the new token is known", 20)
    assert with_token(running, before) == 401
    file.unlink()
    assert with_token(running, after) == 200


def test_metrics_may_be_opened(start: Start, tmp_path: Path) -> None:
    variables = {"MODELYARD_TOKENS": OURS, "MODELYARD_OPEN_METRICS": "1"}
    running = start(make_root(tmp_path / "root"), environment=variables)
    assert running.get("/metrics").status == 200
    assert with_token(running, made_up()) == 401


@pytest.mark.parametrize("content", ["", "short"])
def test_a_file_without_a_good_token_ends_the_start(start: Start, tmp_path: Path, content: str) -> None:
    (tmp_path / "tokens").write_text(content)
    variables = {"MODELYARD_TOKENS_FILE": str(tmp_path / "tokens")}
    running = start(make_root(tmp_path / "root"), ready=False, environment=variables)
    assert running.process.wait(20) == 1
    said = running.log.read_text()
    assert "token" in said
    assert "Traceback" not in said
    assert "short" not in said


def test_no_token_is_in_a_log_or_with_the_model(closed: Running) -> None:
    assert with_token(closed, OURS) == 200
    wait_until(lambda: "/predict" in closed.access_log.read_text(), "the access log is written", 10)
    said = closed.log.read_text() + closed.access_log.read_text()
    assert OURS not in said
    for process in below(closed.process.pid):
        # The model's process, as its own user may look at it.
        environment = Path(f"/proc/{process.pid}/environ").read_bytes()
        assert OURS.encode() not in environment
    assert OURS not in " ".join(psutil.Process(closed.process.pid).cmdline())
    if os.geteuid() != 0:
        with pytest.raises(PermissionError):
            Path(f"/proc/{closed.process.pid}/environ").read_bytes()
