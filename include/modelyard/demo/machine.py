"""All of Modelyard on one machine, where nothing but Python is needed.

The embedded database, folders as object store and registry, an Airflow that reads this repository's DAGs and plugins,
and the services it deploys.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from modelyard import embedded
from modelyard.demo.airflow import USER, AirflowServer, Settings
from modelyard.demo.rest import AirflowApi
from modelyard.provider_info import connections
from modelyard.store.address import StoreAddress


class Machine:
    """What runs on this machine, by the folder that holds all of it.

    Starting finds what runs already; stopping keeps everything on disk, so that the next start goes on from there.

    Args:
        home: made when missing. To delete it after a stop leaves nothing behind.
        repository: where ``dags/``, ``plugins/`` and ``airflow.cfg.example`` are.
        projects: folders whose model projects become DAGs.
        environment: what Airflow may see of the caller's environment.
        port: of Airflow if nobody has it; 0 for any that is free.
        store: another model store than the embedded one.
        settings: further settings of Airflow, by section and key.
    """

    def __init__(
        self,
        home: Path,
        repository: Path,
        projects: Sequence[Path],
        environment: Mapping[str, str],
        *,
        port: int = 0,
        store: StoreAddress | None = None,
        settings: Settings | None = None,
    ) -> None:
        self.home = home
        self._store = store
        self.airflow = AirflowServer(
            home / "airflow",
            example=repository / "airflow.cfg.example",
            dags=repository / "dags",
            plugins=repository / "plugins",
            projects=projects,
            home=home,
            environment=environment,
            port=port,
            settings=settings,
        )

    @property
    def store(self) -> StoreAddress:
        """Where the model store is; the embedded one has an address once it was started."""
        return self._store or StoreAddress.from_environment({"MODELYARD_HOME": str(self.home)})

    def start(self, say: Callable[[str], None]) -> None:
        """Start what does not run, the store's connections in Airflow's included.

        Args:
            say: told what is being waited for.

        Raises:
            Unavailable, StoreError: a part does not start; the message has the last line of its log.
        """
        from modelyard.deployment.local import start_all

        if self._store is None:
            say("Starting the embedded database")
            embedded.start(self.home / "mongo")
        say("Starting Airflow (the first time takes half a minute)")
        self.airflow.start()
        with self.api() as api:
            for connection_id, fields in connections(self.store).items():
                api.put_connection(connection_id, json.loads(fields))
        start_all(self.home)

    def stop(self, say: Callable[[str], None]) -> None:
        """End all that ``start`` and the pipelines started here, and wait until it is gone."""
        from modelyard.deployment.local import stop_all

        if self.airflow.stop():
            say("Airflow has ended")
        if services := stop_all(self.home):
            say(f"{services} model service{'s have' if services > 1 else ' has'} ended")
        if embedded.stop(self.home / "mongo"):
            say("The embedded database has ended")

    def api(self) -> AirflowApi:
        """Return a session with Airflow's API, as its administrator."""
        return AirflowApi(self.airflow.url, USER, self.airflow.password)
