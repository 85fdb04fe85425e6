"""The model as BentoML serves it: a service that ``bentoml serve`` starts, in BentoML's own environment."""

import os
from typing import Any

import bentoml  # type: ignore[import-not-found]  # installed in an environment of its own
import joblib
import pandas as pd

_BATCHING = os.environ["BENCHMARK_BATCHING"] == "1"


@bentoml.service(workers=1, traffic={"timeout": 60})
class Served:
    def __init__(self) -> None:
        self.model = joblib.load(os.environ["BENCHMARK_MODEL"])

    @bentoml.api(batchable=_BATCHING)  # type: ignore[untyped-decorator]
    def predict(self, rows: list[dict[str, Any]]) -> list[int]:
        """Answer rows, an object each."""
        labels: list[int] = self.model.predict(pd.DataFrame(rows)).tolist()
        return labels
