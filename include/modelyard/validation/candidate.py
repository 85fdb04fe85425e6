"""The new version, loaded in the project's own environment by the project's own process."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from modelyard.client.child import environment, given, lay_client
from modelyard.client.loaded import FACTS
from modelyard.client.scorer import Scorer, ScorerError
from modelyard.errors import GateFailed
from modelyard.validation.scoring import Model, ModelError

JSON = dict[str, Any]


@contextmanager
def loaded(python: Path, model: Path, project: Path, hidden: Sequence[Path], workdir: Path) -> Iterator[Model]:
    """Hold the model loaded while the block runs.

    Args:
        python: the interpreter of the project's environment.
        model: the model directory.
        project: the project's folder, whose code the model may refer to.
        hidden: files and folders that the process shall not read.
        workdir: for what the process needs; gone with the step.

    Raises:
        GateFailed: the version has no description to be judged by.
    """
    try:
        facts = json.loads((model / FACTS).read_bytes())
    except FileNotFoundError as error:
        raise GateFailed(
            "This version's model does not say what goes in and what comes out",
            "save it with modelyard.log_model(_run, model, example=…), and train again",
        ) from error
    home = workdir / "candidate"
    home.mkdir()
    code = [lay_client(workdir / "client"), project]
    with Scorer(python, model, environment(python, home, code=code) | given(), hidden) as scorer:

        def ask(request: JSON) -> JSON:
            try:
                return scorer.ask(request)
            except ScorerError as error:
                raise ModelError(str(error)) from error

        yield Model.described(facts, ask)
