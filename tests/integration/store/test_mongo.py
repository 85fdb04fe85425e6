import socket
import subprocess
import sys
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from modelyard.errors import StoreError, Unavailable
from modelyard.store import Store, StoreAddress
from modelyard.store import mongo as module


def test_an_open_store_answers(store: Store):
    store.ping()


def test_an_unreachable_database_is_told_without_credentials(
    store_address: StoreAddress, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "_SELECTION_MS", 200)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        uri = f"mongodb://anna:s3cr3t@127.0.0.1:{port}/"
        with Store.open(replace(store_address, mongo_uri=uri)) as store, pytest.raises(Unavailable) as caught:
            store.pipelines.get("x")
    message = str(caught.value)
    assert f"127.0.0.1:{port}" in message
    assert "refused" in message
    assert "s3cr3t" not in message
    assert "\n  → check that it runs" in message
    assert "Topology" not in message


def test_a_wrong_password_is_told_and_not_tried_again(store_address: StoreAddress):
    parts = urlsplit(store_address.mongo_uri)
    if parts.password is None:
        pytest.skip("the database of these tests asks for no password")
    uri = store_address.mongo_uri.replace(parts.password, "s3cr3t")
    with Store.open(replace(store_address, mongo_uri=uri)) as store, pytest.raises(StoreError) as caught:
        store.ping()
    assert not caught.value.transient
    assert "refuses the user name or password" in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("uri", ["mongodb://anna:s3cr3t@host:port/", "mongodb://an@na:s3cr3t@h/?noSuchOption=s3cr3t"])
def test_a_uri_that_cannot_be_one_is_refused_without_showing_it(store_address: StoreAddress, uri: str):
    with pytest.raises(StoreError) as caught:
        Store.open(replace(store_address, mongo_uri=uri))
    assert "s3cr3t" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_importing_the_store_loads_no_driver():
    code = "import sys, modelyard.store; print(sorted({'pymongo', 'boto3', 'botocore', 'bson'} & set(sys.modules)))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"
