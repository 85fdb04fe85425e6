"""The model store's connection."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.sdk import BaseHook

from modelyard.errors import ModelyardError, StoreError
from modelyard.flag import flag
from modelyard.provider_info import CONNECTION_ID, CONNECTION_TYPE
from modelyard.store.address import StoreAddress, home_folder

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from modelyard.store import Store


class ModelStoreHook(BaseHook):
    """Hands out the :class:`modelyard.store.Store` that a connection of type ``model_store`` names.

    A context manager that closes the store::

        with ModelStoreHook() as store:
            live = store.aliases.get("wine", "production")

    Args:
        model_store_conn_id: the connection. It names its S3 and registry credentials by connections of their own.
    """

    conn_name_attr = "model_store_conn_id"
    default_conn_name = CONNECTION_ID
    conn_type = CONNECTION_TYPE
    hook_name = "Model store (Modelyard)"

    def __init__(self, model_store_conn_id: str = CONNECTION_ID) -> None:
        super().__init__()
        self.model_store_conn_id = model_store_conn_id
        self._store: Store | None = None

    def get_conn(self) -> Store:
        """Return the store, opened at the first call; nothing is connected until it is used."""
        from modelyard.store import Store

        if self._store is None:
            self._store = Store.open(self.address())
        return self._store

    def address(self) -> StoreAddress:
        """Return where the store is and what it takes to reach it.

        Raises:
            AirflowNotFoundException: one of the connections does not exist.
            StoreError: one of the fields can't be right.
        """
        connection = self.get_connection(self.model_store_conn_id)
        if not connection.host:
            raise StoreError(
                f"The connection '{self.model_store_conn_id}' names no MongoDB host", "give it one: host:port"
            )
        extra = connection.extra_dejson
        home = self.home()
        values: dict[str, Any] = {
            "mongo_uri": _mongo_uri(connection),
            "artifacts": extra.get("artifacts") or (home / "artifacts").as_uri(),
            "registry": extra.get("registry") or f"oci:{home / 'images'}",
            "database": connection.schema,
            "registry_insecure": _flag(connection, "registry_insecure"),
        }
        as_they_are = ("s3_ca_bundle", "s3_encryption", "registry_ca_bundle", "base_image", "layer_compression")
        for name in (*as_they_are, "verification_key", "installation"):
            values[name] = extra.get(name)
        if s3_conn_id := extra.get("s3_conn_id"):
            s3 = self.get_connection(s3_conn_id)
            values |= {
                "s3_access_key": s3.login,
                "s3_secret_key": s3.password,
                "s3_endpoint_url": s3.extra_dejson.get("endpoint_url"),
                "s3_region": s3.extra_dejson.get("region_name"),
            }
        if registry_conn_id := extra.get("registry_conn_id"):
            registry = self.get_connection(registry_conn_id)
            values |= {"registry_username": registry.login, "registry_password": registry.password}
        return StoreAddress(**{name: value for name, value in values.items() if value not in (None, "")})

    def registry_conn_id(self) -> str | None:
        """Return the connection with the registry's user name and password; None when it asks for none."""
        name: str | None = self.get_connection(self.model_store_conn_id).extra_dejson.get("registry_conn_id")
        return name or None

    def signing_conn_id(self) -> str | None:
        """Return the connection with the key that images are signed with; None when they are not."""
        name: str | None = self.get_connection(self.model_store_conn_id).extra_dejson.get("signing_conn_id")
        return name or None

    def home(self) -> Path:
        """Return this machine's folder for caches, local images and local services."""
        return home_folder(os.environ)

    def test_connection(self) -> tuple[bool, str]:
        """Ask database, artifacts and registry whether they answer and let this user in; read the verification key."""
        from modelyard.images import open_images
        from modelyard.supply_chain.key import read_public_keys

        try:
            with self as store:
                store.ping()
                open_images(store.address, self.home()).resolve("modelyard-connection-test", "latest")
                if store.address.verification_key:
                    read_public_keys(store.address.verification_key)
        except ModelyardError as error:
            return False, str(error)
        return True, "Database, artifacts and registry answer."

    def close(self) -> None:
        """Close the store if it was opened; the next ``get_conn`` opens it again."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def __enter__(self) -> Store:
        return self.get_conn()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _flag(connection: Connection, key: str) -> bool:
    return flag(connection.extra_dejson.get(key), f"{key} of the connection '{connection.conn_id}'", StoreError)


def _mongo_uri(connection: Connection) -> str:
    extra, srv = connection.extra_dejson, _flag(connection, "srv")
    credentials = ""
    if connection.login:
        credentials = f"{quote(connection.login, safe='')}:{quote(connection.password or '', safe='')}@"
    port = f":{connection.port}" if connection.port and not srv else ""
    scheme = "mongodb+srv" if srv else "mongodb"
    return f"{scheme}://{credentials}{connection.host or ''}{port}/?{extra.get('mongo_options') or ''}"
