"""Artifacts in a bucket of any S3 server: AWS, Ceph, MinIO."""

from __future__ import annotations

import base64
import hashlib
import io
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cached_property
from typing import Any, BinaryIO, Protocol, Self
from urllib.parse import urlsplit

from modelyard.errors import NotFound, StoreError, Unavailable

_PART = 16 * 1024 * 1024
_MOST_PARTS = 10_000
_DELETED_AT_ONCE = 8
_IN_CONFLICT, _THERE_ALREADY = 409, 412  # what answers a conditional put
_MISSING = {"404", "NoSuchKey", "NotFound", "NoSuchUpload"}
_REFUSED = {"403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken"}
_LATER = {"SlowDown", "RequestTimeout", "TooManyRequests", "Throttling", "InternalError", "ServiceUnavailable"}
# Seconds until a put that met another one of the same object is tried again.
_PAUSES = (0.1, 0.3, 1.0, 3.0)


class S3Address(Protocol):
    """Where a bucket is, and what it takes to use it: see ``StoreAddress``."""

    @property
    def artifacts(self) -> str: ...  # noqa: D102
    @property
    def s3_endpoint_url(self) -> str | None: ...  # noqa: D102
    @property
    def s3_region(self) -> str | None: ...  # noqa: D102
    @property
    def s3_access_key(self) -> str | None: ...  # noqa: D102
    @property
    def s3_secret_key(self) -> str | None: ...  # noqa: D102
    @property
    def s3_ca_bundle(self) -> str | None: ...  # noqa: D102
    @property
    def s3_encryption(self) -> str | None: ...  # noqa: D102


