"""A project's own Dockerfile: its image built where nothing else is, kept by digest, and never built twice."""

from modelyard.dockerfile.ensure import ensure_project_image

__all__ = ["ensure_project_image"]
