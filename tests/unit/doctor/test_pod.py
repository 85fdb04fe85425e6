from __future__ import annotations

from modelyard.doctor.pod import _state


def test_a_pod_is_where_its_own_container_is_and_not_what_a_service_mesh_puts_beside_it():
    beside = {"name": "auditor", "state": {"running": {}}}
    own = {"name": "base", "state": {"terminated": {"exitCode": 0}}}
    assert _state({"status": {"containerStatuses": [beside, own]}}) == {"terminated": {"exitCode": 0}}
    assert _state({"status": {"containerStatuses": [beside]}}) == {}
    assert _state({"status": {}}) == {}
