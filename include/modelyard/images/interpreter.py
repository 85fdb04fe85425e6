"""The Python that an environment's packages run on: what makes a folder of packages a virtual environment."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

from modelyard.images.layer import Entry

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Interpreter:
    """A Python outside of any virtual environment.

    Attributes:
        executable: absolute path, on the machine or in the base image.
        version: ``3.11.7``.
        platform: ``linux/amd64``.
    """

    executable: Path
    version: str
    platform: str

    @classmethod
    def of_this_machine(cls) -> Interpreter:
        """Return the interpreter this process runs on, below its virtual environment."""
        machine = platform.machine()
        executable = getattr(sys, "_base_executable", sys.executable)
        return cls(Path(executable), platform.python_version(), f"linux/{_MACHINES.get(machine, machine)}")

    @property
    def python(self) -> str:
        """``3.11``: what packages and byte code depend on."""
        return ".".join(self.version.split(".")[:2])

    def entries(self, prefix: str) -> list[Entry]:
        """Return what has to be laid beside the packages at ``prefix`` to run them by this interpreter."""
        return [Entry(f"{prefix}/{path}", content) for path, content in self._files().items()]

    def configure(self, folder: Path) -> None:
        """Lay the same into ``folder``, replacing what is there; right at every moment for those who run it."""
        (folder / "bin").mkdir(exist_ok=True)
        for path, content in self._files().items():
            target = folder / path
            new = target.with_name(f".{target.name}.{os.getpid()}")
            new.unlink(missing_ok=True)
            if isinstance(content, bytes):
                new.write_bytes(content)
            else:
                new.symlink_to(content)
            new.replace(target)

    def runs(self, folder: Path) -> bool:
        """Whether ``folder`` is laid out for this interpreter."""
        try:
            config = (folder / "pyvenv.cfg").read_bytes()
            return config == self._files()["pyvenv.cfg"] and (folder / "bin/python").readlink() == self.executable
        except OSError:
            return False

    def _files(self) -> dict[str, bytes | str]:
        config = (
            f"home = {self.executable.parent}\ninclude-system-site-packages = false\n"
            f"version = {self.version}\nrelocatable = true\n"
        )
        return {
            "pyvenv.cfg": config.encode(),
            "bin/python": str(self.executable),
            "bin/python3": "python",
            f"bin/python{self.python}": "python",
        }
