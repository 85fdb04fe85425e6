"""The pages' application: who is let in, what browsers may do with a page, and how errors look."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from airflow.sdk.exceptions import AirflowNotFoundException
from fastapi import FastAPI, Request
from fastapi.exception_handlers import http_exception_handler, request_validation_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from model_store.pages import routes
from model_store.pages.access import to_login
from model_store.pages.render import render
from modelyard.errors import ModelyardError, NotFound, RequestError
from modelyard.provider_info import CONNECTION_ID

# Nothing from elsewhere, no inline script or style; Airflow's own page may frame ours.
_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
)


_NOT_ASKABLE = "This can't be asked"
_WANTED = {"float_parsing": "should be a number", "int_parsing": "should be a whole number"}


def create_app() -> FastAPI:
    """Return the application that the plugin mounts at ``/modelyard``."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        routes.shared_store.close()

    app = FastAPI(title="Models", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"), name="static")
    app.include_router(routes.router)
    app.middleware("http")(_add_headers)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _not_understood)
    app.add_exception_handler(ModelyardError, _failed)
    app.add_exception_handler(AirflowNotFoundException, _without_connection)
    return app


async def _add_headers(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await answer(request)
    response.headers.setdefault("Content-Security-Policy", _POLICY)
    response.headers.setdefault("Cache-Control", "private, no-cache")
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    return response


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  (it is registered for these)
    if "text/html" not in request.headers.get("accept", ""):
        return await http_exception_handler(request, error)
    if error.status_code == 401:
        return to_login(request)
    if error.status_code == 403:
        return _page(request, 403, "Not yours to see", "Your role in Airflow doesn't include this model.")
    return _page(request, error.status_code, "No such page", str(error.detail))


async def _not_understood(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101  (it is registered for these)
    if "text/html" not in request.headers.get("accept", ""):
        return await request_validation_exception_handler(request, error)
    return _page(request, 400, _NOT_ASKABLE, " ".join(map(_in_words, error.errors())), "Correct it and ask again.")


def _in_words(problem: Mapping[str, Any]) -> str:
    """Return what is wrong with one part of an address, without the words of a program."""
    wanted = _WANTED.get(problem["type"]) or re.sub(r"^(Input|String) ", "", problem["msg"])
    return f"'{problem['loc'][1]}' is '{problem['input']}', and {wanted}."


def _failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, ModelyardError)  # noqa: S101  (it is registered for these)
    if isinstance(error, NotFound):
        return _page(request, 404, "Not found", error.message, error.remedy)
    if isinstance(error, RequestError):
        return _page(request, 400, _NOT_ASKABLE, error.message, error.remedy)
    if error.transient:
        return _page(request, 503, "The model store does not answer", error.message, error.remedy)
    return _page(request, 500, "The model store refuses", error.message, error.remedy)


def _without_connection(request: Request, error: Exception) -> Response:
    remedy = f"Add a connection '{CONNECTION_ID}' of type 'Model store (Modelyard)' under Admin, Connections."
    return _page(request, 503, "Airflow knows no model store", str(error), remedy)


def _page(request: Request, status: int, title: str, message: str, remedy: str | None = None) -> Response:
    return render(request, "error.html", status=status, title=title, message=message, remedy=remedy)
