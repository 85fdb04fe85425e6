"""The services of a machine as a table for a terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Table

from modelyard.deployment.target import Live


def service_table(services: Iterable[Live]) -> Table:
    """Return a row for each service: what is live, where it answers, and whether it does."""
    table = Table("model", "environment", "version", "address", "running", box=None, pad_edge=False)
    for live in services:
        running = "yes" if live.running else "no"
        table.add_row(live.model, live.environment, str(live.version), live.address, running)
    return table
