"""A store as pipeline runs leave it, without running anything: what is referred to, and garbage of every kind."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests import released_models

from modelyard.garbage.collect import Collection, collect
from modelyard.images import ImageStore, Index, repositories
from modelyard.images.image import Image, empty
from modelyard.images.layer import Entry
from modelyard.steps import results
from modelyard.store import ArtifactFile, Claim, ModelVersion, PipelineRun, Store
from modelyard.store.codec import now

SIGNATURE = "application/vnd.example.signature"


@dataclass
class Ground:
    """A store with its images, and what has been planted.

    Attributes:
        wanted: artifacts that something refers to.
        released: repository and digest of images that something refers to.
        home: this machine's folder.
        seen: the same images, for the collector: it pardons nothing.
    """

    store: Store
    images: ImageStore
    home: Path = Path("/nonexistent")
    seen: ImageStore | None = None
    wanted: list[ArtifactFile] = field(default_factory=list)
    released: list[tuple[str, str]] = field(default_factory=list)

    def put(self, text: str) -> ArtifactFile:
        return self.store.artifacts.put_bytes(text.encode(), "file")

    def want(self, text: str) -> ArtifactFile:
        self.wanted.append(self.put(text))
        return self.wanted[-1]

    def image(self, *texts: str) -> Image:
        """An image of a layer a text; what has the same text has the same layer."""
        layers = [self.images.pack([Entry(f"opt/{text}", text.encode() * 50)], "model") for text in texts]
        return empty("amd64").append(layers, {}, {})

    def environment(self, lock: str, repository: str = "environment") -> dict[str, Any]:
        """Push the environment of a lock, or one like it, as ``prepare`` does, and return its reference."""
        image = self.image(f"packages of {lock}")
        tag = f"{_hex(lock)[:40]}-3.11-linux-amd64-zstd-1"
        digest = self.images.push(repository, image, tag if repository != repositories.PROJECT_IMAGE else tag[:40])
        layer = image.layers[0]
        return {
            "lock_digest": f"sha256:{_hex(lock)}",
            "python": "3.11",
            "platform": "linux/amd64",
            "layer_digest": layer.digest,
            "diff_id": layer.diff_id,
            "repository": repository,
            "image_digest": digest,
            "reference": None,
        }

    def base(self, text: str) -> tuple[str, str]:
        """Push a base image as ``pull_base`` does: as it is, and with its Python found; return both digests."""
        image = self.image(text)
        copied = self.images.push(repositories.BASE, image)
        found = image.append([], {"Labels": {"python": "3.11"}}, {})
        tag = f"{copied.removeprefix('sha256:')[:40]}-2"
        return copied, self.images.push(repositories.BASE, found, tag)

    def prepared(self, run: PipelineRun, lock: str, tree: ArtifactFile, **changes: Any) -> dict[str, Any]:
        environment = self.environment(lock)
        values: dict[str, Any] = dict.fromkeys(results.Prepared.__dataclass_fields__)
        values |= {"tree_digest": tree.digest, "lock_digest": environment["lock_digest"], "environment": environment}
        self.finish(run, "prepare", values | changes)
        return environment

    def finish(self, run: PipelineRun, step: str, result: dict[str, Any]) -> None:
        claim = self.store.steps.claim(run.id, step, 1, run.clear_number)
        assert isinstance(claim, Claim)
        claim.finish(result)

    def fail(self, run: PipelineRun, step: str) -> None:
        claim = self.store.steps.claim(run.id, step, 1, run.clear_number)
        assert isinstance(claim, Claim)
        claim.fail(RuntimeError("no"))

    def stage(self, run: PipelineRun, image: Image | Index, version: int) -> str:
        """Push an image to staging, as ``containerise`` does."""
        repository = repositories.staging(run.model)
        digest = self.images.push(repository, image, repositories.staging_tag(run.id, run.clear_number))
        self.finish(run, "containerise", asdict(results.Containerised(version, repository, digest, [], {})))
        return digest

    def sign(self, repository: str, digest: str) -> None:
        """Attach what ``push`` attaches: under a referrer, and where cosign 2 looks for a signature."""
        self.images.attach(repository, digest, SIGNATURE, f"bill of {digest}".encode())
        self.images.attach_signature(repository, digest, f"signed {digest}".encode(), "c2lnbmF0dXJl")

    def release(self, number: int) -> ModelVersion:
        """A whole pipeline run: its version is released and live. Its staged image is garbage from then on."""
        run = released_models.pipeline_run(self.store, "wine", f"run-{number}")
        released_models.sacred_run(self.store, number, run.id)
        tree, model, data = (self.want(f"{what} {number}") for what in ("tree", "model", "data"))
        environment = self.prepared(run, f"lock {number}", tree)
        version = self.store.versions.register(
            released_models.as_version(
                run,
                number,
                project_digest=tree.digest,
                environment=environment,
                model=(model,),
                data=(released_models.fingerprint(data),),
            )
        )
        self.finish(run, "train", {"run_id": number})
        self.finish(run, "log_to_sacred", asdict(results.Logged(number, version.version)))
        report = {"html": self.want(f"report {number}").digest}
        compiled = self.put(f"compiled {number}")  # no recipe of an image names it
        self.finish(
            run,
            "validate",
            asdict(results.Validated(version.version, report, [], None, None, "", [asdict(compiled)])),
        )
        self.store.versions.set_report("wine", version.version, {"html": self.want("the last report").digest})
        image = self.image(f"packages of lock {number}", "server", f"model {number}")
        digest = self.stage(run, image, version.version)
        self.finish(run, "test_image", {"image_digest": digest})
        self.images.copy(repositories.staging("wine"), "wine", digest)
        self.images.tag("wine", digest, str(version.version))
        self.sign("wine", digest)
        self.store.versions.set_image("wine", version.version, digest)
        self.finish(run, "push", asdict(results.Pushed(version.version, digest, f"wine:{version.version}")))
        self.released += [("wine", digest), ("environment", environment["image_digest"])]
        return self.store.versions.get("wine", version.version)

    def collect(self, days: float, delete: bool = True, patience: timedelta = timedelta(days=7)) -> Collection:
        """Collect garbage so many days from now."""
        return collect(
            self.store,
            self.seen or self.images,
            self.home,
            patience=patience,
            delete=delete,
            log=print,
            clock=lambda: now() + timedelta(days=days),
        )


def _hex(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()
