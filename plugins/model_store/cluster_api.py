"""A cluster's API as a waiting worker asks it: an answer that does not come is given up soon, and not for ever."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook
from airflow.sdk.exceptions import AirflowException
from urllib3.exceptions import HTTPError

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

# Airflow's operator makes ten calls of one, with pauses up to 15 s, where the client would make each of them four times
# and wait a minute every time.
_ANSWER_SECONDS = 10.0
_AWAY_SECONDS = 75.0  # a restart of an API server takes less, ten calls with their pauses take longer


class ClusterAwayError(AirflowException):
    """A cluster does not answer: nothing is gained by asking again now."""

    def __init__(self, conn_id: str | None, error: HTTPError) -> None:
        super().__init__(
            f"The cluster of '{conn_id}' cannot be reached: {error}\n"
            "  → check the connection's address and the network; the next try takes up a pod that still runs"
        )


class StepClusterHook(KubernetesHook):
    """Airflow's hook, whose calls fail soon, and for good once nothing has been answered for long.

    Raises:
        urllib3.exceptions.HTTPError: of a call: it was not answered; it may be made again.
        ClusterAwayError: of a call: neither were those before it, for longer than a restart takes.
    """

    def get_conn(self) -> ApiClient:
        """Return the client."""
        client = super().get_conn()
        client.rest_client.pool_manager.connection_pool_kw["retries"] = False
        call, away_since = client.call_api, 0.0

        def call_api(*args: Any, **kwargs: Any) -> Any:
            nonlocal away_since
            began = time.monotonic()
            try:
                answer = call(
                    *args, **{**kwargs, "_request_timeout": kwargs.get("_request_timeout") or _ANSWER_SECONDS}
                )
            except HTTPError as error:
                away_since = away_since or began
                if time.monotonic() - away_since < _AWAY_SECONDS:
                    raise
                raise ClusterAwayError(self.conn_id, error) from error
            away_since = 0.0
            return answer

        client.call_api = call_api
        return client
