"""One request, a few times where that can help, and every answer that is not wanted turned into an error."""

from __future__ import annotations

import random
import ssl
import time
from collections.abc import Callable, Collection, Iterator
from urllib.parse import urlsplit

import requests
from requests.exceptions import ChunkedEncodingError, ConnectionError, RequestException, Timeout  # noqa: A004

from modelyard.errors import ImageError, ModelyardError, Unavailable

TRANSIENT = (ConnectionError, Timeout, ChunkedEncodingError)
TRIES = 4
_BUSY = frozenset({408, 429, 500, 502, 503, 504})
_PAUSE = 0.3  # seconds before the second try; four times as long before each one after it
_LONGEST_PAUSE = 15.0
# OpenSSL's words, before and since 3.2, for a server that speaks plain HTTP.
_NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"})


def answered(
    kind: str, host: str, send: Callable[[], requests.Response], expected: Collection[int], *, retry: bool = True
) -> requests.Response:
    """Send a request and return its answer, which has one of the ``expected`` statuses.

    Args:
        kind: of server, as messages are to name it: ``registry``.
        host: its address.
        send: sends it once.
        expected: statuses that the caller understands.
        retry: send it again when the server is busy or the connection drops.

    Raises:
        ImageError: the server refuses, or cannot be trusted; Unavailable: it is busy or gone, even after retries.
    """
    tries = TRIES if retry else 1
    while True:
        tries -= 1
        answer: requests.Response | None = None
        try:
            answer = send()
        except TRANSIENT as error:
            server = _server(kind, host, error.request)
            if _is_untrusted(error):
                raise ImageError(
                    f"{server} cannot be trusted: {_reason(error)}",
                    "name its certificate authority's file (registry CA bundle), or say that it speaks plain HTTP "
                    "(insecure)",
                ) from error
            if not tries:
                raise Unavailable(
                    f"{server} cannot be reached: {_reason(error)}",
                    "check its address and that it runs; the same try works again later",
                ) from error
        else:
            if answer.status_code in expected:
                return answer
            with answer:
                if answer.status_code not in _BUSY:
                    raise _refused(kind, host, answer)
                if not tries:
                    message = f"{_server(kind, host, answer.request)} answers {_asked(answer)} with {said(answer)}"
                    raise Unavailable(message, "check its log; the same try works again later")
        time.sleep(_pause(TRIES - tries, answer))


def said(answer: requests.Response) -> str:
    """Status, and the registry's own words if it has any."""
    try:
        errors = answer.json()["errors"]
        words = "; ".join(f"{found.get('code')}: {found.get('message')}" for found in errors)
    except (ValueError, KeyError, TypeError, AttributeError, *TRANSIENT):
        words = answer.reason or ""
    return f"{answer.status_code} {words}"


def _refused(kind: str, host: str, answer: requests.Response) -> ModelyardError:
    message = f"{_server(kind, host, answer.request)} refuses {_asked(answer)}: {said(answer)}"
    if answer.status_code in (401, 403):
        remedy = "check user name, password and rights on this repository in the registry"
    elif answer.status_code == 413:
        remedy = "let the registry, or the proxy before it, take larger requests"
    elif answer.status_code == 404:
        remedy = "check the name; it may have been deleted from the registry"
    else:
        remedy = "see the registry's own log for the reason"
    return ImageError(message, remedy)


def _server(kind: str, host: str, request: requests.PreparedRequest | requests.Request | None) -> str:
    """Who was asked: the server, or another one that it named, as a store of blobs."""
    other = urlsplit(request.url).netloc if request is not None and isinstance(request.url, str) else host
    return f"The {kind} {host}" if other == host else f"{other}, where the {kind} {host} sends what is asked of it,"


def _asked(answer: requests.Response) -> str:
    """Method and path, without the query: that may hold a signature which lets anybody in."""
    return f"{answer.request.method} {urlsplit(answer.url).path}"


def _is_untrusted(error: RequestException) -> bool:
    """Whether another try cannot help. All other faults of TLS are a connection's that broke."""
    return any(
        isinstance(cause, ssl.SSLCertVerificationError) or (isinstance(cause, ssl.SSLError) and cause.reason in _NO_TLS)
        for cause in _causes(error)
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An exception and those it was made of: requests and urllib3 hand some on as arguments."""
    yield error
    for inner in (error.__cause__, *error.args):
        if isinstance(inner, BaseException):
            yield from _causes(inner)


def _reason(error: BaseException) -> str:
    """The innermost words of a chain of exceptions: they name the cause, as ``Connection refused``."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return str(error)


def _pause(tried: int, answer: requests.Response | None) -> float:
    """Seconds until the next try: what the server asks for, else longer each time."""
    asked = "" if answer is None else answer.headers.get("Retry-After", "")
    if asked.isdigit():
        return min(float(asked), _LONGEST_PAUSE)
    return _PAUSE * 4.0 ** (tried - 1) * random.uniform(0.7, 1.3)  # noqa: S311 - spreads clients, hides nothing
