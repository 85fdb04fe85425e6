from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard.client import packages


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    packages.installed.cache_clear()
    yield
    packages.installed.cache_clear()


def install(folder: Path, name: str, version: str) -> None:
    metadata = folder / f"{name}-{version}.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def test_what_is_imported_counts_by_its_normal_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for number, version in (("one", "1.0"), ("two", "2.0")):
        install(tmp_path / number, "Some.Odd_Name", version)
    vendored = tmp_path / "setuptools" / "_vendor"
    install(vendored, "zipp", "3.0")
    install(tmp_path / "two", "modelyard", "0.1.0")
    monkeypatch.setattr("sys.path", [str(tmp_path / "one"), str(tmp_path / "two"), str(vendored)])
    assert packages.installed() == {"some-odd-name": "1.0"}
