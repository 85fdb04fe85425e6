"""An image as one tree, as a container sees it. Modelyard never needs that: its own layers lie beside each other."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path, PurePosixPath

from modelyard.images import unpack as layers
from modelyard.images.compression import decompressing
from modelyard.images.copies import appearing
from modelyard.images.image import Image
from modelyard.images.layer import Layer

_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"


def unpack(image: Image, folder: Path) -> None:
    """Unpack all layers over each other into ``folder``, which appears only once it is whole.

    What a layer takes away is taken from those below it, wherever in the layer that is said (OCI's ``layer.md``).
    """
    with appearing(folder) as partial:
        for layer in image.layers:
            whiteouts = [name for name in _names(layer) if PurePosixPath(name).name.startswith(_WHITEOUT)]
            for name in whiteouts:
                _take_away(partial / name)
            layers._apply(layer, partial, "")
            for name in whiteouts:
                (partial / name).unlink()


def _names(layer: Layer) -> list[str]:
    with (
        layer.open() as stream,
        decompressing(stream, layer.media_type) as plain,
        tarfile.open(fileobj=plain, mode="r|") as tar,
    ):
        return [member.name for member in tar]


def _take_away(whiteout: Path) -> None:
    if whiteout.name == _OPAQUE:
        gone = list(whiteout.parent.glob("*"))
    else:
        gone = [whiteout.with_name(whiteout.name.removeprefix(_WHITEOUT))]
    for path in gone:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
