from __future__ import annotations

import pytest

from modelyard.images.transport import Transport
from modelyard.store import StoreAddress


@pytest.mark.parametrize("registry", ["registry.example:5000/models", "https://registry.example:5000/models"])
def test_an_account_goes_to_its_own_registry_alone(registry: str) -> None:
    address = StoreAddress(
        "mongodb://unused",
        "file:///unused",
        registry,
        registry_username="ada",
        registry_password="s3cr3t",
        registry_insecure=True,
    )

    own, other = Transport.to("registry.example:5000", address), Transport.to("registry.example", address)

    assert (own.credentials, own.url) == (("ada", "s3cr3t"), "http://registry.example:5000")
    assert (other.credentials, other.url) == (None, "https://registry.example")
