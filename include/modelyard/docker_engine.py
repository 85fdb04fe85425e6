"""A Docker engine, reached as Docker's own command reaches one, and its errors in words.

``DOCKER_HOST``, ``DOCKER_TLS_VERIFY`` and ``DOCKER_CERT_PATH`` say which engine it is; without them this machine's.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from modelyard.errors import ImageError, RequestError, Unavailable

if TYPE_CHECKING:
    from docker import APIClient

JSON = dict[str, Any]
Login = tuple[str, str]

# What engines write when a layer is compressed in a way that they do not know.
_NO_ZSTD = re.compile(r"invalid tar header|unsupported (compression|media type)|unknown compression", re.IGNORECASE)
_AWAY = re.compile(
    r"connection refused|timeout|timed out|no such host|no route|EOF|TLS handshake|\b50[0234]\b", re.IGNORECASE
)
_PULLING = {
    re.compile(r"to HTTPS client"): "name the registry in `insecure-registries` of the engine's daemon.json",
    re.compile(r"x509|certificate"): "put the registry's CA into /etc/docker/certs.d/HOST:PORT/ca.crt of the engine",
    re.compile(r"unauthorized|denied|authentication|no basic auth", re.IGNORECASE): (
        "give the model store's connection a registry connection whose user may pull it"
    ),
    _NO_ZSTD: (
        "Docker before 23 reads no zstd: choose gzip as the layer compression of the model store's connection "
        "(MODELYARD_LAYER_COMPRESSION), then make the image anew; or take a newer Docker"
    ),
}


def connect() -> APIClient:
    """Return a client of the engine, which has answered.

    Raises:
        Unavailable: it does not.
    """
    from docker import APIClient
    from docker.utils import kwargs_from_env

    with in_words():
        return APIClient(**kwargs_from_env())


@contextmanager
def in_words() -> Iterator[None]:
    """Raise what goes wrong with an engine as Modelyard's own errors.

    Raises:
        RequestError: the engine refuses, and would again.
        Unavailable: it cannot be reached, or is in trouble.
    """
    import requests
    from docker.errors import APIError, DockerException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except APIError as error:
        said = str(error.explanation or error)
        if "could not select device driver" in said:
            raise RequestError(
                "The Docker engine has no GPU to give",
                "install the NVIDIA Container Toolkit on its host, or ask for none: `resources.gpu` in model.yaml",
            ) from error
        if error.is_client_error():
            raise RequestError(f"The Docker engine refuses: {said}", "correct what it names") from error
        raise Unavailable(f"The Docker engine failed: {said}", "see the engine's own log on its host") from error
    except (DockerException, requests.RequestException, HTTPError, OSError) as error:
        raise Unavailable(
            f"The Docker engine cannot be reached: {error}",
            "check that it runs, that this user may use its socket, and DOCKER_HOST",
        ) from error


def pull(client: APIClient, image: str, login: Login | None, say: Callable[[str], None]) -> None:
    """Have the engine have an image, by its full name.

    Args:
        client: of the engine.
        image: pulled only when it is not there.
        login: user and password of its registry, if it asks for one.
        say: given a line or two.

    Raises:
        ImageError: there is none, or the engine cannot take it; Unavailable: engine or registry are away.
    """
    from docker.errors import ImageNotFound, NotFound

    with in_words():
        try:
            client.inspect_image(image)
        except ImageNotFound:
            pass
        else:
            return
        say(f"Pulling {image}")
        began = time.monotonic()
        auth = None if login is None else {"username": login[0], "password": login[1]}
        try:
            for told in client.pull(image, stream=True, decode=True, auth_config=auth):
                if "error" in told:
                    raise _not_pulled(image, str(told["error"]))
        except NotFound as error:
            raise _not_pulled(image, str(error.explanation)) from error
        size = client.inspect_image(image)["Size"]
    say(f"Pulled it in {time.monotonic() - began:.1f} s: {size / 1e6:.0f} MB unpacked")


def load(client: APIClient, archive: Iterator[bytes]) -> None:
    """Have the engine take an image as ``docker load`` does.

    Args:
        client: of the engine.
        archive: of ``images.docker_archive``.

    Raises:
        ImageError: it does not take it; Unavailable: it is away.
    """
    with in_words():
        for told in client.load_image(archive):
            if "error" in told:
                remedy = "see the engine's own log on its host; its disk may be full"
                raise ImageError(f"The Docker engine cannot load it: {told['error']}", remedy)


def _not_pulled(image: str, why: str) -> ImageError | Unavailable:
    what = f"The Docker engine cannot pull {image}: {why}"
    for pattern, remedy in _PULLING.items():
        if pattern.search(why):
            return ImageError(what, remedy)
    if _AWAY.search(why):
        return Unavailable(what, "check the registry, and the engine's way to it")
    return ImageError(what, "check the image's name; an image that was deleted is built anew by clearing its step")
