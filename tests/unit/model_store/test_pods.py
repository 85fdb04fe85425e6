from __future__ import annotations

import json

import pytest
from kubernetes.client import ApiClient
from kubernetes.client.models import V1Pod

from model_store.pods import end_of


class Answer:
    def __init__(self, data: str) -> None:
        self.data = data


def ended(message: str) -> V1Pod:
    """A pod whose step has ended with code 75, as the API server answers it."""
    status = {
        "name": "base",
        "image": "runner",
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "state": {"terminated": {"exitCode": 75, "message": message}},
    }
    pod = {"metadata": {"labels": {"try_number": "2"}}, "status": {"containerStatuses": [status]}}
    found: V1Pod = ApiClient().deserialize(Answer(json.dumps(pod)), "V1Pod")
    return found


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("", ""),
        ("a line of the log\nanother", ""),
        (
            "a line: it failed: no\nStep 'push' failed: It failed: no room\n  → make room\n",
            "It failed: no room\n  → make room",
        ),
        ("Step 'push' failed: first\nStep 'push' failed: second\n", "second"),
    ],
)
def test_an_error_that_the_store_could_not_be_told_is_read_in_the_last_lines(message: str, said: str) -> None:
    found = end_of(ended(message))
    assert found is not None
    assert (found.exit_code, found.try_number, found.said) == (75, 2, said)
