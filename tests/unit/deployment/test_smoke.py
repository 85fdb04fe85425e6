from __future__ import annotations

import math

import pytest

from modelyard.deployment.smoke import same


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        (1.0, 1.0 + 1e-9),
        (1.0, 1),
        (0.0, 1e-12),
        (math.nan, None),
        (None, None),
        ("a", "a"),
        (3, 3),
        ([0.25, [0.75]], [0.25, [0.75 - 1e-9]]),
    ],
)
def test_equal(expected: object, found: object) -> None:
    assert same(expected, found)


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        (1.0, 1.0 + 1e-5),
        (1.0, None),
        (1, True),
        (1.0, True),
        ("1", 1),
        (3, 4),
        ([1.0], [1.0, 1.0]),
        ([1.0], 1.0),
        (1, 1.0),
    ],
)
def test_different(expected: object, found: object) -> None:
    assert not same(expected, found)
