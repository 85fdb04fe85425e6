"""The benchmark on a cluster works with what the tests there work with."""

from tests.kubernetes.conftest import api, ground, model_images, runner_image, target, tiny, yard

__all__ = ["api", "ground", "model_images", "runner_image", "target", "tiny", "yard"]
