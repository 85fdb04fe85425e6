"""From a request to its answer: the routes, and the chain parse → check → predict → render of each contract."""

from __future__ import annotations

import time
import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

import msgspec

from modelyard.serving import pages
from modelyard.serving.access_log import AccessLog
from modelyard.serving.contracts import inference, instances, plain
from modelyard.serving.messages import JSON, Columns, Handler, Outputs, Parse, Refused, Render, Request, Response
from modelyard.serving.metrics import Metrics
from modelyard.serving.model import Model

_encode = msgspec.json.Encoder().encode


class Predictor(Protocol):
    """Whatever runs the model: a pool of worker processes, or a compiled model."""

    @property
    def ready(self) -> bool:
        """It can answer now."""

    @property
    def waiting(self) -> int:
        """Requests in its queue."""

    @property
    def restarts(self) -> int:
        """How often it had to be started again."""

    async def predict(self, columns: Columns, rows: int) -> Outputs:
        """Answer checked columns; raises Refused."""


class Application:
    """Answers any request; never raises.

    Attributes:
        private: what only the control socket can ask for, by path.
    """

    def __init__(
        self, model: Model, predictor: Predictor, log: AccessLog, environment: Mapping[str, str] | None = None
    ) -> None:
        self._model = model
        self._predictor = predictor
        self._log = log
        self._metrics = Metrics(model)
        self.private: dict[str, Callable[[], Awaitable[None]]] = {}
        self._routes: dict[tuple[str, str], Handler] = {}
        self._add_routes(environment or {})
        self._paths = {path for _, path in self._routes}

    async def answer(self, request: Request) -> Response:
        """Return the answer to a request, whatever it is, and note it in log and metrics."""
        if request.private and request.path in self.private:
            await self.private[request.path]()
            return Response(200, b"{}")
        started = time.perf_counter()
        self._metrics.in_flight += 1
        try:
            handler = self._handler(request)
            result = handler(request)
            response = result if isinstance(result, Response) else await result
        except Refused as refused:
            response = refusal(refused)
        except Exception:  # noqa: BLE001 - the border: a mistake of ours is logged, the client gets an id to ask about
            traceback.print_exc()
            response = refusal(Refused(500, f"the server made a mistake; its log tells more at request {request.id}"))
        finally:
            self._metrics.in_flight -= 1
        self.note(request, response, time.perf_counter() - started)
        return response

    def note(self, request: Request, response: Response, seconds: float) -> None:
        """Enter an answer in log and metrics; also for requests that were refused before they were read."""
        if not request.private:
            self._metrics.observe(request.path if request.path in self._paths else "other", response.status, seconds)
            self._log.write(request, response, seconds)

    def _handler(self, request: Request) -> Handler:
        method = "GET" if request.method == "HEAD" else request.method
        handler = self._routes.get((method, request.path))
        if handler is not None:
            return handler
        allowed = sorted(verb for verb, path in self._routes if path == request.path)
        if allowed:
            text = f"{request.path} takes {' and '.join(allowed)}, not {request.method}"
            raise Refused(405, text, headers=(("allow", ", ".join(allowed)),))
        raise Refused(404, f"there is no {request.path} here; this is model {self._model.name!r}, see /docs")

    def _add_routes(self, environment: Mapping[str, str]) -> None:
        model, post, get = self._model, self._post, self._get
        post(plain.contract(model), "/predict")
        get(self._health, "/healthz", "/v2/health/live")
        get(self._ready, "/readyz", "/v2/health/ready", "/ping")
        get(lambda _: _json({"name": "modelyard", "version": model.version, "extensions": []}), "/v2")
        for base in (f"/v2/models/{model.name}", f"/v2/models/{model.name}/versions/{model.version}"):
            get(lambda _: _json(inference.metadata(model)), base)
            get(self._ready, f"{base}/ready")
            post(inference.contract(model), f"{base}/infer")
        get(lambda _: _json({"models": [model.name]}), "/v1/models")
        for base in (f"/v1/models/{model.name}", f"/v1/models/{model.name}/versions/{model.version}"):
            get(self._v1_status, base)
            post(instances.tensorflow(model), f"{base}:predict")
        post(instances.mlflow(model), "/invocations")
        # Vertex AI says in the environment where it will ask.
        post(instances.tensorflow(model), *filter(None, [environment.get("AIP_PREDICT_ROUTE")]))
        get(self._ready, *filter(None, [environment.get("AIP_HEALTH_ROUTE")]))
        get(self._metrics_text, "/metrics")
        document, page, docs = pages.openapi(model), pages.facts(model), pages.docs(model)
        get(lambda _: Response(200, page, "text/html; charset=utf-8"), "/")
        get(lambda _: Response(200, docs, "text/html; charset=utf-8"), "/docs")
        get(lambda _: _json(document), "/openapi.json")

    def _get(self, handler: Handler, *paths: str) -> None:
        for path in paths:
            self._routes.setdefault(("GET", path), handler)

    def _post(self, contract: tuple[Parse, Render], *paths: str) -> None:
        parse, render = contract
        check, predictor, metrics = self._model.signature.check, self._predictor, self._metrics

        async def handler(request: Request) -> Response:
            call = parse(request)
            outputs = await predictor.predict(check(call.columns), call.rows)
            metrics.rows += call.rows
            return _json(render(call, outputs))

        for path in paths:
            self._routes[("POST", path)] = handler

    def _health(self, _request: Request) -> Response:
        return _json({"live": True})

    def _ready(self, _request: Request) -> Response:
        if not self._predictor.ready:
            raise Refused(503, "the model is being loaded", headers=(("retry-after", "1"),))
        return _json({"name": self._model.name, "ready": True})

    def _v1_status(self, _request: Request) -> Response:
        status = {"error_code": "OK", "error_message": ""}
        state = "AVAILABLE" if self._predictor.ready else "LOADING"
        entry = {"version": self._model.version, "state": state, "status": status}
        return _json({"name": self._model.name, "ready": self._predictor.ready, "model_version_status": [entry]})

    def _metrics_text(self, _request: Request) -> Response:
        predictor = self._predictor
        text = self._metrics.text(ready=predictor.ready, waiting=predictor.waiting, restarts=predictor.restarts)
        return Response(200, text.encode(), "text/plain; version=0.0.4; charset=utf-8")


def _json(value: JSON) -> Response:
    return Response(200, _encode(value))


def refusal(refused: Refused) -> Response:
    """Return the answer for a refused request: ``{"error": text, "problems": [...]}``."""
    body: JSON = {"error": refused.message}
    if refused.problems:
        body["problems"] = refused.problems
    return Response(refused.status, _encode(body), headers=refused.headers)
