"""Kubernetes quantities: what may stand for cores and for bytes, in model.yaml and in a run's Params alike.

A DAG file is parsed with it, so it loads next to nothing.
"""

from __future__ import annotations

import re
from decimal import Decimal

# Also the JSON Schema's pattern of a Param, which a browser reads.
PATTERN = r"^\d+(\.\d+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$"

_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?")
_FACTORS = {"": Decimal(1), "m": Decimal("0.001"), "k": Decimal(10**3)} | {
    prefix + binary: Decimal((1024 if binary else 1000) ** power)
    for power, prefix in enumerate("KMGTPE", start=1)
    for binary in ("", "i")
    if prefix + binary != "K"
}


def check_cpu(text: str) -> str:
    """Return ``text`` when it is a number of cores, else raise ValueError."""
    if _quantity(text) % Decimal("0.001"):
        raise ValueError(f"'{text}' is finer than a thousandth of a core, which Kubernetes refuses")
    return text


def check_bytes(text: str) -> str:
    """Return ``text`` when it is a number of bytes that something can be done with, else raise ValueError."""
    if _quantity(text) < 2**20:
        raise ValueError(f"'{text}' is less than one mebibyte ('m' means thousandths, 'Mi' mebibytes)")
    return text


def bytes_of(text: str) -> int:
    """Return the bytes that a checked quantity says."""
    return int(_quantity(text))


def billionths_of(text: str) -> int:
    """Return the billionths of a core that a checked quantity says."""
    return int(_quantity(text) * 10**9)


def _quantity(text: str) -> Decimal:
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(f"'{text}' is no Kubernetes quantity")
    value = Decimal(match[1]) * _FACTORS[match[2] or ""]
    if value == 0:
        raise ValueError("it must be more than 0")
    return value
