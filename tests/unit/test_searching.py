"""The tests' own search for credentials: what it would find."""

from __future__ import annotations

import base64
import gzip
import html
import io
import json
import tarfile
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
import yaml
import zstandard
from tests.searching import Search, Seen, arguments, made_up

SECRET = made_up("store")
SEARCH = Search({"the store": SECRET, "another": made_up("another")})


def _tar(text: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        member = tarfile.TarInfo("settings")
        member.size = len(text.encode())
        tar.addfile(member, io.BytesIO(text.encode()))
    return stream.getvalue()


FORMS: dict[str, Callable[[str], str | bytes]] = {
    "as it is": str,
    "url": lambda text: quote(text, safe=""),
    "url with slashes": quote,
    "form": quote_plus,
    "lower-case url": lambda text: quote(text, safe="").replace("%2F", "%2f").replace("%2B", "%2b").lower(),
    "json": json.dumps,
    "json in json in json": lambda text: json.dumps([json.dumps({"line": json.dumps(text)})]),
    "url in json": lambda text: json.dumps(f"mongodb://{quote(text, safe='')}@host"),
    "repr": repr,
    "html": html.escape,
    "yaml": lambda text: yaml.safe_dump({"password": text}),
    "gzip": lambda text: gzip.compress(_tar(text)),
    "zstd": lambda text: zstandard.compress(_tar(text)),
    "two frames of zstd": lambda text: zstandard.compress(b"first") + zstandard.compress(_tar(text)),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_credential_is_found_in_every_form(form: str) -> None:
    written = FORMS[form](SECRET)
    data = written if isinstance(written, bytes) else f"before {written} after".encode()
    assert SEARCH.found([("a place", data), ("another place", b"")]) == {("a place", "the store")}


@pytest.mark.parametrize("before", range(4))
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("form", ["as it is", "url", "json"])
def test_a_credential_is_found_in_base64_wherever_it_begins(
    before: int, encode: Callable[[bytes], bytes], form: str
) -> None:
    data = encode(b"." * before + str(FORMS[form](SECRET)).encode() + b"more")
    assert SEARCH.found([("a place", data)]) == {("a place", "the store")}


def test_what_is_no_credential_is_not_found() -> None:
    others = [made_up("store"), SECRET[:-1], SECRET[1:], SECRET.upper()]
    written = [("a place", form(text).encode()) for text in others for form in (str, quote, json.dumps)]
    assert SEARCH.found(written) == set()


def test_looking_again_and_again_keeps_what_is_gone() -> None:
    shown = iter(range(1000))
    with Seen(lambda: [("number", str(next(shown)).encode())], 0.001) as seen:
        while len(seen.places) < 3:
            pass
    assert {b"0", b"1", b"2"} <= set(seen.named("number"))
    assert any(b"pytest" in data for _, data in arguments())


def test_what_could_not_be_looked_at_is_told() -> None:
    def look() -> list[tuple[str, bytes]]:
        raise OSError("no cluster")

    with pytest.raises(AssertionError, match="no cluster"), Seen(look, 0.001) as seen:
        seen._thread.join(5)
