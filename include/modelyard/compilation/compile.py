"""From a model to its compiled form, or to the reason why it is served as it is."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelyard.client import convert
from modelyard.client.child import confined, environment, given
from modelyard.client.scorer import Scorer, ScorerError
from modelyard.compilation.parity import difference
from modelyard.compilation.transcript import Transcript
from modelyard.deployment.smoke import TOLERANCE
from modelyard.validation.scoring import ModelError

JSON = dict[str, Any]

FILE = "model.onnx"
_CONVERSION_SECONDS = 900


@dataclass(frozen=True)
class Compilation:
    """What became of it.

    Attributes:
        folder: holds the compiled model, for the model directory's ``compiled``; None: the model is served as it is.
        rows: on which it was compared with the model.
        why: it is not used, as a sentence; "" when it is.
    """

    folder: Path | None
    rows: int
    why: str = ""

    def sentence(self) -> str:
        """Return it for people."""
        if self.folder is None:
            return f"Served as it is: {self.why}"
        return (
            f"Served compiled (ONNX): it answers {self.rows:,} rows as the model does, within {TOLERANCE}. Among them "
            "are missing values, texts never seen and numbers from 5e-324 to ±1e300, where it takes these; numbers "
            "beyond 3.4e38 it may refuse."
        )

    def to_json(self) -> JSON:
        """Return it as the report keeps it."""
        return {"used": self.folder is not None, "rows": self.rows, "why": self.why, "sentence": self.sentence()}


@dataclass(frozen=True)
class Converter:
    """Where a model is converted: its project's process.

    Attributes:
        python: the interpreter of the project's environment.
        code: folders to import from: the client's, the project's.
        packages: the folder of the converters.
        server: the interpreter of the server's environment, which a compiled model will be run by.
        hidden: files and folders that none of these processes shall read.
    """

    python: Path
    code: Sequence[Path]
    packages: Path
    server: Path
    hidden: Sequence[Path]


def compile_model(
    model: Path, transcript: Transcript, where: Converter, workdir: Path, log: Callable[[str], None]
) -> Compilation:
    """Convert a model, and compare each of its forms with what the model answered, until one is equal.

    Args:
        model: the model directory.
        transcript: what the model itself was asked and answered: golden and evaluation rows.
        where: it is done.
        workdir: an empty folder; the compiled model is in it.
        log: given a line now and then.
    """
    forms, why = _convert(model, where, workdir)
    for form in forms:
        folder = workdir / form
        (folder / "compiled").mkdir(parents=True)
        shutil.copyfile(model / "modelyard.json", folder / "modelyard.json")
        shutil.move(workdir / f"{form}.onnx", folder / "compiled" / FILE)
        found = compare(folder, transcript, where, workdir / f"home-{form}")
        if not found:
            return Compilation(folder / "compiled", transcript.rows)
        log(f"Compiled with numbers as {form}, it {found}")
        why = why or f"compiled, it {found}."
    return Compilation(None, transcript.rows, why)


def _convert(model: Path, where: Converter, workdir: Path) -> tuple[list[str], str]:
    """Return the forms that are there, and why there is none."""
    home = workdir / "home"
    home.mkdir(parents=True)
    command: list[str | Path] = [where.python, "-P", "-m", "modelyard.client.convert", model, workdir, where.packages]
    try:
        done = subprocess.run(
            confined(command, hidden=where.hidden),
            env=environment(where.python, home, code=where.code) | given(),
            stdin=subprocess.DEVNULL,
            check=False,
            timeout=_CONVERSION_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return [], f"its conversion took longer than {_CONVERSION_SECONDS // 60} minutes."
    try:
        result = json.loads((workdir / convert.RESULT).read_bytes())
        forms, why = [form for form in convert.FORMS if form in result["forms"]], str(result["why"])
    except (OSError, ValueError, KeyError, TypeError):
        return [], f"its conversion ended with exit code {done.returncode} and no result; its words are in the log."
    return forms, f"{why}." if why else ""


def compare(folder: Path, transcript: Transcript, where: Converter, home: Path) -> str:
    """Return how a compiled model differs from the model, "" when it doesn't; asked through the server's own code.

    Args:
        folder: a model directory with the compiled model in it.
        transcript: of the model itself.
        where: the server's environment is.
        home: a folder that does not exist yet, for the process.
    """
    home.mkdir()
    variables = environment(where.server, home, code=[])
    with Scorer(where.server, folder, variables, where.hidden, "modelyard.serving.compiled") as scorer:

        def ask(request: JSON) -> JSON:
            try:
                return scorer.ask(request)
            except ScorerError as error:
                raise ModelError(str(error)) from error

        return difference(transcript, ask)
