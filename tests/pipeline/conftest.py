"""The whole line without Airflow."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from dulwich import porcelain
from tests.pipeline.tiny import make_tiny
from tests.sharing import shared_folder
from tests.yard import EXAMPLES, Yard, commit

from modelyard.deployment.local import stop_all
from modelyard.environments import ensure, read_lock
from modelyard.images.layout import Layout
from modelyard.store import StoreAddress


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run builds once: images of environments, their unpacked folders, uv's cache."""
    home = shared_folder(tmp_path_factory, "built")
    images = Layout(home / "images")
    ensure(read_lock(EXAMPLES / "wine" / "Pipfile.lock"), images, home, print)  # the houses' too
    return home


@pytest.fixture
def yard(store_address: StoreAddress, tmp_path: Path, built: Path) -> Iterator[Yard]:
    """A yard whose services end with the test; of environments it has the run's."""
    home = tmp_path / "home"
    shutil.copytree(built / "images", home / "images", copy_function=os.link)
    for shared in ("cache", "environments"):
        (built / shared).mkdir(exist_ok=True)
        (home / shared).symlink_to(built / shared)
    yield Yard(replace(store_address, registry=f"oci:{home / 'images'}"), home)
    stop_all(home)


@pytest.fixture
def project(tmp_path: Path) -> Callable[[str], Path]:
    """Copy an example into a Git repository of its own, committed, and return its folder."""

    def make(name: str) -> Path:
        folder = tmp_path / name
        shutil.copytree(EXAMPLES / name, folder)
        porcelain.init(folder)
        commit(folder)
        return folder

    return make


@pytest.fixture
def tiny(yard: Yard, tmp_path: Path) -> Path:
    """The smallest project, in a Git repository of its own, committed."""
    return make_tiny(tmp_path / "tiny", yard.home)
