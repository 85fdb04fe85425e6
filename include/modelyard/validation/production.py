"""The version in production, asked through its own image's server beside the step."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from typing import Any

from modelyard.errors import Unavailable
from modelyard.validation.scoring import ModelError

JSON = dict[str, Any]

_READY_SECONDS = 120.0
_ANSWER_SECONDS = 120.0


class Production:
    """A model server at ``address``; its answers come in the same form as a worker's.

    Args:
        address: base URL, ``http://127.0.0.1:40111``.
        version: the version it must be.
        ready_seconds: how long it may take to start.
    """

    def __init__(self, address: str, version: int, ready_seconds: float = _READY_SECONDS) -> None:
        self._address = address.rstrip("/")
        self._version = version
        self._ready_seconds = ready_seconds
        # It runs beside the step, always: a proxy for the outer world has no part in this.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def wait_until_ready(self) -> None:
        """Return once the server is ready; raise ModelError when it never is."""
        deadline = time.monotonic() + self._ready_seconds
        while True:
            try:
                with self._opener.open(f"{self._address}/readyz", timeout=5):
                    return
            except urllib.error.HTTPError as error:
                found = f"answers {error.code}"
                error.close()
            except (OSError, http.client.HTTPException) as error:
                found = f"cannot be reached ({error})"
            if time.monotonic() > deadline:
                raise ModelError(f"its server {found} after {self._ready_seconds:.0f} s")
            time.sleep(0.2)

    def ask(self, request: JSON) -> JSON:
        """Return the outputs by name for the rows of a request.

        Args:
            request: ``{"columns": {name: [value, …]}}`` or ``{"tensor": {"data": …, "shape": […]}}``.

        Raises:
            ModelError: it cannot be reached, refuses or fails, or answers other rows.
            Unavailable: another version answers: production changed since this step was started.
        """
        if "tensor" in request:
            rows = request["tensor"]["data"]
        else:
            columns = request["columns"]
            rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        answer = self._post("/predict", {"rows": rows})
        predictions, version = answer.get("predictions"), answer.get("model_version")
        if version is not None and str(version) != str(self._version):
            raise Unavailable(
                f"Version {version} answers beside this step, and version {self._version} is in production by now",
                "nothing: the next try compares with the new one",
            )
        if not isinstance(predictions, list) or len(predictions) != len(rows):
            raise ModelError(f"its server did not answer {len(rows)} rows with {len(rows)} predictions")
        if any(not isinstance(one, dict) or one.keys() != predictions[0].keys() for one in predictions):
            raise ModelError("its server's predictions have not the same outputs")
        return {name: [prediction[name] for prediction in predictions] for name in predictions[0]}

    def _post(self, path: str, body: JSON) -> JSON:
        request = urllib.request.Request(  # noqa: S310 - the address is the one this step was started with
            self._address + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        try:
            with self._opener.open(request, timeout=_ANSWER_SECONDS) as response:
                answer = json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                told = error.read(500).decode(errors="replace")
            raise ModelError(f"its server answers {error.code}: {told}") from error
        except (OSError, http.client.HTTPException) as error:
            raise ModelError(f"its server cannot be reached: {error}") from error
        except ValueError as error:
            raise ModelError("its server's answer is no JSON") from error
        if not isinstance(answer, dict):
            raise ModelError("its server's answer is no JSON object")
        return answer
