"""Deployments: every attempt to put a version live, and what is live now.

The truth is in the target itself, which refuses an older generation; this is the record that people and pages read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from modelyard.errors import Conflict, NotFound
from modelyard.store.codec import from_document, now, to_document
from modelyard.store.records import Deployment

if TYPE_CHECKING:
    from modelyard.store.mongo import Database

_NEWEST = (("generation", -1),)


class Deployments:
    """Deployments by (model, environment, generation)."""

    def __init__(self, database: Database) -> None:
        self._deployments = database.collection(
            "deployments", indexes=[[("model", 1), ("environment", 1), ("generation", -1)], [("state", 1)]]
        )

    def begin(
        self,
        *,
        model: str,
        environment: str,
        generation: int,
        version: int,
        image_digest: str,
        target: str,
        by: str,
        why: str,
        pipeline_run: str | None,
        replaces: int | None = None,
    ) -> Deployment:
        """Write down that a version is about to go live, before anything is touched.

        The same generation again is the same deployment: one that failed is rolling out once more, one that is live or
        was replaced stays so.

        Args:
            model: the model's name.
            environment: where it goes.
            generation: the pipeline run's ``sequence``: the newer run wins at the target.
            version: what goes live.
            image_digest: of its image.
            target: ``local``, ``kubernetes``, …
            by: who asked for it.
            why: what people read later.
            pipeline_run: the run's id.
            replaces: the version that the environment's alias points to; the first begin's word stands.

        Raises:
            Conflict: this generation deploys another image.
        """
        deployment = Deployment(
            model=model,
            environment=environment,
            generation=generation,
            version=version,
            image_digest=image_digest,
            target=target,
            state="rolling_out",
            address=None,
            by=by,
            why=why,
            pipeline_run=pipeline_run,
            replaces=replaces,
            created_at=now(),
        )
        key = _key(deployment)
        if self._deployments.insert({"_id": key, **to_document(deployment)}):
            return deployment
        restart = {"state": "rolling_out", "error": None, "finished_at": None}
        self._deployments.update({"_id": key, "state": "failed", "image_digest": image_digest}, {"$set": restart})
        kept = self._get(deployment)
        if kept.image_digest != image_digest:
            raise Conflict(
                f"Generation {generation} of '{model}' in '{environment}' deploys {kept.image_digest}, "
                f"not {image_digest}",
                "start a new pipeline run: one run deploys one image",
            )
        return kept

    def finish(
        self,
        deployment: Deployment,
        state: Literal["live", "replaced", "failed", "superseded"],
        *,
        address: str | None = None,
        error: str | None = None,
        verified_by: str | None = None,
    ) -> Deployment:
        """Write down how a deployment ended, and when it is live, that older ones are so no more.

        The same again is no error, and neither is a late word on one that was replaced meanwhile. One that was live
        and finds itself superseded when it is tried again was replaced.

        Args:
            deployment: as :meth:`begin` has returned it.
            state: how it ended.
            address: where a live one answers.
            error: why one has failed.
            verified_by: fingerprint of the key that its image was found signed with.

        Raises:
            Conflict: it ended otherwise before.
        """
        ends = {"state": state, "address": address, "error": error, "finished_at": now()}
        if verified_by is not None:
            ends["verified_by"] = verified_by
        before = ["rolling_out", "live"] if state == "replaced" else ["rolling_out"]
        self._deployments.update({"_id": _key(deployment), "state": {"$in": before}}, {"$set": ends})
        if state == "superseded":
            self._deployments.update({"_id": _key(deployment), "state": "live"}, {"$set": {"state": "replaced"}})
        kept = self._get(deployment)
        if kept.state not in {state, "replaced", "superseded"}:
            raise Conflict(
                f"Generation {kept.generation} of '{kept.model}' in '{kept.environment}' is {kept.state}, not {state}",
                "start a new pipeline run",
            )
        if kept.state != "live":
            return kept
        others = {"model": kept.model, "environment": kept.environment, "state": "live"}
        older = others | {"generation": {"$lt": kept.generation}}
        self._deployments.update_all(older, {"$set": {"state": "replaced"}})
        if self._deployments.first(others | {"generation": {"$gt": kept.generation}}) is not None:
            self._deployments.update({"_id": _key(kept)}, {"$set": {"state": "replaced"}})
        return self._get(kept)

    def get(self, model: str, environment: str, generation: int) -> Deployment | None:
        """Return the deployment that a pipeline run has begun, None when it has begun none."""
        document = self._deployments.get(f"{model}:{environment}:{generation}")
        return None if document is None else from_document(Deployment, document)

    def live(self, model: str, environment: str) -> Deployment | None:
        """Return what serves, as far as the record knows."""
        found = self._deployments.first({"model": model, "environment": environment, "state": "live"}, _NEWEST)
        return None if found is None else from_document(Deployment, found)

    def all_live(self) -> list[Deployment]:
        """Return what serves of every model in every environment, by model and environment."""
        found = self._deployments.find({"state": "live"}, [("model", 1), ("environment", 1), ("generation", 1)])
        newest = {(document["model"], document["environment"]): document for document in found}
        return [from_document(Deployment, document) for document in newest.values()]

    def history(self, model: str, environment: str, limit: int = 50) -> list[Deployment]:
        """Return the deployments of a model in an environment, newest first."""
        found = self._deployments.find({"model": model, "environment": environment}, _NEWEST, limit)
        return [from_document(Deployment, document) for document in found]

    def of_version(self, model: str, version: int, limit: int = 10) -> list[Deployment]:
        """Return the deployments of one version, to whatever environment, newest first."""
        found = self._deployments.find({"model": model, "version": version}, _NEWEST, limit)
        return [from_document(Deployment, document) for document in found]

    def served(self, model: str, environment: str) -> list[int]:
        """Return the versions that were live in an environment, or still are, each once, the last one first."""
        were = {"model": model, "environment": environment, "state": {"$in": ["live", "replaced"]}}
        return list(dict.fromkeys(document["version"] for document in self._deployments.find(were, _NEWEST)))

    def _get(self, deployment: Deployment) -> Deployment:
        kept = self.get(deployment.model, deployment.environment, deployment.generation)
        if kept is None:
            raise NotFound(
                f"Generation {deployment.generation} of '{deployment.model}' was never begun", "begin it before it ends"
            )
        return kept


def _key(deployment: Deployment) -> str:
    return f"{deployment.model}:{deployment.environment}:{deployment.generation}"
