"""What may be shown of an address of data."""

from __future__ import annotations

from urllib.parse import urlsplit


def shown(uri: str) -> str:
    """Return an address as it may be kept and printed: without its query, which may be a signature, and without a user.

    Only who fetches it needs the rest. A path of a project is returned as it is.
    """
    parts = urlsplit(uri)
    if not parts.scheme:
        return uri
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
