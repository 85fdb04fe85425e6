"""TLS with an authority of one's own, and the token flow, against a real registry that insists on both."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from tests.fixtures_registry import running_registry

from modelyard.errors import ImageError
from modelyard.images.image import empty, validate
from modelyard.images.layer import Entry
from modelyard.images.registry import Registry
from modelyard.images.transport import Transport


class Authority:
    """A key and its certificate, for TLS and for signing tokens alike."""

    def __init__(self, folder: Path) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tests")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.key.public_key())
            .serial_number(1)
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self.key, hashes.SHA256())
        )
        self.der = certificate.public_bytes(serialization.Encoding.DER)
        self.certificate_file, self.key_file = folder / "certificate.pem", folder / "key.pem"
        self.certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        self.key_file.write_bytes(
            self.key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
            )
        )

    def token(self, scopes: list[str]) -> str:
        now = int(time.time())
        access = [
            {"type": kind, "name": name, "actions": actions.split(",")}
            for kind, name, actions in (scope.split(":") for scope in scopes)
        ]
        header = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(self.der).decode()]}
        claims = {
            "iss": "tests",
            "sub": "name",
            "aud": "tests",
            "jti": str(now),
            "nbf": now - 60,
            "iat": now - 60,
            "exp": now + 60,
            "access": access,
        }
        signed = b".".join(_base64(json.dumps(part).encode()) for part in (header, claims))
        return (signed + b"." + _base64(self.key.sign(signed, padding.PKCS1v15(), hashes.SHA256()))).decode()


def _base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


class TokenServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, authority: Authority) -> None:
        super().__init__(("127.0.0.1", 0), _TokenHandler)
        self.authority = authority
        self.asked: list[list[str]] = []


class _TokenHandler(BaseHTTPRequestHandler):
    server: TokenServer

    def do_GET(self) -> None:
        scopes = parse_qs(urlsplit(self.path).query).get("scope", [])
        self.server.asked.append(scopes)
        account = self.headers.get("Authorization")
        allowed = account == f"Basic {base64.b64encode(b'name:secret').decode()}"
        body = json.dumps({"token": self.server.authority.token(scopes)}).encode()
        self.send_response(200 if allowed else 401)
        self.end_headers()
        self.wfile.write(body if allowed else b"{}")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def tokens(authority: Authority) -> Iterator[TokenServer]:
    with TokenServer(authority) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def host(authority: Authority, tokens: TokenServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    realm = f"http://127.0.0.1:{tokens.server_address[1]}/token"
    certificate = authority.certificate_file
    with running_registry(
        tmp_path_factory.mktemp("registry"),
        auth=f"token: {{realm: '{realm}', service: tests, issuer: tests, rootcertbundle: '{certificate}'}}",
        tls=f"certificate: '{certificate}', key: '{authority.key_file}'",
    ) as host:
        yield host


def test_a_token_is_asked_for_each_repository_with_the_account(
    host: str, authority: Authority, tokens: TokenServer, tmp_path: Path
) -> None:
    transport = Transport(host, username="name", password="secret", ca_bundle=str(authority.certificate_file))
    images = Registry(transport, "team", tmp_path)
    image = empty("amd64").append([images.pack([Entry("file", b"content")], "model")], {}, {})

    images.push("staging/wine", image, "run")
    images.copy("staging/wine", "wine", image.digest)
    images.tag("wine", image.digest, "1")

    validate(images.pull("wine", "1"))
    asked = {scope for scopes in tokens.asked for scope in scopes}
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
