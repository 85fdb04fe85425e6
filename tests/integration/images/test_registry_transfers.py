"""Registries that lose uploads, take less than they were sent, drop often or list by pages: small servers."""

from __future__ import annotations

import random
from io import BytesIO

import pytest
from tests.answering import Answer, Answering, Asked, answering

from modelyard.errors import Unavailable
from modelyard.images import blobs
from modelyard.images.blobs import read, upload
from modelyard.images.image import digest_of
from modelyard.images.layer import Layer
from modelyard.images.transport import Transport

DATA = random.Random(5).randbytes(1_000_000)
BLOB = Layer(digest_of(DATA), digest_of(DATA), len(DATA), "application/octet-stream", lambda: BytesIO(DATA))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelyard.images.attempts._PAUSE", 0.01)


def transport(server: Answering) -> Transport:
    return Transport(server.host, username="name", password="secret", insecure=True)


class Uploads:
    """A registry that takes uploads.

    Attributes:
        faults: the next answers to PATCH or PUT: a status to refuse with, or as a negative number how many bytes of it
            are taken.
        taken: of the upload that is open.
    """

    def __init__(self, *faults: tuple[str, int]) -> None:
        self.faults = list(faults)
        self.taken = b""
        self.begun = 0
        self.mounts: list[str] = []

    def __call__(self, asked: Asked) -> Answer:
        if asked.method == "HEAD":
            return Answer(404)
        if asked.method == "POST":
            self.begun += 1
            self.taken = b""
            self.mounts += [asked.path] if "mount=" in asked.path else []
            return Answer(202, [("Location", f"/upload/{self.begun}")])
        body = asked.body
        if self.faults and self.faults[0][0] == asked.method:
            _, fault = self.faults.pop(0)
            if fault > 0:
                return Answer(fault)
            body = body[:-fault]
        self.taken += body
        if asked.method == "PUT":
            return Answer(201 if self.taken == DATA else 400)
        there = [("Location", asked.path), ("Range", f"0-{max(len(self.taken) - 1, 0)}")]
        return Answer(204 if asked.method == "GET" else 202, there)


@pytest.mark.parametrize(
    ("faults", "begun"),
    [
        ([], 1),
        ([("PATCH", 404)], 2),
        ([("PUT", 404)], 2),
        ([("PUT", 416)], 2),
        ([("PATCH", 416)], 1),
        ([("PATCH", -100_000)], 1),
        ([("PATCH", -50_000)] * 12, 1),  # as long as it goes on, however little
    ],
)
def test_an_upload_is_taken_up_or_begun_anew(
    faults: list[tuple[str, int]], begun: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blobs, "_CHUNK", 300_000)
    uploads = Uploads(*faults)
    with answering(uploads) as server:
        upload(transport(server), "wine", BLOB, None)

    assert uploads.taken == DATA
    assert uploads.begun == begun
    assert uploads.faults == []


@pytest.mark.parametrize(
    ("fault", "said"), [(404, "loses what is uploaded to wine"), (416, "does not take the upload to its end")]
)
def test_an_upload_that_gets_nowhere_may_be_tried_later(fault: int, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blobs, "_CHUNK", 300_000)
    with answering(Uploads(*[("PATCH", fault)] * 100)) as server, pytest.raises(Unavailable, match=said):
        upload(transport(server), "wine", BLOB, None)


def test_a_blob_that_is_not_mounted_is_sent() -> None:
    uploads = Uploads()
    with answering(uploads) as server:
        upload(transport(server), "wine", BLOB, "staging/wine")

    assert uploads.taken == DATA
    (mount,) = uploads.mounts
    assert mount.endswith("from=staging%2Fwine")
    assert uploads.begun == 1  # into the very upload that was begun instead


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("size", [10_000, 400_000, -1])
def test_a_download_may_drop_often_while_it_goes_on(ranges: bool, size: int) -> None:
    sent = 0

    def answer(asked: Asked) -> Answer:
        nonlocal sent
        sent += 150_000
        given = asked.headers["Range"]
        if given is None or not ranges:
            return Answer(200, body=DATA, sent=sent)
        return Answer(206, body=DATA[int(given[len("bytes=") : -1]) :], sent=150_000)

    with answering(answer) as server, read(transport(server), "wine", BLOB.digest) as stream:
        assert b"".join(iter(lambda: stream.read(size), b"")) == DATA
        assert len(server.asked) >= 7


def test_a_download_that_drops_while_it_is_skipped_is_an_error_of_the_registry() -> None:
    with (
        answering(lambda _: Answer(200, body=DATA, sent=150_000)) as server,
        read(transport(server), "wine", BLOB.digest) as stream,
        pytest.raises(Unavailable, match="breaks off"),
    ):
        stream.read()
