"""Each case in a Python of its own: what is tested is what an import does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

MAKE_RUN = """
ex = Experiment("e", interactive=True)
ex.main(lambda: None)
ex.main(lambda: None)
@ex.main
def main(): pass
for _ in range(2):
    run = ex._create_run("main")
print([type(observer).__name__ for observer in run.observers], ex._create_run("print_config").observers)
"""


def python(code: str, **variables: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MODELYARD_")}
    environment["HOME"] = "/nowhere"  # whoever runs this may have a store in theirs
    command = [sys.executable, "-W", "ignore", "-c", code]
    answer = subprocess.run(
        command, env={**environment, **variables}, capture_output=True, text=True, check=True, timeout=60
    )
    return answer.stdout.strip()


@pytest.mark.parametrize(
    "imports",
    [
        "import modelyard\nfrom sacred import Experiment",
        "from sacred import Experiment\nimport modelyard",
        "from modelyard.client.attach import install\ninstall(); from sacred import Experiment; install()",
    ],
)
def test_a_run_is_observed_whatever_is_imported_first(imports: str):
    assert python(imports + MAKE_RUN, MODELYARD_RELAY="/nowhere") == "['RelayObserver'] []"


def test_nothing_happens_where_nothing_is_configured():
    assert python("import modelyard\nfrom sacred import Experiment" + MAKE_RUN) == "[] []"


@pytest.mark.parametrize(
    ("folder", "variables"),
    [
        (".modelyard", {"HOME": "{}"}),
        ("elsewhere", {"MODELYARD_HOME": "{}/elsewhere"}),
        ("elsewhere", {"HOME": "{}", "MODELYARD_HOME": "~/elsewhere"}),
    ],
)
def test_a_run_is_observed_where_a_store_was_made_on_this_machine(
    tmp_path: Path, folder: str, variables: dict[str, str]
):
    named = {name: value.format(tmp_path) for name, value in variables.items()}
    code = "import modelyard\nmodelyard.client.laptop.recorder = lambda _: '/nowhere'\nfrom sacred import Experiment"
    code = code.replace("import modelyard\n", "import modelyard, modelyard.client.laptop\n") + MAKE_RUN
    assert python(code, **named) == "[] []"
    (tmp_path / folder / "mongo").mkdir(parents=True)
    (tmp_path / folder / "mongo" / "server.json").touch()
    assert python(code, **named) == "['RelayObserver'] []"


def test_the_import_is_quick_and_takes_nothing_along():
    # Measured inside, beyond what a bare interpreter takes to start; its own time, whatever else the machine does.
    code = (
        "import time, sys; before = set(sys.modules); start = time.process_time(); import modelyard; "
        "print(time.process_time() - start, 'sacred' in sys.modules)"
    )
    best = min(float(python(code, MODELYARD_MONGO_URI="mongodb://nowhere").split()[0]) for _ in range(3))
    assert best < 0.1
    assert python(code, MODELYARD_MONGO_URI="mongodb://nowhere").endswith("False")
