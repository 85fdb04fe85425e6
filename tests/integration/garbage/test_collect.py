from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path

import pytest
from tests import released_models
from tests.fixtures_registry import running_registry
from tests.integration.garbage.planting import Ground

from modelyard.errors import ImageError, StoreError
from modelyard.garbage.collect import ARTIFACTS, UNLISTED, UPLOADS, Collection
from modelyard.garbage.images import BASES, ENVIRONMENTS, OWN, PACKAGES, PROJECT_IMAGES, STAGED, UNRECORDED
from modelyard.garbage.report import lines
from modelyard.images import Index, open_images, repositories
from modelyard.images.image import empty, validate
from modelyard.images.layer import Entry
from modelyard.images.layout import Layout
from modelyard.steps import results
from modelyard.store import Claim, Store, StoreAddress
from modelyard.store.artifacts import open_artifacts
from modelyard.store.s3 import Bucket
from modelyard.supply_chain.packages import packages_of


def assert_whole(ground: Ground) -> None:
    """Assert that everything that is referred to is there, byte by byte."""
    for file in ground.wanted:
        assert len(ground.store.artifacts.read(file.digest)) == file.size
    for repository, digest in ground.released:
        validate(ground.images.pull(repository, digest))


def has_blob(images: Layout, digest: str) -> bool:
    return (images.path / "blobs" / "sha256" / digest.removeprefix("sha256:")).exists()


def assert_signed(ground: Ground, digest: str) -> None:
    (bill,) = ground.images.referrers("wine", digest)
    assert ground.images.read_referrer("wine", bill.digest) == f"bill of {digest}".encode()
    ((payload, _),) = ground.images.signatures("wine", digest)
    assert payload == f"signed {digest}".encode()


def found(collection: Collection) -> dict[str, tuple[int, int]]:
    return {row.kind: (row.ripe, row.ripe_bytes) for row in collection.rows if row.ripe}


def test_what_is_referred_to_survives_and_all_else_goes_after_its_time(ground: Ground):
    for number in (1, 2):
        ground.release(number)
    before = ground.put("nothing names this")
    first = ground.collect(days=0)
    assert found(first) == {}  # nothing is deleted at first sight
    assert {row.kind: row.later for row in first.rows} == {ARTIFACTS: 3, STAGED: 2}
    assert ground.store.artifacts.exists(before.digest)

    assert found(ground.collect(days=6.9)) == {}
    dry = ground.collect(days=7.1, delete=False)
    # Two compiled models, that are in their images, and a file; what was staged has all bytes of what was released.
    sizes = len("compiled 1") + len("compiled 2") + before.size
    assert found(dry) == {ARTIFACTS: (3, sizes), STAGED: (2, 0)}
    assert ground.store.artifacts.exists(before.digest)

    assert found(ground.collect(days=7.1)) == found(dry)
    assert not ground.store.artifacts.exists(before.digest)
    assert ground.images.names("staging/wine") == []
    assert_whole(ground)
    for _, digest in [image for image in ground.released if image[0] == "wine"]:
        assert_signed(ground, digest)
    assert ground.collect(days=30).rows == ()


def test_garbage_of_every_kind_is_found_counted_and_deleted(ground: Ground):
    ground.release(1)
    run = released_models.pipeline_run(ground.store, "wine", "failed", params={"version": 1})
    files = [ground.put(text) for text in ("tree of the failed run", "its compiled model")]
    environment = ground.prepared(run, "lock of no version", files[0])
    ground.finish(run, "validate", asdict(results.Validated(1, {}, [], None, None, "", [asdict(files[1])])))
    image = ground.image("server", "model of the failed run")
    staged = ground.stage(run, image, 1)
    ground.sign("staging/wine", staged)
    ground.fail(run, "test_image")
    mine = ground.images.push("staging/wine", ground.image("what a person looks at"), "mine")
    unfinished = leave_uploads(ground)
    contents = ground.images.contents("staging/wine", staged)
    packages = ground.images.contents("environment", environment["image_digest"])
    released = ground.images.contents(*ground.released[0])  # it has the server's layer too, and a signature
    only = {digest: size for digest, size in contents.items() if digest not in released}
    assert (len(contents), len(only)) == (11, 9)

    assert found(ground.collect(days=10)) == {UPLOADS: unfinished}  # nobody can find one and rely on it
    done = found(ground.collect(days=20))
    artifacts = sum(file.size for file in files) + len("compiled 1")
    assert done[ARTIFACTS] == (3, artifacts)
    assert done[STAGED] == (2, sum(only.values()))
    assert done[ENVIRONMENTS] == (1, sum(packages.values()))
    assert ground.images.names("staging/wine") == ["mine"]  # what a person has named is theirs
    assert ground.images.resolve("staging/wine", "mine") == mine
    assert ground.images.names("environment") != []
    for repository, digest in (("staging/wine", staged), ("environment", environment["image_digest"])):
        with pytest.raises(ImageError, match="no image"):
            ground.images.pull(repository, digest)
    if isinstance(ground.images, Layout):
        assert [digest for digest in (*only, *packages) if has_blob(ground.images, digest)] == []
    assert_whole(ground)
    assert ground.collect(days=40).rows == ()


