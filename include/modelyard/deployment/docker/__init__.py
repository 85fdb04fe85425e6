"""Services on a Docker engine: see ``target.py``."""

from modelyard.deployment.docker.target import DockerTarget

__all__ = ["DockerTarget"]
