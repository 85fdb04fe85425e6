"""The doctor before real servers, and before what is wrong with them."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pymongo
import pytest
from click.testing import CliRunner, Result
from tests.faulty_proxy import _Handler, faulty_proxy
from tests.fixtures_registry import RegistryServer

from modelyard.background import free_port
from modelyard.cli import main
from modelyard.doctor import artifacts, examine
from modelyard.doctor import database as mongodb
from modelyard.doctor import registry as images
from modelyard.doctor.finding import Finding, Look
from modelyard.store import StoreAddress

SECRET = "marker-that-no-line-may-show"


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def look(found: Iterable[Finding]) -> list[Finding]:
    """Return what a look finds, with an error as a finding, as the command shows it."""
    return Look("subject", 60, "wait", lambda: found).findings()


def doctor(environment: dict[str, str], *options: str) -> Result:
    without_airflow = dict.fromkeys(name for name in os.environ if name.startswith("AIRFLOW"))
    variables: dict[str, str | None] = {**without_airflow, **environment}
    result = CliRunner(env=variables).invoke(main, ["doctor", *options])
    print(result.output)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_a_database_in_order(store_address: StoreAddress) -> None:
    (finding,) = look(mongodb.look(store_address))
    assert finding.state == "ok"
    assert f"database {store_address.database}: written, read, deleted" in finding.found
    assert " ms" in finding.found
    with pymongo.MongoClient[dict[str, object]](store_address.mongo_uri) as client:
        assert client[store_address.database].list_collection_names() == []


def test_a_wrong_password(store_address: StoreAddress) -> None:
    wrong = re.sub(r":[^:@]+@", f":{SECRET}@", store_address.mongo_uri)
    (finding,) = look(mongodb.look(replace(store_address, mongo_uri=wrong)))
    assert finding.state == "failed"
    assert "refuses the user name or password" in finding.found
    assert finding.remedy is not None
    assert SECRET not in str(finding)


def test_a_user_who_may_only_read(store_address: StoreAddress) -> None:
    hosts = store_address.mongo_hosts
    uri = f"mongodb://reader:{SECRET}@{hosts}/?authSource={store_address.database}"
    with pymongo.MongoClient[dict[str, object]](store_address.mongo_uri) as client:
        database = client[store_address.database]
        database.command("createUser", "reader", pwd=SECRET, roles=["read"])
        try:
            (finding,) = look(mongodb.look(replace(store_address, mongo_uri=uri)))
        finally:
            database.command("dropUser", "reader")
    assert finding.state == "failed"
    assert "readWrite" in str(finding.remedy)
    assert SECRET not in str(finding)


def test_a_bucket_in_order(s3: Any) -> None:
    (finding,) = look(artifacts.look(s3.address("some/where")))
    assert finding.state == "ok"
    assert finding.found.endswith("written, read, deleted")
    assert s3.client().list_objects_v2(Bucket=s3.bucket)["KeyCount"] == 0


def test_a_versioned_bucket_is_told(s3: Any) -> None:
    s3.client().put_bucket_versioning(Bucket=s3.bucket, VersioningConfiguration={"Status": "Enabled"})
    (finding,) = look(artifacts.look(s3.address()))
    assert "versioned" in finding.found
    versions = s3.client().list_object_versions(Bucket=s3.bucket)
    for one in [*versions.get("Versions", []), *versions.get("DeleteMarkers", [])]:
        s3.client().delete_object(Bucket=s3.bucket, Key=one["Key"], VersionId=one["VersionId"])


def test_a_bucket_that_is_not_there(s3: Any) -> None:
    (finding,) = look(artifacts.look(replace(s3, bucket="nowhere").address()))
    assert finding.state == "failed"
    assert "nowhere" in finding.found
    assert finding.remedy is not None


def test_a_bucket_that_lets_nobody_delete(s3: Any) -> None:
    with faulty_proxy(s3.endpoint_url.removeprefix("http://")) as proxy:
        proxy.faults.append(("DELETE", "doctor", 403))
        (finding,) = look(artifacts.look(replace(s3, endpoint_url=f"http://{proxy.host}").address()))
    assert finding.state == "ok"
    assert "this account may not" in finding.found


def test_a_server_whose_clock_is_off(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # The proxy sends its own header instead of the server's.
    off = format_datetime(datetime.now(UTC) - timedelta(minutes=10), usegmt=True)
    monkeypatch.setattr(_Handler, "date_time_string", lambda *_: off)
    with faulty_proxy(s3.endpoint_url.removeprefix("http://")) as proxy:
        found = look(artifacts.look(replace(s3, endpoint_url=f"http://{proxy.host}").address()))
    warning = next(one for one in found if one.state == "warning")
    assert warning.subject == "Artifacts: clock"
    assert "seconds behind this machine's" in warning.found
    assert [one.state for one in found if one is not warning] == ["ok"]


def test_a_folder_that_may_not_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    address = StoreAddress("mongodb://unused", (tmp_path / "file" / "artifacts").as_uri(), "oci:/unused")
    (finding,) = look(artifacts.look(address))
    assert finding.state == "failed"


def registry_address(server: RegistryServer, **changes: Any) -> StoreAddress:
    registry = f"{changes.pop('host', server.host)}/{server.prefix}"
    return StoreAddress("mongodb://unused", "file:///unused", registry, registry_insecure=True, **changes)


def test_a_registry_in_order(registry: RegistryServer, tmp_path: Path) -> None:
    (finding,) = look(images.look(registry_address(registry), tmp_path))
    assert finding.state == "ok"
    assert "pushed, pulled, deleted" in finding.found


def test_a_registry_with_an_account(guarded_registry: RegistryServer, tmp_path: Path) -> None:
    good = registry_address(guarded_registry, registry_username="name", registry_password=guarded_registry.password)
    (finding,) = look(images.look(good, tmp_path))
    assert finding.state == "ok"
    for wrong in (replace(good, registry_password=SECRET), replace(good, registry_username=None)):
        (finding,) = look(images.look(wrong, tmp_path))
        assert finding.state == "failed"
        assert "user name" in str(finding.remedy)
        assert SECRET not in str(finding)


@pytest.mark.parametrize(("method", "part"), [("POST", "uploads"), ("PUT", "manifests")])
def test_a_registry_that_refuses_pushes(registry: RegistryServer, tmp_path: Path, method: str, part: str) -> None:
    with faulty_proxy(registry.host) as proxy:
        proxy.faults.append((method, part, 403))
        (finding,) = look(images.look(registry_address(registry, host=proxy.host), tmp_path))
    assert finding.state == "failed"
    assert finding.found.startswith(f"pushing to {proxy.host}/{registry.prefix}/modelyard-doctor: ")
    assert "403" in finding.found
    assert "let that account push" in str(finding.remedy)


def test_a_registry_that_lets_nobody_delete(registry: RegistryServer, tmp_path: Path) -> None:
    with faulty_proxy(registry.host) as proxy:
        proxy.faults.append(("DELETE", "manifests", 405))
        (finding,) = look(images.look(registry_address(registry, host=proxy.host), tmp_path))
    assert finding.state == "ok"
    assert "not deleted" in finding.found


def test_all_in_order(store_address: StoreAddress, s3: Any, registry: RegistryServer, tmp_path: Path) -> None:
    address = replace(
        s3.address("models", mongo_uri=store_address.mongo_uri, database=store_address.database),
        registry=f"{registry.host}/{registry.prefix}",
        registry_insecure=True,
    )
    result = doctor({**address.to_environment(), "MODELYARD_HOME": str(tmp_path)})
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()[:-1]] == ["ok", "skipped", *["ok"] * 3, "skipped"]
    assert result.stdout.splitlines()[-1] == "All is well."
    for secret in (
        address.mongo_uri,
        address.s3_secret_key,
        pymongo.uri_parser.parse_uri(address.mongo_uri)["password"],
    ):
        assert str(secret) not in result.output


def test_the_embedded_store_in_order(store_address: StoreAddress, tmp_path: Path) -> None:
    result = doctor({**store_address.to_environment(), "MODELYARD_HOME": str(tmp_path)})
    assert result.exit_code == 0
    assert result.stdout.count("a folder of this machine") == 2


def test_no_store(tmp_path: Path) -> None:
    result = doctor({"MODELYARD_HOME": str(tmp_path), "MODELYARD_MONGO_URI": ""})
    assert result.exit_code == 1
    assert "set MODELYARD_MONGO_URI" in result.stdout


def test_all_away_ends_in_time_and_names_each(silent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examine, "_SECONDS", 8.0)  # of 25: each of the servers hangs, and no library gives up sooner
    (tmp_path / "config").write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n"
        f"clusters: [{{name: c, cluster: {{server: 'http://{silent}'}}}}]\n"
        f"users: [{{name: u, user: {{token: {SECRET}}}}}]\n"
    )
    environment = {
        "KUBECONFIG": str(tmp_path / "config"),
        "MODELYARD_HOME": str(tmp_path),
        "MODELYARD_MONGO_URI": f"mongodb://me:{SECRET}@127.0.0.1:{free_port()}/",
        "MODELYARD_ARTIFACTS": "s3://models",
        "MODELYARD_S3_ENDPOINT_URL": f"http://{silent}",
        "MODELYARD_S3_ACCESS_KEY": "me",
        "MODELYARD_S3_SECRET_KEY": SECRET,
        "MODELYARD_REGISTRY": f"{silent}/models",
        "MODELYARD_REGISTRY_INSECURE": "true",
        "MODELYARD_REGISTRY_USERNAME": "me",
        "MODELYARD_REGISTRY_PASSWORD": SECRET,
    }
    begun = datetime.now(UTC)
    result = doctor(environment, "--namespace", "modelyard")
    assert datetime.now(UTC) - begun < timedelta(seconds=20)
    assert result.exit_code == 1
    failed = {line[9:37].strip() for line in result.stdout.splitlines() if line.startswith("failed")}
    assert failed == {"MongoDB", "Artifacts", "Registry", "Addresses for pods", "Kubernetes"}
    assert result.stdout.count("→") == 5
    assert SECRET not in result.output