def test_what_a_versions_image_was_made_of_is_kept_and_the_like_of_no_version_goes(ground: Ground):
    version = ground.release(1)
    names = ("server", "project-image")
    kept = {name: ground.environment(f"{name} of a version", name)["image_digest"] for name in names}
    bases = ground.base("base of a version")
    recipe = {**kept, "base": f"python@{bases[0]}"}
    ground.store.versions.set_image("wine", version.version, str(version.image_digest), recipe)
    run = released_models.pipeline_run(ground.store, "wine", "failed")
    others = {name: ground.environment(f"{name} of no version", name) for name in (*names, "converter")}
    ground.finish(run, "prepare", {"environments": others, "base": ground.base("another base")[0]})
    ground.fail(run, "train")
    ground.images.push("server", ground.image("a person's"), "mine")
    ground.collect(days=10)
    done = {kind: count for kind, (count, _) in found(ground.collect(days=20)).items()}
    # In a registry other stores may use the same bases and environments of Modelyard's, of which nothing is known here.
    everywhere = {PROJECT_IMAGES: 1, ARTIFACTS: 1, STAGED: 1}
    assert done == (everywhere if ground.images.is_shared else {**everywhere, OWN: 2, BASES: 2})
    for name, digest in (*kept.items(), *((repositories.BASE, digest) for digest in bases)):
        validate(ground.images.pull(name, digest))
    assert ground.images.resolve("server", "mine") is not None
    assert ground.images.contents("project-image", others["project-image"]["image_digest"]) == {}
    assert_whole(ground)
    assert ground.collect(days=40).rows == ()


def test_an_index_is_kept_or_goes_with_the_images_inside_of_it(ground: Ground):
    """A platform's image may be a part of several indexes, and an image of its own."""
    ground.release(1)
    amd64, arm64, other = (
        empty(architecture).append([ground.images.pack([Entry("opt/served", text.encode() * 50)], "server")], {}, {})
        for architecture, text in (("amd64", "amd64"), ("arm64", "arm64"), ("arm64", "another"))
    )
    kept, gone = Index.of([amd64, arm64]), Index.of([amd64, other])
    for name, image in (("kept", kept), ("gone", gone), ("alone", amd64)):
        run = released_models.pipeline_run(ground.store, "wine", name)
        ground.stage(run, image, 1)
        if name == "kept":
            ground.finish(run, "test_image", {})  # `push` comes next, however long it takes
            for step in ("prepare", "train", "log_to_sacred", "validate"):
                ground.finish(run, step, {"report": {}})
        else:
            ground.fail(run, "test_image")
    for one in (gone.digest, other.digest):
        ground.sign("staging/wine", one)
    ground.collect(days=10)

    done = ground.collect(days=20)

    # What was staged of the release, the index, and the image that no other index has.
    assert found(done)[STAGED][0] == 3
    assert ground.images.pull_whole("staging/wine", kept.digest) == kept
    for image in kept.images:
        validate(image)
        validate(ground.images.pull("staging/wine", kept.digest, image.platform))
    for digest in (gone.digest, other.digest):
        assert ground.images.contents("staging/wine", digest) == {}
        assert ground.images.referrers("staging/wine", digest) == []
    assert_whole(ground)
    assert ground.collect(days=40).rows == ()


def test_what_was_read_of_a_layer_goes_with_the_last_that_has_the_layer(ground: Ground):
    def read(name: str) -> str:
        entry = Entry(f"opt/{name}.egg-info", f"Name: {name}\nVersion: 1\n".encode())
        layer = ground.images.pack([entry], "environment")
        packages_of(empty("amd64").append([layer], {}, {}), ground.images)
        return layer.diff_id

    ground.release(1)
    kept, failed, of_a_base = (read(name) for name in ("kept", "failed", "base"))
    for diff_id in (kept, failed):
        run = released_models.pipeline_run(ground.store, "wine", diff_id)
        ground.finish(run, "prepare", {"environment": {"diff_id": diff_id}})
        ground.fail(run, "train")
    ground.store.versions.register(released_models.as_version(run, 2, environment={"diff_id": kept}))
    ground.collect(days=10)
    done = ground.collect(days=20)
    assert found(done)[PACKAGES][0] == (1 if ground.images.is_shared else 2)
    left = ground.images.names("packages")
    # Another store may have the same base, and what no record names is never touched in a registry.
    bases = [of_a_base] if ground.images.is_shared else []
    assert sorted(left) == sorted(f"{diff_id.removeprefix('sha256:')[:40]}-1" for diff_id in (kept, *bases))
    assert read("failed") == failed
    assert len(ground.images.names("packages")) == len(left) + 1


