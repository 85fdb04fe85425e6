"""Requests to one registry: credentials, limits and retries, and every answer that is not wanted turned into an error.

oras sends them; its own uploads and downloads are not used (they read whole blobs into memory and check no digest).
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import oras.auth
import oras.container
import oras.provider
import requests
from oras.auth.token import TokenAuth
from oras.auth.utils import parse_auth_header
from requests.adapters import HTTPAdapter
from requests.exceptions import ChunkedEncodingError, ConnectionError, InvalidURL, SSLError, Timeout  # noqa: A004

from modelyard.errors import ImageError, ModelyardError, Unavailable

if TYPE_CHECKING:
    from modelyard.store.address import StoreAddress

TRANSIENT = (ConnectionError, Timeout, ChunkedEncodingError)
# Without oras' retries: they sleep for two minutes on any exception, a refused connection too, and miss 429 and 503.
_do_request = oras.provider.Registry.do_request.__wrapped__
_BUSY = frozenset({408, 429, 500, 502, 503, 504})
_TRIES = 4
_PAUSE = 0.3  # seconds before the second try; four times as long before each one after it
_LONGEST_PAUSE = 15.0
_CONNECT, _READ = 10.0, 30.0  # seconds
_COMMIT = 300.0  # a registry that commits a large blob is silent for long


class Transport:
    """One registry. Safe to share between threads: each has connections and tokens of its own.

    Args:
        host: ``registry.example.com[:port]``.
        username, password: None takes what Docker's configuration has for this host, if it has.
        insecure: plain HTTP; never tried unless said.
        ca_bundle: file with the certificates that the registry's own must chain to, instead of the system's.

    Attributes:
        credentials: these two, None for none.

    Raises:
        ImageError: there is no such file.
    """

    def __init__(
        self,
        host: str,
        *,
        username: str | None = None,
        password: str | None = None,
        insecure: bool = False,
        ca_bundle: str | None = None,
    ) -> None:
        if ca_bundle is not None and not Path(ca_bundle).is_file():
            raise ImageError(f"There is no file {ca_bundle}", "name the file of the registry's certificate authority")
        self.host = host
        self.url = f"{'http' if insecure else 'https'}://{host}"
        self.credentials = None if username is None else (username, password or "")
        self._insecure = insecure
        self._ca_bundle = ca_bundle
        self._local = threading.local()

    @classmethod
    def to(cls, host: str, address: StoreAddress) -> Self:
        """Return the way to any registry: an address's account and TLS count for its own one, for no other."""
        if host != address.registry.removeprefix("https://").partition("/")[0]:
            return cls(host)
        return cls(
            host,
            username=address.registry_username,
            password=address.registry_password,
            insecure=address.registry_insecure,
            ca_bundle=address.registry_ca_bundle,
        )

    def request(
        self,
        method: str,
        url: str,
        expected: Collection[int],
        *,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        stream: bool = False,
        retry: bool = True,
    ) -> requests.Response:
        """Send one request and return its answer, which has one of the ``expected`` statuses.

        Args:
            method: of HTTP.
            url: whole, or a path at this registry.
            expected: statuses that the caller understands.
            data: the body.
            headers: beside those for credentials.
            stream: leave the body of the answer to be read by the caller, who closes it.
            retry: send it again, a few times, when the registry is busy or the connection drops. Not for what must
                first be asked how far it got.

        Raises:
            ImageError: the registry refuses, or cannot be trusted; Unavailable: it is busy or gone, even after retries.
        """
        url = url if "://" in url else self.url + url
        tries = _TRIES if retry else 1
        while True:
            tries -= 1
            answer: requests.Response | None = None
            try:
                answer = self._send(method, url, data, dict(headers or {}), stream)
            except SSLError as error:
                raise self._untrusted(error) from error
            except TRANSIENT as error:
                if not tries:
                    raise Unavailable(
                        f"The registry {self.host} cannot be reached: {_reason(error)}",
                        "check its address and that it runs; the same try works again later",
                    ) from error
            else:
                if answer.status_code in expected:
                    return answer
                with answer:
                    if answer.status_code not in _BUSY:
                        raise self._refused(method, url, answer)
                    if not tries:
                        message = f"The registry {self.host} answers {method} {_path(url)} with {_said(answer)}"
                        raise Unavailable(message, "check the registry's log; the same try works again later")
            time.sleep(_pause(_TRIES - tries, answer))

    def _send(
        self, method: str, url: str, data: bytes | None, headers: dict[str, str], stream: bool
    ) -> requests.Response:
        try:
            answer: requests.Response = _do_request(
                self._client(), url, method, data=data, headers=headers, stream=stream
            )
        except oras.auth.AuthenticationException as error:
            raise ImageError(
                f"The registry {self.host} lets nobody in without an account, or not this one: {error}",
                "set user name and password of the registry in the connection, or in Docker's configuration",
            ) from error
        except (InvalidURL, UnicodeError) as error:
            raise ImageError(f"'{self.host}' is no registry: {error}", "write host[:port]/prefix") from error
        return answer

    def _client(self) -> Any:
        client = getattr(self._local, "client", None)
        if client is None:
            client = oras.provider.Registry(self.host, insecure=self._insecure, tls_verify=self._ca_bundle or True)
            adapter = _Adapter(max_retries=0)
            client.session.mount("https://", adapter)
            client.session.mount("http://", adapter)
            auth = _Challenged()
            auth.session, auth.prefix, auth._tls_verify = client.session, client.prefix, self._ca_bundle or True
            client.auth = auth
            if self.credentials is not None:
                auth.set_basic_auth(*self.credentials)
            else:
                auth.load_configs(oras.container.Container(f"{self.host}/any"))
            self._local.client = client
        return client

    def _refused(self, method: str, url: str, answer: requests.Response) -> ModelyardError:
        message = f"The registry {self.host} refuses {method} {_path(url)}: {_said(answer)}"
        if answer.status_code in (401, 403):
            return ImageError(message, "check user name, password and rights on this repository in the registry")
        if answer.status_code == 413:
            return ImageError(message, "let the registry, or the proxy before it, take larger requests")
        if answer.status_code == 404:
            return ImageError(message, "check the name; it may have been deleted from the registry")
        return ImageError(message, "see the registry's own log for the reason")

    def _untrusted(self, error: SSLError) -> ImageError:
        return ImageError(
            f"The registry {self.host} cannot be trusted: {_reason(error)}",
            "name its certificate authority's file (registry CA bundle), or say that it speaks plain HTTP (insecure)",
        )


