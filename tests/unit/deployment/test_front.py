import json
from pathlib import Path

import pytest

from modelyard.deployment.docker import front


@pytest.fixture(autouse=True)
def _volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "FOLDER", tmp_path)
    monkeypatch.setattr(front, "STATE", tmp_path / "state.json")


def released(generation: int) -> None:
    front.change("take", str(generation))
    front.change("serve", str(generation), f"g{generation}")
    front.change("live", str(generation), json.dumps({"host": f"g{generation}"}))


def test_a_newer_generation_takes_over_at_any_moment():
    released(1)
    front.change("take", "2")
    front.change("serve", "2", "g2")
    taken = front.change("take", "3")
    assert taken == {"in_hand": 3, "serving": "g1", "live": {"host": "g1"}}, "what was not proven serves no more"
    for command, *arguments in (["serve", "2", "g2"], ["live", "2", "{}"], ["take", "2"]):
        assert front.change(command, *arguments) == {"newer": 3}
    assert front.read() == taken


def test_nobody_changes_what_he_has_not_taken():
    released(1)
    assert front.change("serve", "2", "g2") == {"newer": 1}
    assert front.read()["serving"] == "g1"


def test_the_same_again_is_no_other_state():
    released(1)
    before = front.read()
    released(1)
    assert front.read() == before
