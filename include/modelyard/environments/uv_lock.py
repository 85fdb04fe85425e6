"""``uv.lock``: read by uv itself, from the project's folder, where its pyproject.toml lies beside it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from modelyard.environments import requirements
from modelyard.environments.lock import Parsed
from modelyard.errors import Problem


def read(path: Path) -> Parsed:
    """Read what ``uv sync --no-dev`` would install; the project itself is code, not a package of the environment."""
    import tomllib

    from uv import find_uv_bin

    if not (path.parent / "pyproject.toml").is_file():
        remedy = "commit pyproject.toml beside it, or export it: uv export --format pylock.toml -o pylock.toml"
        return Parsed((), (Problem(path.name, None, "", "it can't be read without its pyproject.toml", remedy),))
    exported = subprocess.run(
        [
            *(find_uv_bin(), "export", "--frozen", "--offline", "--no-emit-project", "--no-dev"),
            *("--no-annotate", "--no-header", "--format", "requirements.txt"),
        ],
        cwd=path.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    if exported.returncode:
        said = exported.stderr.strip().removeprefix("error: ")
        return Parsed((), (Problem(path.name, None, "", f"uv can't read it: {said}", "write it anew by `uv lock`"),))
    parsed = requirements.parse(exported.stdout, path.name)
    # Line numbers are those of the export, which nobody sees.
    problems = tuple(Problem(path.name, None, "", found.message, found.remedy) for found in parsed.problems)
    python = tomllib.loads(path.read_text("utf-8")).get("requires-python")
    return Parsed(parsed.pins, problems, None if python is None else re.sub(r"\s", "", str(python)))
