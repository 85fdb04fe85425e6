"""The account that ``docker login`` has left for a registry: in Docker's ``config.json``, or in a credential helper."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from modelyard.credential_places import docker_config
from modelyard.errors import ImageError
from modelyard.images.account import Account

# Docker Hub's hosts, and the one name under which its account is kept.
_HUB = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
_HUB_KEY = "https://index.docker.io/v1/"
# What a helper says, with status 1, when it knows no account: docker-credential-helpers, credentials/error.go.
_UNKNOWN = "credentials not found in native keychain"
_TOKEN = "<token>"  # noqa: S105 - the user whose password is an identity token
_LONGEST = 60  # seconds; a helper may ask a cloud


class _Entry(BaseModel):
    model_config = ConfigDict(hide_input_in_errors=True)

    auth: str | None = None
    username: str | None = None
    password: str | None = None
    identitytoken: str | None = None


class _Config(BaseModel):
    model_config = ConfigDict(hide_input_in_errors=True)

    auths: dict[str, _Entry] | None = None
    helpers: dict[str, str] | None = Field(None, alias="credHelpers")
    store: str | None = Field(None, alias="credsStore")


class _Answer(BaseModel):
    model_config = ConfigDict(hide_input_in_errors=True)

    username: str = Field(alias="Username")
    secret: str = Field(alias="Secret")


def account_of(host: str) -> Account | None:
    """Return the account of a registry, None when there is none for it.

    Looked for as Docker does: the host's own credential helper, the helper for all, the file itself.

    Raises:
        ImageError: the file is damaged, or the helper that it names is missing or fails.
    """
    file = docker_config()
    try:
        text = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None  # another user's is none of ours: in a pod the home folder may be root's
    try:
        config = _Config.model_validate_json(text)
    except ValidationError as error:
        raise ImageError(f"{file} is no configuration of Docker: {_first(error)}", "mend the file") from error
    helpers = {key: name for key, name in (config.helpers or {}).items() if _means(key, host)}
    if name := next(iter(helpers.values()), config.store):
        found = _ask(name, _HUB_KEY if host in _HUB else host, file)
        if found is not None:
            return found
    entries = {key: entry for key, entry in (config.auths or {}).items() if _means(key, host)}
    best = entries.get(_HUB_KEY if host in _HUB else host) or next(iter(entries.values()), None)
    return None if best is None else _account(best, host, file)


def _means(key: str, host: str) -> bool:
    """Whether an entry is this host's: some have a scheme and a path, as ``https://host/v1/``."""
    named = key.removeprefix("https://").removeprefix("http://").partition("/")[0]
    return named == host or (host in _HUB and named in _HUB)


def _account(entry: _Entry, host: str, file: Path) -> Account | None:
    username, password = entry.username or "", entry.password or ""
    if entry.auth:
        try:
            username, colon, password = base64.b64decode(entry.auth, validate=True).decode().partition(":")
        except ValueError:
            colon = ""
        if not colon:
            raise ImageError(  # without its cause, which could tell a part of the password
                f"{file}: 'auth' of {host} is not user:password in base64", f"log in anew: docker login {host}"
            ) from None
        password = password.rstrip("\0")
    if entry.identitytoken:
        return Account(username, "", entry.identitytoken)
    return Account(username, password) if username else None


def _ask(helper: str, key: str, file: Path) -> Account | None:
    program = f"docker-credential-{helper}"
    remedy = f"mend or install {program}, or name none in {file}"
    try:
        ended = subprocess.run([program, "get"], input=key.encode(), capture_output=True, timeout=_LONGEST, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ImageError(f"{program}, which {file} names for the account of {key}: {error}", remedy) from error
    if ended.returncode:
        said = (ended.stdout + ended.stderr).decode(errors="replace").strip()
        if _UNKNOWN in said:
            return None
        raise ImageError(f"{program} gives no account of {key}: {said or f'status {ended.returncode}'}", remedy)
    try:
        answer = _Answer.model_validate_json(ended.stdout)
    except ValidationError as error:
        raise ImageError(f"{program} gives no account of {key}: {_first(error)}", remedy) from None
    if answer.username == _TOKEN:
        return Account("", "", answer.secret)
    return Account(answer.username, answer.secret) if answer.username else None


def _first(error: ValidationError) -> str:
    """The first of its faults, without what the file says there: that may be a password."""
    fault = error.errors(include_input=False, include_url=False, include_context=False)[0]
    place = ".".join(str(part) for part in fault["loc"])
    return f"{place}: {fault['msg']}" if place else fault["msg"]
