"""Credentials, looked for in whatever a run leaves behind, in every form in which programs write one down."""

from __future__ import annotations

import gzip
import html
import io
import json
import re
import secrets
import threading
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Self
from urllib.parse import quote, quote_plus

Place = tuple[str, bytes]

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


def made_up(what: str) -> str:
    """Return a credential that nobody else has; most of its signs are others in a URL, in JSON, in HTML or in YAML."""
    return f'{what}"{secrets.token_hex(8)}\\/+&%=:{secrets.token_hex(8)}'


class Search:
    """Looks for credentials.

    Args:
        credentials: each by what it opens, which is what a find is told by.
    """

    def __init__(self, credentials: Mapping[str, str]) -> None:
        self._forms = {what: set(_forms(credential)) for what, credential in credentials.items()}

    def found(self, places: Iterable[Place]) -> set[tuple[str, str]]:
        """Return each place with a credential, and which; what is compressed there is looked at as it was before."""
        return {(name, what) for name, data in places for what in self._in(_plain(data))}

    def _in(self, data: bytes) -> Iterator[str]:
        for what, forms in self._forms.items():
            if any(form in data for form in forms):
                yield what


def _forms(credential: str) -> Iterator[bytes]:
    quoted = quote(credential, safe="")
    texts = {credential, quoted, quote(credential), quote_plus(credential), html.escape(credential)}
    texts.add(re.sub("%..", lambda escape: escape[0].lower(), quoted))
    texts |= {repr(text)[1:-1] for text in texts}
    for _ in range(3):  # a line of JSON, in a list of lines, in an answer
        texts |= {json.dumps(text)[1:-1] for text in texts}
    for text in texts:
        yield text.encode()
        yield from _base64(text.encode())


def _base64(data: bytes) -> Iterator[bytes]:
    """Yield what all base64 has in common that has ``data`` somewhere in it, by how many bytes of a triple precede."""
    for before in range(3):
        whole = (before + len(data)) // 3 * 3
        encoded = b64encode((b"\0" * before + data)[:whole])[4 if before else 0 :]
        yield encoded
        yield encoded.translate(bytes.maketrans(b"+/", b"-_"))


def _plain(data: bytes) -> bytes:
    if data.startswith(_GZIP):
        return gzip.decompress(data)
    if data.startswith(_ZSTD):
        import zstandard

        with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data), read_across_frames=True) as stream:
            return stream.read()
    return data


class Seen:
    """All that a way of looking ever showed: it is looked again and again while this is entered.

    Args:
        look: yields what is there now, each by a name.
        every: seconds between two looks.
    """

    def __init__(self, look: Callable[[], Iterable[Place]], every: float) -> None:
        self.places: set[Place] = set()
        self._look, self._every = look, every
        self._error: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        assert self._error is None, f"it could not be looked at: {self._error!r}"

    def named(self, name: str) -> list[bytes]:
        """Return all that was seen under a name."""
        return [data for seen, data in self.places if seen == name]

    def _run(self) -> None:
        try:
            while not self._stop.wait(self._every):
                self.places.update(self._look())
        except Exception as error:  # noqa: BLE001 - told when the test asks for what was seen
            self._error = error


def arguments() -> Iterator[Place]:
    """Yield the arguments of every process of this machine; the pods of a cluster that runs on it are among them."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield "arguments", path.read_bytes()
        except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            continue


def files(folder: Path) -> Iterator[Place]:
    """Yield every file below a folder."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            try:
                yield str(path.relative_to(folder)), path.read_bytes()
            except FileNotFoundError:  # it was a temporary one
                continue


def noting(places: Iterable[Place], names: set[str]) -> Iterator[Place]:
    """Pass places on, and note their names: a search of nothing finds nothing."""
    for name, data in places:
        names.add(name)
        yield name, data
