"""Artifacts: may this machine keep files there, and read them?"""

from __future__ import annotations

import io
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime

from modelyard.doctor import clock
from modelyard.doctor.finding import Finding
from modelyard.errors import StoreError
from modelyard.store import StoreAddress
from modelyard.store.artifacts import open_artifacts
from modelyard.store.s3 import Bucket

SUBJECT = "Artifacts"


def look(address: StoreAddress) -> Iterator[Finding]:
    """Put a small object, read it, try to overwrite it, and delete it again; of a folder, write a file."""
    open_artifacts(address).ping()
    if address.artifacts.startswith("file:"):
        yield Finding("ok", SUBJECT, f"{address.artifacts}: writable, a folder of this machine")
        return
    bucket = Bucket.of(address)
    path, data = f"doctor/{secrets.token_hex(8)}", secrets.token_bytes(16)
    bucket.write(path, io.BytesIO(data), len(data))
    said = [f"{address.artifacts} at {address.s3_endpoint_url or 'AWS'}: written"]
    try:
        with bucket.open(path) as stream:
            if stream.read() != data:
                yield Finding(
                    "failed",
                    SUBJECT,
                    f"{address.artifacts} returns other bytes than were written to it",
                    "keep artifacts elsewhere, or see the server's log: something on the way changes them",
                )
                return
        said.append("read")
        yield from _look_at_clock(bucket, path)
        overwritten = _is_overwritten(bucket, path)
    finally:
        deleted = _delete(bucket, path)
    said.append("deleted" if deleted else f"not deleted, as this account may not: {path} stays")
    if overwritten:
        said.append("conditional put ignored: two who write one file at once write it twice, and the same")
    if _is_versioned(bucket):
        said.append("versioned")
    yield Finding("ok", SUBJECT, ", ".join(said))


def _look_at_clock(bucket: Bucket, path: str) -> Iterator[Finding]:
    before = datetime.now(UTC)
    with bucket.errors():
        answer = bucket.client.head_object(**bucket.object(path))
    after = datetime.now(UTC)
    yield from clock.by_header(SUBJECT, answer["ResponseMetadata"]["HTTPHeaders"].get("date"), before, after)


def _is_overwritten(bucket: Bucket, path: str) -> bool:
    """Put an object where one is, on the condition that none is."""
    from botocore.exceptions import ClientError

    with bucket.errors():
        try:
            bucket.client.put_object(**bucket.object(path), Body=b"overwritten", IfNoneMatch="*")
        except ClientError as error:
            if error.response["ResponseMetadata"].get("HTTPStatusCode") in (409, 412):
                return False
            raise
    return True


def _delete(bucket: Bucket, path: str) -> bool:
    try:
        with bucket.errors():
            bucket.client.delete_object(**bucket.object(path))
    except StoreError:  # the pipeline deletes nothing, so it needs no such right
        return False
    return True


def _is_versioned(bucket: Bucket) -> bool:
    """Whether the bucket keeps what is deleted; not known, and so False, where this account may not ask."""
    from botocore.exceptions import ClientError

    with bucket.errors():
        try:
            answer = bucket.client.get_bucket_versioning(Bucket=bucket.name)
        except ClientError:
            return False
    return bool(answer.get("Status") == "Enabled")
