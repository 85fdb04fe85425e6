"""How a step that reads its standard input gets its credentials: one line, then the end of it.

So no process's environment or arguments hold one, nor a file, nor what a container engine tells of a container.
"""

from __future__ import annotations

import json
from dataclasses import asdict

from modelyard.deployment import ClusterAccess
from modelyard.store.address import StoreAddress
from modelyard.supply_chain import SigningKey


def credentials_line(
    address: StoreAddress,
    git: tuple[str, str] | None,
    cluster: ClusterAccess | None,
    signing: SigningKey | None,
) -> str:
    """Return what ``modelyard step --address -`` reads: the store's address, and what this step alone is given."""
    given = {
        "address": address.to_json(),
        "git": git,
        "cluster": None if cluster is None else cluster.to_json(),
        "signing": None if signing is None else asdict(signing),
    }
    return json.dumps(given) + "\n"
