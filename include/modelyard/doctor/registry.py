"""The registry: may this machine push to it, and pull from it?"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from modelyard.doctor import clock
from modelyard.doctor.finding import Finding
from modelyard.errors import ImageError
from modelyard.images import open_images
from modelyard.images.image import empty, validate
from modelyard.images.interpreter import Interpreter
from modelyard.images.layer import Entry
from modelyard.images.transport import Transport
from modelyard.store import StoreAddress

SUBJECT = "Registry"
REPOSITORY = "modelyard-doctor"


def look(address: StoreAddress, home: Path) -> Iterator[Finding]:
    """Log in, push an image of a few bytes, pull it, and delete it again where the registry lets."""
    if address.registry.startswith("oci:"):
        yield _look_at_folder(Path(address.registry.removeprefix("oci:")))
        return
    host, _, prefix = address.registry.removeprefix("https://").strip("/").partition("/")
    transport = Transport.to(host, address)
    before = datetime.now(UTC)
    date = transport.request("GET", "/v2/", (200,)).headers.get("Date")
    after = datetime.now(UTC)

    images = open_images(address, home, "gzip")
    architecture = Interpreter.of_this_machine().platform.partition("/")[2]
    layer = images.pack([Entry("probe", secrets.token_bytes(16))])
    image = empty(architecture).append([layer], {}, {"org.opencontainers.image.title": REPOSITORY})
    doing, remedy = "pushing to", "let that account push"
    try:
        digest = images.push(REPOSITORY, image)
        doing, remedy = "pulling from", "let that account pull"
        validate(images.pull(REPOSITORY, digest))
    except ImageError as error:
        found = f"{doing} {address.registry}/{REPOSITORY}: {error.message}"
        yield Finding("failed", SUBJECT, found, f"{error.remedy}; {remedy}")
        return

    name = f"{prefix}/{REPOSITORY}" if prefix else REPOSITORY
    referrers = transport.request("GET", f"/v2/{name}/referrers/{digest}", (200, 404)).status_code == 200
    deleted = _delete(transport, f"/v2/{name}/manifests/{digest}")
    said = [
        f"{address.registry}: pushed",
        "pulled",
        "deleted" if deleted else f"not deleted, as it doesn't let: {REPOSITORY}@{digest[:19]} stays",
        "lists referrers" if referrers else "lists no referrers: Modelyard lists them under a tag",
    ]
    yield Finding("ok", SUBJECT, ", ".join(said))
    yield from clock.by_header(SUBJECT, date, before, after)


def _look_at_folder(folder: Path) -> Finding:
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if os.access(there, os.W_OK):
        return Finding("ok", SUBJECT, f"oci:{folder}: writable, a folder of this machine")
    return Finding("failed", SUBJECT, f"oci:{folder}: this user may not write to {there}", "give that user the right")


def _delete(transport: Transport, manifest: str) -> bool:
    try:
        transport.request("DELETE", manifest, (202,))
    except ImageError:  # the pipeline deletes nothing, so it needs no such right
        return False
    return True
