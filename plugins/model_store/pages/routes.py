"""The pages' addresses. Every one asks Airflow who is there, and whether they may see this model."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import RedirectResponse, Response, StreamingResponse

from model_store.pages import compare
from model_store.pages.access import MAY_READ_LOGS, MAY_READ_RUNS, User, readable
from model_store.pages.format import flat
from model_store.pages.render import render
from model_store.pages.search import Conditions
from model_store.pages.store import SharedStore
from model_store.pages.trust import trust
from modelyard.errors import NotFound, RequestError
from modelyard.provider_info import CONNECTION_ID
from modelyard.store import Deployment, ModelVersion, Store

_PAGE_SIZE = 50
_MOST_COMPARED = 6
_CHUNK = 256 * 1024

# A report is made from a project's data: it runs in an origin of its own, without cookies, and reaches nothing.
_REPORT_POLICY = (
    "sandbox allow-scripts; default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "img-src data:; font-src data:; frame-ancestors 'self'"
)
_HTML = "text/html; charset=utf-8"
_REPORT_TYPES = {"html": _HTML, "json": "application/json", "data_docs": _HTML}

shared_store = SharedStore(CONNECTION_ID)
router = APIRouter()

OpenStore = Annotated[Store, Depends(shared_store.get)]
Number = Annotated[int, Query(ge=1)]


@router.get("/models")
def models(request: Request, user: User, store: OpenStore, q: str = "", page: Number = 1) -> Response:
    """Show every model this user may see: its newest version, and what is live where."""
    names = [name for name in readable(store.versions.names(), user) if q.strip().lower() in name]
    live = _by_model(store.deployments.all_live())
    shown = names[(page - 1) * _PAGE_SIZE : page * _PAGE_SIZE]
    rows = [(name, _newest(store, name), live[name]) for name in shown]
    more = len(names) > page * _PAGE_SIZE
    return render(request, "models.html", rows=rows, q=q, page=page, total=len(names), more=more)


@router.get("/search")
def search(request: Request, user: User, store: OpenStore, conditions: Annotated[Conditions, Query()]) -> Response:
    """Show the versions, of any model this user may see, that meet the conditions."""
    allowed = readable(store.versions.names(), user)
    # In the query, not after it: where a page ends tells a model's name too.
    within = allowed if conditions.name is None else [name for name in allowed if name == conditions.name]
    found = store.versions.find(**(conditions.arguments() | {"name": within}), limit=_PAGE_SIZE)
    next_page = None if found.after is None else conditions.query(found.after)
    return render(
        request, "search.html", conditions=conditions, names=allowed, versions=found.versions, next_page=next_page
    )


@router.get("/models/{dag_id}", dependencies=[MAY_READ_RUNS])
def model(request: Request, dag_id: str, store: OpenStore, after: str | None = None) -> Response:
    """Show a model: what is live, where its aliases point, what was deployed, and its versions."""
    found = store.versions.find(name=dag_id, limit=_PAGE_SIZE, after=after)
    aliases = store.aliases.of(dag_id)
    if not found.versions and not aliases and after is None:
        raise NotFound(f"There is no version of '{dag_id}' yet", f"Trigger the DAG '{dag_id}' to train one.")
    deployments = [
        deployment for alias in aliases for deployment in store.deployments.history(dag_id, alias.alias, limit=20)
    ]
    return render(
        request,
        "model.html",
        name=dag_id,
        versions=found.versions,
        after=found.after,
        aliases=aliases,
        pointed=_pointed(store, dag_id),
        live=[deployment for deployment in deployments if deployment.state == "live"],
        deployments=sorted(deployments, key=lambda one: one.created_at, reverse=True)[:20],
        metrics=sorted({metric for version in found.versions for metric in version.metrics})[:6],
    )


@router.get("/models/{dag_id}/compare", dependencies=[MAY_READ_RUNS])
def comparison(
    request: Request, dag_id: str, store: OpenStore, version: Annotated[list[int] | None, Query()] = None
) -> Response:
    """Show versions of a model side by side."""
    numbers = sorted(set(version or ()))
    if not numbers:
        raise RequestError("No version is marked", "Go back and mark the versions to compare.")
    if len(numbers) > _MOST_COMPARED:
        raise RequestError(
            f"{len(numbers)} versions are marked, and a page has room for {_MOST_COMPARED}",
            f"Go back and mark {_MOST_COMPARED} at most.",
        )
    versions = [store.versions.get(dag_id, number) for number in numbers]
    sections = compare.sections(versions)
    return render(request, "compare.html", name=dag_id, versions=versions, sections=sections)


@router.get("/models/{dag_id}/versions/{version}", dependencies=[MAY_READ_RUNS])
def one_version(request: Request, dag_id: str, version: int, store: OpenStore) -> Response:
    """Show everything that is known of a version."""
    found = store.versions.get(dag_id, version)
    run = store.pipelines.get(found.pipeline_run) if found.pipeline_run is not None else None
    return render(
        request,
        "version.html",
        name=dag_id,
        version=found,
        run=run,
        aliases=_pointed(store, dag_id).get(version, []),
        config=flat(found.config),
        trust=trust(found, store.deployments.of_version(dag_id, version), store.address.verification_key),
    )


@router.get("/models/{dag_id}/versions/{version}/run", dependencies=[MAY_READ_LOGS])
def run_of_version(request: Request, dag_id: str, version: int, store: OpenStore) -> Response:
    """Show the Sacred run that made a version."""
    return _run_page(request, dag_id, store.versions.get(dag_id, version).run_id, store)


@router.get("/models/{dag_id}/runs/{run_id}", dependencies=[MAY_READ_LOGS])
def run(request: Request, dag_id: str, run_id: int, store: OpenStore) -> Response:
    """Show a Sacred run of this model's pipeline, failed ones too."""
    stamp = store.runs.get(run_id).get("meta", {}).get("modelyard", {}).get("pipeline_run")
    # Whoever may see one model must not read another one's run by its number.
    if stamp is None or store.pipelines.get(stamp).model != dag_id:
        raise NotFound(f"'{dag_id}' has no run {run_id}", "Each of its versions leads to its run.")
    return _run_page(request, dag_id, run_id, store)


