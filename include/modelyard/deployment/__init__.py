"""Where services run: one module a target, behind ``Target``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from modelyard.deployment.cluster_access import ClusterAccess
from modelyard.deployment.target import Autoscaling, Ingress, Live, PredictionLog, ServiceSpec, Target, Tracing
from modelyard.errors import RequestError

if TYPE_CHECKING:
    from modelyard.images import ImageStore

__all__ = [
    "Autoscaling",
    "ClusterAccess",
    "Ingress",
    "Live",
    "PredictionLog",
    "ServiceSpec",
    "Target",
    "Tracing",
    "open_target",
]


def open_target(
    name: str, home: Path, images: ImageStore, namespace: str | None = None, cluster: ClusterAccess | None = None
) -> Target:
    """Return a target by its name in model.yaml.

    Args:
        name: ``local``, ``docker`` or ``kubernetes``.
        home: this machine's folder for what is unpacked and for local services.
        images: where the released images are; a model's repository has the model's name.
        namespace: of ``kubernetes``; None for the connection's, else the one that has the environment's name.
        cluster: of ``kubernetes``; None for the one this process runs in, else KUBECONFIG's.

    Raises:
        RequestError: there is no such target, no cluster is configured, or it cannot reach the images.
    """
    if name == "local":
        from modelyard.deployment.local import LocalTarget
        from modelyard.images.unpack import unpack_model_image

        return LocalTarget(home, lambda model, digest: unpack_model_image(images, model, digest, home))
    if name == "kubernetes":
        from modelyard.deployment.kubernetes import KubernetesTarget
        from modelyard.deployment.kubernetes.cluster import connect, connect_to
        from modelyard.images.layout import Layout

        if isinstance(images, Layout):
            raise RequestError(
                f"A cluster cannot pull images from {images.path}", "give the model store's connection a registry"
            )
        if cluster is None:
            return KubernetesTarget(connect(), images.reference, namespace)
        return KubernetesTarget(connect_to(cluster, home), images.reference, namespace or cluster.namespace)
    if name == "docker":
        from modelyard.deployment.docker import DockerTarget
        from modelyard.docker_engine import connect as connect_engine
        from modelyard.images.registry import Registry

        if not isinstance(images, Registry):
            raise RequestError(
                "A Docker engine cannot pull images from a folder", "give the model store's connection a registry"
            )
        return DockerTarget(connect_engine(), images.reference, images.login)
    raise RequestError(f"There is no deployment target '{name}'", "use target: local, docker or kubernetes")
