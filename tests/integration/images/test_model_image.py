from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from tests.fixtures_registry import push_base
from tests.triple import COMMIT, build
from tests.unpacking import unpack

from modelyard.environments import EnvironmentRef, ensure_server, python_of
from modelyard.errors import EnvironmentBuildError, ImageError
from modelyard.images import Index, blobs, open_images, validate
from modelyard.images.base import pull_base, pull_same_base
from modelyard.images.image import empty
from modelyard.images.interpreter import Interpreter
from modelyard.images.layer import Entry
from modelyard.images.layout import Layout
from modelyard.images.registry import Registry
from modelyard.images.transport import Transport
from modelyard.images.unpack import unpack_model_image
from modelyard.store import StoreAddress


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("uv")


@pytest.fixture(autouse=True)
def _each_package_is_fetched_once(packages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_CACHE_DIR", str(packages))


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """One for all tests here: the environments in it are built once."""
    return Layout(tmp_path_factory.mktemp("layout"))


@contextmanager
def served(root: Path) -> Iterator[str]:
    """Serve an unpacked model image; yields the address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = listener.fileno()
        process = subprocess.Popen(
            [root / "server" / "bin" / "python", "-I", "-m", "modelyard.serving", "--root", root, "--fd", str(number)],
            pass_fds=[number],
            stdout=subprocess.DEVNULL,
            env={"PATH": "/usr/bin:/bin"},
        )
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            process.kill()
            process.wait(10)


def answer(url: str, body: dict[str, Any]) -> Any:
    deadline = time.monotonic() + 20
    while True:
        request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return json.load(response)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def test_the_image_of_a_project_answers_on_this_machine(layout: Layout, tmp_path: Path) -> None:
    image, _ = build(layout, tmp_path)
    digest = layout.push("staging/triple", image, "run")
    root = unpack_model_image(layout, "staging/triple", digest, tmp_path / "home")
    assert not (root / "project" / "__pycache__").exists()

    with served(root) as address:
        answered = answer(f"{address}/predict", {"rows": [{"x": 2}, {"x": 5}]})

    assert "6" in json.dumps(answered)
    assert "15" in json.dumps(answered)


def test_the_same_inputs_are_the_same_image_in_another_folder(layout: Layout, tmp_path: Path) -> None:
    first, _ = build(layout, tmp_path / "one")
    other = Layout(tmp_path / "images")
    umask = os.umask(0o077)
    try:
        second, _ = build(other, tmp_path / "two" / "longer")
    finally:
        os.umask(umask)

    assert first.digest == second.digest
    assert build(layout, tmp_path / "three", factor=4)[0].layers[:3] == first.layers[:3]


def test_manifest_and_config_hold_what_the_content_determines(layout: Layout, tmp_path: Path) -> None:
    image, environment = build(layout, tmp_path)

    config = image.parsed_config
    assert config["created"] == "2026-01-02T03:04:05Z"
    assert config["config"]["User"] == "65532:65532"
    assert config["config"]["WorkingDir"] == "/opt/modelyard"
    assert config["config"]["ExposedPorts"] == {"8080/tcp": {}}
    assert config["config"]["Entrypoint"] == [
        *("/opt/modelyard/server/bin/python", "-I", "-m", "modelyard.serving", "--root", "/opt/modelyard")
    ]
    annotations = image.parsed_manifest["annotations"]
    assert annotations["org.opencontainers.image.revision"] == COMMIT
    assert annotations["io.modelyard.lock"] == environment.lock_digest
    assert [layer.kind for layer in image.layers] == ["environment", "server", "project", "model"]
    assert len(config["history"]) == len(config["rootfs"]["diff_ids"]) == 4


def test_the_image_of_a_compiled_model_holds_nothing_of_the_project(layout: Layout, tmp_path: Path) -> None:
    image, _ = build(layout, tmp_path, compiled=True)

    assert [layer.kind for layer in image.layers] == ["server", "model"]


def test_the_server_has_nothing_of_modelyard_but_server_and_client(layout: Layout, tmp_path: Path) -> None:
    server = ensure_server(
        layout, tmp_path, lambda _: None, python=f"{sys.version_info.major}.{sys.version_info.minor}"
    )
    python = python_of(server, layout, tmp_path)

    (package,) = python.parents[1].glob("lib/python*/site-packages/modelyard")
    assert {path.name for path in package.iterdir()} == {"__init__.py", "__pycache__", "client", "errors.py", "serving"}


def test_it_is_the_same_image_in_a_registry(layout: Layout, registry: Any, tmp_path: Path) -> None:
    images = Registry(Transport(registry.host, insecure=True), registry.prefix, tmp_path / "packed")
    image, environment = build(images, tmp_path)
    assert environment.reference is not None
    assert environment.reference.startswith(f"{registry.host}/{registry.prefix}/environment@sha256:")

    images.push("staging/triple", image, "run")
    images.copy("staging/triple", "triple", image.digest)
    images.tag("triple", image.digest, "1")

    validate(images.pull("triple", "1"))
    assert image.digest == build(layout, tmp_path / "other")[0].digest


@pytest.fixture
def address(registry: Any) -> StoreAddress:
    return StoreAddress(
        mongo_uri="mongodb://unused/",
        artifacts="file:///unused",
        registry=f"{registry.host}/{registry.prefix}",
        registry_insecure=True,
    )


def test_a_base_image_lies_below_with_its_own_interpreter(address: StoreAddress, tmp_path: Path) -> None:
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    name = push_base(address, tmp_path, python)
    images = open_images(address, tmp_path / "home")

    base = pull_base(name, images, address, tmp_path / "home")
    image, _ = build(images, tmp_path, base=base)
    images.push("staging/triple", image)

    pulled = images.pull("staging/triple", image.digest)
    validate(pulled)
    assert pulled.layers[:2] == base.image.layers
    unpack(pulled, tmp_path / "tree")
    for kind in ("environment", "server"):
        folder = tmp_path / "tree" / "opt" / "modelyard" / kind
        assert (folder / "bin" / "python").readlink() == Path(f"/usr/local/bin/python{python}")
        assert "home = /usr/local/bin\n" in (folder / "pyvenv.cfg").read_text()
        assert f"version = {python}.99\n" in (folder / "pyvenv.cfg").read_text()
    config = pulled.parsed_config["config"]
    assert config["Env"][0] == "PATH=/usr/local/bin:/usr/bin"
    assert (config["User"], config["Cmd"]) == ("65532:65532", [])
    assert pulled.parsed_manifest["annotations"]["org.opencontainers.image.base.digest"] == base.image.digest
    assert len(pulled.parsed_config["history"]) == len(pulled.layers) == 7


@pytest.mark.parametrize("virtual", [False, True])
def test_a_projects_own_image_is_the_base_and_the_environment(
    address: StoreAddress, tmp_path: Path, *, virtual: bool
) -> None:
    own = Interpreter.of_this_machine()
    images, name = open_images(address, tmp_path / "home"), f"python{own.python}"
    entries = [Entry(f"usr/local/bin/{name}", b"interpreter", executable=True)]
    if virtual:
        entries += [
            Entry(f"opt/venv/bin/{name}", f"/usr/local/bin/{name}"),
            Entry("opt/venv/pyvenv.cfg", b"version = 3\nhome = /usr/local/bin\n"),
        ]
    made = empty(own.platform.partition("/")[2]).append(
        [images.pack(entries)], {"Env": ["PATH=/opt/venv/bin:/usr/local/bin", "GREETING=hello"]}, {}
    )
    reference = images.reference("project-image", images.push("project-image", made))
    base = pull_base(reference, images, address, tmp_path / "home")
    assert base.interpreter.executable == Path("/usr/local/bin", name)
    assert base.python == (Path("/opt/venv/bin", name) if virtual else Path("/usr/local/bin", name))

    environment = EnvironmentRef(
        lock_digest="sha256:0",
        python=own.python,
        platform=own.platform,
        layer_digest="",
        diff_id="",
        repository="project-image",
        image_digest=made.digest,
        reference=reference,
        executable=str(base.python),
    )
    for compiled in (True, False):
        image, _ = build(images, tmp_path / str(compiled), environment=environment, base=base, compiled=compiled)
        kinds = ["server", "interpreter", *([] if compiled else ["project"]), "model"]
        assert [layer.kind for layer in image.layers] == [None, *kinds]
        assert image.parsed_manifest["annotations"]["io.modelyard.dockerfile"] == "sha256:0"
        assert "GREETING=hello" in image.parsed_config["config"]["Env"]
    unpack(image, tmp_path / "tree")
    python = tmp_path / "tree" / "opt" / "modelyard" / "environment"
    if virtual:
        assert python.readlink() == Path("/opt/venv")
    else:
        assert (python / "bin" / "python").readlink() == Path("/usr/local/bin", name)
    server = (tmp_path / "tree" / "opt" / "modelyard" / "server" / "pyvenv.cfg").read_text()
    assert "home = /usr/local/bin\n" in server


def test_a_base_images_layers_are_read_once_and_then_mounted(
    address: StoreAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = push_base(address, tmp_path, Interpreter.of_this_machine().python)
    first_home, home = tmp_path / "first", tmp_path / "second"  # as of two pods
    first = pull_base(name, open_images(address, first_home), address, first_home)
    read, reading = [], blobs.read

    def noting(transport: Transport, repository: str, digest: str) -> BinaryIO:
        read.append(digest)
        return reading(transport, repository, digest)

    monkeypatch.setattr(blobs, "read", noting)
    images = open_images(address, home)
    base = pull_base(name, images, address, home)
    images.push("staging/other", base.image.append([], {}, {"a": "b"}))

    assert base == first
    assert base.image.layers
    assert not {layer.digest for layer in base.image.layers} & set(read)


def test_a_base_image_with_another_python_is_refused(address: StoreAddress, tmp_path: Path) -> None:
    images = open_images(address, tmp_path / "home")
    base = pull_base(push_base(address, tmp_path, "3.5"), images, address, tmp_path / "home")

    with pytest.raises(EnvironmentBuildError, match=r"has Python 3\.5"):
        build(images, tmp_path, base=base)


def test_a_base_image_for_several_platforms_is_taken_for_the_one_that_is_asked_for(
    address: StoreAddress, tmp_path: Path
) -> None:
    ours, home = Interpreter.of_this_machine(), tmp_path / "home"
    (other,) = {"linux/amd64", "linux/arm64"} - {ours.platform}
    images = open_images(address, home)
    made = {
        platform: empty(platform.partition("/")[2]).append(
            [images.pack([Entry(f"usr/bin/python{ours.python}", platform.encode(), executable=True)])], {}, {}
        )
        for platform in (ours.platform, other)
    }
    images.push("bases", Index.of(list(made.values())), "both")
    name = f"{address.registry}/bases:both"

    assert pull_base(name, images, address, home).image == made[ours.platform]
    base = pull_base(name, images, address, home, other)
    assert (base.image, base.interpreter.platform) == (made[other], other)
    assert base.reference == f"{address.registry}/bases@{made[other].digest}"
    assert pull_same_base(base.reference, images, address, home).image == made[other]

    images.push("bases", made[ours.platform], "one")
    with pytest.raises(ImageError, match=f"bases:one is not for {other}, but for {ours.platform}"):
        pull_base(f"{address.registry}/bases:one", images, address, home, other)


def test_a_base_image_without_python_is_refused(address: StoreAddress, tmp_path: Path) -> None:
    images = open_images(address, tmp_path)
    images.push("none", empty("amd64").append([images.pack([Entry("etc/passwd", b"")])], {}, {}), "1")

    with pytest.raises(ImageError, match="no Python 3 on its PATH"):
        pull_base(f"{address.registry}/none:1", images, address, tmp_path)
