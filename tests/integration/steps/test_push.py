"""What `push` puts beside a released image in a real registry, read there by others' rules and libraries."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement
from tests.cosign import Repository, as_cosign_keeps_it, key_pair, statements, verified
from tests.fixtures_registry import RegistryServer
from tests.released_models import pipeline_run, version
from tests.searching import made_up
from tests.step_context import context_of

from modelyard.errors import RequestError
from modelyard.execution import Command
from modelyard.execution.local import LocalStep
from modelyard.images import open_images
from modelyard.images.image import Image, empty
from modelyard.images.layer import Entry
from modelyard.sources import tree_tar
from modelyard.steps import push
from modelyard.steps.context import StepContext
from modelyard.steps.results import Containerised, ImageTested, Prepared, Pushed, Validated
from modelyard.store import Claim, ModelVersion, PipelineRun, Store, StoreAddress
from modelyard.supply_chain import SigningKey
from modelyard.supply_chain.key import read_public_keys

PROVENANCE, SIGNED = "https://slsa.dev/provenance/v1", "https://sigstore.dev/cosign/sign/v1"
DIGEST, LOCK, BASE = ("sha256:" + part * 32 for part in ("ab", "bc", "cd"))
HASH = "ef" * 32
PRIVATE, PUBLIC = key_pair()
PASSWORD = made_up("signing")
GIT = {"git": "https://git.example.com/wine", "ref": "main", "subfolder": ""}


@dataclass(frozen=True)
class Ready:
    """A pipeline run that comes to `push` next.

    Attributes:
        repository: the model's, as the registry itself answers for it.
    """

    store: Store
    run: PipelineRun
    version: ModelVersion
    image: Image
    repository: Repository
    registry: httpx.Client
    home: Path

    def context(self, clear_number: int) -> StepContext:
        """Claim the step again, as another try does."""
        claim = self.store.steps.claim(self.run.id, "push", try_number=1, clear_number=clear_number)
        assert isinstance(claim, Claim)
        home = self.home / str(clear_number)
        return replace(context_of(self.store, self.run, f"none-{clear_number}", home), claim=claim)

    def everything(self) -> dict[str, Any]:
        """Return what each tag of the model's repository leads to."""
        tags = self.registry.get("/tags/list").json().get("tags") or []
        return {tag: self.repository.manifest(tag) for tag in tags}


@pytest.fixture
def ready(store_address: StoreAddress, registry: RegistryServer, tmp_path: Path) -> Iterator[Ready]:
    address = replace(store_address, registry=f"{registry.host}/{registry.prefix}", registry_insecure=True)
    home = tmp_path / "home"
    images = open_images(address, home)
    image = _image(address, home)
    images.push("staging/wine", image)
    project = tmp_path / "project"
    project.mkdir()
    (project / "requirements.txt").write_text(f"six==1.17.0 --hash=sha256:{HASH}\n")
    with (tmp_path / "project.tar").open("wb") as tar:
        tree_tar(project, tar)
    with Store.open(address) as store:
        tree = store.artifacts.put_file(tmp_path / "project.tar").digest
        made = version(store, project_digest=tree)
        params = {"environment": "production", "config.C": 0.5, "data.wine": f"https://example.com/wine.csv?{PASSWORD}"}
        run = pipeline_run(store, "wine", "release__1", project=GIT, params=params)
        _finish(store, run, "prepare", Prepared, {"tree_digest": tree, "project": {"lock": "requirements.txt"}})
        _finish(store, run, "validate", Validated, {"version": made.version, "report": {"json": DIGEST}})
        built = {"version": made.version, "repository": "staging/wine", "image_digest": image.digest, "layers": []}
        _finish(store, run, "containerise", Containerised, built)
        tested = {"version": made.version, "image_digest": image.digest, "golden": 1, "critical": 0}
        _finish(store, run, "test_image", ImageTested, tested)
        name = f"{registry.prefix}/wine"
        with httpx.Client(base_url=f"http://{registry.host}/v2/{name}") as client:
            yield Ready(store, run, made, image, Repository(registry.host, name), client, home)


def _image(address: StoreAddress, home: Path) -> Image:
    images = open_images(address, home)
    facts = {"io.modelyard.lock": LOCK, "org.opencontainers.image.base.digest": BASE, "io.modelyard.model": DIGEST}
    site = "opt/modelyard/environment/lib/python3.11/site-packages"
    six = [Entry(f"{site}/six-1.17.0.dist-info/METADATA", b"Name: six\nVersion: 1.17.0\n\n")]
    rpm = [Entry("var/lib/rpm/rpmdb.sqlite", b"not for us")]
    layers = [images.pack(rpm), images.pack(six, "environment"), images.pack([Entry("model", b"model")], "model")]
    return empty("amd64").append(layers, {"Labels": facts}, facts, "2026-01-02T03:04:05Z")


def _finish(store: Store, run: PipelineRun, step: str, kind: type[Any], result: dict[str, Any]) -> None:
    claim = store.steps.claim(run.id, step, try_number=1, clear_number=0)
    assert isinstance(claim, Claim)
    empty_ones = {field.name: None for field in fields(kind)}
    claim.finish(asdict(kind(**(empty_ones | result))))


