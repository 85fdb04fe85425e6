"""Single values of model.yaml that more than one section has: names, paths, addresses of data, quantities."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Any
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from modelyard.quantity import check_bytes, check_cpu
from modelyard.uri import shown

RESERVED = "modelyard-"  # modelyard-rollback is a DAG already
SCHEMES = ("file", "http", "https", "s3")


def _number_as_text(value: Any) -> Any:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if is_number else value


def check_uri(uri: str) -> str:
    """Return the address of data when it may be used as one, else raise ValueError, which shows no credential."""
    parts = urlsplit(uri)
    if parts.scheme and parts.scheme not in SCHEMES:
        raise ValueError(f"'{parts.scheme}:' cannot be fetched; {', '.join(SCHEMES)} and relative paths can")
    if parts.scheme and "@" in parts.netloc:
        raise ValueError("it holds a user or password; credentials belong into an Airflow connection")
    if parts.scheme in ("http", "https", "s3") and not (parts.hostname and parts.path.strip("/")):
        raise ValueError(f"'{shown(uri)}' names no {'bucket and key' if parts.scheme == 's3' else 'host and path'}")
    if parts.scheme in ("http", "https") and not _has_possible_port(parts):
        raise ValueError(f"'{shown(uri)}' has a port that is none: it is a number up to 65535")
    return uri if parts.scheme else check_relative_path(uri)


def _has_possible_port(parts: SplitResult) -> bool:
    try:
        return parts.port != 0
    except ValueError:  # of no number, or one that is too large
        return False


def check_relative_path(path: str) -> str:
    """Return ``path`` when it stays inside the project's folder, else raise ValueError."""
    if not path or PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise ValueError(f"'{path}' is not a path inside the project's folder")
    return path


def check_not_reserved(name: str) -> str:
    """Return a model's ``name`` when the DAG of that name may be its own, else raise ValueError."""
    if name.startswith(RESERVED):
        raise ValueError(f"'{name}' is reserved: DAGs whose names begin with '{RESERVED}' are Modelyard's own")
    return name


LowerCaseName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,38}[a-z0-9]$")]
RelativePath = Annotated[str, AfterValidator(check_relative_path)]
Quantity = Annotated[str, BeforeValidator(_number_as_text, json_schema_input_type=str | float)]
Cpu = Annotated[Quantity, AfterValidator(check_cpu)]
Memory = Annotated[Quantity, AfterValidator(check_bytes)]
