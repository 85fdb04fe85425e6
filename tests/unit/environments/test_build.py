from __future__ import annotations

import pytest

from modelyard.environments.build import is_left_out


@pytest.mark.parametrize(
    ("path", "left_out"),
    [
        ("lib/python3.11/site-packages/a-1.0.dist-info/direct_url.json", True),
        ("lib/python3.11/site-packages/a-1.0.dist-info/RECORD", False),
        ("lib/python3.11/site-packages/a/direct_url.json", False),
        ("bin/activate.fish", True),
        ("bin/hello", False),
        ("include/a.h", True),
    ],
)
def test_where_a_package_was_fetched_from_is_in_no_layer(path: str, left_out: bool) -> None:
    assert is_left_out(path) == left_out
