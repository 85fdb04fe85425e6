"""Who gets an account, and where it never goes: servers that ask for it as no registry of the tests can be told to."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.answering import Answer, Answering, Asked, answering
from tests.authority import Authority

from modelyard.errors import ImageError, Unavailable
from modelyard.images.blobs import read, upload
from modelyard.images.image import digest_of
from modelyard.images.layer import Layer
from modelyard.images.transport import Transport

ACCOUNT: dict[str, Any] = {"username": "name", "password": "secret"}
BASIC = f"Basic {base64.b64encode(b'name:secret').decode()}"
DATA = b"some bytes"
BLOB = Layer(digest_of(DATA), digest_of(DATA), len(DATA), "application/octet-stream", lambda: BytesIO(DATA))


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No long pauses, and no configuration of whoever runs the tests."""
    monkeypatch.setattr("modelyard.images.attempts._PAUSE", 0.01)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)
    monkeypatch.delenv("NETRC", raising=False)


@pytest.fixture
def other(authority: Authority) -> Iterator[Answering]:
    """A store of blobs: it takes and gives what its signed addresses name, and nothing with an account."""

    def answer(asked: Asked) -> Answer:
        if asked.account is not None or "signature=1" not in asked.path:
            return Answer(400)
        return Answer(200, body=DATA) if asked.method == "GET" else Answer(201)

    with answering(answer, authority.tls) as server:
        yield server


def guarded(asked: Asked, to: Answer) -> Answer:
    """Let in by Basic alone."""
    return to if asked.account == BASIC else Answer(401, [("WWW-Authenticate", 'Basic realm="x"')])


def secured(server: Answering, authority: Authority) -> Transport:
    return Transport(server.host, **ACCOUNT, ca_bundle=str(authority.certificate_file))


def sending_to(place: str) -> Any:
    """A registry of Basic accounts, whose blobs lie at ``place``."""

    def answer(asked: Asked) -> Answer:
        status = {"HEAD": 404, "POST": 202}.get(asked.method, 307)
        return guarded(asked, Answer(status, [("Location", place)]))

    return answer


def test_another_server_gets_what_is_signed_and_no_account(authority: Authority, other: Answering) -> None:
    with answering(sending_to(f"{other.url}/upload?signature=1"), authority.tls) as server:
        transport = secured(server, authority)
        upload(transport, "wine", BLOB, None)
        with read(transport, "wine", BLOB.digest) as stream:
            assert stream.read() == DATA

    assert [(asked.method, asked.body) for asked in other.asked] == [("PUT", DATA), ("GET", b"")]
    assert all(asked.account is None for asked in other.asked)


def test_plain_http_to_another_server_is_refused(authority: Authority) -> None:
    with (
        answering(lambda _: Answer(201)) as plain,
        answering(sending_to(f"{plain.url}/upload"), authority.tls) as server,
    ):
        transport = secured(server, authority)
        for using in (lambda: upload(transport, "wine", BLOB, None), lambda: read(transport, "wine", BLOB.digest)):
            with pytest.raises(ImageError, match=f"{server.host} sends to {plain.url}, which is not safe") as caught:
                using()
            assert "insecure" in str(caught.value.remedy)
        assert plain.asked == []


def test_plain_http_may_be_followed_where_it_was_told(other: Answering) -> None:
    with (
        answering(lambda asked: Answer(400 if asked.account else 200, body=DATA)) as plain,
        answering(sending_to(f"{plain.url}/blob")) as server,
        read(Transport(server.host, **ACCOUNT, insecure=True), "wine", BLOB.digest) as stream,
    ):
        assert stream.read() == DATA


def test_a_server_that_sends_round_in_circles_is_left(authority: Authority) -> None:
    with answering(sending_to("/v2/wine/blobs/again"), authority.tls) as server:
        with pytest.raises(ImageError, match="without end"):
            read(secured(server, authority), "wine", BLOB.digest)
        assert len(server.asked) < 25


def test_a_server_that_only_another_one_can_reach_is_named(authority: Authority) -> None:
    with (
        answering(lambda _: Answer(403), authority.tls) as closed,
        answering(sending_to(f"{closed.url}/blob?signature=1"), authority.tls) as server,
        pytest.raises(
            ImageError, match=f"^{closed.host}, where the registry {server.host} .* GET /blob: 403"
        ) as caught,
    ):
        read(secured(server, authority), "wine", BLOB.digest)
    assert "signature" not in str(caught.value)


def test_an_entry_for_the_host_in_a_netrc_file_does_not_count(tmp_path: Path, authority: Authority) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login other password of-an-index\n")
    netrc.chmod(0o600)
    with answering(lambda asked: guarded(asked, Answer(200)), authority.tls) as server:
        secured(server, authority).request("GET", "/v2/", (200,))

        assert [asked.account for asked in server.asked] == [None, BASIC]


