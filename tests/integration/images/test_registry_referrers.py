"""A registry that lists what is attached to an image by itself: no registry of the tests does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.answering import Answer, Asked, answering

from modelyard.images.image import INDEX, digest_of, empty
from modelyard.images.registry import Registry
from modelyard.images.transport import Transport


class Referring:
    """A registry of OCI 1.1 written in Go, which lists an image's referrers by itself, one a page."""

    def __init__(self) -> None:
        self.manifests: dict[str, bytes] = {}
        self.listed: list[dict[str, Any]] = []

    def __call__(self, asked: Asked) -> Answer:
        path, _, query = asked.path.partition("?")
        kind, name = path.split("/")[-2:]
        if kind == "referrers":
            page = int(query.removeprefix("page=") or 0)
            more = page + 1 < len(self.listed)
            body = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": self.listed[page : page + 1]})
            link = [("Link", f'</v2/wine/referrers/{name}?page={page + 1}>; rel="next"')] if more else []
            return Answer(200, link, body.encode())
        if kind == "blobs":
            return Answer(200)
        if asked.method != "PUT":
            found = self.manifests.get(name)
            return Answer(404) if found is None else Answer(200, body=found)
        self.manifests[name] = self.manifests[digest_of(asked.body)] = asked.body
        if subject := json.loads(asked.body).get("subject"):
            self.listed.append({"digest": digest_of(asked.body), "artifactType": "application/vnd.example"})
            # As Go's net/http writes the name of OCI-Subject.
            return Answer(201, [("Oci-Subject", subject["digest"])])
        return Answer(201)


def test_a_registry_that_lists_referrers_gets_no_tag_for_them(tmp_path: Path) -> None:
    registry = Referring()
    with answering(registry) as server:
        images = Registry(Transport(server.host, username="name", password="secret", insecure=True), "", tmp_path)
        subject = images.push("wine", empty("amd64"), "1")

        attached = [images.attach("wine", subject, "application/vnd.example", data) for data in (b"a", b"b", b"c")]

        assert [found.digest for found in images.referrers("wine", subject)] == attached
    assert {name for name in registry.manifests if not name.startswith("sha256:")} == {"1"}
