"""The name of an environment that is built."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from modelyard.errors import ImageError
from modelyard.images.interpreter import Interpreter
from modelyard.images.layer import Layer
from modelyard.images.paths import ENVIRONMENT_NAME, ROOT
from modelyard.images.store import ImageStore


@dataclass(frozen=True)
class EnvironmentRef:
    """An environment in an image store: all that a later step needs to run or to serve by it.

    It is a layer of packages; or, of a project with a Dockerfile, the whole image that was built of that.

    Attributes:
        lock_digest: of the locked packages it was built from; of all that the Dockerfile's image was built from.
        python: ``3.11``.
        platform: ``linux/amd64``.
        layer_digest, diff_id: of its layer; "" of a whole image.
        repository, image_digest: the image that holds the layer.
        reference: that image's full name in a registry; None when it is in a folder, where nothing can pull it.
        tag: that image's: what is built anew under this tag is the same layer.
        interpreter: the exact version of the Python that compiled its byte code, which another one may do otherwise.
        executable: the Python of a whole image, in it; None for a layer.
    """

    lock_digest: str
    python: str
    platform: str
    layer_digest: str
    diff_id: str
    repository: str
    image_digest: str
    reference: str | None
    tag: str = ""
    interpreter: str = ""
    executable: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the reference as plain JSON; ``EnvironmentRef(**json)`` is the way back."""
        return asdict(self)


def layer_of(ref: EnvironmentRef, images: ImageStore) -> Layer:
    """Return an environment's layer.

    Raises:
        ImageError: the store does not have it.
    """
    image = images.pull(ref.repository, ref.image_digest)
    for layer in image.layers:
        if layer.digest == ref.layer_digest:
            return layer
    raise ImageError(
        f"Image {ref.image_digest} has no layer {ref.layer_digest}", "run the pipeline again from 'prepare'"
    )


def python_in_image(ref: EnvironmentRef, root: Path = Path("/")) -> Path | None:
    """Return the interpreter of an environment that lies in the image this process runs in; None when it doesn't.

    Args:
        ref: the environment that is wanted.
        root: of the image.
    """
    folder = root / ROOT / "environment"
    try:
        name = (root / ENVIRONMENT_NAME).read_text().strip()
    except OSError:
        return None
    # Of an image that lies on another runner than it was made for, the packages are right and the Python may not be.
    return folder / "bin" / "python" if name == ref.diff_id and Interpreter.of_this_machine().runs(folder) else None