class Bucket:
    """A ``Backend`` of objects below a prefix of one bucket.

    Objects up to one part long are written by one conditional put: where the server honors the condition, what is
    there stays untouched. Longer ones are multipart uploads, which show nothing before they are complete; one that a
    crash left behind takes room until garbage collection or the bucket's lifecycle rule
    (``AbortIncompleteMultipartUpload``) removes it.
    """

    @classmethod
    def of(cls, address: S3Address, *, for_its_owner: bool = False) -> Self:
        """Return the bucket of an address whose artifacts are in one.

        Args:
            address: where it is.
            for_its_owner: what is written may be read by the bucket's owner, who is somebody else: Ceph gives an object
                to its writer alone. AWS gives it to the bucket's account by itself, and would ask for a right more.
        """
        parts = urlsplit(address.artifacts)
        acl = "bucket-owner-full-control" if for_its_owner and address.s3_endpoint_url else None
        return cls(parts.netloc, parts.path.strip("/"), address, acl)

    def __init__(self, bucket: str, prefix: str, address: S3Address, acl: str | None = None) -> None:
        self.name = bucket
        self._acl = {} if acl is None else {"ACL": acl}
        self._prefix = f"{prefix}/" if prefix else ""
        self._address = address
        self._where = f"Bucket '{bucket}' at {address.s3_endpoint_url or 'AWS'}"

    def size(self, path: str) -> int | None:
        """Return the size of an object, None when there is none."""
        try:
            with self.errors():
                head = self.client.head_object(**self.object(path))
        except NotFound:
            return None
        size: int = head["ContentLength"]
        return size

    def write(self, path: str, source: BinaryIO, size: int) -> None:
        """Keep all of ``source`` at ``path``, or nothing."""
        if size <= _PART:
            self._put(path, source.read())
        else:
            self._upload(path, source, max(_PART, -(-size // _MOST_PARTS)))

    def open(self, path: str) -> BinaryIO:
        """Return an object's bytes as they come."""
        with self.errors():
            body = self.client.get_object(**self.object(path))["Body"]
        return io.BufferedReader(_Body(body, self))

    def paths(self, prefix: str) -> Iterator[str]:
        """Yield the path of every object below the folder ``prefix``, sorted, as the server pages them."""
        return (path for path, _ in self.sizes(prefix))

    def sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Yield the path and size of every object below the folder ``prefix``, sorted, as the server pages them."""
        token: dict[str, str] = {}
        while True:
            with self.errors():
                page = self.client.list_objects_v2(Bucket=self.name, Prefix=f"{self._prefix}{prefix}/", **token)
            for item in page.get("Contents", ()):
                yield item["Key"].removeprefix(self._prefix), item["Size"]
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def delete(self, paths: Sequence[str], check: Callable[[str], None]) -> None:
        """Delete objects; one that is not there is no error. In a versioned bucket they take room as before.

        Raises:
            StoreError: this user may not delete; Unavailable: some may be there still.
        """
        # One by one: the request for many wants a Content-MD5 of some servers, and a newer checksum of others.
        with ThreadPoolExecutor(_DELETED_AT_ONCE) as pool:
            list(pool.map(lambda path: self._delete(path, check), paths))

    def unfinished(self, prefix: str, before: datetime) -> Iterator[tuple[str, int]]:
        """Yield each multipart upload that was begun before then and not ended, with the size of its parts so far."""
        marker: dict[str, str] = {}
        while True:
            with self.errors():
                page = self.client.list_multipart_uploads(Bucket=self.name, Prefix=f"{self._prefix}{prefix}/", **marker)
            for upload in page.get("Uploads", ()):
                if upload["Initiated"] < before:
                    name = f"{upload['Key'].removeprefix(self._prefix)} {upload['UploadId']}"
                    yield name, self._parts_size(name)
            if not page.get("IsTruncated"):
                return
            marker = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}

    def discard(self, name: str) -> None:
        """Abort a multipart upload, and so delete its parts."""
        path, _, upload = name.partition(" ")
        with suppress(NotFound), self.errors():
            self.client.abort_multipart_upload(**self.object(path), UploadId=upload)

    def _delete(self, path: str, check: Callable[[str], None]) -> None:
        check(path)
        with suppress(NotFound), self.errors():
            self.client.delete_object(**self.object(path))

    def _parts_size(self, name: str) -> int:
        path, _, upload = name.partition(" ")
        size: int = 0
        marker = 0
        while True:
            try:
                with self.errors():
                    page = self.client.list_parts(**self.object(path), UploadId=upload, PartNumberMarker=marker)
            except NotFound:  # it has ended meanwhile
                return 0
            size += sum(int(part["Size"]) for part in page.get("Parts", ()))
            if not page.get("IsTruncated"):
                return size
            marker = page["NextPartNumberMarker"]

    def ping(self) -> None:
        """Make sure that the bucket is there and lets this user in."""
        try:
            with self.errors():
                self.client.head_bucket(Bucket=self.name)
        except NotFound as error:  # an answer without a body doesn't say of what
            raise self._no_bucket() from error

    def _put(self, path: str, data: bytes) -> None:
        from botocore.exceptions import ClientError

        given = self.object(path) | self._encryption | self._acl | {"ContentMD5": _md5(data), "IfNoneMatch": "*"}
        with self.errors():
            for pause in (*_PAUSES, None):
                try:
                    self.client.put_object(**given, Body=data)
                    return
                except ClientError as error:
                    status = error.response["ResponseMetadata"].get("HTTPStatusCode")
                    if status == _THERE_ALREADY:
                        return
                    # Another put of it, or its deletion, is on its way and may yet fail: nobody can say before whether
                    # the object will be there.
                    if status != _IN_CONFLICT or pause is None:
                        raise
                time.sleep(pause)

    def _upload(self, path: str, source: BinaryIO, part_size: int) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        with self.errors():
            upload = self.client.create_multipart_upload(**self.object(path), **self._encryption, **self._acl)
            target = self.object(path) | {"UploadId": upload["UploadId"]}
            try:
                parts: list[dict[str, Any]] = []
                while data := source.read(part_size):
                    number = len(parts) + 1
                    answer = self.client.upload_part(**target, PartNumber=number, Body=data, ContentMD5=_md5(data))
                    parts.append({"PartNumber": number, "ETag": answer["ETag"]})
                self.client.complete_multipart_upload(**target, MultipartUpload={"Parts": parts})
            except BaseException:
                with suppress(BotoCoreError, ClientError):  # the first error is the one to tell
                    self.client.abort_multipart_upload(**target)
                raise

    def object(self, path: str) -> dict[str, str]:
        """Return what names an object to the client."""
        return {"Bucket": self.name, "Key": self._prefix + path}

    @cached_property
    def _encryption(self) -> dict[str, str]:
        """Return what asks for encryption: ``AES256``, ``aws:kms`` or ``aws:kms:KEY``."""
        wanted = self._address.s3_encryption
        if not wanted:
            return {}
        if wanted.startswith("aws:kms:"):
            return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": wanted.removeprefix("aws:kms:")}
        return {"ServerSideEncryption": wanted}

    @cached_property
    def client(self) -> Any:
        """The client itself, for what a store never does; around it goes ``errors``."""
        import boto3
        from botocore.config import Config

        address = self._address
        config = Config(
            connect_timeout=5,
            read_timeout=60,
            retries={"mode": "standard", "total_max_attempts": 3},
            # AWS's newer checksums are ignored or refused by others; ours are MD5 on the way and SHA-256 at rest.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "path" if address.s3_endpoint_url else "auto"},
        )
        session = boto3.session.Session(
            aws_access_key_id=address.s3_access_key,
            aws_secret_access_key=address.s3_secret_key,
            region_name=address.s3_region or ("us-east-1" if address.s3_endpoint_url else None),
        )
        return session.client("s3", endpoint_url=address.s3_endpoint_url, verify=address.s3_ca_bundle, config=config)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn the client's errors into Modelyard's."""
        from botocore.exceptions import (
            BotoCoreError,
            ClientError,
            ConnectionError,  # noqa: A004 - botocore's own
            HTTPClientError,
            IncompleteReadError,
            NoCredentialsError,
            PartialCredentialsError,
        )

        try:
            yield
        except ClientError as error:
            raise self._refusal(error) from error
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise StoreError(
                f"{self._where} needs an access key, and none was found",
                "set MODELYARD_S3_ACCESS_KEY and MODELYARD_S3_SECRET_KEY, or give this process a role",
            ) from error
        except (ConnectionError, HTTPClientError, IncompleteReadError) as error:
            raise Unavailable(
                f"{self._where} cannot be reached: {error}",
                "check the endpoint's address and certificates from where this process runs",
            ) from error
        except BotoCoreError as error:
            raise StoreError(
                f"{self._where} cannot be used: {error}", "correct what it names in the address of the artifacts"
            ) from error

    def _no_bucket(self) -> StoreError:
        return StoreError(f"{self._where} does not exist", "create it, or correct the address of the artifacts")

    def _refusal(self, error: Any) -> Exception:
        code = str(error.response["Error"]["Code"])
        status = error.response["ResponseMetadata"].get("HTTPStatusCode", 0)
        if code == "NoSuchBucket":
            return self._no_bucket()
        if code in _MISSING:
            return NotFound(
                f"{self._where} has no such object",
                "it was never stored there, or deleted meanwhile: start the run anew that stores it",
            )
        if code in _REFUSED:
            return StoreError(
                f"{self._where} refuses this access key ({code})",
                "check access key and secret key, and that they may get, put and list in this bucket; for garbage "
                "collection, delete too",
            )
        if status >= 500 or status == _IN_CONFLICT or code in _LATER:
            return Unavailable(f"{self._where} cannot answer now ({code})", "try again later")
        return StoreError(
            f"{self._where} refuses: {error}", "correct what it names; the bucket's policy may be what refuses"
        )


class _Body(io.RawIOBase):
    """An answer's body, its errors turned into Modelyard's."""

    def __init__(self, body: Any, bucket: Bucket) -> None:
        self._body = body
        self._bucket = bucket

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with self._bucket.errors():
            data = self._body.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._body.close()
        super().close()


def _md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
