"""How every container of Modelyard on a Docker engine is closed off: what pods are by the restricted standard."""

from __future__ import annotations

from typing import Any

from modelyard.pod_security import USER

JSON = dict[str, Any]

OWNER = f"{USER}:{USER}"
_PROCESSES = 4096  # threads count as well: a model's library starts one a core in each process
_LOG_BYTES, _LOG_FILES = "50m", "4"


def host_config() -> JSON:
    """Return the part of a container's HostConfig that confines it; Docker's own seccomp profile holds beside it.

    Its log is of the one driver that every engine can read back.
    """
    return {
        "ReadonlyRootfs": True,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges"],
        "PidsLimit": _PROCESSES,
        "LogConfig": {"Type": "json-file", "Config": {"max-size": _LOG_BYTES, "max-file": _LOG_FILES}},
    }
