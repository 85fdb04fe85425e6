"""``modelyard image rebuild``: the same image again, wherever it is made; what is not the same is named."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.fixtures_registry import push_base
from tests.released_models import version
from tests.triple import COMMIT, build, write_project
from tests.unpacking import unpack

import modelyard
from modelyard.cli import main
from modelyard.dockerfile.ensure import environment_of
from modelyard.environments import ensure_server, server_lock
from modelyard.images import Image, Layer, open_images
from modelyard.images.base import pull_base, pull_image
from modelyard.images.compression import decompressing
from modelyard.images.image import digest_of
from modelyard.images.interpreter import Interpreter
from modelyard.images.layer import Entry, tree
from modelyard.images.model_image import PlatformParts, build_model_image
from modelyard.images.recipe import ImageRecipe
from modelyard.images.repositories import PROJECT_IMAGE
from modelyard.sources import tree_tar
from modelyard.store import ModelVersion, Store, StoreAddress
from modelyard.supply_chain.bom import bill_of_materials
from modelyard.supply_chain.packages import packages_of

PYTHON = Interpreter.of_this_machine().python
SOURCE = "https://git.example.com/triple"
OTHER_USER = 12345
_REACHING = re.compile(r"UV_(?!CACHE)|SSL_|(https?|no|all)_proxy", re.IGNORECASE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rebuild")


@pytest.fixture(scope="module")
def address(mongo_uri: str, registry_server: Any, folder: Path) -> Iterator[StoreAddress]:
    import pymongo

    host, _ = registry_server
    database = f"test_rebuild_{os.getpid()}"
    yield StoreAddress(
        mongo_uri=mongo_uri,
        database=database,
        artifacts=(folder / "artifacts").as_uri(),
        registry=f"{host}/{database.replace('_', '-')}",
        registry_insecure=True,
    )
    with pymongo.MongoClient[dict[str, object]](mongo_uri) as client:
        client.drop_database(database)


@pytest.fixture(scope="module")
def store(address: StoreAddress) -> Iterator[Store]:
    with Store.open(address) as opened:
        yield opened


@pytest.fixture(scope="module")
def released(store: Store, address: StoreAddress, folder: Path) -> tuple[ModelVersion, Image]:
    """The tripling model, released: its project, model and image are where a pipeline puts them."""
    from datetime import UTC, datetime

    home = folder / "home"
    images = open_images(address, home)
    base = pull_base(push_base(address, folder, PYTHON), images, address, home)
    project, model = write_project(folder / "kept")
    for place in (project, folder / "built" / "project"):
        place.mkdir(parents=True, exist_ok=True)
        (place / "model.yaml").write_text(
            "name: triple\ndescription: x\nowner: {name: Tester}\nentry: predict.py\nlock: requirements.txt\n"
        )
    shutil.rmtree(project / "__pycache__")
    image, environment = build(images, folder / "built", base=base)
    server = ensure_server(images, home, print, PYTHON)
    images.push("triple", image, "1")
    with (folder / "project.tar").open("wb") as file:
        tree_tar(project, file)
    made = version(
        store,
        "triple",
        commit=COMMIT,
        committed_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        project_digest=store.artifacts.put_file(folder / "project.tar").digest,
        model=store.artifacts.put_tree(model),
    )
    recipe = ImageRecipe("0", images.compression, environment.to_json(), server.to_json(), base.reference, None)
    return store.versions.set_image("triple", made.version, image.digest, recipe.to_json()), image


@pytest.fixture(scope="module")
def of_a_dockerfile(
    released: tuple[ModelVersion, Image], store: Store, address: StoreAddress, folder: Path
) -> tuple[ModelVersion, Image]:
    """The same model of a project with a Dockerfile: what a builder made of that is an image in the store."""
    made, _ = released
    images = open_images(address, folder / "home")
    below = pull_image(push_base(address, folder, PYTHON), address, folder)
    installed = [Entry("opt/venv/lib/six-1.17.0.dist-info/METADATA", b"Name: six\nVersion: 1.17.0\n\n")]
    digest = images.push(PROJECT_IMAGE, below.append([images.pack(installed)], {}, {}))
    base = pull_base(images.reference(PROJECT_IMAGE, digest), images, address, folder / "home")
    environment = environment_of(base, digest, f"sha256:{'d' * 64}")
    project, model = folder / "kept" / "project", folder / "kept" / "model"
    server = ensure_server(images, folder / "home", print, PYTHON)
    image = build_model_image(
        [PlatformParts(environment, server, base)],
        images=images,
        project=project,
        model=model,
        commit=made.commit,
        created=made.committed_at,
        source=SOURCE,
        log=print,
    )
    assert isinstance(image, Image)
    assert image.parsed_manifest["annotations"]["org.opencontainers.image.source"] == SOURCE
    images.push("triple", image, "own")
    same = {name: getattr(made, name) for name in ("commit", "committed_at", "project_digest", "model")}
    number = version(store, "triple", 100, **same).version
    made_of = environment.to_json(), server.to_json(), base.reference
    recipe = ImageRecipe("0", images.compression, *made_of, compiled=None, source=SOURCE)
    return store.versions.set_image("triple", number, image.digest, recipe.to_json()), image


def variables(address: StoreAddress, home: Path) -> dict[str, str]:
    return {**address.to_environment(), "MODELYARD_HOME": str(home), "PATH": os.environ["PATH"]}


def test_another_user_elsewhere_makes_the_same_image(
    released: tuple[ModelVersion, Image], address: StoreAddress, tmp_path: Path
) -> None:
    home = tmp_path / "a much longer name" / "home"
    home.mkdir(parents=True)
    command = [sys.executable, "-m", "modelyard", "image", "rebuild", "triple:1", "--verify"]
    command = ["taskset", "--cpu-list", str(min(os.sched_getaffinity(0))), *command]
    if os.geteuid() == 0:
        os.chown(home, OTHER_USER, OTHER_USER)
        ids = [f"--reuid={OTHER_USER}", f"--regid={OTHER_USER}", "--clear-groups"]
        # Reading all that root could, as the interpreter may lie in root's folder; and writing only what is its own.
        command = ["setpriv", *ids, "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", *command]

    done = subprocess.run(
        command,
        cwd=home,
        umask=0o077,
        env={
            # How packages are reached is the machine's matter, and not what is varied here.
            **{name: value for name, value in os.environ.items() if _REACHING.match(name)},
            **variables(address, home / "modelyard"),
            "HOME": str(home),
            "TZ": "Pacific/Auckland",
            "LC_ALL": "POSIX",
            "PYTHONHASHSEED": "4711",
        },
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout == "triple:1 is reproduced: built anew, it has the same digest.\n"
    assert "Installing 1 locked packages" in done.stderr
    if os.geteuid() == 0:
        assert {path.stat().st_uid for path in home.rglob("*")} == {OTHER_USER}
    assert not [path for path in (home / "modelyard").rglob("*") if path.is_file() and path.suffix != ".lock"]


def planted(image: Image, kind: str, images: Any, folder: Path) -> Layer:
    """A layer of this kind with something else in it."""
    layer = next(layer for layer in image.layers if layer.kind == kind)
    if kind == "interpreter":
        own = Interpreter.of_this_machine()
        python = replace(own, executable=Path(f"/usr/local/bin/python{PYTHON}"), version=f"{PYTHON}.99")
        entries = [*python.entries("opt/modelyard/environment"), *python.entries("opt/modelyard/server")]
        entries = [replace(one, content="/bin/sh") if one.path.endswith("bin/python") else one for one in entries]
        shell: Layer = images.pack(entries, kind)
        return shell
    if kind == "model":  # what no folder on disk would give
        old, new = io.BytesIO(), io.BytesIO()
        with layer.open() as stream, decompressing(stream, layer.media_type) as plain:
            old.write(plain.read())
        old.seek(0)
        with tarfile.open(fileobj=old) as source, tarfile.open(fileobj=new, mode="w") as target:
            for member in source:
                if member.name.endswith("factor.json"):
                    member.mtime, member.uid, member.mode = 1, 1000, 0o666
                target.addfile(member, source.extractfile(member))
        data = new.getvalue()
        digest = digest_of(data)
        media_type = "application/vnd.oci.image.layer.v1.tar"
        return Layer(digest, digest, len(data), media_type, lambda: io.BytesIO(data), "model")
    top = folder / "opt" / "modelyard" / kind
    packages = top / "lib" / f"python{PYTHON}" / "site-packages"
    if kind == "environment":
        (packages / "six.py").write_text("raise SystemExit\n")
    elif kind == "server":
        (packages / "modelyard" / "errors.py").chmod(0o755)
    entries = tree(top, f"opt/modelyard/{kind}", lambda path: str(path).startswith(("pyvenv.cfg", "bin/python")))
    if kind == "project":
        entries = [*(entry for entry in entries if not entry.path.endswith("/predict.py")), Entry("etc/added", b"")]
    packed: Layer = images.pack(entries, kind)
    return packed


def test_what_differs_is_named_layer_by_layer(
    released: tuple[ModelVersion, Image], address: StoreAddress, store: Store, tmp_path: Path
) -> None:
    made, image = released
    images = open_images(address, tmp_path / "home")
    unpack(images.pull("triple", image.digest), tmp_path / "tree")
    config = {**image.parsed_config, "config": {**image.parsed_config["config"], "User": "0:0"}}
    layers = [
        layer if layer.kind is None else planted(image, layer.kind, images, tmp_path / "tree") for layer in image.layers
    ]
    other = Image.of(config, layers, image.parsed_manifest["annotations"])
    images.push("triple", other, "2")
    second = version(
        store,
        "triple",
        2,
        **{name: getattr(made, name) for name in ("commit", "committed_at", "project_digest", "model")},
    )
    store.versions.set_image("triple", second.version, other.digest, made.image_recipe)

    result = CliRunner(env=variables(address, tmp_path / "home")).invoke(
        main, ["image", "rebuild", "triple:2", "--verify"]
    )

    assert result.exit_code == 65
    assert 'config.config.User: "65532:65532" instead of "0:0"' in result.output
    packages = f"lib/python{PYTHON}/site-packages"
    for layer, files in {
        "environment": [f"opt/modelyard/environment/{packages}/six.py: bytes"],
        "server": [f"opt/modelyard/server/{packages}/modelyard/errors.py: mode"],
        "interpreter": [f"opt/modelyard/{name}/bin/python: link target" for name in ("environment", "server")],
        "project": ["opt/modelyard/project/predict.py: added", "etc: missing", "etc/added: missing"],
        "model": ["opt/modelyard/model/files/factor.json: mode, owner, time"],
    }.items():
        assert f"layer {layer} differs:\n" in result.output
        told = result.output.partition(f"layer {layer} differs:\n")[2].partition("layer ")[0]
        assert sorted(
            line.strip() for line in told.splitlines() if line.startswith("  ") and "→" not in line
        ) == sorted(files)


@pytest.mark.parametrize(
    ("release", "code", "said"),
    [("0", 3, "is not fully compared"), (modelyard.__version__, 65, "layer server differs:")],
)
def test_a_record_excuses_a_layer_of_another_modelyard_alone_and_never_proves_it(
    released: tuple[ModelVersion, Image],
    address: StoreAddress,
    store: Store,
    tmp_path: Path,
    release: str,
    code: int,
    said: str,
) -> None:
    """Whoever can write to the database writes there that another server was built than this one."""
    made, image = released
    images = open_images(address, tmp_path / "home")
    unpack(images.pull("triple", image.digest), tmp_path / "tree")
    layers = [
        planted(image, "server", images, tmp_path / "tree") if layer.kind == "server" else layer
        for layer in image.layers
    ]
    other = Image.of(image.parsed_config, layers, image.parsed_manifest["annotations"])
    images.push("triple", other, f"other-{code}")
    same = {name: getattr(made, name) for name in ("commit", "committed_at", "project_digest", "model")}
    number = version(store, "triple", code, **same).version
    recipe = ImageRecipe(**made.image_recipe or {})
    recipe = replace(recipe, modelyard=release, server={**recipe.server, "tag": "another"})
    store.versions.set_image("triple", number, other.digest, recipe.to_json())

    result = CliRunner(env=variables(address, tmp_path / "home")).invoke(
        main, ["image", "rebuild", f"triple:{number}", "--verify"]
    )

    assert result.exit_code == code, result.output
    assert said in result.output
    assert ("Not compared: layer server: Modelyard 0 built it" in result.output) == (code == 3)


def test_the_image_of_a_dockerfile_is_taken_by_its_digest_and_all_above_it_made_again(
    of_a_dockerfile: tuple[ModelVersion, Image], address: StoreAddress, tmp_path: Path
) -> None:
    made, image = of_a_dockerfile
    arguments = ["image", "rebuild", f"triple:{made.version}", "--verify"]
    runner = CliRunner(env=variables(address, tmp_path / "home"))
    result = runner.invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert f"triple:{made.version} is reproduced: built anew, it has the same digest.\n" in result.output
    assert "taken by its digest: " in result.output
    assert "Installing 1 locked packages" not in result.output, "those of its lock"

    images = open_images(address, tmp_path / "home")
    contents = packages_of(image, images)
    bill = json.loads(bill_of_materials(image, "triple", contents, server_lock().requirements))
    (six,) = (part for part in bill["components"] if part["name"] == "six")
    places = [one["location"] for one in six["evidence"]["occurrences"]]
    assert places == ["/opt/venv/lib/six-1.17.0.dist-info/METADATA"]
    assert "externalReferences" not in six, "nobody knows which file the Dockerfile has installed"
    assert {"uvloop", "python", "triple"} <= {part["name"] for part in bill["components"]}


def test_an_image_that_the_registry_has_lost_is_put_back(
    released: tuple[ModelVersion, Image], address: StoreAddress, tmp_path: Path
) -> None:
    _, image = released
    url = f"http://{address.registry.replace('/', '/v2/', 1)}/triple/manifests/{image.digest}"
    urllib.request.urlopen(urllib.request.Request(url, method="DELETE")).close()
    images = open_images(address, tmp_path / "home")
    assert images.resolve("triple", "1") is None
    runner = CliRunner(env=variables(address, tmp_path / "home"))
    lost = runner.invoke(main, ["image", "rebuild", "triple:1", "--verify"])
    assert lost.exit_code == 65
    assert "There is no image" in lost.output

    result = runner.invoke(main, ["image", "rebuild", "triple:1"])

    assert result.exit_code == 0, result.output
    assert images.resolve("triple", "1") == image.digest
