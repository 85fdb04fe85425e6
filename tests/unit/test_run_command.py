from __future__ import annotations

import json
from typing import Any

import click
import pytest
from sacred.arg_parser import _convert_value

from modelyard.run_command import read_conf

TEXTS = ["1e-3", "0.1", "2", "0o10", "-1", "on", "true", "True", "None", "null", "12:30", "2026-05-01", "[1", "", "a=b"]
TEXTS += ["relu", "'1'", "[1, 'a']", "{'a': None}", "x y", "#1", "1_000"]


@pytest.mark.parametrize("text", TEXTS)
def test_a_value_of_the_config_is_what_sacred_makes_of_it(text: str) -> None:
    (value,) = read_conf([f"config.x={text}"]).values()
    assert (type(value), value) == (type(_convert_value(text)), _convert_value(text))
    assert json.loads(json.dumps(value)) == value


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        ("config.sizes=(1, 2)", [1, 2]),  # as Sacred's own config has it
        ("version=3", 3),
        ("release=false", False),
        ("approve=true", True),
        ("environment=on", "on"),
        ("reason=12:30", "12:30"),
        ("ref=2026", "2026"),
        ("data.houses=https://example.com/x.csv?a=b", "https://example.com/x.csv?a=b"),
        ("resources.train.cpu=2", "2"),
    ],
)
def test_a_param_has_its_own_type(pair: str, expected: Any) -> None:
    (value,) = read_conf([pair]).values()
    assert (type(value), value) == (type(expected), expected)


@pytest.mark.parametrize(
    ("pair", "told"),
    [
        ("lr", "'lr' is not KEY=VALUE"),
        ("=1", "'=1' is not KEY=VALUE"),
        ("config.=1", "'=1' is not KEY=VALUE"),
        ("version=0", "version: 0 is not in the range x>=1"),
        ("version=newest", "version: 'newest' is not a valid integer"),
        ("release=perhaps", "release: 'perhaps' is not a valid boolean"),
        ("config.x={1, 2}", "config.x: '{1, 2}' is no value of a run's config"),
        ("config.x=1e999", "config.x: '1e999' is no value of a run's config"),
        ("config.x={[]: 1}", "config.x: '{[]: 1}' cannot be read"),
    ],
)
def test_what_can_be_no_value_is_refused_in_words(pair: str, told: str) -> None:
    with pytest.raises(click.BadParameter) as refused:
        read_conf([pair])
    assert told in refused.value.message
