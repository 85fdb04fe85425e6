"""Waits for a version of a model."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator, PokeReturnValue, conf
from airflow.sdk.exceptions import TaskDeferred

from model_store.hook import ModelStoreHook
from model_store.run import task_failure
from model_store.trigger import ModelVersionTrigger, found_version
from modelyard.errors import ModelyardError
from modelyard.provider_info import CONNECTION_ID

if TYPE_CHECKING:
    from airflow.sdk import Context


class ModelVersionSensor(BaseSensorOperator):
    """Waits until a version is registered, or until an alias points to one; its XCom is that version's number.

    It looks once itself before it defers, so that a wait that is over takes no trigger. To run a DAG *whenever* there
    is a new version, schedule it on the asset ``modelyard://MODEL/versions`` instead: that costs no task at all. (It
    has no event for a candidate that a laptop registers, of which Airflow is not told; this sensor sees that one too.)

    Args:
        model: the model's name. Templated.
        alias: wait for this alias (an environment's name: for what is live there). None: for a registered version.
            Templated.
        version: wait until the alias points to exactly this version, or until it is registered. None: any. Templated.
        model_store_conn_id: the connection.
        deferrable: wait in the triggerer and not in a worker.
    """

    template_fields: Sequence[str] = ("model", "alias", "version")

    def __init__(
        self,
        *,
        model: str,
        alias: str | None = None,
        version: int | str | None = None,
        model_store_conn_id: str = CONNECTION_ID,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.alias = alias
        self.version = version
        self.model_store_conn_id = model_store_conn_id
        self.deferrable = deferrable

    def poke(self, context: Context) -> PokeReturnValue:  # noqa: ARG002
        """Look once."""
        try:
            with ModelStoreHook(self.model_store_conn_id) as store:
                found = found_version(store, self.model, self.alias, self._version())
        except ModelyardError as error:
            raise task_failure(error) from error
        return PokeReturnValue(is_done=found is not None, xcom_value=found)

    def execute(self, context: Context) -> Any:
        """Look once, then wait: here or in the triggerer."""
        if not self.deferrable:
            return super().execute(context)
        seen = self.poke(context)
        if seen.is_done:
            return seen.xcom_value
        raise TaskDeferred(
            trigger=ModelVersionTrigger(
                model=self.model,
                alias=self.alias,
                version=self._version(),
                model_store_conn_id=self.model_store_conn_id,
                poll_seconds=self.poke_interval,
            ),
            method_name="execute_complete",
            timeout=timedelta(seconds=self.timeout),
        )

    def execute_complete(self, context: Context, event: dict[str, Any]) -> int:  # noqa: ARG002
        """Return the version that the trigger found."""
        version: int = event["version"]
        return version

    def _version(self) -> int | None:
        return None if self.version is None else int(self.version)
