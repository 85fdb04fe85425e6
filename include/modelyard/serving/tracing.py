"""OpenTelemetry traces: a server span a request, sent as OTLP over HTTP in JSON to whoever collects them.

It is configured as every program with OpenTelemetry is (``OTEL_EXPORTER_OTLP_ENDPOINT`` and the others below), and
honors the ``traceparent`` of a request. Of our own, since the library would bring protobuf and an HTTP client into the
server's layer, and more work for a span than the whole answer of a compiled model takes. Loaded only when configured.
"""

from __future__ import annotations

import asyncio
import http.client
import random
import re
import ssl
import time
from collections.abc import Callable, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

import msgspec

import modelyard
from modelyard.serving.messages import JSON, Request, Response
from modelyard.serving.model import Model

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
_DELAY = 2.0  # seconds that a span waits for others
_AT_ONCE = 512  # spans in a message
_MOST_WAITING = 4096  # beyond that they are dropped, and counted: a collector that is away must not fill the memory
_TIMEOUT = 10.0
_SERVER, _ERROR = 2, 2  # SPAN_KIND_SERVER, STATUS_CODE_ERROR
_HEADERS = ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS")


@dataclass(frozen=True)
class TraceSettings:
    """Where spans go, and which.

    Attributes:
        headers: of each message; may hold a credential.
        parent_based: a request's own trace decides, where it has one.
        ratio: share of the others that is traced.
    """

    endpoint: str
    service: str
    attributes: Mapping[str, str]
    headers: Mapping[str, str] = field(repr=False)
    certificate: str | None
    parent_based: bool
    ratio: float

    @classmethod
    def taken_from(cls, environment: MutableMapping[str, str], model: Model) -> TraceSettings | None:
        """Read OpenTelemetry's variables; None when traces are not asked for.

        The headers are taken out of the environment, so that no process started later inherits what is in them.

        Raises:
            ValueError: one asks for what this server cannot do.
        """
        general, traces = (environment.pop(name, "") for name in _HEADERS)
        endpoint = environment.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "")
        if not endpoint and (base := environment.get("OTEL_EXPORTER_OTLP_ENDPOINT", "")):
            endpoint = f"{base.rstrip('/')}/v1/traces"
        disabled = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
        if not endpoint or disabled or environment.get("OTEL_TRACES_EXPORTER", "otlp") == "none":
            return None
        parts = urlsplit(endpoint)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("OTEL_EXPORTER_OTLP_ENDPOINT is no http:// or https:// address")
        protocol = environment.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environment.get(
            "OTEL_EXPORTER_OTLP_PROTOCOL", ""
        )
        if protocol == "grpc":
            raise ValueError("OTEL_EXPORTER_OTLP_PROTOCOL is grpc: give http/json and the collector's HTTP port, 4318")
        parent_based, ratio = _sampler(environment)
        attributes = _pairs(environment.get("OTEL_RESOURCE_ATTRIBUTES", ""))
        service = environment.get("OTEL_SERVICE_NAME") or attributes.get("service.name") or model.name
        certificate = environment.get("OTEL_EXPORTER_OTLP_CERTIFICATE")
        return cls(endpoint, service, attributes, _pairs(traces or general), certificate, parent_based, ratio)


class Span:
    """A request in a trace."""

    __slots__ = ("began", "parent", "trace")

    def __init__(self, trace: str, parent: str) -> None:
        self.trace = trace
        self.parent = parent
        self.began = time.time_ns()


