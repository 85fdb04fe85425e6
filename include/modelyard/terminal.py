"""What commands say to a person beside their result."""

from __future__ import annotations

import click


def progress(line: str) -> None:
    """Say on standard error, dimmed, what goes on meanwhile."""
    click.secho(line, dim=True, err=True)
