"""What a released image is given, beside it in its repository: bill of materials, provenance, signature.

Each of them is the same when it is made again for the same pipeline run: what lies there is not put there twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from modelyard.environments.lock import Pin
from modelyard.images.image import digest_of
from modelyard.images.store import ImageStore
from modelyard.store.records import ModelVersion, PipelineRun
from modelyard.supply_chain import bom, statement
from modelyard.supply_chain.key import SigningKey
from modelyard.supply_chain.packages import packages_of
from modelyard.supply_chain.provenance import PREDICATE, provenance
from modelyard.supply_chain.signature import sign


@dataclass(frozen=True)
class Attached:
    """What lies beside a released image, as the store keeps it with the version.

    Attributes:
        bill_of_materials, provenance: digests of their manifests, in the image's own repository; of several platforms'
            bills the first one's.
        signed_by: fingerprint of the key that the image and its provenance are signed with; None: unsigned.
    """

    bill_of_materials: str
    provenance: str
    signed_by: str | None


def attach(
    *,
    images: ImageStore,
    digest: str,
    version: ModelVersion,
    run: PipelineRun,
    built: datetime,
    report: str,
    pins: Iterable[Pin],
    key: SigningKey | None,
    log: Callable[[str], None],
) -> Attached:
    """Attach to the image ``digest`` in the model's own repository what it is made of and where it comes from.

    Args:
        images: has the image.
        digest: of the image.
        version: whose image it is.
        run: the pipeline run that releases it.
        built: when that run had built it.
        report: digest of the validation's report, as JSON.
        pins: of the locks that its packages were installed by.
        key: signs the image and the provenance; None leaves both unsigned.
        log: given a line for each.

    Raises:
        RequestError: the key cannot be opened; ImageError: the registry refuses it, or a layer is not what it claims
            to be; Unavailable: the registry cannot be reached.
    """
    signer = None if key is None else key.open()  # before anything is written
    repository = version.name
    whole, pins = images.pull_whole(repository, digest), list(pins)
    byproducts: dict[str, tuple[str, str]] = {}
    bills = []
    for image in whole.images:
        of = f" for {image.platform}" if len(whole.images) > 1 else ""
        contents = packages_of(image, images)
        for path in contents.unread:
            log(f"Not in the bill of materials{of}: what /{path} names; only packages of Debian, Alpine and Python are")
        bill = bom.bill_of_materials(image, version.name, contents, pins)
        # Where tools look that were given a platform's image, and where those do that were given the version's.
        attached = [
            images.attach(repository, one, bom.MEDIA_TYPE, bill) for one in dict.fromkeys((image.digest, digest))
        ]
        bills.append(attached[-1])
        log(f"Bill of materials{of}: {len(contents.packages)} packages, {digest_of(bill)[:19]}")
        byproducts[f"bill of materials{of}"] = (bom.MEDIA_TYPE, digest_of(bill))
    byproducts["report"] = ("application/json", report)
    name = images.reference(repository, digest).rpartition("@")[0]
    said = statement.statement(name, digest, PREDICATE, provenance(version, run, whole, built, byproducts))
    if signer is None:
        said_at = images.attach(repository, digest, statement.STATEMENT, said)
        log("Provenance attached; nothing is signed: the store has no signing key")
        return Attached(bills[0], said_at, None)
    bundle = statement.signed(said, signer)
    said_at = images.attach(repository, digest, statement.BUNDLE, bundle, statement.described(PREDICATE))
    sign(images, repository, digest, signer)
    log(f"Provenance attached and image signed, by {signer.public}")
    return Attached(bills[0], said_at, str(signer.public))
