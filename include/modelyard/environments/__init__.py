"""Environments: what a project's lock file says, built, kept as an image layer, and unpacked where it is used."""

from modelyard.environments.ensure import (
    ensure,
    ensure_converters,
    ensure_runner,
    ensure_server,
    python_of,
    server_lock,
)
from modelyard.environments.lock import Lock, Pin, differences, read_lock
from modelyard.environments.reference import EnvironmentRef, layer_of

__all__ = [
    "EnvironmentRef",
    "Lock",
    "Pin",
    "differences",
    "ensure",
    "ensure_converters",
    "ensure_runner",
    "ensure_server",
    "layer_of",
    "python_of",
    "read_lock",
    "server_lock",
]
