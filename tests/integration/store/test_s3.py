import io
import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.faulty_proxy import FaultyProxy, faulty_proxy

from modelyard.errors import NotFound, StoreError, Unavailable
from modelyard.store.artifacts import open_artifacts
from modelyard.store.s3 import Bucket

MISSING = f"sha256:{'0' * 64}"


def test_objects_lie_below_the_prefix_and_are_encrypted_when_asked(s3: Any):
    artifacts = open_artifacts(s3.address("a/b/", s3_encryption="AES256"))
    if "S3_ENDPOINT_URL" in os.environ:
        pytest.skip("this server may have no key for encryption")
    file = artifacts.put_bytes(b"1", "x")
    name = file.digest.removeprefix("sha256:")
    head = s3.client().head_object(Bucket=s3.bucket, Key=f"a/b/sha256/{name[:2]}/{name}")
    assert head["ServerSideEncryption"] == "AES256"


def test_a_failed_multipart_upload_leaves_nothing_behind(s3: Any):
    class Failing:
        def __init__(self) -> None:
            self.reads = 0

        def read(self, size: int) -> bytes:
            self.reads += 1
            if self.reads > 2:
                raise NotFound("gone", None)
            return bytes(size)

    with pytest.raises(NotFound, match="gone"):
        Bucket(s3.bucket, "", s3.address()).write("x", Failing(), 100_000_000)  # type: ignore[arg-type]
    assert s3.client().list_multipart_uploads(Bucket=s3.bucket).get("Uploads", []) == []
    assert s3.client().list_objects_v2(Bucket=s3.bucket)["KeyCount"] == 0


@pytest.fixture
def proxy(s3: Any) -> Iterator[FaultyProxy]:
    with faulty_proxy(urlsplit(s3.address().s3_endpoint_url).netloc) as proxy:
        yield proxy


def behind(proxy: FaultyProxy, s3: Any) -> Any:
    return replace(s3.address(), s3_endpoint_url=f"http://{proxy.host}")


def test_what_is_there_already_is_left_as_it_is(s3: Any):
    bucket = Bucket(s3.bucket, "", s3.address())
    for data in (b"first", b"again"):
        bucket.write("x", io.BytesIO(data), len(data))
    assert bucket.open("x").read() == b"first"


def test_a_put_that_another_one_was_in_the_way_of_is_tried_again_until_it_is_kept(s3: Any, proxy: FaultyProxy):
    # AWS answers 409 while another put or a deletion is on its way, which may fail: nothing may be there.
    proxy.faults = [("PUT", "/x", 409), ("PUT", "/x", 409)]
    bucket = Bucket(s3.bucket, "", behind(proxy, s3))
    bucket.write("x", io.BytesIO(b"1"), 1)
    assert bucket.open("x").read() == b"1"
    assert proxy.faults == []


def test_a_put_that_others_are_in_the_way_of_for_good_is_not_taken_for_kept(
    s3: Any, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("modelyard.store.s3._PAUSES", (0.01, 0.01))
    proxy.faults = [("PUT", "/x", 409)] * 3
    with pytest.raises(Unavailable, match="409"):
        Bucket(s3.bucket, "", behind(proxy, s3)).write("x", io.BytesIO(b"1"), 1)
    assert proxy.faults == []
    assert Bucket(s3.bucket, "", s3.address()).size("x") is None


def test_a_bucket_that_is_not_there_is_told_with_its_name(s3: Any):
    artifacts = open_artifacts(replace(s3.address(), artifacts="s3://no-such-bucket-here"))
    for call in (lambda: artifacts.put_bytes(b"1", "x"), lambda: artifacts.read(MISSING)):
        with pytest.raises(StoreError, match="no-such-bucket-here") as caught:
            call()
        assert not caught.value.transient


def test_an_unreachable_server_is_told_and_transient(s3: Any):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))  # bound, so nobody else gets it, and not listening
        endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}"
        artifacts = open_artifacts(replace(s3.address(), s3_endpoint_url=endpoint))
        with pytest.raises(Unavailable, match=endpoint) as caught:
            artifacts.ping()
    assert s3.secret_key not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("SignatureDoesNotMatch", 403, StoreError),
        ("InvalidAccessKeyId", 403, StoreError),
        ("SlowDown", 503, Unavailable),
        ("InternalError", 500, Unavailable),
        ("NoSuchKey", 404, NotFound),
        ("EntityTooLarge", 400, StoreError),
    ],
)
def test_a_refusal_is_told_by_its_kind(
    s3: Any, monkeypatch: pytest.MonkeyPatch, code: str, status: int, kind: type[Exception]
):
    from botocore.exceptions import ClientError

    bucket = Bucket(s3.bucket, "", s3.address())
    answer = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}

    def refuse(**_: object) -> None:
        raise ClientError(answer, "GetObject")

    monkeypatch.setattr(bucket.client, "get_object", refuse)
    with pytest.raises(kind) as caught:
        bucket.open("x")
    assert type(caught.value) is kind


@pytest.mark.skipif(
    "S3_ENDPOINT_URL" not in os.environ,
    reason="S3_ENDPOINT_URL is not set, and the S3 server of the tests takes any signature",
)
def test_a_wrong_secret_key_is_told_without_showing_it(s3: Any):
    artifacts = open_artifacts(replace(s3.address(), s3_secret_key="s3cr3t"))
    for call in (artifacts.ping, lambda: artifacts.put_bytes(b"1", "x"), lambda: artifacts.read(MISSING)):
        with pytest.raises(StoreError, match="refuses this access key") as caught:
            call()
        assert type(caught.value) is StoreError
        assert "s3cr3t" not in str(caught.value)


def test_without_credentials_the_remedy_is_named(s3: Any, monkeypatch: pytest.MonkeyPatch):
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    artifacts = open_artifacts(replace(s3.address(), s3_access_key=None, s3_secret_key=None))
    with pytest.raises(StoreError, match="MODELYARD_S3_ACCESS_KEY"):
        artifacts.ping()
