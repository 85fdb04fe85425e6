"""Declared data: fetched from their URI, fingerprinted, and read again as a table."""

from __future__ import annotations

import csv
import hashlib
import http.client
import json
import shutil
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from modelyard.errors import ModelyardError, RequestError, StoreError, Unavailable
from modelyard.store.address import StoreAddress
from modelyard.store.records import DataFingerprint
from modelyard.uri import shown

_FORMATS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
_TIMEOUT_SECONDS = 60
_PROCESSES = Path("/proc")  # the environment of each of this user's


def fetch(uri: str, project: Path, folder: Path, name: str, address: StoreAddress, *, hidden: Sequence[Path]) -> Path:
    """Copy what a URI names into ``folder`` and return the file; its suffix is the URI's.

    Args:
        uri: a path relative to the project, ``file://``, ``http(s)://``, or ``s3://`` (by the store's S3 account).
            Errors tell it without what may be a credential.
        project: the project's folder; a relative path may not leave it.
        folder: where the file goes.
        name: the data set's name, for the file and for errors.
        address: of the store, for S3.
        hidden: what the project's code shall not read, and so is no data either, by whatever name.

    Raises:
        RequestError: there is nothing at the URI, it is refused, or its scheme is not known.
        Unavailable: the server cannot be reached, or sends less than it promised.
    """
    parts, where = urlsplit(uri), shown(uri)
    to = folder / f"{name}{Path(parts.path).suffix}"
    if parts.scheme in {"", "file"}:
        source = Path(parts.path) if parts.scheme else (project / uri).resolve()
        if not parts.scheme and not source.is_relative_to(project.resolve()):
            raise RequestError(
                f"data.{name}: '{where}' lies outside the project", "name it by file:///…, http(s):// or s3://"
            )
        if any(source.resolve().is_relative_to(place.resolve()) for place in (*hidden, _PROCESSES)):
            raise RequestError(f"data.{name}: '{where}' is no data: credentials may lie there", "name another file")
        if not source.is_file():
            raise RequestError(
                f"data.{name}: there is no file '{where}'", f"correct data.{name}.uri in model.yaml, or the Param"
            )
        shutil.copyfile(source, to)
    elif parts.scheme in {"http", "https"}:
        _download(uri, to, name)
    elif parts.scheme == "s3":
        _fetch_s3(uri, to, name, address)
    else:
        raise RequestError(
            f"data.{name}: '{parts.scheme}://' is not understood",
            "use a path in the project, file://, http(s):// or s3://",
        )
    return to


def _download(uri: str, to: Path, name: str) -> None:
    where = shown(uri)
    no_address = RequestError(
        f"data.{name}: '{where}' is no address of a web server", "write it as https://host/path, percent-encoded"
    )
    if urlsplit(uri).hostname is None:
        raise no_address
    draft = to.with_name(f"{to.name}.draft")
    try:
        # The user's own proxy and CA settings hold: urllib reads them from the environment.
        with urllib.request.urlopen(uri, timeout=_TIMEOUT_SECONDS) as answer, draft.open("wb") as file:  # noqa: S310 - checked by the caller
            promised = answer.length  # None where it comes in chunks, of which the last one says that it is
            shutil.copyfileobj(answer, file)
            copied = file.tell()
    except urllib.error.HTTPError as error:
        kind: type[ModelyardError] = Unavailable if error.code >= 500 or error.code == 429 else RequestError
        raise kind(
            f"data.{name}: {where} answered {error.code} {error.reason}", "check the address and its access"
        ) from error
    except (http.client.InvalidURL, ValueError) as error:  # what they say shows the query
        raise no_address from error
    except (http.client.HTTPException, OSError) as error:
        raise Unavailable(
            f"data.{name}: {where} cannot be had: {error}", "check the address and the network"
        ) from error
    # The library takes a connection that is closed too soon for the body's end.
    if promised is not None and copied != promised:
        raise Unavailable(
            f"data.{name}: {where} has sent {copied} of {promised} bytes", "try again, or ask who runs the server"
        )
    draft.rename(to)


def _fetch_s3(uri: str, to: Path, name: str, address: StoreAddress) -> None:
    from modelyard.store.s3 import Bucket

    parts = urlsplit(uri)
    try:
        with Bucket(parts.netloc, "", address).open(parts.path.lstrip("/")) as source, to.open("wb") as file:
            shutil.copyfileobj(source, file)
    except StoreError as error:
        raise RequestError(
            f"data.{name}: '{shown(uri)}' cannot be had: {error.message}",
            "check the address, and that the S3 account of the store may read it",
        ) from error


def fingerprint(
    file: Path, *, name: str, role: Literal["train", "evaluation"], uri: str, target: str | None
) -> DataFingerprint:
    """Return sha256, size and, where the file is a table, rows and columns.

    Args:
        file: as it was fetched.
        name: the data set's.
        role: what it is for.
        uri: where it came from; kept and told as ``uri.shown``.
        target: the column that it must have, if any.

    Raises:
        RequestError: the file has a table's suffix and is not one, or lacks its target column.
    """
    uri = shown(uri)
    with file.open("rb") as stream:
        digest = f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"
    form = _FORMATS.get(file.suffix.lower(), file.suffix.lstrip(".").lower() or "file")
    try:
        rows, columns = _shape(file, form)
    except (UnicodeDecodeError, csv.Error, ValueError) as error:
        raise RequestError(f"data.{name}: {uri} is not readable as {form}: {error}", "check the file") from error
    if target is not None and columns is not None and target not in columns:
        raise RequestError(
            f"data.{name}: {uri} has no column '{target}' (it has {', '.join(columns[:20])})",
            f"correct data.{name}.target in model.yaml, or the file",
        )
    return DataFingerprint(name, role, uri, digest, file.stat().st_size, rows, columns, target, form)


def _shape(file: Path, form: str) -> tuple[int | None, tuple[str, ...] | None]:
    if form == "csv":
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream)
            header = next(reader, None)
            if not header:
                raise ValueError("it is empty")
            return sum(1 for row in reader if row), tuple(header)
    if form == "jsonl":
        rows, columns = 0, dict[str, None]()
        with file.open(encoding="utf-8") as stream:
            for line in filter(str.strip, stream):
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise ValueError(f"line {rows + 1} is not a JSON object")  # noqa: TRY004 - the file is wrong, not a type
                columns.update(dict.fromkeys(row))
                rows += 1
        return rows, tuple(columns)
    return _shape_of_parquet(file) if form == "parquet" else (None, None)


def _shape_of_parquet(file: Path) -> tuple[int, tuple[str, ...]]:
    """Return rows and columns as the file's own footer tells them: the rows are not read."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(file) as opened:
            rows, schema = opened.metadata.num_rows, opened.schema_arrow
    except (pa.ArrowException, OSError) as error:
        raise ValueError(str(error)) from error
    index = (schema.pandas_metadata or {}).get("index_columns", ())  # no column of the frame that was written
    return rows, tuple(name for name in schema.names if name not in index)
