from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest

from modelyard.environments.own import own_lock
from modelyard.errors import EnvironmentBuildError

REPOSITORY = Path(__file__).parents[3]


def test_the_steps_packages_are_those_that_are_tested() -> None:
    lock = own_lock()

    pinned = {line.partition(" ")[0] for line in (REPOSITORY / "requirements.txt").read_text().splitlines()}
    assert {f"{pin.name}=={pin.version}" for pin in lock.requirements} <= pinned
    names = [pin.name for pin in lock.requirements]
    assert names == sorted(set(names))
    assert {"sacred", "uv", "numpy", "great-expectations"} <= set(names)
    assert not {"modelyard", "secantusdb"} & set(names)
    assert not [name for name in names if name.startswith("apache-airflow")]
    assert own_lock().digest == lock.digest


def test_a_package_that_is_not_here_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_sacred(name: str) -> Distribution:
        return distribution("no-such-package" if name == "sacred" else name)

    monkeypatch.setattr("modelyard.environments.own.distribution", without_sacred)
    with pytest.raises(EnvironmentBuildError, match="sacred, which Modelyard's steps need, is not installed here"):
        own_lock()
