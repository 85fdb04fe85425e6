from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from modelyard.cli import main
from modelyard.store import Store


def test_it_tells_first_and_deletes_only_what_it_has_noted_before(store: Store, tmp_path: Path):
    file = store.artifacts.put_bytes(b"nothing refers to this", "file")
    environment = store.address.to_environment() | {"MODELYARD_HOME": str(tmp_path / "home")}

    def gc(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(main, ["gc", *arguments], env=environment)
        return result.exit_code, result.output

    code, told = gc()
    assert code == 0
    assert "can be deleted" in told
    assert "dry run" in told
    assert f"22 B  artifact sha256:{file.digest[7:19]}…: unreferenced, seen first now" in told
    assert store.condemned.since("artifact ") == {}
    code, told = gc("--delete")
    assert code == 0
    assert "less than 7d" in told
    assert list(store.condemned.since("artifact ")) == [f"artifact {file.digest}"]
    assert store.artifacts.exists(file.digest)
    code, told = gc("--delete", "--older-than", "10m")
    assert code == 65
    assert "at least 1h" in told
