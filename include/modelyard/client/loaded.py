"""A model that answers requests: where answers become JSON, at training time, in every check, and in the service."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from modelyard.client import flavors
from modelyard.client.inputs import arriving
from modelyard.client.plain import cells

JSON = dict[str, Any]

FACTS = "modelyard.json"


class LoadedModel:
    """A model, with the flavor that knows how to ask it and the signature of its rows."""

    def __init__(self, model: Any, flavor: flavors.Flavor, signature: JSON) -> None:
        self._model = model
        self._flavor = flavor
        self._signature = signature

    @classmethod
    def load(cls, folder: Path) -> LoadedModel:
        """Load a model directory. This runs the model's code: only ever in a project's own process."""
        facts = json.loads((folder / FACTS).read_bytes())
        flavor = flavors.named(facts["flavor"])
        return cls(flavor.load(folder, facts["files"]), flavor, facts["signature"])

    def answer(self, request: JSON) -> JSON:
        """Return the outputs for a request's rows as nested lists, by name.

        Args:
            request: ``{"columns": {name: [value, …]}}``, or ``{"tensor": {"data": …, "shape": […]}}``; ``outputs``
                beside it are the names of those that are wanted, when not all are. There may be more.
        """
        outputs = self._flavor.predict(self._model, arriving(request, self._signature), request.get("outputs"))
        return {name: cells(values) for name, values in outputs.items()}
