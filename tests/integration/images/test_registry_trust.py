"""TLS with an authority of one's own, and the token flow, against a real registry that insists on both."""

from __future__ import annotations

import base64
import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.answering import Answer, Answering, Asked, answering
from tests.authority import Authority
from tests.fixtures_registry import running_registry

from modelyard.errors import ImageError, Unavailable
from modelyard.images.image import empty, validate
from modelyard.images.layer import Entry
from modelyard.images.registry import Registry
from modelyard.images.transport import Transport

_ACCOUNT = f"Basic {base64.b64encode(b'name:secret').decode()}"


@pytest.fixture(scope="module")
def tokens(authority: Authority) -> Iterator[Answering]:
    def answer(asked: Asked) -> Answer:
        if asked.account != _ACCOUNT:
            return Answer(401, body=b"{}")
        return Answer(200, body=json.dumps({"token": authority.token(scopes_of(asked))}).encode())

    with answering(answer, authority.tls) as server:
        yield server


def scopes_of(asked: Asked) -> list[str]:
    return parse_qs(urlsplit(asked.path).query).get("scope", [])


@pytest.fixture(scope="module")
def host(authority: Authority, tokens: Answering, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    certificate = authority.certificate_file
    with running_registry(
        tmp_path_factory.mktemp("registry"),
        auth=f"token: {{realm: '{tokens.url}/token', service: tests, issuer: tests, rootcertbundle: '{certificate}'}}",
        tls=f"certificate: '{certificate}', key: '{authority.key_file}'",
    ) as host:
        yield host


def test_a_token_is_asked_for_each_repository_with_the_account(
    host: str, authority: Authority, tokens: Answering, tmp_path: Path
) -> None:
    transport = Transport(host, username="name", password="secret", ca_bundle=str(authority.certificate_file))
    images = Registry(transport, "team", tmp_path)
    image = empty("amd64").append([images.pack([Entry("file", b"content")], "model")], {}, {})

    images.push("staging/wine", image, "run")
    images.copy("staging/wine", "wine", image.digest)
    images.tag("wine", image.digest, "1")

    validate(images.pull("wine", "1"))
    asked = {scope for asked in tokens.asked for scope in scopes_of(asked)}
    assert "repository:team/staging/wine:pull" in asked
    assert any(scope.startswith("repository:team/wine:") and "push" in scope for scope in asked)


def test_a_wrong_account_gets_no_token(host: str, authority: Authority, tmp_path: Path) -> None:
    transport = Transport(host, username="name", password="wr0ng", ca_bundle=str(authority.certificate_file))

    with pytest.raises(ImageError, match="gives no token") as caught:
        Registry(transport, "team", tmp_path).resolve("wine", "1")
    assert "wr0ng" not in str(caught.value)


def test_an_unknown_authority_is_refused(host: str, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"cannot be trusted: .*certificate verify failed") as caught:
        Registry(Transport(host, username="name", password="secret"), "team", tmp_path).resolve("wine", "1")
    assert "CA bundle" in str(caught.value.remedy)


def test_an_authority_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"missing\.pem"):
        Transport("127.0.0.1", ca_bundle=str(tmp_path / "missing.pem"))


def test_an_authority_file_without_certificates_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()

    with pytest.raises(ImageError, match=r"empty\.pem holds no certificates"):
        Transport("127.0.0.1", ca_bundle=str(tmp_path / "empty.pem"))


@contextmanager
def dropping(authority: Authority, after: str) -> Iterator[tuple[str, list[str]]]:
    """A server that accepts connections and drops each: before the handshake, or inside of the first request."""
    seen: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drop() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                seen.append(after)
                if after == "connecting":
                    connection.close()
                    continue
                try:
                    secured = authority.tls.wrap_socket(connection, server_side=True)
                    secured.recv(1000)
                    os.close(secured.detach())
                except OSError:
                    pass  # its client was quicker

        thread = threading.Thread(target=drop)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}", seen
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize("after", ["connecting", "the first bytes"])
@pytest.mark.parametrize(("method", "data"), [("HEAD", None), ("PATCH", bytes(4 << 20))])
def test_a_connection_that_drops_is_no_matter_of_trust(
    after: str, method: str, data: bytes | None, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelyard.images.attempts._PAUSE", 0.01)
    with dropping(authority, after) as (host, seen):
        transport = Transport(host, ca_bundle=str(authority.certificate_file))
        with pytest.raises(Unavailable, match=f"The registry {host} cannot be reached"):
            transport.request(method, "/v2/", (200,), data=data)
    assert len(seen) == 4