class Tracer:
    """Begins and ends spans, and sends them by a thread of its own; no request ever waits for it."""

    def __init__(self, settings: TraceSettings, model: Model, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._say = say
        self._random = random.Random()  # noqa: S311 - ids, not secrets
        self._waiting: list[JSON] = []
        self._dropped = 0
        self._said = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._thread = ThreadPoolExecutor(1, "traces")
        self._sending = False
        facts = {
            **settings.attributes,
            "service.name": settings.service,
            "service.version": model.version,
            "modelyard.model": model.name,
            "modelyard.run_id": model.run_id,
            "modelyard.image_digest": model.image_digest,
        }
        self._resource = {"attributes": [_attribute(name, value) for name, value in facts.items()]}
        self._scope = {"name": "modelyard.serving", "version": modelyard.__version__}

    def begin(self, request: Request) -> Span | None:
        """Return the span of a request, None when it is not traced."""
        found = _TRACEPARENT.fullmatch(request.headers.get("traceparent", ""))
        if (
            found
            and found[1] != "ff"
            and int(found[2], 16)
            and int(found[3], 16)
            and (found[1] != "00" or not found[5])
        ):
            if self._settings.parent_based:
                return Span(found[2], found[3]) if int(found[4], 16) & 1 else None
            return Span(found[2], found[3]) if self._chosen() else None
        return Span(f"{self._random.getrandbits(128):032x}", "") if self._chosen() else None

    def end(self, span: Span, request: Request, response: Response, route: str) -> None:
        """Note the answer; the span goes with the next message."""
        if len(self._waiting) >= _MOST_WAITING:
            self._dropped += 1
            return
        attributes = [
            _attribute("http.request.method", request.method),
            _attribute("url.path", request.path),
            _attribute("http.route", route),
            {"key": "http.response.status_code", "value": {"intValue": str(response.status)}},
            _attribute("modelyard.request_id", request.id),
        ]
        noted: JSON = {
            "traceId": span.trace,
            "spanId": f"{self._random.getrandbits(64) or 1:016x}",
            "name": f"{request.method} {route}",
            "kind": _SERVER,
            "startTimeUnixNano": str(span.began),
            "endTimeUnixNano": str(time.time_ns()),
            "attributes": attributes,
        }
        if span.parent:
            noted["parentSpanId"] = span.parent
        if response.status >= 500:
            noted["status"] = {"code": _ERROR}
            attributes.append(_attribute("error.type", str(response.status)))
        self._waiting.append(noted)
        if len(self._waiting) >= _AT_ONCE:
            self._send()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_DELAY, self._send)

    async def stop(self) -> None:
        """Send what waits, as far as a few seconds allow."""
        deadline = time.monotonic() + _TIMEOUT / 2
        while (self._waiting or self._sending) and time.monotonic() < deadline:
            self._send()
            await asyncio.sleep(0.02)
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _chosen(self) -> bool:
        ratio = self._settings.ratio
        return ratio >= 1 or self._random.random() < ratio

    def _send(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._sending or not self._waiting:
            return
        spans, self._waiting = self._waiting[:_AT_ONCE], self._waiting[_AT_ONCE:]
        self._sending = True
        sent = asyncio.get_running_loop().run_in_executor(self._thread, self._post, spans)
        sent.add_done_callback(self._sent)

    def _sent(self, sent: asyncio.Future[str]) -> None:
        self._sending = False
        problem = "" if sent.cancelled() else sent.result()
        dropped, self._dropped = self._dropped, 0
        if (problem or dropped) and (not self._said or time.monotonic() - self._said > 60):
            self._said = time.monotonic()
            self._say(f"traces are lost: {problem or f'{dropped} spans more than could be sent'}")
        if self._waiting:
            self._timer = asyncio.get_running_loop().call_later(0 if not problem else _DELAY, self._send)

    def _post(self, spans: list[JSON]) -> str:
        """Send spans; return why they could not be: runs in the thread."""
        message = {
            "resourceSpans": [{"resource": self._resource, "scopeSpans": [{"scope": self._scope, "spans": spans}]}]
        }
        parts = urlsplit(self._settings.endpoint)
        where = f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
        connection: http.client.HTTPConnection
        try:
            if parts.scheme == "https":
                context = ssl.create_default_context(cafile=self._settings.certificate)
                connection = http.client.HTTPSConnection(
                    parts.hostname or "", parts.port, timeout=_TIMEOUT, context=context
                )
            else:
                connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_TIMEOUT)
            try:
                headers = {"content-type": "application/json", **self._settings.headers}
                connection.request("POST", parts.path or "/", msgspec.json.encode(message), headers)
                status = connection.getresponse().status
            finally:
                connection.close()
        except (OSError, http.client.HTTPException) as error:
            return f"{where} cannot be reached: {error or type(error).__name__}"
        return "" if status < 300 else f"{where} answers with status {status}"


def _sampler(environment: Mapping[str, str]) -> tuple[bool, float]:
    name = environment.get("OTEL_TRACES_SAMPLER", "parentbased_always_on")
    kind = name.removeprefix("parentbased_")
    ratios = {"always_on": 1.0, "always_off": 0.0}
    if kind == "traceidratio":
        try:
            ratio = float(environment.get("OTEL_TRACES_SAMPLER_ARG", "1"))
        except ValueError:
            ratio = -1.0
        if not 0 <= ratio <= 1:
            raise ValueError("OTEL_TRACES_SAMPLER_ARG is no number between 0 and 1")
        return name != kind, ratio
    if kind not in ratios:
        raise ValueError(
            f"OTEL_TRACES_SAMPLER is {name!r}: give always_on, always_off or traceidratio, parentbased_ or not"
        )
    return name != kind, ratios[kind]


def _pairs(text: str) -> dict[str, str]:
    """Read ``a=1,b=2``, percent-encoded, as OpenTelemetry's variables are written."""
    pairs = (pair.partition("=") for pair in text.split(","))
    return {unquote(name.strip()): unquote(value.strip()) for name, equals, value in pairs if equals}


def _attribute(name: str, value: str) -> JSON:
    return {"key": name, "value": {"stringValue": value}}
