"""Where the prediction log of a model goes, and the credential that may write there and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from modelyard.credential_places import SHIPPERS
from modelyard.errors import StoreError
from modelyard.store.address import StoreAddress
from modelyard.store.artifacts import Backend, open_backend

PREFIX = "served"
# The files of a credential's folder: as a mounted Secret has them.
ACCESS_KEY, SECRET_KEY = "MODELYARD_S3_ACCESS_KEY", "MODELYARD_S3_SECRET_KEY"

_CA = "ca.crt"


def prefix_of(model: str, environment: str | None = None) -> str:
    """Return the folder of all that a model has answered: what its shipper's credential may write below."""
    return f"{PREFIX}/{model}" if environment is None else f"{PREFIX}/{model}/{environment}"


def credential_folder(home: Path, model: str) -> Path:
    """Return where this machine keeps the credential of a model's shipper: see ``credential_places``."""
    return home / SHIPPERS / model


@dataclass(frozen=True)
class Destination:
    """The object store's place, as in ``StoreAddress``; without the store's own credential.

    Attributes:
        s3_access_key, s3_secret_key: the shipper's own.
    """

    artifacts: str
    s3_endpoint_url: str | None = None
    s3_region: str | None = None
    s3_ca_bundle: str | None = None
    s3_encryption: str | None = None
    s3_access_key: str | None = field(default=None, repr=False)
    s3_secret_key: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, address: StoreAddress) -> Destination:
        """Return where a store keeps its objects, without any credential."""
        return cls(
            address.artifacts,
            address.s3_endpoint_url,
            address.s3_region,
            address.s3_ca_bundle,
            address.s3_encryption,
        )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Destination:
        """Return the destination that ``to_environment`` has told.

        Raises:
            StoreError: none is told.
        """
        given = {name: environment.get(f"MODELYARD_{name.upper()}") or None for name in cls.__dataclass_fields__}
        if given["artifacts"] is None:
            raise StoreError("Nobody says where the prediction log goes", "set MODELYARD_ARTIFACTS")
        return cls(**given)  # type: ignore[arg-type]

    def to_environment(self) -> dict[str, str]:
        """Return the variables that tell it: no credential is among them."""
        told = asdict(replace(self, s3_access_key=None, s3_secret_key=None))
        return {f"MODELYARD_{name.upper()}": value for name, value in told.items() if value}

    @property
    def needs_credential(self) -> bool:
        """It is no folder of this machine."""
        return not self.artifacts.startswith("file:")

    def with_credential(self, folder: Path) -> Destination:
        """Return it with the credential of a folder, a file a key, as a Secret is mounted.

        A file ``ca.crt`` there holds the certificates that the store's own must chain to, wherever else these may be.

        Raises:
            StoreError: it is not there, or not whole.
        """
        try:
            access, secret = ((folder / name).read_text().strip() for name in (ACCESS_KEY, SECRET_KEY))
        except OSError as error:
            raise StoreError(
                f"The prediction log has no credential in {folder}: {error.strerror}",
                f"put an access key and a secret key there, in files {ACCESS_KEY} and {SECRET_KEY}",
            ) from error
        bundle = str(folder / _CA) if (folder / _CA).is_file() else self.s3_ca_bundle
        return replace(self, s3_access_key=access, s3_secret_key=secret, s3_ca_bundle=bundle)

    def open(self) -> Backend:
        """Return what keeps the objects, for their writer; nothing is connected yet."""
        if not self.needs_credential:
            return open_backend(self)
        from modelyard.store.s3 import Bucket

        return Bucket.of(self, for_its_owner=True)


def policy(artifacts: str, model: str) -> dict[str, object]:
    """Return the S3 policy of a user who may send a model's log away, and do nothing else.

    Args:
        artifacts: ``s3://bucket/prefix``.
        model: its name.
    """
    place = f"{artifacts.removeprefix('s3://').rstrip('/')}/{prefix_of(model)}/*"
    statement = {"Effect": "Allow", "Action": ["s3:PutObject"], "Resource": [f"arn:aws:s3:::{place}"]}
    return {"Version": "2012-10-17", "Statement": [statement]}
