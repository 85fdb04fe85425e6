"""What a server asks for that lets nobody in without an account: the challenges of a ``WWW-Authenticate`` header."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - of a grammar
# A value without quotation marks is taken as it comes: some servers write an address so.
_PARAMETER = re.compile(rf'({_TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))\s*(?=,|$)')
_SCHEME = re.compile(rf"({_TOKEN})(?:\s+[0-9A-Za-z._~+/-]+=*(?=\s*(?:,|$)))?")
_BETWEEN = re.compile(r"[\s,]*")


@dataclass(frozen=True)
class Challenge:
    """One way to be let in.

    Attributes:
        scheme: in lower case: ``basic``, ``bearer``.
        parameters: by their names in lower case, as ``realm``, ``service``, ``scope``.
    """

    scheme: str
    parameters: Mapping[str, str]


def challenges_in(header: str) -> list[Challenge]:
    """Return all challenges of a header, or of several that were joined by commas: RFC 9110, section 11.6.1.

    What follows something that is no challenge is left out.
    """
    found: list[tuple[str, dict[str, str]]] = []
    position = _end(_BETWEEN.match(header))
    while position < len(header):
        parameter = _PARAMETER.match(header, position) if found else None
        scheme = None if parameter else _SCHEME.match(header, position)
        if parameter is not None:
            name, quoted, plain = parameter.groups()
            found[-1][1][name.lower()] = re.sub(r"\\(.)", r"\1", quoted) if plain is None else plain
        elif scheme is not None:
            found.append((scheme[1].lower(), {}))
        else:
            break
        position = _end(_BETWEEN.match(header, _end(parameter or scheme)))
    return [Challenge(scheme, parameters) for scheme, parameters in found]


def _end(match: re.Match[str] | None) -> int:
    return 0 if match is None else match.end()
