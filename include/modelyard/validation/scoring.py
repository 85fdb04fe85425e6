"""One model on one evaluation data set: asked for every row, in order, and scored."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from modelyard.store.records import DataFingerprint
from modelyard.validation import tables
from modelyard.validation.metrics import Answers, Score, Task, scores

JSON = dict[str, Any]
# Takes a worker's request and returns the outputs by name, or raises ModelError.
Ask = Callable[[JSON], JSON]

_ROWS_AT_ONCE = 1000
_PROGRESS_SECONDS = 5.0


class ModelError(Exception):
    """A model did not answer: it cannot be reached, refuses the rows, or fails on them. What, as a sentence."""


@dataclass(frozen=True)
class Model:
    """A model that can be asked, and what it says of itself.

    Attributes:
        ask: of the process or server that has it loaded.
        signature, task, classes: as in its ``modelyard.json``.
    """

    ask: Ask
    signature: JSON
    task: Task | None
    classes: Sequence[Any] | None

    @classmethod
    def described(cls, facts: JSON, ask: Ask) -> Self:
        """Return a model with what its ``modelyard.json`` says."""
        return cls(ask, facts["signature"], facts["task"], facts["classes"])


@dataclass(frozen=True)
class Scored:
    """A model's scores on one data set.

    Attributes:
        scores: by metric; empty when the model could not be scored at all.
        answers: for the report's pictures; None when it could not be scored.
        why: why not, as a sentence; "" otherwise.
    """

    data: str
    scores: dict[str, Score]
    answers: Answers | None = None
    why: str = ""


def score_on(
    data: DataFingerprint, path: Path, model: Model, metrics: Sequence[str], log: Callable[[str], None]
) -> Scored:
    """Ask a model for every row of a data set and score its answers.

    A data set that cannot be used, or a model that does not answer, gives a ``Scored`` that says so: the gates that
    need it fail, and the report shows all the rest.

    Args:
        data: the data set; its target column is what is true.
        path: its file.
        model: who is asked.
        metrics: those that gates ask for, beside the task's own.
        log: told of the progress through many rows.
    """
    try:
        answers = _answers(data, path, model, log)
    except tables.TableError as error:
        return Scored(data.name, {}, why=f"data set '{data.name}' cannot be scored: {error}")
    except ModelError as error:
        return Scored(data.name, {}, why=str(error))
    return Scored(data.name, scores(answers, model.task, metrics), answers)


def _answers(data: DataFingerprint, path: Path, model: Model, log: Callable[[str], None]) -> Answers:
    text = tables.text_columns(model.signature)
    output = model.signature["outputs"][0]
    if output["datatype"] == "BYTES" and data.target is not None:
        text.add(data.target)
    frame = tables.read_table(path, data.format, text)
    truth = tables.target_column(frame, data.target)
    prediction: list[Any] = []
    probability: list[Any] = []
    told = time.monotonic()
    for request in tables.requests(frame, model.signature, str(data.target), _ROWS_AT_ONCE):
        outputs = model.ask(request)
        if output["name"] not in outputs:
            raise ModelError(f"it answered {', '.join(outputs)}, and no '{output['name']}'")
        prediction += outputs[output["name"]]
        probability += outputs.get("probability", [])
        if time.monotonic() - told > _PROGRESS_SECONDS:
            told = time.monotonic()
            log(f"{data.name}: {len(prediction):,} of {len(frame):,} rows")
    if len(prediction) != len(truth):
        raise ModelError(f"it answered {len(prediction)} of {len(truth)} rows")
    return Answers(truth, prediction, probability or None, model.classes)
