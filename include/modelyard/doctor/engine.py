"""The Docker engine of the steps: does it answer, and does it read what Modelyard pushes?"""

from __future__ import annotations

from collections.abc import Iterator

from modelyard.docker_engine import connect, in_words
from modelyard.doctor.finding import Finding
from modelyard.images.open import compression_of
from modelyard.store import StoreAddress

SUBJECT = "Docker engine"
_READS_ZSTD = 23


def look(address: StoreAddress) -> Iterator[Finding]:
    """Ask for the version, and hold the store's images against it."""
    client = connect()
    with in_words():
        version = str(client.version()["Version"])
    yield Finding("ok", SUBJECT, f"Docker {version} at {client.base_url}")
    major = version.partition(".")[0]
    if compression_of(address) == "zstd" and major.isdigit() and int(major) < _READS_ZSTD:
        remedy = "choose gzip as the layer compression of the model store's connection, and make the runner image so"
        yield Finding(
            "failed", SUBJECT, f"Docker {version} reads no zstd, which the store's image layers are of", remedy
        )
