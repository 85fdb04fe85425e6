"""An account of a registry, and the token that a token server gives for it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from modelyard.images.challenge import Challenge

_CLIENT = "modelyard"


@dataclass(frozen=True)
class Account:
    """Who asks.

    Attributes:
        identity_token: stands for user and password, at the token server alone; "" for none.
    """

    username: str
    password: str = field(repr=False)
    identity_token: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """User and password as the header Authorization has them: RFC 7617."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


@dataclass(frozen=True)
class TokenRequest:
    """What is to be sent to a token server."""

    method: str
    url: str
    data: bytes | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


def token_request(challenge: Challenge, account: Account | None) -> TokenRequest:
    """Return what to ask the server of a Bearer challenge for: a token for just the service and scope it names.

    By the Docker Registry token specification; with an identity token by its OAuth 2 part, the grant ``refresh_token``.
    None as the account asks for what anybody may do.
    """
    realm = challenge.parameters.get("realm", "")
    service = [("service", challenge.parameters["service"])] if "service" in challenge.parameters else []
    scope = challenge.parameters.get("scope", "")
    if account is not None and account.identity_token:
        form = [("grant_type", "refresh_token"), ("client_id", _CLIENT), *service]
        form += [("scope", scope), ("refresh_token", account.identity_token)]
        return TokenRequest(
            "POST", realm, urlencode(form).encode(), {"Content-Type": "application/x-www-form-urlencoded"}
        )
    query = urlencode([*service, *(("scope", one) for one in scope.split())])
    url = f"{realm}{'&' if '?' in realm else '?'}{query}" if query else realm
    return TokenRequest("GET", url, headers={} if account is None else {"Authorization": account.basic})


def token_in(answer: Any) -> str | None:
    """Return the token of a token server's answer, None when there is none in it."""
    if not isinstance(answer, dict):
        return None
    token = answer.get("token") or answer.get("access_token")
    # Anything else could not be sent in a header.
    return token if isinstance(token, str) and token.isascii() and token.isprintable() else None
