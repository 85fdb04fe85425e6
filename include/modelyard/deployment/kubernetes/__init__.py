"""The target ``kubernetes``: a Deployment, and what belongs to it, in the environment's namespace."""

from modelyard.deployment.kubernetes.target import KubernetesTarget

__all__ = ["KubernetesTarget"]
