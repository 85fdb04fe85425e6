"""Requests to one registry: over TLS unless told otherwise, and its account goes to no other server."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path
from ssl import PROTOCOL_TLS_CLIENT, SSLContext
from typing import TYPE_CHECKING, Self
from urllib.parse import SplitResult, urljoin, urlsplit

import requests
from requests.exceptions import InvalidURL

from modelyard.errors import ImageError
from modelyard.images.account import Account, token_in, token_request
from modelyard.images.attempts import answered, said
from modelyard.images.challenge import Challenge, challenges_in

if TYPE_CHECKING:
    from modelyard.store.address import StoreAddress

_CONNECT, _READ = 10.0, 30.0  # seconds
_COMMIT = 300.0  # a registry that commits a large blob is silent for long
_REDIRECTS = 10


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
        if ca_bundle is not None:
            _check_bundle(ca_bundle)
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
            url: whole, as the registry has named it, or a path at this registry.
            expected: statuses that the caller understands.
            data: the body.
            headers: beside those for credentials.
            stream: leave the body of the answer to be read by the caller, who closes it.
            retry: send it again, a few times, when the registry is busy or the connection drops. Not for what must
                first be asked how far it got.

        Raises:
            ImageError: the registry refuses, cannot be trusted, or names an address that is not safe; Unavailable: it
                is busy or gone, even after retries.
        """
        url = url if "://" in url else self.url + url

        def send() -> requests.Response:
            return self._authorized(method, url, data, headers or {}, stream)

        return answered("registry", self.host, send, expected, retry=retry)

    def _authorized(
        self, method: str, url: str, data: bytes | None, headers: Mapping[str, str], stream: bool
    ) -> requests.Response:
        """Send a request, and once more with what the registry asks for. Other servers get no account."""
        if not self._is_own(self._allowed(url)):
            return self._sent(method, url, data, headers, stream)
        known: str | None = getattr(self._local, "authorization", None)
        answer = self._sent(method, url, data, headers, stream, known)
        # 403 where the token is not for this repository: RFC 6750, section 3.1.
        if answer.status_code not in (401, 403) or not self._is_own(urlsplit(answer.url)):
            return answer
        authorization = self._authorization(challenges_in(answer.headers.get("WWW-Authenticate", "")))
        if authorization is None or authorization == known:
            return answer
        answer.close()
        self._local.authorization = authorization
        return self._sent(method, url, data, headers, stream, authorization)

    def _sent(
        self,
        method: str,
        url: str,
        data: bytes | None,
        headers: Mapping[str, str],
        stream: bool,
        authorization: str | None = None,
    ) -> requests.Response:
        """Send a request to where the answer is; ``authorization`` stays with the server it is for."""
        first = self._allowed(url)
        parts = first
        for _ in range(_REDIRECTS):
            account = {"Authorization": authorization} if authorization and parts[:2] == first[:2] else {}
            answer = self._sent_once(method, parts.geturl(), data, {**headers, **account}, stream)
            if not answer.is_redirect or (method not in ("GET", "HEAD") and answer.status_code not in (307, 308)):
                return answer
            answer.close()
            parts = self._allowed(urljoin(parts.geturl(), answer.headers["Location"]))
        raise ImageError(
            f"The registry {self.host} sends {method} {first.path} from one place to the next, without end",
            "check the registry's address, and the proxy before it",
        )

    def _sent_once(
        self, method: str, url: str, data: bytes | None, headers: Mapping[str, str], stream: bool
    ) -> requests.Response:
        try:
            return self._session().request(
                method,
                url,
                data=data,
                headers=dict(headers),
                stream=stream,
                timeout=(_CONNECT, _COMMIT if method in {"PATCH", "PUT"} else _READ),
                verify=self._ca_bundle or True,
                allow_redirects=False,
            )
        except (InvalidURL, UnicodeError) as error:
            raise ImageError(f"'{self.host}' is no registry: {error}", "write host[:port]/prefix") from error

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
            # Else an entry for this host in a netrc file, as of a package index, would take the account's place.
            session.auth = _unchanged
        return session

    def _allowed(self, url: str) -> SplitResult:
        """Return where a request may go: plain HTTP is another scheme's mistake at the own host, and else refused.

        A registry behind a proxy that ends TLS may not know that it is reached by HTTPS.
        """
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise ImageError(f"'{self.host}' is no registry: {error}", "write host[:port]/prefix") from error
        if parts.scheme == "https" or (parts.scheme == "http" and self._insecure):
            return parts
        if parts.scheme == "http" and self._is_own(parts):
            return parts._replace(scheme="https")
        raise ImageError(
            f"The registry {self.host} sends to {parts.scheme}://{parts.netloc}, which is not safe",
            "have the registry, or the proxy before it, name addresses of HTTPS, or say that it speaks plain HTTP "
            "(insecure)",
        )

    def _is_own(self, parts: SplitResult) -> bool:
        usual = ":80" if self._insecure else ":443"
        return parts.netloc.lower().removesuffix(usual) == self.host.lower().removesuffix(usual)

    @cached_property
    def _account(self) -> Account | None:
        if self.credentials is not None:
            return Account(*self.credentials)
        from modelyard.images.docker_config import account_of

        return account_of(self.host)

    def _authorization(self, challenges: list[Challenge]) -> str | None:
        """Return the header that answers one of these; Bearer first, as a token is for one repository and a while."""
        for challenge in challenges:
            if challenge.scheme == "bearer":
                return f"Bearer {self._token(challenge)}"
        if self._account is not None and not self._account.identity_token:
            return next((self._account.basic for challenge in challenges if challenge.scheme == "basic"), None)
        return None

    def _token(self, challenge: Challenge) -> str:
        asked = token_request(challenge, self._account)
        host = self._allowed(asked.url).netloc

        def send() -> requests.Response:
            headers = dict(asked.headers)
            return self._sent(asked.method, asked.url, asked.data, headers, False, headers.pop("Authorization", None))

        answer = answered("token server", host, send, (200, 401, 403))
        if answer.status_code != 200:
            raise ImageError(
                f"The registry {self.host} lets nobody in without an account, or not this one: its token server {host} "
                f"gives no token: {said(answer)}",
                "set user name and password of the registry in the connection, or in Docker's configuration",
            )
        try:
            token = token_in(answer.json())
        except ValueError:
            token = None
        if token is None:
            raise ImageError(
                f"The token server {host} of the registry {self.host} gives no token: there is none in its answer",
                "see that server's own log, and check the realm that the registry is configured with",
            )
        return token


def _check_bundle(file: str) -> None:
    remedy = "name the file of the registry's certificate authority"
    if not Path(file).is_file():
        raise ImageError(f"There is no file {file}", remedy)
    try:
        SSLContext(PROTOCOL_TLS_CLIENT).load_verify_locations(file)
    except OSError as error:
        raise ImageError(f"{file} holds no certificates (PEM): {error}", remedy) from error


def _unchanged(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request
