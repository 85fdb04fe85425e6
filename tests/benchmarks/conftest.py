"""The benchmark on a cluster works with what the tests there work with."""

from tests.kubernetes.conftest import api, ground, runner_image, tiny, yard

__all__ = ["api", "ground", "runner_image", "tiny", "yard"]
