from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from modelyard.client.data import log_data
from modelyard.client.observer import RelayObserver
from modelyard.client.relay import KeptFile


class Relay:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.text = ""
        self.sent: dict[str, Any] = {}

    def put(self, path: Path) -> KeptFile:
        self.text = path.read_text(encoding="utf-8")
        return KeptFile("sha256:0", len(self.text))

    def request(self, event: str, **content: Any) -> dict[str, Any]:
        self.sent = {"event": event, **content}
        return {}


@pytest.fixture
def relay() -> Relay:
    return Relay()


@pytest.fixture
def run(relay: Relay) -> Any:
    observer = RelayObserver(lambda: relay)  # type: ignore[arg-type,return-value]
    observer._relay = relay  # type: ignore[assignment]
    return SimpleNamespace(observers=[observer])


def test_a_frame_becomes_a_csv_that_reads_back(run: Any, relay: Relay):
    frame = pd.DataFrame({"name": ['say "hi"', None], "x": [0.1, 1e-300], "n": pd.array([1, None], dtype="Int64")})
    log_data(run, "houses", frame, role="train", target="x")
    assert list(csv.reader(relay.text.splitlines())) == [
        ["name", "x", "n"],
        ['say "hi"', "0.1", "1"],
        ["", "1e-300", ""],
    ]
    assert relay.sent["role"] == "train"
    assert relay.sent["target"] == "x"
    assert relay.sent["types"]["n"] == "Int64"


@pytest.mark.parametrize(
    ("frame", "text"),
    [
        ([{"a": 1}, {"b": "x"}], "a,b\n1,\n,x\n"),
        ({"a": np.array([1, 2]), "b": [True, False]}, "a,b\n1,True\n2,False\n"),
        (np.array([[1.5, 2.0]]), "x0,x1\n1.5,2.0\n"),
    ],
)
def test_other_tables_do_as_well(run: Any, relay: Relay, frame: Any, text: str):
    log_data(run, "data", frame, role="evaluation")
    assert relay.text == text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"name": "A b", "role": "train"}, "no name for data"),
        ({"name": "a", "role": "test"}, "say 'train' or 'evaluation'"),
        ({"name": "a", "role": "train", "target": "z"}, "no column 'z'"),
        ({"name": "a", "role": "train", "frame": 5}, "no table"),
        ({"name": "a", "role": "train", "frame": {"a": [1], "b": []}}, "shorter|longer"),
    ],
)
def test_what_cannot_be_is_refused(run: Any, relay: Relay, arguments: dict[str, Any], says: str):
    with pytest.raises(ValueError, match=says):
        log_data(run, **{"frame": [{"a": 1}], **arguments})
    assert not relay.sent


def test_without_a_store_nothing_is_kept():
    log_data(SimpleNamespace(observers=[]), "a", [{"a": 1}], role="train")