def leave_uploads(ground: Ground) -> tuple[int, int]:
    """Leave what a killed process leaves; return how many, and their bytes."""
    if ground.store.address.artifacts.startswith("file:"):
        incoming = Path(ground.store.address.artifacts.removeprefix("file://")) / "incoming"
        (incoming / "tmp123").write_bytes(bytes(1000))
        return 1, 1000
    bucket = Bucket.of(ground.store.address)
    for path in ("sha256/ab/" + "ab" * 32, "elsewhere/not ours"):
        upload = bucket.client.create_multipart_upload(**bucket.object(path))
        target = bucket.object(path) | {"UploadId": upload["UploadId"]}
        for number in (1, 2):
            bucket.client.upload_part(**target, PartNumber=number, Body=bytes(6_000_000))
    return 1, 12_000_000


def test_an_unfinished_run_keeps_what_it_has_however_long_it_waits(ground: Ground):
    ground.release(1)
    run = released_models.pipeline_run(ground.store, "wine", "waits")
    tree = ground.want("tree of a run that waits")
    environment = ground.prepared(run, "lock of a run that waits", tree)
    ground.released.append(("environment", environment["image_digest"]))
    ground.finish(run, "train", {"run_id": 7, "model": [asdict(ground.want("its model"))]})
    for days in (100, 200):
        ground.collect(days=days)
        assert_whole(ground)
    ground.fail(run, "log_to_sacred")  # by now, so it is given another day
    ground.collect(days=0.9)
    assert_whole(ground)
    for days in (100, 200):
        ground.collect(days=days)
    assert not ground.store.artifacts.exists(tree.digest)


def test_what_a_running_step_may_have_found_is_kept_until_it_has_ended(ground: Ground):
    ground.release(1)
    run = released_models.pipeline_run(ground.store, "wine", "long training")
    old = ground.put("of long ago")
    step = ground.store.steps.claim(run.id, "train", 1, 0)
    assert isinstance(step, Claim)
    ground.collect(days=0, patience=timedelta(0))
    found_again = ground.collect(days=0, patience=timedelta(0))
    assert found(found_again) == {}
    assert any("train" in name for name in found_again.waits_for)
    step.fail(RuntimeError("no"))
    ground.collect(days=0, patience=timedelta(0))
    assert not ground.store.artifacts.exists(old.digest)


def test_what_is_used_again_is_taken_off_the_list(ground: Ground):
    ground.release(1)
    file = ground.put("old")
    unused = ground.environment("an old lock")
    run = released_models.pipeline_run(ground.store, "wine", "failed")
    ground.finish(run, "prepare", {"environment": unused})
    ground.fail(run, "train")
    ground.collect(days=10)
    ground.put("old")  # stored again, where it is already
    assert ground.environment("an old lock") == unused
    assert found(ground.collect(days=20)) == {ARTIFACTS: (1, len("compiled 1")), STAGED: (1, 0)}
    assert ground.store.artifacts.exists(file.digest)
    assert ground.images.pull("environment", unused["image_digest"])


def test_a_registry_that_lets_nobody_delete_is_told(store_address: StoreAddress, tmp_path: Path):
    (tmp_path / "registry").mkdir()
    with running_registry(tmp_path / "registry", deletes=False) as host:
        address = replace(store_address, registry=f"{host}/models", registry_insecure=True)
        with Store.open(address) as store:
            ground = Ground(store, open_images(address, tmp_path / "home"))
            ground.release(1)
            ground.collect(days=0)
            with pytest.raises(ImageError, match=r"nobody delete an image.*\n.*REGISTRY_STORAGE_DELETE_ENABLED"):
                ground.collect(days=8)
            claimed = [one for one in store.condemned._list.find({}) if one["until"] is not None]
            assert claimed == [], "each of them would hold up a pipeline that wants it again"
            assert_whole(ground)


