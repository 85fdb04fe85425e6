"""For how long a thing has to be unreferenced before it is deleted."""

from __future__ import annotations

import re
from datetime import timedelta

from modelyard.errors import RequestError

DEFAULT = "7d"
PATTERN = r"^[1-9][0-9]{0,3}[hd]$"  # also the JSON Schema's of a Param

_UNITS = {"h": "hours", "d": "days"}


def patience(text: str) -> timedelta:
    """Return the time that ``36h`` or ``7d`` says.

    Raises:
        RequestError: it says none, or less than an hour: some writers tell nobody that they write.
    """
    if re.fullmatch(PATTERN, text) is None:
        raise RequestError(
            f"'{text}' is no time to wait", "write whole hours or days, as 36h or 7d: at least 1h, at most 9999d"
        )
    return timedelta(**{_UNITS[text[-1]]: int(text[:-1])})
