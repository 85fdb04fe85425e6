"""A package index in a folder, of small real wheels: no test of environments needs a network."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest


class Index:
    """A folder of packages that uv is configured for, and nothing else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.configuration = folder.with_name("uv.toml")
        folder.mkdir()
        self.configure("no-index = true")

    def configure(self, line: str) -> None:
        self.configuration.write_text(f"{line}\nfind-links = ['{self.folder}']\n")

    def wheel(self, name: str, version: str, files: dict[str, str], tag: str = "py3-none-any") -> str:
        """Write a wheel; returns the line that locks it."""
        info = f"{name}-{version}.dist-info"
        members = {
            **files,
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
            f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
            f"{info}/entry_points.txt": f"[console_scripts]\n{name}={name}:main\n",
        }
        record = "".join(f"{path},sha256={_sum(text)},{len(text.encode())}\n" for path, text in members.items())
        path = self.folder / f"{name}-{version}-{tag}.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for member, text in {**members, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
                archive.writestr(member, text)
        return f"{name}=={version} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"

    def sdist(self, name: str, version: str) -> str:
        """Write a source archive whose build would leave a mark; returns the line that locks it."""
        path = self.folder / f"{name}-{version}.tar.gz"
        setup = b"import pathlib; pathlib.Path(__file__).with_name('BUILT').touch()\n"
        with tarfile.open(path, "w:gz") as archive:
            for member, data in {"setup.py": setup, "PKG-INFO": f"Name: {name}\nVersion: {version}\n".encode()}.items():
                header = tarfile.TarInfo(f"{name}-{version}/{member}")
                header.size = len(data)
                archive.addfile(header, io.BytesIO(data))
        return f"{name}=={version} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


def _sum(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Index:
    index = Index(tmp_path / "index")
    monkeypatch.setenv("UV_CONFIG_FILE", str(index.configuration))
    monkeypatch.delenv("UV_CACHE_DIR", raising=False)
    return index
