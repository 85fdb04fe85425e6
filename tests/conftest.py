"""Real servers for every test that needs one, started at their first use and ended with the session.

MONGO_URI, and S3_ENDPOINT_URL with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name other servers to use instead.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.searching import made_up

from modelyard.store.address import StoreAddress

if TYPE_CHECKING:
    from modelyard.store import Store

# In the background of a shell it is ignored, and so by every process that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = [
    "tests.fixtures_machine",
    "fixtures_registry",
    "tests.fixtures_cluster",
    "tests.fixtures_docker",
    "tests.fixtures_compilation",
    "tests.fixtures_flavors",
]


@dataclass(frozen=True)
class S3:
    """An S3 server, and a bucket on it that only this test uses."""

    endpoint_url: str
    access_key: str
    secret_key: str
    region: str = "us-east-1"
    bucket: str = ""

    def address(self, prefix: str = "", mongo_uri: str = "mongodb://unused", **others: Any) -> StoreAddress:
        """Return the address of a store whose artifacts are in the bucket."""
        return StoreAddress(
            mongo_uri=mongo_uri,
            artifacts=f"s3://{self.bucket}/{prefix}",
            s3_endpoint_url=self.endpoint_url,
            s3_region=self.region,
            s3_access_key=self.access_key,
            s3_secret_key=self.secret_key,
            **{"registry": "oci:/unused", **others},
        )

    def client(self) -> Any:
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            region_name=self.region,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required"),
        )


@pytest.fixture(scope="session")
def mongo_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A MongoDB server, for the whole session: keep to a database of your own, as ``store_address`` does."""
    if given := os.environ.get("MONGO_URI"):
        yield given
        return
    from modelyard import embedded

    folder = tmp_path_factory.mktemp("mongo")
    (folder / "server.json").write_text(json.dumps({"password": made_up("mongo")}))
    yield embedded.start(folder)
    embedded.stop(folder)


@pytest.fixture
def store_address(mongo_uri: str, tmp_path: Path) -> Iterator[StoreAddress]:
    """A fresh store: a database, a folder of artifacts and an image layout; gone after the test."""
    import pymongo

    address = StoreAddress(
        mongo_uri=mongo_uri,
        database=f"test_{uuid.uuid4().hex}",
        artifacts=(tmp_path / "artifacts").as_uri(),
        registry=f"oci:{tmp_path / 'images'}",
        installation="test",
    )
    yield address
    with pymongo.MongoClient[dict[str, object]](mongo_uri) as client:
        client.drop_database(address.database)


@pytest.fixture
def store(store_address: StoreAddress) -> Iterator[Store]:
    """The fresh store of ``store_address``, open."""
    from modelyard.store import Store

    with Store.open(store_address) as opened:
        yield opened


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3]:
    """An S3 server, for the whole session."""
    if given := os.environ.get("S3_ENDPOINT_URL"):
        yield S3(given, os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
        return
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while process.poll() is None and time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except ConnectionRefusedError:
                time.sleep(0.05)
        else:
            pytest.fail("the S3 server of the tests did not start")
        yield S3(f"http://127.0.0.1:{port}", "access", made_up("s3"))
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def s3(s3_server: S3) -> Iterator[S3]:
    """A fresh, empty bucket; gone after the test, with all that is in it."""
    bucket = f"test-{uuid.uuid4().hex}"
    with closing(s3_server.client()) as client:
        client.create_bucket(Bucket=bucket)
        yield replace(s3_server, bucket=bucket)
        for upload in client.list_multipart_uploads(Bucket=bucket).get("Uploads", []):
            client.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            for item in page.get("Contents", []):
                client.delete_object(Bucket=bucket, Key=item["Key"])
        client.delete_bucket(Bucket=bucket)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in a line what this machine could not test, for want of what."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = dict.fromkeys(report.longrepr[2].removeprefix("Skipped: ") for report in skipped)
    told = f"{len(skipped)} of the tests ({'; '.join(reasons)})" if skipped else "nothing"
    terminalreporter.write_line(f"Left out on this machine: {told}.")
