"""Whether an image is signed, by whom, and what its deployments found: as the store has recorded it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from modelyard.errors import RequestError
from modelyard.store import Deployment, ModelVersion
from modelyard.supply_chain.key import read_public_keys


@dataclass(frozen=True)
class Trust:
    """What is known of an image's signature without asking its registry.

    Attributes:
        signed_by: fingerprint of the key; None: unsigned, or nothing is recorded of what lies beside the image.
        accepted: whether a verification key is that one; None where none is asked for.
        hindrance: why it would not go live now; "" when nothing is known to stand against it.
        deployments: of this version, newest first: each says who verified it, or why it was refused.
    """

    signed_by: str | None
    accepted: bool | None
    hindrance: str
    deployments: tuple[Deployment, ...]


def trust(version: ModelVersion, deployments: Sequence[Deployment], verification_key: str | None) -> Trust:
    """Say how far a released version's image can be trusted.

    Args:
        version: with an image.
        deployments: of this version.
        verification_key: of the store's connection; None: anything may go live.
    """
    signed_by = (version.attached or {}).get("signed_by")
    accepted, hindrance = None, ""
    if verification_key is not None:
        try:
            keys = [str(key) for key in read_public_keys(verification_key)]
        except RequestError as error:
            keys, hindrance = [], error.message
        accepted = signed_by in keys
        if not accepted and not hindrance:
            found = f"its signature is by {signed_by}" if signed_by else "no signature of it is recorded"
            hindrance = f"{found}, and one by {' or '.join(keys)} is asked for"
    return Trust(signed_by, accepted, hindrance, tuple(deployments))
