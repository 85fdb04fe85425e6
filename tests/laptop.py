"""A person's own virtual environment for a project, and the store's address in the shell."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.fixtures_machine import REPOSITORY
from uv import find_uv_bin

from modelyard.environments import read_lock
from modelyard.store import StoreAddress


@dataclass(frozen=True)
class Laptop:
    """Trains a project by plain `python train.py`.

    Attributes:
        bin: of an environment of just what is locked, and the client as `pip install` makes it of this repository.
    """

    address: StoreAddress
    project: Path
    bin: Path

    @classmethod
    def made(cls, address: StoreAddress, project: Path, lock: str, folder: Path) -> Laptop:
        """Make the environment of a project's lock, in a new folder."""
        command = [find_uv_bin(), "venv", "--quiet", "--python", sys.executable, str(folder / "venv")]
        subprocess.run(command, check=True)
        laptop = cls(address, project, folder / "venv" / "bin")
        requirements = folder / "requirements.txt"
        requirements.write_text(read_lock(project / lock).to_requirements())
        laptop.install("--require-hashes", "--requirement", str(requirements))
        package = folder / "package"  # a build writes beside its sources
        shutil.copytree(REPOSITORY / "include" / "modelyard", package / "include" / "modelyard")
        for name in ("pyproject.toml", "README.md"):
            shutil.copy(REPOSITORY / name, package)
        laptop.install(str(package))
        return laptop

    def install(self, *arguments: str) -> None:
        """Install packages, and nothing that they ask for."""
        command = [find_uv_bin(), "pip", "install", "--quiet", "--no-deps", "--python", str(self.bin / "python")]
        subprocess.run([*command, *arguments], check=True)

    def train(self, *updates: str) -> str:
        """Run ``python train.py with …`` and return what it says last."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MODELYARD_")}
        environment |= self.address.to_environment()
        # As after `activate`; the command that records runs is in an environment of its own.
        environment["PATH"] = os.pathsep.join([str(self.bin), str(Path(sys.executable).parent), "/usr/bin", "/bin"])
        command = ["python", "train.py", *(["with", *updates] if updates else [])]
        done = subprocess.run(command, cwd=self.project, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stderr.splitlines()[-1]
