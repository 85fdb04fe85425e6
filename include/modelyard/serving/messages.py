"""What passes between the parts of the server: a page of types."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

JSON = dict[str, Any]

# Both have one list per name, and one entry in each list per row; an entry of a tensor is a nested list.
Columns = dict[str, list[Any]]
Outputs = dict[str, list[Any]]
Wanted = tuple[str, ...] | None  # names of outputs; None: all


@dataclass(slots=True)
class Request:
    """One HTTP request, read to its end.

    Attributes:
        path: percent-decoded; query: what follows the question mark, as sent.
        headers: names in lower case; of a name sent twice the last value.
        id: the client's ``X-Request-Id`` when it is a sane one, else our own.
        private: it came by the control socket, from whoever supervises this process.
    """

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    id: str
    private: bool = False


@dataclass(slots=True)
class Response:
    """One answer; length, connection and model headers are added when it is sent."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class Call:
    """A prediction request after parsing.

    Attributes:
        columns: one list per input of the signature, all of the same length.
        rows: that length.
        facts: what the contract's render needs to know of the request (its id, the outputs it wants).
        checked: the columns hold what the signature says.
        outputs: those of the model that the answer has; None: all.
    """

    columns: Columns
    rows: int
    facts: JSON = field(default_factory=dict)
    checked: bool = False
    outputs: Wanted = None


class Refused(Exception):
    """A request that gets a 4xx or 503 answer, with the reason for whoever sent it.

    Args:
        status: HTTP status.
        message: what is wrong, and where.
        problems: for inputs: ``{"row", "field", "expected", "found"}`` each; row counts from 0.
        headers: more headers of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        problems: list[JSON] | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self.status = status
        self.message = message
        self.problems = problems or []
        self.headers = headers
        super().__init__(message)


class NotServingError(Exception):
    """The model cannot be served, or no longer: why."""


Handler = Callable[[Request], Response | Awaitable[Response]]
Parse = Callable[[Request], Call]
Predict = Callable[[Columns, int], Awaitable[Outputs]]
Render = Callable[[Call, Outputs], Response]


def refusal(refused: Refused) -> Response:
    """Return the answer for a refused request: ``{"error": text, "problems": [...]}``."""
    body: JSON = {"error": refused.message}
    if refused.problems:
        body["problems"] = refused.problems
    return in_json(body, refused.status, refused.headers)


@dataclass(frozen=True, slots=True)
class Contract:
    """How a platform asks and is answered.

    Attributes:
        refuse: how it is told that its request was refused.
    """

    parse: Parse
    render: Render
    refuse: Callable[[Refused], Response] = refusal


_encode = msgspec.json.Encoder().encode


def in_json(value: Any, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> Response:
    """Return an answer in JSON."""
    return Response(status, _encode(value), headers=headers)
