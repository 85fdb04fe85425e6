"""Blobs to and from a registry: streamed, and taken up where a connection broke."""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BufferedReader, RawIOBase
from typing import Any, BinaryIO, cast
from urllib.parse import urlencode, urljoin

import requests
from urllib3.exceptions import HTTPError

from modelyard.errors import ImageError, Unavailable
from modelyard.images.attempts import TRANSIENT, TRIES
from modelyard.images.layer import Layer
from modelyard.images.transport import Transport

_CHUNK = 16 << 20
_BUFFER = 1 << 20
_OCTETS = {"Content-Type": "application/octet-stream"}
_RANGE = re.compile(r"(?:bytes=)?0-(\d+)")


def upload(transport: Transport, repository: str, blob: Layer, mount_from: str | None) -> None:
    """Have ``blob`` in ``repository``: found there, mounted from another repository, or sent.

    Args:
        transport: to the registry.
        repository: with the registry's prefix.
        blob: read only when it has to be sent.
        mount_from: a repository of this registry that has it, if one is known.

    Raises:
        ImageError, Unavailable: see :meth:`Transport.request`; ImageError too when the registry received other bytes.
    """
    blobs = f"/v2/{repository}/blobs/"
    if transport.request("HEAD", blobs + blob.digest, (200, 404)).status_code == 200:
        return
    mount = {"mount": blob.digest, "from": mount_from} if mount_from else {}
    # A second try would leave an upload nobody ends; the registry forgets it after a while.
    begun = transport.request("POST", f"{blobs}uploads/?{urlencode(mount)}".rstrip("?"), (201, 202))
    if begun.status_code == 201:
        return
    for last in (False,) * (TRIES - 1) + (True,):
        try:
            _send(transport, repository, begun, blob)
            return
        except _Lost as error:
            if last:
                raise Unavailable(
                    f"The registry {transport.host} loses what is uploaded to {repository}: {error}",
                    "check the registry's disk and log; the same try works again later",
                ) from error
            begun = transport.request("POST", f"{blobs}uploads/", (202,))


def read(transport: Transport, repository: str, digest: str) -> BinaryIO:
    """Return the bytes of a blob, as they come; a dropped connection is taken up where it broke.

    Raises:
        ImageError: it is not there; Unavailable: also while it is read.
    """
    return cast("BinaryIO", BufferedReader(_Download(transport, f"/v2/{repository}/blobs/{digest}"), _BUFFER))


class _Lost(Exception):
    """The registry knows no more of an upload than it did at its start."""


def _send(transport: Transport, repository: str, begun: requests.Response, blob: Layer) -> None:
    location = _location(begun, begun.url)
    size = max(_CHUNK, int(begun.headers.get("OCI-Chunk-Min-Length", 0)))
    start, rest = 0, b""
    for chunk, last in _chunks(blob, size):
        if last and start == 0:
            rest = chunk  # fits into the request that ends the upload
        else:
            location = _patch(transport, location, chunk, start)
            start += len(chunk)
    end = f"{location}{'&' if '?' in location else '?'}{urlencode({'digest': blob.digest})}"
    try:
        ended = transport.request("PUT", end, (201, 404, 416), data=rest, headers=_OCTETS, retry=False)
    except Unavailable as error:
        # Only the answer may have been lost; sent again, a finished upload would be unknown.
        found = transport.request("HEAD", f"/v2/{repository}/blobs/{blob.digest}", (200, 404))
        if found.status_code == 404:
            raise _Lost(str(error)) from error
    else:
        if ended.status_code != 201:
            raise _Lost(f"the upload is not known any more as it was ({ended.status_code})")


def _chunks(blob: Layer, size: int) -> Iterator[tuple[bytes, bool]]:
    """The blob's bytes, each chunk with whether it is the last; the registry refuses them when they are others."""
    with blob.opener() as stream:
        chunk = stream.read(size)
        while True:
            following = stream.read(size)
            yield chunk, not following
            if not following:
                return
            chunk = following


def _patch(transport: Transport, location: str, chunk: bytes, start: int) -> str:
    """Send one chunk, as much of it as is needed, as often as is needed; return where the next one goes."""
    sent, failures = 0, 0
    failure: Unavailable | None = None
    while failures < TRIES:
        headers = {**_OCTETS, "Content-Range": f"{start + sent}-{start + len(chunk) - 1}"}
        answer: requests.Response | None = None
        try:
            answer = transport.request(
                "PATCH", location, (202, 204, 404, 416), data=chunk[sent:], headers=headers, retry=False
            )
        except Unavailable as error:
            failure = error
        if answer is None or answer.status_code == 416:  # how far has it got?
            answer = transport.request("GET", location, (204, 404))
        elif "Range" not in answer.headers and answer.status_code != 404:
            return _location(answer, location)
        if answer.status_code == 404:
            raise _Lost("the upload is not known any more") from failure
        location = _location(answer, location)
        taken = _taken(answer) - start
        if taken == len(chunk):
            return location
        if not 0 <= taken < len(chunk):
            raise _Lost(f"{start + taken} bytes are there of {start} that were taken") from failure
        failures = 0 if taken > sent else failures + 1
        sent = taken
    raise Unavailable(f"The registry {transport.host} does not take the upload to its end", "try later") from failure


def _taken(answer: requests.Response) -> int:
    """How many bytes of an upload a registry has. That of Docker says 0-0 for none."""
    found = _RANGE.fullmatch(answer.headers.get("Range", ""))
    return int(found[1]) + 1 if found and found[1] != "0" else 0


def _location(answer: requests.Response, base: str) -> str:
    if "Location" not in answer.headers:
        raise ImageError(
            f"{answer.url.partition('?')[0]} is no OCI registry: it names no place to go on uploading",
            "check the registry's address",
        )
    return urljoin(base, answer.headers["Location"])


class _Download(RawIOBase):
    """A blob as it comes. Only drops with nothing between them count: a large blob may meet many."""

    def __init__(self, transport: Transport, url: str) -> None:
        self._transport = transport
        self._url = url
        self._position = 0
        self._skip = 0
        self._failures = 0
        self._answer = self._request()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        while True:
            try:
                while self._skip and (skipped := self._some(min(self._skip, _BUFFER))):
                    self._skip -= len(skipped)
                data = self._some(len(buffer))
            except (HTTPError, *TRANSIENT) as error:
                self._answer.close()
                self._failures += 1
                if self._failures >= TRIES:
                    raise Unavailable(
                        f"The registry {self._transport.host} breaks off {self._url}: {error}", "try later"
                    ) from error
                self._answer = self._request()
                continue
            self._failures = 0
            self._position += len(data)
            buffer[: len(data)] = data
            return len(data)

    def close(self) -> None:
        if not self.closed:
            self._answer.close()
        super().close()

    def _some(self, size: int) -> bytes:
        """What is there already: when the connection drops, nothing that came before is lost."""
        data: bytes = self._answer.raw.read1(size)
        return data

    def _request(self) -> requests.Response:
        headers = {"Accept-Encoding": "identity"}
        if self._position:
            headers["Range"] = f"bytes={self._position}-"
        answer = self._transport.request("GET", self._url, (200, 206), headers=headers, stream=True)
        # A registry that knows no ranges begins anew.
        self._skip = self._position if answer.status_code == 200 else 0
        return answer
