"""Where a model store is, and what it takes to reach it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from modelyard.errors import StoreError
from modelyard.flag import flag

_DEFAULT_HOME = "~/.modelyard"


@dataclass(frozen=True)
class StoreAddress:
    """Database, artifacts and registry of one model store. Whoever holds one can write to the store.

    Its repr shows no secret; ``to_json`` and ``to_environment`` do, and go only where a credential may go.

    Attributes:
        mongo_uri: MongoDB connection string, credentials included.
        artifacts: ``file:///directory`` or ``s3://bucket/prefix``.
        database: database name.
        s3_endpoint_url: None for AWS itself.
        s3_access_key, s3_secret_key: None leaves finding credentials to the AWS client (role, instance, web identity).
        s3_ca_bundle: path of the certificates that the S3 endpoint's own must chain to.
        s3_encryption: ``AES256``, ``aws:kms`` or ``aws:kms:KEY-ID``, asked of the server for every object.
        registry: ``oci:/directory`` (a layout on disk) or ``host[:port]/prefix``.
        registry_insecure: plain HTTP.
        base_image: below model images in a registry; None for the official one of the environment's Python
            (``python:3.11-slim``). With a digest (``…@sha256:…``) it is the same for ever.
        verification_key: public keys in PEM: what is signed by none of them does not go live. None: anything may.
        layer_compression: of new image layers; None for zstd, ``gzip`` for what reads none (Docker before 23).
        installation: name of the Airflow installation, part of every pipeline run's key.
    """

    mongo_uri: str = field(repr=False)
    artifacts: str
    registry: str
    database: str = "modelyard"
    s3_endpoint_url: str | None = None
    s3_region: str | None = None
    s3_access_key: str | None = field(default=None, repr=False)
    s3_secret_key: str | None = field(default=None, repr=False)
    s3_ca_bundle: str | None = None
    s3_encryption: str | None = None
    registry_username: str | None = None
    registry_password: str | None = field(default=None, repr=False)
    registry_insecure: bool = False
    registry_ca_bundle: str | None = None
    base_image: str | None = None
    verification_key: str | None = None
    layer_compression: str | None = None
    installation: str = "default"

    def __post_init__(self) -> None:
        """Refuse an address of which a part can't be one.

        Raises:
            StoreError: naming the part, never its value: it may hold a credential.
        """
        if not re.match(r"mongodb(\+srv)?://.", self.mongo_uri):
            raise StoreError(
                "The database address is no MongoDB URI", "write it as mongodb://user:password@host:27017/"
            )
        if not re.match(r"(file:///|s3://[^/])", self.artifacts):
            raise StoreError(
                f"Artifacts can't be kept at '{self.artifacts}'", "write file:///directory or s3://bucket/prefix"
            )
        if self.layer_compression not in (None, "zstd", "gzip"):
            raise StoreError(
                f"Image layers can't be compressed by '{self.layer_compression}'",
                "choose zstd, or gzip for old runtimes",
            )
        if not self.registry:
            raise StoreError("The store has no registry", "write oci:/directory or host:port/prefix")

    @property
    def mongo_hosts(self) -> str:
        """Host and port of each server in ``mongo_uri``, without credentials: for messages."""
        authority = re.split(r"[/?]", self.mongo_uri.partition("://")[2].rpartition("@")[2], maxsplit=1)[0]
        return authority or "(no host)"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> StoreAddress:
        """Return the address that ``MODELYARD_*`` variables name; an empty one counts as not set.

        What is not named is on this machine, below ``MODELYARD_HOME``: the embedded database if it was started there,
        a folder of artifacts, images in a layout on disk.

        Raises:
            StoreError: no database is named, and none was started here; or a flag is neither yes nor no.
        """
        given = {
            item.name: environment[variable]
            for item in fields(cls)
            if environment.get(variable := f"MODELYARD_{item.name.upper()}")
        }
        home = home_folder(environment)
        uri = given.pop("mongo_uri", None) or _embedded_uri(home)
        if uri is None:
            raise StoreError(
                f"No model store is named, and none is kept in {home}",
                "run a project, which makes one: modelyard run FOLDER; or set MODELYARD_MONGO_URI",
            )
        insecure = flag(given.pop("registry_insecure", None), "MODELYARD_REGISTRY_INSECURE", StoreError)
        given.setdefault("artifacts", (home / "artifacts").as_uri())
        given.setdefault("registry", f"oci:{home / 'images'}")
        return cls(mongo_uri=uri, registry_insecure=insecure, **given)

    @classmethod
    def from_folder(cls, folder: Path) -> StoreAddress:
        """Return the address that a mounted Secret holds: a file for each of the variables of ``from_environment``.

        Raises:
            StoreError: a part is not named. Nothing may be taken for this machine's own: a pod's is gone with it.
        """
        variables = {item: folder / f"MODELYARD_{item.upper()}" for item in cls.__dataclass_fields__}
        given = {path.name: path.read_text().rstrip("\n") for path in variables.values() if path.is_file()}
        for needed in ("MODELYARD_MONGO_URI", "MODELYARD_ARTIFACTS", "MODELYARD_REGISTRY"):
            if not given.get(needed):
                raise StoreError(
                    f"The Secret with the store's address has no key {needed}", "add the key to the Secret"
                )
        return cls.from_environment(given)

    def to_environment(self) -> dict[str, str]:
        """Return the variables that ``from_environment`` reads, secrets included."""
        values = {name: "true" if value is True else value for name, value in asdict(self).items()}
        return {f"MODELYARD_{name.upper()}": value for name, value in values.items() if value}

    @classmethod
    def from_json(cls, text: str) -> StoreAddress:
        """Return the address that ``to_json`` wrote."""
        return cls(**json.loads(text))

    def to_json(self) -> str:
        """Return the whole address as one line of JSON, secrets included."""
        return json.dumps(asdict(self))


def home_folder(environment: Mapping[str, str]) -> Path:
    """Return this machine's folder for caches, local images and services (``MODELYARD_HOME``)."""
    return Path(environment.get("MODELYARD_HOME") or _DEFAULT_HOME).expanduser().absolute()


def _embedded_uri(home: Path) -> str | None:
    from modelyard import embedded

    return embedded.uri(home / "mongo")
