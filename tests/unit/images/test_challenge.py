from __future__ import annotations

import pytest

from modelyard.images.challenge import Challenge, challenges_in

BEARER = Challenge("bearer", {"realm": "https://auth.example/token", "service": "s", "scope": "repository:a:pull,push"})
BEARER_TEXT = 'Bearer realm="https://auth.example/token",service="s",scope="repository:a:pull,push"'


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (BEARER_TEXT, [BEARER]),
        (f'{BEARER_TEXT}, Basic realm="x"', [BEARER, Challenge("basic", {"realm": "x"})]),
        (f'Basic realm="x", {BEARER_TEXT}', [Challenge("basic", {"realm": "x"}), BEARER]),
        (f"Negotiate YII+/9==, NTLM, {BEARER_TEXT}", [Challenge("negotiate", {}), Challenge("ntlm", {}), BEARER]),
        ("Negotiate", [Challenge("negotiate", {})]),
        (
            'basic REALM = "a \\"b\\", c" , charset=UTF-8',
            [Challenge("basic", {"realm": 'a "b", c', "charset": "UTF-8"})],
        ),
        ("Bearer realm=https://auth.example/token", [Challenge("bearer", {"realm": "https://auth.example/token"})]),
        (',, Basic realm=""', [Challenge("basic", {"realm": ""})]),
        ('Basic realm="x", "?"', [Challenge("basic", {"realm": "x"})]),
        ("", []),
    ],
)
def test_each_challenge_has_its_own_parameters(header: str, expected: list[Challenge]) -> None:
    assert challenges_in(header) == expected
