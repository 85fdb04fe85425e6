"""An image with Buildah as its makers' own one has it: this machine's program and its libraries, on a base image."""

from __future__ import annotations

import hashlib
import io
import re
import shutil
import subprocess
import tarfile
import uuid
from io import BytesIO
from pathlib import Path

import pytest
from tests.fixtures_cluster import TestCluster

from modelyard.images import Layer, open_images
from modelyard.images.base import pull_image
from modelyard.store import StoreAddress

_PROGRAMS = ("buildah", "newuidmap", "newgidmap")
_SUBORDINATE = "build:1:999\nbuild:1001:64535\n"
_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nbuild:x:1000:1000::/home/build:/bin/sh\n",
    "etc/group": "root:x:0:\nbuild:x:1000:\n",
    "etc/subuid": _SUBORDINATE,
    "etc/subgid": _SUBORDINATE,
    "etc/containers/policy.json": '{"default": [{"type": "insecureAcceptAnything"}]}',
}
# capabilities(7), revision 2: permitted and effective.
_CAPABILITIES = {"newuidmap": 7, "newgidmap": 6}  # setuid, setgid


def push_builder_image(cluster: TestCluster, folder: Path) -> str:
    """Push the image and return its name; skips where this machine has no Buildah."""
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if missing:
        pytest.skip(f"this machine has no {', '.join(missing)}: apt-get install buildah uidmap")
    address = StoreAddress(
        mongo_uri="mongodb://unused",
        artifacts=folder.as_uri(),
        registry=f"{cluster.registry}/test-{uuid.uuid4().hex[:12]}",
        registry_insecure=True,
    )
    images = open_images(address, folder)
    base = pull_image(f"{cluster.registry}/library/python:3.11-slim", address, folder)
    data = _tar()
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    layer = Layer(digest, digest, len(data), "application/vnd.oci.image.layer.v1.tar", lambda: BytesIO(data))
    return images.reference("builder", images.push("builder", base.append([layer], {}, {})))


def _tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, text in _FILES.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, BytesIO(text.encode()))
        for name in _PROGRAMS:
            path = Path(str(shutil.which(name)))
            info = tarfile.TarInfo(f"usr/bin/{name}")
            info.size, info.mode = path.stat().st_size, 0o755
            if name in _CAPABILITIES:
                bits = (1 << _CAPABILITIES[name]).to_bytes(4, "little")
                value = b"\x01\x00\x00\x02" + bits + bytes(12)
                info.pax_headers = {"SCHILY.xattr.security.capability": value.decode("utf-8", "surrogateescape")}
            tar.addfile(info, path.open("rb"))
            for library in _libraries(path):
                info = tarfile.TarInfo(f"usr/lib/x86_64-linux-gnu/{library.name}")
                info.size, info.mode = library.stat().st_size, 0o755
                tar.addfile(info, library.open("rb"))
    return file.getvalue()


def _libraries(program: Path) -> list[Path]:
    """Those that the base image does not have already: not the C library, which would be another one."""
    said = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    paths = [Path(match[1]) for match in re.finditer(r"=> (/\S+)", said)]
    return [path for path in paths if path.name not in ("libc.so.6", "libm.so.6")]
