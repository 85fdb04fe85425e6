"""An image's bill of materials, as CycloneDX 1.6: https://cyclonedx.org/docs/1.6/json.

The image's content alone determines it, its time and serial number included: the same image has the same one.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import modelyard
from modelyard.environments.lock import Pin
from modelyard.images.image import EPOCH, Image
from modelyard.supply_chain.packages import Contents, Package

if TYPE_CHECKING:
    from cyclonedx.model.component import Component
    from packageurl import PackageURL

MEDIA_TYPE = "application/vnd.cyclonedx+json"

_NAMESPACE = uuid.UUID("6f2f7c0a-5f0c-5a38-9d4b-2f8f6e3a7c11")  # of serial numbers: any will do that stays


def bill_of_materials(image: Image, name: str, contents: Contents, pins: Iterable[Pin]) -> bytes:
    """Return the bill of ``image``: its packages, the Python of its base, and the model.

    Args:
        image: a model image.
        name: of the model.
        contents: what is installed in it.
        pins: of the locks that its Python packages were installed by, with the hashes of the files that may be.
    """
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.tool import ToolRepository
    from cyclonedx.output.json import JsonV1Dot6
    from packageurl import PackageURL

    whole = Component(
        type=ComponentType.CONTAINER,
        name=name,
        version=image.digest,
        bom_ref=image.digest,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=image.digest.removeprefix("sha256:"))],
        purl=PackageURL("oci", None, name, image.digest, {"arch": image.platform.partition("/")[2]}),
    )
    parts = _packages(contents, pins)
    labels, variables = _run_config(image)
    if version := variables.get("PYTHON_VERSION"):  # official images build theirs: no package database has it
        url = PackageURL("generic", None, "python", version)
        parts.append(
            Component(
                type=ComponentType.APPLICATION,
                name="python",
                version=version,
                bom_ref=str(url),
                purl=url,
                cpe=f"cpe:2.3:a:python:python:{version}:*:*:*:*:*:*:*",
            )
        )
    model = labels["io.modelyard.model"]
    parts.append(
        Component(
            type=ComponentType.MACHINE_LEARNING_MODEL,
            name=name,
            bom_ref=f"model@{model}",
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=model.removeprefix("sha256:"))],
        )
    )
    made = datetime.fromisoformat(image.parsed_config.get("created") or EPOCH)
    tool = Component(type=ComponentType.APPLICATION, name="modelyard", version=modelyard.__version__)
    bom = Bom(
        components=parts,
        serial_number=uuid.uuid5(_NAMESPACE, image.digest),
        metadata=BomMetaData(
            component=whole,
            timestamp=made,
            tools=ToolRepository(components=[tool]),
            properties=[Property(name="modelyard:unread-package-database", value=path) for path in contents.unread],
        ),
    )
    bom.register_dependency(whole, parts)
    return JsonV1Dot6(bom).output_as_string().encode()


def _packages(contents: Contents, pins: Iterable[Pin]) -> list[Component]:
    from cyclonedx.contrib.license.factories import LicenseFactory
    from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, XsUri
    from cyclonedx.model.component import Component
    from cyclonedx.model.component_evidence import ComponentEvidence, Occurrence

    hashes = {(pin.name, pin.version): pin.hashes for pin in pins}
    licenses = LicenseFactory()
    made = []
    for package, places in contents.packages.items():
        url = _url(package, contents.system)
        files = hashes.get((package.name, package.version), ()) if package.kind == "pypi" else ()
        reference = ExternalReference(
            type=ExternalReferenceType.DISTRIBUTION,
            url=XsUri(str(url)),
            comment="one of these files was installed",
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=found.removeprefix("sha256:")) for found in files],
        )
        made.append(
            Component(
                name=package.name,
                version=package.version,
                bom_ref=str(url),
                purl=url,
                licenses=[licenses.make_from_string(package.license)] if package.license else None,
                external_references=[reference] if files else None,
                evidence=ComponentEvidence(
                    occurrences=[Occurrence(bom_ref=f"{url}#{place}", location=f"/{place}") for place in places]
                ),
            )
        )
    return made


def _url(package: Package, system: str | None) -> PackageURL:
    """https://github.com/package-url/purl-spec, with the qualifiers by which advisories are found."""
    from packageurl import PackageURL

    if package.kind == "pypi":
        return PackageURL("pypi", None, package.name, package.version)
    vendor = (system or {"deb": "debian", "apk": "alpine"}[package.kind]).partition("-")[0]
    qualifiers = {"arch": package.architecture, "distro": system, "upstream": package.source}
    return PackageURL(
        package.kind,
        vendor,
        package.name,
        package.version,
        {name: value for name, value in qualifiers.items() if value},
    )


def _run_config(image: Image) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Return an image's labels and variables."""
    config: dict[str, Any] = image.parsed_config["config"]
    return config["Labels"], dict(item.partition("=")[::2] for item in config.get("Env") or ())
