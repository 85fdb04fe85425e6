"""How far a server's clock is from this machine's."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from email.utils import parsedate_to_datetime

from modelyard.doctor.finding import Finding

# Signed requests to S3 fail from 15 minutes on, tokens of a registry or a cluster from less, and logs of two machines
# cannot be laid side by side from seconds on.
TOLERATED = 5.0


def by_header(subject: str, date: str | None, before: datetime, after: datetime) -> Iterator[Finding]:
    """Tell what the header ``Date`` of an answer says; nothing where there is none.

    Args:
        subject: the server.
        date: the header's value, which knows whole seconds only.
        before: this machine's time when the question was sent.
        after: this machine's time when the answer had come.
    """
    try:
        told = None if date is None else parsedate_to_datetime(date)
    except ValueError:
        return
    if told is not None and told.tzinfo is not None:
        yield from compare(subject, told, before, after)


def compare(subject: str, told: datetime, before: datetime, after: datetime) -> Iterator[Finding]:
    """Tell how far the time that a server told is outside of the time in which it must have told it."""
    ahead, behind = (told - after).total_seconds(), (before - told).total_seconds()
    if max(ahead, behind) > TOLERATED:
        direction = f"{ahead:.0f} seconds ahead of" if ahead > 0 else f"{behind:.0f} seconds behind"
        yield Finding(
            "warning",
            f"{subject}: clock",
            f"{direction} this machine's",
            "keep both by the same time servers (chrony, systemd-timesyncd): signatures and tokens fail by it",
        )
