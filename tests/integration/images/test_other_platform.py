"""An image for two platforms on a base for both: made here, read by others, and served on the one that is not ours.

By the real server, of an image's own Python, under qemu: in namespaces that end with it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.fixtures_registry import running_registry
from tests.triple import build_on
from tests.unpacking import unpack

from modelyard.background import free_port
from modelyard.images import Index, open_images
from modelyard.images.image import empty
from modelyard.images.interpreter import Interpreter
from modelyard.images.layer import Entry, tree
from modelyard.store import StoreAddress

OURS, OTHER = "linux/amd64", "linux/arm64"
QEMU = shutil.which("qemu-aarch64-static")
# An ELF file of 64 bits for AArch64, and who runs it: the kernel's documentation of binfmt_misc.
_RULE = (
    r":aarch64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
    r":\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:" + f"{QEMU}:F"
)
_NAMESPACES = ("unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child")
_BINFMT = "mount -t binfmt_misc none /proc/sys/fs/binfmt_misc"
_SERVE = f"""set -e
{_BINFMT}
printf '%s' "$1" > /proc/sys/fs/binfmt_misc/register
for folder in proc dev; do mkdir -p "$2/$folder"; mount --rbind /$folder "$2/$folder"; done
exec chroot "$2" /opt/modelyard/server/bin/python -I -m modelyard.serving --root /opt/modelyard
"""
# The compiled module of markupsafe answers, or there is no answer.
_PREDICT = """
import json, platform
from markupsafe import _speedups

def load(folder):
    return json.loads((folder / "factor.json").read_text())

def predict(model, rows):
    assert platform.machine() == "aarch64"
    assert _speedups._escape_inner("<") == "&lt;"
    return {"prediction": [model * row["x"] for row in rows]}
"""


def missing() -> str:
    """Return why no image for another platform can be run here; "" when one can."""
    if Interpreter.of_this_machine().platform != OURS or Interpreter.of_this_machine().python != "3.11":
        return "it is tested from amd64, with the Python that Debian 12 has: 3.11"
    if QEMU is None or shutil.which("apt-get") is None:
        return "on Debian: apt-get install qemu-user-static"
    if subprocess.run([*_NAMESPACES, "sh", "-c", _BINFMT], capture_output=True, check=False).returncode:
        return "the kernel gives no namespace its own binfmt_misc (Linux 6.7 does)"
    return ""


_MISSING = missing()
pytestmark = pytest.mark.skipif(bool(_MISSING), reason=_MISSING)


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Debian's Python and its libraries for arm64."""
    folder = tmp_path_factory.mktemp("debian")
    (folder / "lists" / "partial").mkdir(parents=True)
    (folder / "archives" / "partial").mkdir(parents=True)
    (folder / "status").touch()
    (folder / "sources.list").write_text("deb http://deb.debian.org/debian bookworm main\n")
    options = {
        "APT::Architecture": "arm64",
        "APT::Architectures::": "arm64",
        "APT::Sandbox::User": "",
        "Dir::State::lists": folder / "lists",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder,
        "Dir::Cache::archives": folder / "archives",
        "Dir::Etc::sourcelist": folder / "sources.list",
        "Dir::Etc::sourceparts": "/nonexistent",
    }
    apt = ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in options.items())]
    subprocess.run([*apt, "update"], check=True)
    subprocess.run(
        [*apt, "install", "--download-only", "--no-install-recommends", "python3.11", "libstdc++6"], check=True
    )
    for package in (folder / "archives").glob("*.deb"):
        subprocess.run(["dpkg-deb", "--extract", package, folder / "root"], check=True)
    return folder / "root"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreAddress]:
    folder = tmp_path_factory.mktemp("registry")
    with running_registry(folder) as host:
        yield StoreAddress("mongodb://unused", "file:///unused", f"{host}/models", registry_insecure=True)


@pytest.fixture(scope="module")
def base(debian: Path, address: StoreAddress, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a base image for both platforms, of which only the other one's is run."""
    images = open_images(address, tmp_path_factory.mktemp("base"))
    python = [Entry("usr/bin/python3.11", b"interpreter", executable=True)]
    both = [
        empty("amd64").append([images.pack(python)], {}, {}),
        empty("arm64").append([images.pack(tree(debian, "."))], {}, {}),
    ]
    images.push("base-of-both", Index.of(both), "slim")
    return f"{address.registry}/base-of-both:slim"


def test_the_image_for_the_other_platform_is_served_there(base: str, address: StoreAddress, tmp_path: Path) -> None:
    images = open_images(address, tmp_path / "home")
    index = build_on(images, base, address, tmp_path, OURS, OTHER, code=_PREDICT)
    images.push("triple", index, "1")
    unpack(images.pull("triple", "1", OTHER), tmp_path / "tree")

    with served(tmp_path / "tree") as url:
        answer = ask(f"{url}/predict", {"rows": [{"x": 2}, {"x": 5}]})

    assert [one["prediction"] for one in answer["predictions"]] == [6, 15]


@contextmanager
def served(root: Path) -> Iterator[str]:
    """Run the image's own command in its own tree; yields the address."""
    port = free_port()
    process = subprocess.Popen(
        [*_NAMESPACES, "sh", "-c", _SERVE, "serve", _RULE, root],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "AIP_HTTP_PORT": str(port), "PYTHONDONTWRITEBYTECODE": "1"},
        start_new_session=True,
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


def ask(url: str, body: dict[str, object]) -> dict[str, list[dict[str, int]]]:
    deadline = time.monotonic() + 120
    while True:
        request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                answer: dict[str, list[dict[str, int]]] = json.load(response)
                return answer
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
