"""From a request to its answer: the routes, and the chain parse → check → predict → render of each contract."""

from __future__ import annotations

import time
import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Protocol

import modelyard
from modelyard.serving import openapi, pages
from modelyard.serving.access_log import AccessLog
from modelyard.serving.aside import MOST_AT_ONCE, Aside
from modelyard.serving.board import Board
from modelyard.serving.contracts import feedback, inference, instances, invocations, plain
from modelyard.serving.limits import Limits
from modelyard.serving.messages import (
    Call,
    Columns,
    Contract,
    Handler,
    Outputs,
    Refused,
    Request,
    Response,
    Wanted,
    in_json,
    refusal,
)
from modelyard.serving.metrics import Metrics
from modelyard.serving.model import Model
from modelyard.serving.prediction_log import PredictionLog
from modelyard.serving.tokens import Tokens

if TYPE_CHECKING:  # loaded only when it is configured
    from modelyard.serving.tracing import Tracer

_WHO = "www-authenticate"

_LIVE = ("/healthz", "/v2/health/live")
_READY = ("/readyz", "/v2/health/ready", "/ping", "/health")
_PROBES = frozenset((*_LIVE, *_READY))


class Predictor(Protocol):
    """Whatever runs the model: a pool of worker processes, or a compiled model."""

    @property
    def ready(self) -> bool:
        """It can answer now."""

    @property
    def restarts(self) -> int:
        """How often it had to be started again."""

    async def predict(self, columns: Columns, rows: int, wanted: Wanted) -> Outputs:
        """Answer checked columns with the wanted outputs (None: all), or with more; raises Refused."""


