"""What a deployment leaves in the store when others deploy at the same time, or when it cannot go on."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import pytest
from tests.cosign import key_pair
from tests.released_models import image_of, pipeline_run, version
from tests.step_context import context_of

from modelyard.deployment import Autoscaling, ClusterAccess, Ingress, PredictionLog, ServiceSpec
from modelyard.errors import Fenced, ImageError, ModelyardError, RequestError, Superseded, Unavailable
from modelyard.execution import Command
from modelyard.execution.local import LocalStep
from modelyard.images import open_images
from modelyard.images.image import empty
from modelyard.images.layer import Entry
from modelyard.project.serving import Serving
from modelyard.steps import deploy
from modelyard.steps.results import Deployed, Prepared
from modelyard.store import Claim, ModelVersion, Store, StoreAddress
from modelyard.supply_chain import SigningKey
from modelyard.supply_chain.key import read_public_keys
from modelyard.supply_chain.signature import sign


class Slow:
    """A target that has done what it was asked for, and whose caller hears of it late: ``meanwhile`` comes between."""

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        self._meanwhile = meanwhile

    def deploy(self, spec: ServiceSpec, log: Callable[[str], None]) -> str:
        self._meanwhile()
        return "http://127.0.0.1:18000"


def released(store: Store, run_id: int) -> ModelVersion:
    """Register a version and give it its image, as `push` does."""
    facts = json.dumps({"golden": {"inputs": [], "outputs": {}}}).encode()
    made = version(store, run_id=run_id, model=(store.artifacts.put_bytes(facts, "modelyard.json"),))
    store.versions.set_image(made.name, made.version, image_of(made.version))
    return store.versions.get(made.name, made.version)


def states(store: Store) -> list[tuple[int, str]]:
    return [(one.version, one.state) for one in store.deployments.history("wine", "production")]


def test_a_run_that_stalls_after_its_deployment_does_not_take_the_alias_from_a_newer_one(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = released(store, 1), released(store, 2)
    older, newer = (context_of(store, pipeline_run(store, "wine", name), "deploy", tmp_path) for name in ("old", "new"))

    def deploy_newer() -> Deployed:
        monkeypatch.setattr(deploy, "open_target", lambda *_: Slow(lambda: None))
        return deploy.roll_out(newer, second, Serving())

    monkeypatch.setattr(deploy, "open_target", lambda *_: Slow(deploy_newer))
    with pytest.raises(Superseded, match="of version 2"):
        deploy.roll_out(older, first, Serving())
    alias = store.aliases.get("wine", "production")
    assert alias is not None
    assert [move.to_version for move in alias.history] == [2]
    assert states(store) == [(2, "live"), (1, "superseded")]


def test_an_image_that_is_gone_ends_the_deployment_with_the_reason(store: Store, tmp_path: Path) -> None:
    context = context_of(store, pipeline_run(store, "wine", "one"), "deploy", tmp_path)
    with pytest.raises(ModelyardError) as caught:
        deploy.roll_out(context, released(store, 1), Serving())
    assert not isinstance(caught.value, Unavailable)
    [ended] = store.deployments.history("wine", "production")
    assert (ended.state, ended.error) == ("failed", caught.value.message)
    assert store.aliases.get("wine", "production") is None


def test_a_target_out_of_reach_ends_a_try_and_the_next_one_goes_on(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> None:
        raise Unavailable("The cluster cannot be reached", "look")

    context = context_of(store, pipeline_run(store, "wine", "one"), "deploy", tmp_path)
    made = released(store, 1)
    monkeypatch.setattr(deploy, "open_target", lambda *_: Slow(away))
    with pytest.raises(Unavailable):
        deploy.roll_out(context, made, Serving())
    assert states(store) == [(1, "failed")]
    monkeypatch.setattr(deploy, "open_target", lambda *_: Slow(lambda: None))
    deploy.roll_out(context, made, Serving())
    assert states(store) == [(1, "live")]

    # It is live, whatever a further try of the same run meets.
    monkeypatch.setattr(deploy, "open_target", lambda *_: Slow(away))
    with pytest.raises(Unavailable):
        deploy.roll_out(context, made, Serving())
    assert states(store) == [(1, "live")]


def test_a_deployment_that_is_told_to_end_does_not_roll_out_for_ever(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = context_of(store, pipeline_run(store, "wine", "one"), "deploy", tmp_path)
    monkeypatch.setattr(deploy, "open_target", lambda *_: Slow(lambda: sys.exit(143)))
    with pytest.raises(SystemExit):
        deploy.roll_out(context, released(store, 1), Serving())
    [ended] = store.deployments.history("wine", "production")
    assert (ended.state, ended.error) == ("failed", "It was told to end: its run was cancelled, or took too long")


def test_a_try_that_was_taken_over_ends_nothing(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, made = pipeline_run(store, "wine", "one"), released(store, 1)
    context = context_of(store, run, "deploy", tmp_path)

    def taken_over() -> None:
        store.steps.claim(run.id, "deploy", try_number=2, clear_number=0)
        raise Unavailable("The cluster cannot be reached", "look")

    monkeypatch.setattr(deploy, "open_target", lambda *_: Slow(taken_over))
    with pytest.raises(Fenced):
        deploy.roll_out(context, made, Serving())
    assert states(store) == [(1, "rolling_out")]


def test_what_model_yaml_says_of_a_cluster_reaches_the_target(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {
        "environment": "production",
        "target": "kubernetes",
        "namespace": "models",
        "cluster": "eu",
        "ingress": {"host": "wine.example.com", "path": "/"},
    }
    run = pipeline_run(store, "wine", "scaled", settings=settings)
    context = context_of(store, run, "deploy", tmp_path)
    scaled = Serving.model_validate({"resources": {"cpu": "1"}, "autoscaling": {"max_replicas": 3, "cpu": 70}})
    opened: list[object] = []
    specs: list[ServiceSpec] = []

    class Noting(Slow):
        def deploy(self, spec: ServiceSpec, log: Callable[[str], None]) -> str:
            specs.append(spec)
            return super().deploy(spec, log)

    def open_target(name: str, _home: Path, _images: object, *where: object) -> Noting:
        opened.extend((name, *where))
        return Noting(lambda: None)

    monkeypatch.setattr(deploy, "open_target", open_target)
    made = released(store, 1)
    with pytest.raises(RequestError, match="Airflow connection 'eu'"):
        deploy.roll_out(context, made, scaled)
    assert not opened, "it was never asked which cluster happens to be configured here"

    access = ClusterAccess("eu", {"users": []})
    deploy.roll_out(replace(context, cluster=access), made, scaled)

    assert opened == ["kubernetes", "models", access]
    assert specs[0].autoscaling == Autoscaling(max_replicas=3, cpu=70)
    assert specs[0].ingress == Ingress("wine.example.com")


def test_what_is_to_be_logged_reaches_the_target_without_the_stores_credential(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs: list[ServiceSpec] = []

    class Noting(Slow):
        def deploy(self, spec: ServiceSpec, log: Callable[[str], None]) -> str:
            specs.append(spec)
            return super().deploy(spec, log)

    monkeypatch.setattr(deploy, "open_target", lambda *_: Noting(lambda: None))
    context = context_of(store, pipeline_run(store, "wine", "logged"), "deploy", tmp_path)
    context = replace(context, runner_image="registry/runner:1")
    serving = Serving.model_validate({"prediction_log": {"sample": 0.5, "hide": ["name"], "disk": "2Mi"}})
    store.address = replace(
        store.address,
        artifacts="s3://bucket/models",
        s3_endpoint_url="http://s3:9000",
        s3_access_key="the-store",
        s3_secret_key="that-nobody-may-see",
    )
    deploy.roll_out(context, released(store, 1), serving)

    (spec,) = specs
    assert spec.log == PredictionLog(
        sample=0.5,
        hide=("name",),
        most_bytes=2 * 1024 * 1024,
        seconds=60,
        prefix="served/wine/production",
        destination={"MODELYARD_ARTIFACTS": "s3://bucket/models", "MODELYARD_S3_ENDPOINT_URL": "http://s3:9000"},
        needs_credential=True,
        image="registry/runner:1",
    )
    assert "the-store" not in repr(spec)


OURS, OTHERS = key_pair(), key_pair()


@pytest.mark.parametrize(
    ("private", "why"),
    [(OURS[0], None), (OTHERS[0], "none of its 2 signatures is by SHA256:"), (None, "it has no signature")],
    ids=["by the key", "by another one", "by none"],
)
def test_only_what_is_signed_by_the_verification_key_goes_live(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, private: str | None, why: str | None
) -> None:
    images = open_images(store.address, tmp_path)
    image = empty("amd64").append([images.pack([Entry("model", b"model")], "model")], {}, {})
    images.push("wine", image)
    if private is not None:
        sign(images, "wine", image.digest, SigningKey(private).open())
    facts = json.dumps({"golden": {"inputs": [], "outputs": {}}}).encode()
    made = version(store, model=(store.artifacts.put_bytes(facts, "modelyard.json"),))
    store.versions.set_image(made.name, made.version, image.digest)
    made = store.versions.get(made.name, made.version)
    asked: list[str] = []
    monkeypatch.setattr(deploy, "open_target", lambda *_: Slow(lambda: asked.append("to deploy")))
    store.address = replace(store.address, verification_key=OURS[1])
    context = context_of(store, pipeline_run(store, "wine", "signed"), "deploy", tmp_path)
    if why is None:
        deploy.roll_out(context, made, Serving())
        assert (states(store), asked) == ([(1, "live")], ["to deploy"])
        [live] = store.deployments.of_version("wine", made.version)
        assert live.verified_by == str(read_public_keys(OURS[1])[0])
        return
    with pytest.raises(ImageError, match=rf"wine@{image.digest} does not go live: {why}") as refused:
        deploy.roll_out(context, made, Serving())
    [ended] = store.deployments.history("wine", "production")
    assert (ended.state, ended.error, asked) == ("failed", refused.value.message, [])
    assert store.aliases.get("wine", "production") is None


def test_the_access_to_a_cluster_reaches_a_local_steps_process_and_is_told_to_nobody(
    store: Store, store_address: StoreAddress, tmp_path: Path
) -> None:
    settings = {"environment": "production", "target": "kubernetes", "cluster": "eu"}
    run = pipeline_run(store, "wine", "there", settings=settings)
    made = released(store, 1)
    prepared: dict[str, object] = {field.name: None for field in fields(Prepared)} | {"project": {"serving": {}}}
    pushed = {"version": made.version, "image_digest": image_of(made.version), "reference": "wine"}
    for step, result in (("prepare", prepared), ("push", pushed)):
        claim = store.steps.claim(run.id, step, try_number=1, clear_number=0)
        assert isinstance(claim, Claim)
        claim.finish(result)
    access = ClusterAccess("eu", {"users": [{"name": "robot", "user": {"token": "that-nobody-may-see"}}]})
    lines: list[str] = []

    def deployed(number: int, access: ClusterAccess | None) -> int:
        command = Command("deploy", run.id, try_number=number)
        return LocalStep(command, store_address, tmp_path, lines.append, cluster=access).run()

    assert deployed(1, None) == 65
    assert "in the cluster of the Airflow connection 'eu'" in lines[-2]
    assert deployed(2, access) == 65
    assert "A cluster cannot pull images from" in lines[-2], "it had the access, and looked at the images next"
    assert "that-nobody-may-see" not in "".join(lines)
