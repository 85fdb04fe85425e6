"""Where things lie in our images."""

from __future__ import annotations

from typing import Final

from modelyard.images.layer import Kind

ROOT: Final = "opt/modelyard"  # below it one folder a kind of layer: environment, server, project, model
ENVIRONMENT_NAME: Final = f"{ROOT}/environment.diff-id"  # which environment an environment image has
SHARED: Final[tuple[Kind, ...]] = ("environment", "server")  # layers of packages, the same in many images
