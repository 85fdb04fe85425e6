"""The list of settings is what the server's code reads."""

from __future__ import annotations

import re
from pathlib import Path

from modelyard import serving
from modelyard.serving.settings import SETTINGS

FACTS = {"MODELYARD_MODEL_NAME", "MODELYARD_MODEL_VERSION", "MODELYARD_RUN_ID", "MODELYARD_IMAGE_DIGEST"}


def test_all_that_the_server_reads_is_listed_and_no_more() -> None:
    read: set[str] = set()
    for module in Path(serving.__path__[0]).rglob("*.py"):
        if module.name != "settings.py":
            read |= set(re.findall(r'"((?:AIP|MODELYARD|OTEL)(?:_[A-Z]+)+)"', module.read_text()))
    assert read - FACTS == set(SETTINGS)
