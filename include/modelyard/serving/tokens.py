"""Who may ask: whoever sends one of the server's tokens, as ``Authorization: Bearer TOKEN``.

A server that is given none answers everybody. Tokens are kept as digests only, and compared in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import time
from collections.abc import MutableMapping
from pathlib import Path

FILE, VARIABLE = "MODELYARD_TOKENS_FILE", "MODELYARD_TOKENS"
_SHORTEST = 16  # characters; what is shorter can be guessed
_LOOK_AGAIN = 2.0  # seconds


class Tokens:
    """The tokens of a file, one a line, and of the environment.

    The file is read again when it has changed, so that tokens can be changed while the server runs: first both the old
    and the new one are in it, then the new one alone. One that cannot be read any more leaves those that were read.

    Args:
        given: tokens as text.
        file: more of them.

    Raises:
        ValueError, OSError: the file cannot be read, or there is no token, or one is too short; never with a token.
    """

    def __init__(self, given: str = "", file: Path | None = None) -> None:
        self._given = _digests(given.split(), VARIABLE)
        self._file = file
        self._looked = 0.0
        self._changed: tuple[int, int, int] | None = None
        self._of_file: tuple[bytes, ...] = ()
        self.demanded = bool(self._given) or file is not None
        if file is not None:
            self._read(file)
        if self.demanded and not (self._given or self._of_file):
            raise ValueError(f"{file} holds no token: write one a line, or name no file and let everybody ask")

    @classmethod
    def taken_from(cls, environment: MutableMapping[str, str]) -> Tokens:
        """Take the tokens out of an environment, so that no process started later inherits them."""
        given, file = environment.pop(VARIABLE, ""), environment.pop(FILE, "")
        return cls(given, Path(file) if file else None)

    def admit(self, header: str) -> bool:
        """Return whether the value of a request's Authorization header lets it in."""
        scheme, _, token = header.partition(" ")
        digest = _digest(token.strip())
        # All are compared, always: how long it takes tells nothing.
        found = [hmac.compare_digest(digest, known) for known in self._current()]
        return scheme.lower() == "bearer" and any(found)

    def _current(self) -> tuple[bytes, ...]:
        now = time.monotonic()
        if self._file is not None and now - self._looked > _LOOK_AGAIN:
            try:
                self._read(self._file)
            except (OSError, ValueError):
                self._looked = now
        return self._given + self._of_file

    def _read(self, file: Path) -> None:
        self._looked = time.monotonic()
        found = os.stat(file)  # noqa: PTH116 - in the path of requests, now and then
        changed = (found.st_mtime_ns, found.st_ino, found.st_size)
        if changed != self._changed:
            # A mounted Secret changes under the same name: none at all is a moment in between, or a mistake.
            if digests := _digests(file.read_text().split(), str(file)):
                self._of_file = digests
            self._changed = changed


def _digests(tokens: list[str], where: str) -> tuple[bytes, ...]:
    if any(len(token) < _SHORTEST for token in tokens):
        raise ValueError(
            f"{where} has a token of fewer than {_SHORTEST} characters: make one by `openssl rand -hex 32`"
        )
    return tuple(map(_digest, tokens))


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