class _Challenged(TokenAuth):  # type: ignore[misc]
    """Answers what a registry asks for: Basic by the password, Bearer by a token for just the scope it names.

    oras' own asks a realm for a token even where the challenge is Basic, and offers one token for every repository.
    """

    def get_auth_header(self) -> dict[str, str]:
        return {"Authorization": str(self.token)}

    def authenticate_request(
        self, original: requests.Response, headers: dict[str, str], refresh: bool = False
    ) -> tuple[dict[str, str], bool]:
        challenge = original.headers.get("Www-Authenticate", "")
        scheme = challenge.partition(" ")[0].lower()
        password = getattr(self, "_basic_auth", None)
        said = f"{original.status_code} {original.reason}"
        if scheme == "basic" and password is not None and not refresh:
            self.token = f"Basic {password}"
        elif scheme == "bearer" and not refresh:
            asked = parse_auth_header(challenge)
            asked.scope = asked.scope.split(" ") if asked.scope else None
            token = self.request_anonymous_token(asked) if password is None else self.request_token(asked)
            if not token:
                raise oras.auth.AuthenticationException(f"{asked.realm} gives no token")
            self.token = f"Bearer {token}"
        else:
            raise oras.auth.AuthenticationException(said)
        return {**headers, **self.get_auth_header()}, True


class _Adapter(HTTPAdapter):
    """Ends a request that nobody answers: oras gives none a limit."""

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        longest = _COMMIT if request.method in {"PATCH", "PUT"} else _READ
        kwargs["timeout"] = kwargs.get("timeout") or (_CONNECT, longest)
        return super().send(request, *args, **kwargs)


def _pause(tried: int, answer: requests.Response | None) -> float:
    """Seconds until the next try: what the registry asks for, else longer each time."""
    asked = "" if answer is None else answer.headers.get("Retry-After", "")
    if asked.isdigit():
        return min(float(asked), _LONGEST_PAUSE)
    return _PAUSE * 4.0 ** (tried - 1) * random.uniform(0.7, 1.3)  # noqa: S311 - spreads clients, hides nothing


def _path(url: str) -> str:
    return "/" + url.partition("://")[2].partition("/")[2].partition("?")[0]


def _reason(error: BaseException | None) -> str:
    """The innermost words of a chain of exceptions: they name the cause, as ``Connection refused``."""
    while error is not None and (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return str(error)


def _said(answer: requests.Response) -> str:
    """Status, and the registry's own words if it has any."""
    try:
        errors = answer.json()["errors"]
        words = "; ".join(f"{found.get('code')}: {found.get('message')}" for found in errors)
    except (ValueError, KeyError, TypeError, AttributeError, *TRANSIENT):
        words = answer.reason or ""
    return f"{answer.status_code} {words}"
