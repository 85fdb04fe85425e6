"""What a model image was made of, beside what its version says: kept with the version, so that it can be made again."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from modelyard.images.compression import Compression

JSON = dict[str, Any]


@dataclass(frozen=True)
class ImageRecipe:
    """The facts that a version's image depends on, and that neither version nor manifest hold.

    Attributes:
        modelyard: the release that built it.
        compression: of its layers.
        environment, server: ``EnvironmentRef`` as JSON. The server is this Modelyard's own.
        base: name of the base image by its digest (``python@sha256:…``); None when it lies on none.
        compiled: the compiled model's ``[ArtifactFile as JSON]``; None when the model is served as it is.
        elsewhere: of an image for several platforms, ``{"environment", "server", "base"}`` for each but the first,
            which was the builder's own.
        source: address of the repository that the project's commit is in; None when it came from a folder.
    """

    modelyard: str
    compression: Compression
    environment: JSON
    server: JSON
    base: str | None
    compiled: list[JSON] | None
    elsewhere: list[JSON] = field(default_factory=list)
    source: str | None = None

    def to_json(self) -> JSON:
        """Return the recipe as plain JSON; ``ImageRecipe(**json)`` is the way back."""
        return asdict(self)
