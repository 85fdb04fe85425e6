"""New versions under load: no request fails, and none is answered by a version that is gone."""

from __future__ import annotations

import time

import pytest

from modelyard.deployment.local import LocalTarget
from modelyard.errors import DeploymentFailed

from .conftest import Deploy, Images, steady_load


@pytest.mark.timeout(180)
def test_no_request_fails_across_versions_a_failure_and_a_rollback(
    target: LocalTarget, deploy: Deploy, images: Images
) -> None:
    port = deploy(images.spec(1))
    live_since = [(time.monotonic(), 1)]
    with steady_load(port) as load:
        load.wait_for(500)
        for version in (2, 3, 4, 5, 6):
            assert deploy(images.spec(version)) == port
            live_since.append((time.monotonic(), version))
            load.wait_for(500)
        with pytest.raises(DeploymentFailed):
            deploy(images.spec(7, off=1))  # it answers, but something else than it should
        load.wait_for(500)
        deploy(images.spec(5, generation=8))
        live_since.append((time.monotonic(), 5))
        load.wait_for(500)
    assert load.failures == []
    assert len(load.answers) >= 4000
    wrong = []
    for asked, version in load.answers:
        newest = max(index for index, (since, _) in enumerate(live_since) if since <= asked)
        allowed = {live for _, live in live_since[newest : newest + 2]}
        if version not in allowed:
            wrong.append((asked, version))
    assert wrong == []
    live = target.current("sum", "production")
    assert live is not None
    assert (live.version, live.generation, live.running) == (5, 8, True)
