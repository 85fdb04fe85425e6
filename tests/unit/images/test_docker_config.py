from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from modelyard.errors import ImageError
from modelyard.images.account import Account
from modelyard.images.docker_config import account_of

AUTH = {"auth": base64.b64encode(b"me:pass:word").decode()}
ME = Account("me", "pass:word")
HUB = "https://index.docker.io/v1/"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Docker's configuration, not yet there."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)
    (tmp_path / ".docker").mkdir()
    return tmp_path / ".docker" / "config.json"


def helper(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = folder / "docker-credential-tests"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("registry.example:5000", "registry.example:5000"),
        ("registry.example", "https://registry.example"),
        ("registry.example", "https://registry.example/v1/"),
        ("registry.example", "http://registry.example/v2/"),
        ("registry-1.docker.io", HUB),
        ("registry-1.docker.io", "docker.io"),
    ],
)
def test_an_account_is_found_under_every_name_that_docker_gives_it(host: str, key: str, file: Path) -> None:
    other = base64.b64encode(b"other:x").decode()
    file.write_text(json.dumps({"auths": {"other.example": {"auth": other}, key: AUTH}, "HttpHeaders": {"a": "b"}}))

    assert account_of(host) == ME
    assert account_of("example") is None


@pytest.mark.parametrize(
    ("entry", "account"),
    [
        ({"username": "me", "password": "pw"}, Account("me", "pw")),
        (
            {"auth": base64.b64encode(b"00000000:").decode(), "identitytoken": "t0ken"},
            Account("00000000", "", "t0ken"),
        ),
        ({}, None),
        ({"auth": None, "email": "me@example"}, None),
    ],
)
def test_an_entry_is_read(entry: dict[str, Any], account: Account | None, file: Path) -> None:
    file.write_text(json.dumps({"auths": {"registry.example": entry}}))

    assert account_of("registry.example") == account


def test_docker_config_names_another_folder(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert account_of("registry.example") is None
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "other"))
    assert account_of("registry.example") is None
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text(json.dumps({"auths": {"registry.example": AUTH}}))

    assert account_of("registry.example") == ME


@pytest.mark.parametrize(("host", "key"), [("registry.example", "registry.example"), ("registry-1.docker.io", HUB)])
def test_a_helper_is_asked_by_dockers_name(
    host: str, key: str, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = json.dumps({"ServerURL": key, "Username": "<token>", "Secret": "t0ken"})
    helper(tmp_path, monkeypatch, f"[ \"$1 $(cat)\" = 'get {key}' ] && echo '{answer}'")
    file.write_text(json.dumps({"credHelpers": {key: "tests"}, "credsStore": "absent", "auths": {key: AUTH}}))

    assert account_of(host) == Account("", "", "t0ken")


def test_what_a_helper_does_not_know_may_be_in_the_file(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper(tmp_path, monkeypatch, "echo credentials not found in native keychain; exit 1")
    file.write_text(json.dumps({"credsStore": "tests", "auths": {"registry.example": AUTH}}))

    assert account_of("registry.example") == ME
    assert account_of("example") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{not json", "no configuration of Docker: Invalid JSON"),
        ('{"auths": {"registry.example": {"password": ["s3cr3t"]}}}', r"auths\.registry\.example\.password"),
        ('{"auths": {"registry.example": {"auth": "s3cr3t"}}}', "'auth' of registry.example is not user:password"),
        ('{"credsStore": "absent"}', "docker-credential-absent, which .*config.json names .* No such file"),
        ('{"credsStore": "tests"}', "docker-credential-tests gives no account of registry.example: the vault is shut"),
    ],
)
def test_what_is_wrong_is_said_without_a_secret(
    text: str, said: str, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper(tmp_path, monkeypatch, "echo the vault is shut >&2; exit 1")
    file.write_text(text)

    with pytest.raises(ImageError, match=said) as caught:
        account_of("registry.example")
    assert caught.value.remedy
    assert "s3cr3t" not in str(caught.value)
