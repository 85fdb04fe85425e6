"""Where this machine may keep credentials of Modelyard and of what it works with: closed to a model project's code."""

from __future__ import annotations

import os
from pathlib import Path

# Where a pod's Secrets are mounted.
MOUNTED = Path("/run/modelyard")
CLUSTERS, SHIPPERS = "clusters", "shippers"
# Where a cluster puts the tokens of a pod's account, its own and a cloud's.
_TOKENS = Path("/var/run/secrets")

# Below MODELYARD_HOME: the embedded database's password; the demo's Airflow, with its keys, passwords and connections;
# the keys of clusters, which TLS takes from files alone; those of the users who may add to the object store.
_OF_MODELYARD = ("mongo", "airflow", CLUSTERS, SHIPPERS)
# Where S3 clients take from what the store's address leaves out, and registry clients unless DOCKER_CONFIG is set.
_OF_THE_USER = (".aws", ".docker")
# Files, since projects and environments may lie in folders beside them.
_OF_AIRFLOW = (
    "airflow.cfg",
    "airflow.db",
    "airflow.db-journal",
    "airflow.db-wal",
    "simple_auth_manager_passwords.json.generated",
)


def docker_config() -> Path:
    """Return the file of Docker's configuration, where ``docker login`` leaves accounts; there may be none."""
    folder = os.environ.get("DOCKER_CONFIG") or "~/.docker"
    return Path(os.path.expanduser(folder)) / "config.json"  # noqa: PTH111 - a user without a folder has none


def credential_places(home: Path) -> tuple[Path, ...]:
    """Return files and folders that ``client.child.confined`` is to hide, whether they exist or not.

    Args:
        home: this machine's folder (``MODELYARD_HOME``).
    """
    # Where Airflow is, it finds out the same way. Like the user's own folder, that is a fact of the machine.
    airflow = Path(os.environ.get("AIRFLOW_HOME") or "~/airflow")
    places = [
        MOUNTED,
        _TOKENS,
        *(home / name for name in _OF_MODELYARD),
        *(Path("~", name) for name in _OF_THE_USER),
        *(airflow / name for name in _OF_AIRFLOW),
        docker_config(),
    ]
    expanded = (Path(os.path.expanduser(place)) for place in places)  # noqa: PTH111 - a user without a folder is none
    return tuple(place for place in expanded if place.is_absolute())