def test_a_registrys_own_collection_leaves_what_is_released(store_address: StoreAddress, tmp_path: Path):
    folder = tmp_path / "registry"
    folder.mkdir()
    with running_registry(folder) as host:
        address = replace(store_address, registry=f"{host}/models", registry_insecure=True)
        with Store.open(address) as store:
            ground = Ground(store, open_images(address, tmp_path / "home"))
            ground.release(1)
            run = released_models.pipeline_run(store, "wine", "failed", params={"version": 1})
            ground.prepared(run, "lock 1", ground.put("tree 1"))
            ground.finish(run, "validate", {"report": {}})
            digest = ground.stage(run, ground.image("garbage"), 1)
            layer = next(iter(ground.images.pull("staging/wine", digest).layers))
            ground.fail(run, "test_image")
            ground.collect(days=10)
            told = list(lines(ground.collect(days=20), "7d"))
    assert any("registry garbage-collect" in line for line in told)
    blob = folder / "files/docker/registry/v2/blobs/sha256" / layer.digest[7:9] / layer.digest[7:]
    assert blob.is_dir()
    binary = shutil.which("docker-registry") or "registry"
    subprocess.run([binary, "garbage-collect", folder / "config.yml"], check=True, capture_output=True)
    assert not (blob / "data").exists()
    with running_registry(folder) as host, Store.open(replace(address, registry=f"{host}/models")) as store:
        ground.images = open_images(store.address, tmp_path / "home")
        assert_whole(ground)
        assert_signed(ground, ground.released[0][1])


def test_a_release_that_was_never_recorded_goes_and_what_others_pushed_stays(ground: Ground):
    ground.release(1)
    run = released_models.pipeline_run(ground.store, "wine", "killed", params={"version": 2})
    made = ground.store.versions.register(released_models.as_version(run, 2))
    ground.prepared(run, "lock 1", ground.put("tree 1"))
    ground.finish(run, "validate", {"report": {}})
    staged = ground.stage(run, ground.image("killed before it was recorded"), made.version)
    ground.finish(run, "test_image", {"image_digest": staged})
    ground.images.copy("staging/wine", "wine", staged)
    ground.images.tag("wine", staged, str(made.version))
    ground.fail(run, "push")
    candidate = ground.store.versions.register(released_models.as_version(run, 3))
    others = {
        name: ground.images.push("wine", ground.image(f"pushed as {name}"), name)
        for name in ("best", "77", *([str(candidate.version)] if ground.images.is_shared else []))
    }
    ground.collect(days=10)
    assert found(ground.collect(days=20))[UNRECORDED][0] == 1
    assert ground.images.resolve("wine", str(made.version)) is None
    assert {name: ground.images.resolve("wine", name) for name in others} == others  # another store's, a person's
    assert ground.images.contents("wine", staged) == {}
    assert_whole(ground)


def test_two_stores_in_one_place_are_refused(ground: Ground):
    ground.release(1)
    another = replace(ground.store.address, database=f"{ground.store.address.database}_too")
    with Store.open(another) as store:
        stranger = Ground(store, ground.images)
        with pytest.raises(StoreError, match=r"Another model store .*database test_"):
            stranger.collect(days=0, delete=False)
        stranger.put("something")
        with pytest.raises(StoreError, match=r"Another model store .*_too at .*\n.*delete 'stores/"):
            ground.collect(days=0)
        store.mongo.drop_database(another.database)


def test_artifacts_of_nobody_knows_whom_are_left_alone(store: Store, tmp_path: Path):
    file = open_artifacts(store.address).put_bytes(b"by what does not say who it is", "file")
    ground = Ground(store, open_images(store.address, tmp_path))
    with pytest.raises(StoreError, match="not known whose artifacts"):
        ground.collect(days=0)
    ground.put("by this store")
    ground.collect(days=0)
    ground.collect(days=8)
    assert not store.artifacts.exists(file.digest)


def test_bytes_that_no_image_has_go_with_their_time(tmp_path: Path, store_address: StoreAddress):
    with Store.open(store_address) as store:
        images = Layout(tmp_path / "images")
        ground = Ground(store, images)
        ground.release(1)
        ground.image("packed, and its process was killed")
        (tmp_path / "images/blobs/sha256/.partial-x").write_bytes(bytes(10))
        kept = ground.image("packed a moment ago, by one that lives").layers[0]
        os.utime(tmp_path / "images/blobs/sha256" / kept.digest[7:], (4e9, 4e9))
        rows = {row.kind: row for row in ground.collect(days=8).rows}
        assert rows[UNLISTED].ripe == 2
        assert has_blob(images, kept.digest)
        assert_whole(ground)
        assert UNLISTED not in {row.kind for row in ground.collect(days=8).rows}
