"""What a task says when the cluster does not take its pod: the API server's own words, and whose turn it is."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException

from model_store.kubernetes import KubernetesStepOperator

_CANNOT = 'pods is forbidden: User "airflow" cannot create resource "pods" in API group "" in the namespace "steps"'
_QUOTA = 'pods "train" is forbidden: exceeded quota: modelyard, requested: requests.cpu=9, used: 8, limited: 16'
_LIMIT = 'pods "train" is forbidden: maximum memory usage per Container is 32Gi, but limit is 64Gi'


@pytest.mark.parametrize(
    ("status", "message", "start", "remedy"),
    [
        (401, "Unauthorized", "The cluster lets the account of 'here' not do this", "give that account the rights"),
        (403, _CANNOT, "The cluster lets the account of 'here' not do this", "give that account the rights"),
        (403, _QUOTA, "The cluster refused the pod of step 'train'", "ask for less in model.yaml"),
        (403, _LIMIT, "The cluster refused the pod of step 'train'", "ask for less in model.yaml"),
        (404, 'namespaces "steps" not found', "The cluster refused the pod of step 'train'", "the namespace 'steps'"),
        (422, "spec.containers[0].image: Required value", "The cluster refused the pod of step 'train'", "`pod`"),
        (500, "etcdserver: no leader", "The cluster refused the pod of step 'train'", "clear the task"),
    ],
)
def test_a_refusal_says_whose_turn_it_is(status: int, message: str, start: str, remedy: str):
    operator: Any = SimpleNamespace(
        cluster=SimpleNamespace(conn_id="here"), namespace="steps", pipeline_step=SimpleNamespace(step="train")
    )
    error = ApiException(status)
    error.body = json.dumps({"message": message})
    told = KubernetesStepOperator._refused(operator, error)
    assert told.startswith(f"{start}: {message}")
    assert remedy in told[told.index("\n  → ") :]