def test_a_released_image_has_all_of_it_beside_it_once(ready: Ready) -> None:
    digest, lines = ready.image.digest, list[str]()
    signing = SigningKey(as_cosign_keeps_it(PRIVATE, PASSWORD), PASSWORD)
    step = LocalStep(Command("push", ready.run.id), ready.store.address, ready.home, lines.append, signing=signing)
    assert step.run() == 0, lines
    said = "\n".join(lines)
    assert "image signed, by SHA256:" in said
    assert "Not in the bill of materials: what /var/lib/rpm/rpmdb.sqlite names" in said
    assert PASSWORD not in said
    assert ready.store.versions.get("wine", 1).image_digest == digest

    (payload,) = verified(ready.repository, digest, PUBLIC)
    assert payload["critical"]["image"] == {"docker-manifest-digest": digest}
    told = statements(ready.repository, digest, PUBLIC)
    assert told.keys() == {SIGNED, PROVENANCE}
    (bill,) = ready.repository.attached(digest, "application/vnd.cyclonedx+json")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill.decode()) is None
    parts = {part["bom-ref"]: part for part in json.loads(bill)["components"]}
    assert parts["pkg:pypi/six@1.17.0"]["externalReferences"][0]["hashes"] == [{"alg": "SHA-256", "content": HASH}]
    assert_origin(ready, told[PROVENANCE], bill)

    before = ready.everything()
    assert len(before) == 3, "the version, cosign's tag, and the index of what refers to it"
    # A try that was killed before it had told of its end does all of it again.
    signed_by = str(read_public_keys(PUBLIC)[0])
    attached = ready.store.versions.get("wine", 1).attached
    assert attached is not None
    assert attached["signed_by"] == signed_by
    images = open_images(ready.store.address, ready.home)
    assert images.read_referrer("wine", attached["bill_of_materials"]) == bill
    assert attached["provenance"] in {one.digest for one in images.referrers("wine", digest)}
    assert push.run(replace(ready.context(1), signing=signing)) == Pushed(1, digest, "wine:1", signed_by)
    assert ready.everything() == before
    # Released again where there is no key, it is signed as before.
    assert push.run(ready.context(2)).signed_by is None
    assert (ready.store.versions.get("wine", 1).attached or {})["signed_by"] == signed_by


def assert_origin(ready: Ready, predicate: Any, bill: bytes) -> None:
    """Hold a provenance to the messages of in-toto and SLSA, and to what is known of the run."""
    known = json_format.ParseDict(predicate, provenance_pb2.Provenance())  # an unknown or wrong field is an error
    build, details = known.build_definition, known.run_details
    for uri in (build.build_type, details.builder.id):
        assert httpx.URL(uri).scheme == "https", "a TypeURI"
    assert predicate["buildDefinition"]["externalParameters"] == {
        "model": "wine",
        "project": {"git": GIT["git"], "ref": "main"},
        "params": {"environment": "production", "config.C": 0.5, "data.wine": "https://example.com/wine.csv"},
    }
    inside = predicate["buildDefinition"]["internalParameters"]
    assert (inside["version"], inside["sacredRun"]) == (1, ready.version.run_id)
    assert inside["trainedInPipelineRun"] == ready.version.pipeline_run
    found = {one.name: (one.uri, dict(one.digest)) for one in build.resolved_dependencies}
    assert found == {
        "source": (f"git+{GIT['git']}", {"gitCommit": str(ready.version.commit)}),
        "project": ("", {"sha256": ready.version.project_digest.removeprefix("sha256:")}),
        "lock": ("", {"sha256": "bc" * 32}),
        "base image": ("", {"sha256": "cd" * 32}),
        "data wine": ("", {"sha256": "ab" * 32}),
    }
    assert details.metadata.invocation_id == ready.run.id
    record = ready.store.steps.get(ready.run.id, "containerise")
    assert record is not None
    assert record.finished_at is not None
    started, finished = (one.ToDatetime() for one in (details.metadata.started_on, details.metadata.finished_on))
    assert started == ready.run.created_at.replace(tzinfo=None, microsecond=0)
    assert finished == record.finished_at.replace(tzinfo=None, microsecond=0)
    byproducts = {one.name: one.digest["sha256"] for one in details.byproducts}
    assert byproducts == {"bill of materials": hashlib.sha256(bill).hexdigest(), "report": "ab" * 32}


def test_without_a_key_it_is_told_and_not_signed(ready: Ready) -> None:
    digest = ready.image.digest
    push.run(ready.context(1))
    assert ready.repository.manifest(f"{digest.replace(':', '-')}.sig") is None
    (said,) = ready.repository.attached(digest, "application/vnd.in-toto+json")
    statement = json_format.ParseDict(json.loads(said), statement_pb2.Statement())
    Statement.copy_from_pb(statement).validate()
    assert statement.predicate_type == PROVENANCE
    assert statement.subject[0].digest["sha256"] == digest.removeprefix("sha256:")
    (bill,) = ready.repository.attached(digest, "application/vnd.cyclonedx+json")
    assert_origin(ready, json.loads(said)["predicate"], bill)

    push.run(replace(ready.context(2), signing=SigningKey(PRIVATE)))
    assert len(verified(ready.repository, digest, PUBLIC)) == 1


def test_a_key_that_cannot_be_opened_releases_nothing(ready: Ready) -> None:
    with pytest.raises(RequestError, match="The signing key cannot be opened"):
        push.run(replace(ready.context(1), signing=SigningKey(PRIVATE, "another password")))
    assert ready.everything() == {}
    assert ready.store.versions.get("wine", 1).image_digest is None