@pytest.mark.parametrize("realm", ["http://127.0.0.1:1/token", "token", ""])
def test_a_realm_that_is_not_safe_gets_no_account(realm: str, authority: Authority) -> None:
    header = f'Bearer realm="{realm}",service="s"'
    with (
        answering(lambda _: Answer(401, [("WWW-Authenticate", header)]), authority.tls) as server,
        pytest.raises(ImageError, match="which is not safe"),
    ):
        secured(server, authority).request("GET", "/v2/", (200,))


class Tokens:
    """A registry that is its own token server.

    Attributes:
        challenges: headers of its 401; ``HOST`` in them becomes its own.
        answers: of its token server, one after the other; the last one stays.
    """

    def __init__(self, *challenges: str) -> None:
        self.challenges = challenges or ('Bearer realm="http://HOST/token",service="s",scope="a b"',)
        self.answers = [Answer(200, body=b'{"token": "T"}')]
        self.asked: list[Asked] = []

    def __call__(self, asked: Asked) -> Answer:
        if asked.path.startswith("/token"):
            self.asked.append(asked)
            return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if asked.account == "Bearer T":
            return Answer(200)
        host = asked.headers["Host"]
        return Answer(401, [("WWW-Authenticate", header.replace("HOST", host)) for header in self.challenges])


BEARER = 'Bearer realm="http://HOST/token",service="s",scope="a b"'


@pytest.mark.parametrize(
    "challenges", [(BEARER,), (BEARER, 'Basic realm="x"'), ('Basic realm="x"', BEARER), (f'Basic realm="x", {BEARER}',)]
)
@pytest.mark.parametrize(("account", "sent"), [({}, None), (ACCOUNT, BASIC)])
def test_a_token_comes_before_the_password(
    challenges: tuple[str, ...], account: dict[str, str], sent: str | None
) -> None:
    tokens = Tokens(*challenges)
    with answering(tokens) as server:
        Transport(server.host, **account, insecure=True).request("GET", "/v2/", (200,))

    (asked,) = tokens.asked
    assert (asked.method, asked.account) == ("GET", sent)
    assert parse_qs(urlsplit(asked.path).query) == {"service": ["s"], "scope": ["a", "b"]}


def test_a_busy_token_server_is_asked_again() -> None:
    tokens = Tokens()
    tokens.answers = [Answer(503), Answer(429, [("Retry-After", "0")]), *tokens.answers]
    with answering(tokens) as server:
        Transport(server.host, **ACCOUNT, insecure=True).request("PATCH", "/v2/", (200,), retry=False)

    assert len(tokens.asked) == 3


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (Answer(503), Unavailable, "The token server HOST answers GET /token with 503"),
        (Answer(401), ImageError, "The registry HOST lets nobody in without an account, or not this one: .* 401"),
        (Answer(404), ImageError, "The token server HOST refuses GET /token: 404"),
        (Answer(200, body=b"<html>"), ImageError, "The token server HOST .* gives no token"),
        (Answer(200, body=b'["T"]'), ImageError, "The token server HOST .* gives no token"),
        (Answer(200, body=b'{"token": "a\\nb"}'), ImageError, "The token server HOST .* gives no token"),
    ],
)
def test_a_token_server_that_gives_none_is_named(answer: Answer, error: type[ImageError], said: str) -> None:
    tokens = Tokens()
    tokens.answers = [answer]
    with answering(tokens) as server, pytest.raises(error, match=said.replace("HOST", server.host)) as caught:
        Transport(server.host, **ACCOUNT, insecure=True).request("GET", "/v2/", (200,))
    assert caught.value.remedy
    assert len(tokens.asked) == (4 if answer.status == 503 else 1)


def test_an_identity_token_is_changed_for_one_of_the_registry(tmp_path: Path) -> None:
    tokens = Tokens()
    tokens.answers = [Answer(200, body=b'{"access_token": "T"}')]
    with answering(tokens) as server:
        (tmp_path / ".docker").mkdir()
        entry = {"auth": base64.b64encode(b"00000000:").decode(), "identitytoken": "refreshing"}
        (tmp_path / ".docker" / "config.json").write_text(json.dumps({"auths": {server.host: entry}}))
        Transport(server.host, insecure=True).request("GET", "/v2/", (200,))

    (asked,) = tokens.asked
    assert (asked.method, asked.path, asked.account) == ("POST", "/token", None)
    assert parse_qs(asked.body.decode()) == {
        "grant_type": ["refresh_token"],
        "client_id": ["modelyard"],
        "service": ["s"],
        "scope": ["a b"],
        "refresh_token": ["refreshing"],
    }
