"""What the server knows of its model: ``modelyard.json`` in the image, and the four values the deployment gives."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from modelyard.serving.messages import JSON, Columns
from modelyard.serving.signature import Signature

UNKNOWN = "unknown"
COMPILED = Path("compiled") / "model.onnx"  # beside modelyard.json, where the model is served compiled


@dataclass(frozen=True)
class Model:
    """The model of this process.

    Attributes:
        name, version, run_id, image_digest: as the deployment told; ``model`` and ``unknown`` when nobody did
            (``docker run`` alone): the image holds only what its content determines.
        description: ``modelyard.json`` as it is.
        golden: inputs recorded at training, as columns: warm-up and examples.
    """

    name: str
    version: str
    run_id: str
    image_digest: str
    description: JSON
    signature: Signature
    golden: Columns

    @property
    def profile(self) -> JSON:
        """How training's data were spread, by feature; empty when nothing is known of it."""
        profile: JSON = self.description.get("profile") or {}
        return profile

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """The headers that every answer carries."""
        return (
            ("modelyard-model-version", self.version),
            ("modelyard-run-id", self.run_id),
            ("modelyard-image-digest", self.image_digest),
        )

    def example(self, rows: int = 1) -> list[object]:
        """The first golden inputs, a row each, as ``POST /predict`` takes them."""
        return self.signature.rows_of({name: values[:rows] for name, values in self.golden.items()})


def read_model(folder: Path, environment: Mapping[str, str]) -> Model:
    """Read ``folder/modelyard.json``; raise ValueError or OSError with what is wrong with it."""
    # Python writes a missing number as NaN, which is no JSON for others.
    description = json.loads((folder / "modelyard.json").read_bytes(), parse_constant=lambda _: None)
    if description.get("format") != 1:
        raise ValueError(
            f"{folder}/modelyard.json has format {description.get('format')!r}; this server reads format 1"
        )
    signature = Signature.from_json(description["signature"])
    return Model(
        name=environment.get("MODELYARD_MODEL_NAME", "model"),
        version=environment.get("MODELYARD_MODEL_VERSION", UNKNOWN),
        run_id=environment.get("MODELYARD_RUN_ID", UNKNOWN),
        image_digest=environment.get("MODELYARD_IMAGE_DIGEST", UNKNOWN),
        description=description,
        signature=signature,
        golden=signature.columns_of(description["golden"]["inputs"]),
    )