@router.get("/models/{dag_id}/versions/{version}/report", dependencies=[MAY_READ_RUNS])
def report(
    dag_id: str, version: int, store: OpenStore, part: Literal["html", "json", "data_docs"] = "html"
) -> Response:
    """Return a version's validation report, or its Data Docs, as the step wrote them."""
    found = store.versions.get(dag_id, version)
    digest = (found.report or {}).get(part)
    if digest is None:
        raise NotFound(f"Version {version} of '{dag_id}' has no report", "It is validated when it is released.")
    stream = store.artifacts.open(digest)
    return StreamingResponse(
        iter(lambda: stream.read(_CHUNK), b""),
        media_type=_REPORT_TYPES[part],
        headers={"Content-Security-Policy": _REPORT_POLICY},
    )


@router.get("/")
def index(request: Request) -> Response:
    """Lead to the models."""
    return RedirectResponse(f"{request.scope.get('root_path', '')}/models")


def _run_page(request: Request, name: str, run_id: int, store: Store) -> Response:
    document = store.runs.get(run_id)
    output = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", document.get("captured_out") or "")
    return render(
        request,
        "run.html",
        name=name,
        run=document,
        config=flat(document.get("config") or {}),
        metrics=store.runs.metrics(run_id),
        output=output,
    )


def _newest(store: Store, name: str) -> ModelVersion | None:
    found = store.versions.find(name=name, limit=1).versions
    return found[0] if found else None


def _by_model(deployments: Sequence[Deployment]) -> defaultdict[str, list[Deployment]]:
    grouped: defaultdict[str, list[Deployment]] = defaultdict(list)
    for deployment in deployments:
        grouped[deployment.model].append(deployment)
    return grouped


def _pointed(store: Store, name: str) -> dict[int, list[str]]:
    """Return the aliases of each version that has any."""
    grouped: defaultdict[int, list[str]] = defaultdict(list)
    for alias in store.aliases.of(name):
        if alias.version is not None:
            grouped[alias.version].append(alias.alias)
    return dict(grouped)
