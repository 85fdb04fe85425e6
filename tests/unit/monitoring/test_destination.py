from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.errors import StoreError
from modelyard.monitoring.destination import ACCESS_KEY, SECRET_KEY, Destination
from modelyard.store import StoreAddress

ADDRESS = StoreAddress(
    mongo_uri="mongodb://unused",
    artifacts="s3://bucket/models",
    registry="oci:/unused",
    s3_endpoint_url="https://s3.example.com",
    s3_ca_bundle="/etc/ca.pem",
    s3_access_key="the-stores-own",
    s3_secret_key="that-nobody-may-see",
)


def test_the_stores_own_credential_is_no_part_of_it() -> None:
    destination = Destination.of(ADDRESS)
    assert destination.s3_access_key is None
    assert not {"the-stores-own", "that-nobody-may-see"} & set(destination.to_environment().values())
    assert Destination.from_environment(destination.to_environment()) == destination


def test_a_credential_goes_into_no_environment_and_no_message(tmp_path: Path) -> None:
    (tmp_path / ACCESS_KEY).write_text("key")
    (tmp_path / SECRET_KEY).write_text("secret\n")
    destination = Destination.of(ADDRESS).with_credential(tmp_path)
    assert (destination.s3_access_key, destination.s3_secret_key) == ("key", "secret")
    assert destination.s3_ca_bundle == "/etc/ca.pem"
    assert "secret" not in repr(destination)
    assert "secret" not in destination.to_environment().values()


def test_certificates_beside_the_credential_win(tmp_path: Path) -> None:
    for name in (ACCESS_KEY, SECRET_KEY, "ca.crt"):
        (tmp_path / name).write_text("x")
    assert Destination.of(ADDRESS).with_credential(tmp_path).s3_ca_bundle == str(tmp_path / "ca.crt")


def test_half_a_credential_is_none(tmp_path: Path) -> None:
    (tmp_path / ACCESS_KEY).write_text("key")
    with pytest.raises(StoreError, match=SECRET_KEY):
        Destination.of(ADDRESS).with_credential(tmp_path)


def test_nowhere_is_no_destination() -> None:
    with pytest.raises(StoreError, match="where the prediction log goes"):
        Destination.from_environment({})