class Application:
    """Answers any request; never raises.

    Attributes:
        private: what only the control socket can ask for, by path.
    """

    def __init__(
        self,
        model: Model,
        predictor: Predictor,
        log: AccessLog,
        environment: Mapping[str, str] | None = None,
        metrics: Metrics | None = None,
        tokens: Tokens | None = None,
        limits: Limits | None = None,
        tracer: Tracer | None = None,
        predictions: PredictionLog | None = None,
    ) -> None:
        self._tracer = tracer
        environment = environment or {}
        self.limits = limits or Limits()
        self._tokens = tokens or Tokens()
        self._model = model
        self._predictor = predictor
        self._log = log
        self._predictions = predictions
        self._metrics = metrics or Metrics(model, Board())
        self._aside = Aside()
        self.private: dict[str, Callable[[], Awaitable[None]]] = {}
        self._routes: dict[tuple[str, str], Handler] = {}
        self._add_routes(environment)
        self._open = _open_routes(model, environment)
        self._metrics.add_routes({path for _, path in self._routes})

    async def answer(self, request: Request) -> Response:
        """Return the answer to a request, whatever it is, and note it in log and metrics."""
        if request.private and request.path in self.private:
            await self.private[request.path]()
            return Response(200, b"{}")
        started = time.perf_counter()
        span = None if self._tracer is None else self._tracer.begin(request)
        self._metrics.begun()
        try:
            if self._tokens.demanded:
                self._admit(request)
            handler = self._handler(request)
            result = handler(request)
            response = result if isinstance(result, Response) else await result
        except Refused as refused:
            response = refusal(refused)
        except Exception:  # noqa: BLE001 - the border: a mistake of ours is logged, the client gets an id to ask about
            traceback.print_exc()
            response = refusal(Refused(500, f"the server made a mistake; its log tells more at request {request.id}"))
        finally:
            self._metrics.ended()
        self.note(request, response, time.perf_counter() - started)
        if span is not None and self._tracer is not None and not request.private:
            self._tracer.end(span, request, response, self._metrics.route(request.path))
        return response

    def note(self, request: Request, response: Response, seconds: float) -> None:
        """Enter an answer in log and metrics; also for requests that were refused before they were read."""
        if not request.private:
            self._metrics.observe(request.path, response.status, seconds)
            # Probes come every second: of those that find it well there is nothing to read but their number.
            if response.status != 200 or request.path not in _PROBES:
                self._log.write(request, response, seconds)

    def _admit(self, request: Request) -> None:
        if (request.method, request.path) in self._open or request.private:
            return
        if not (given := request.headers.get("authorization", "")):
            challenge = 'Bearer realm="modelyard"'
            raise Refused(401, "a token is asked for here: Authorization: Bearer TOKEN", headers=((_WHO, challenge),))
        if not self._tokens.admit(given):
            challenge = 'Bearer realm="modelyard", error="invalid_token"'
            raise Refused(401, "this server knows no such token", headers=((_WHO, challenge),))

    def _handler(self, request: Request) -> Handler:
        method = "GET" if request.method == "HEAD" else request.method
        handler = self._routes.get((method, request.path))
        if handler is not None:
            return handler
        allowed = sorted(verb for verb, path in self._routes if path == request.path)
        if allowed:
            if "GET" in allowed:
                allowed.insert(allowed.index("GET") + 1, "HEAD")
            text = f"{request.path} takes {' and '.join(allowed)}, not {request.method}"
            raise Refused(405, text, headers=(("allow", ", ".join(allowed)),))
        raise Refused(404, f"there is no {request.path} here; this is model {self._model.name!r}, see /docs")

    def _add_routes(self, environment: Mapping[str, str]) -> None:
        model, post, get = self._model, self._post, self._get
        tensorflow = instances.contract(model)
        post(plain.contract(model), "/predict")
        post(plain.query(model), "/queries.json")
        get(lambda _: in_json({"live": True}), *_LIVE)
        get(self._ready, *_READY)
        get(lambda _: Response(200, modelyard.__version__.encode(), "text/plain; charset=utf-8"), "/version")
        server = {"name": "modelyard", "version": modelyard.__version__, "extensions": inference.EXTENSIONS}
        get(lambda _: in_json(server), "/v2", "/v2/")
        for base in (f"/v2/models/{model.name}", f"/v2/models/{model.name}/versions/{model.version}"):
            get(lambda _: in_json(inference.metadata(model)), base)
            get(self._ready, f"{base}/ready")
            post(inference.contract(model), f"{base}/infer")
        get(lambda _: in_json({"models": [model.name]}), "/v1/models")
        for base in (f"/v1/models/{model.name}", f"/v1/models/{model.name}/versions/{model.version}"):
            get(self._v1_status, base)
            get(lambda _: in_json(instances.metadata(model)), f"{base}/metadata")
            post(tensorflow, f"{base}:predict")
        post(invocations.mlflow(model), "/invocations")
        post(invocations.azure(model), "/score")
        self._routes[("POST", "/feedback")] = feedback.truth(model, self._predictions)
        self._routes[("POST", "/events.json")] = feedback.event(model, self._predictions)
        get(self._metrics_text, "/metrics")
        closed = self._tokens.demanded  # then nobody can be known by a browser's first request
        document = openapi.document(model, environment, feedback=self._predictions is not None)
        page, docs = pages.facts(model), pages.docs(model, document)
        get(lambda request: _page_or_healthy(request, None if closed else page), "/")
        get(lambda _: Response(200, docs, "text/html; charset=utf-8"), "/docs")
        get(lambda _: in_json(document), "/openapi.json")
        # Vertex AI says in the environment where it will ask, and what it finds there must be its own contract.
        post(tensorflow, *filter(None, [environment.get("AIP_PREDICT_ROUTE")]))
        get(self._ready, *filter(None, [environment.get("AIP_HEALTH_ROUTE")]))

    def _get(self, handler: Handler, *paths: str) -> None:
        for path in paths:
            self._routes[("GET", path)] = handler

    def _post(self, contract: Contract, *paths: str) -> None:
        parse, render, refuse = contract.parse, contract.render, contract.refuse
        check, predictor, metrics, aside = self._model.signature.check, self._predictor, self._metrics, self._aside
        note = None if self._predictions is None else self._predictions.note

        def read(request: Request) -> tuple[Call, Columns]:
            call = parse(request)
            return call, call.columns if call.checked else check(call.columns)

        async def handler(request: Request) -> Response:
            began = time.perf_counter()
            long = len(request.body) > MOST_AT_ONCE
            try:
                call, columns = await aside.run(read, request) if long else read(request)
                outputs = await predictor.predict(columns, call.rows, call.outputs if note is None else None)
                metrics.predicted(columns, call.rows)
                response = await aside.run(render, call, outputs) if long else render(call, outputs)
            except Refused as refused:
                return refuse(refused)
            if note is not None:
                note(request, columns, call.rows, outputs, time.perf_counter() - began)
            return response

        for path in paths:
            self._routes[("POST", path)] = handler

    def _ready(self, _request: Request) -> Response:
        if not self._predictor.ready:
            raise Refused(503, "the model is being loaded", headers=(("retry-after", "1"),))
        return in_json({"name": self._model.name, "live": True, "ready": True})

    def _v1_status(self, _request: Request) -> Response:
        status = {"error_code": "OK", "error_message": ""}
        state = "AVAILABLE" if self._predictor.ready else "LOADING"
        entry = {"version": self._model.version, "state": state, "status": status}
        return in_json({"name": self._model.name, "ready": self._predictor.ready, "model_version_status": [entry]})

    def _metrics_text(self, _request: Request) -> Response:
        predictor = self._predictor
        text = self._metrics.text(ready=predictor.ready, restarts=predictor.restarts)
        if self._predictions is not None:
            text += "\n".join(self._predictions.metrics()) + "\n"
        return Response(200, text.encode(), "text/plain; version=0.0.4; charset=utf-8")


def _open_routes(model: Model, environment: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    """Return what is answered without a token: what platforms ask to learn whether the server lives, and no more.

    By method too, as Vertex AI may ask for predictions where it, or another platform, looks for life.
    """
    paths = (
        *("/", *_PROBES),
        f"/v2/models/{model.name}/ready",
        f"/v2/models/{model.name}/versions/{model.version}/ready",
        *filter(None, [environment.get("AIP_HEALTH_ROUTE")]),
        *(["/metrics"] if environment.get("MODELYARD_OPEN_METRICS", "").lower() in {"1", "true"} else []),
    )
    return frozenset((method, path) for method in ("GET", "HEAD") for path in paths)


def _page_or_healthy(request: Request, page: bytes | None) -> Response:
    """Return the page to a browser; to anything else that Azure ML's probes expect of ``/``: the word."""
    if page is not None and "text/html" in request.headers.get("accept", ""):
        return Response(200, page, "text/html; charset=utf-8")
    return Response(200, b"Healthy", "text/plain; charset=utf-8")
