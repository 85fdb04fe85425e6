"""What a person can search versions by."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _empty_is_none(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


Text = Annotated[Annotated[str, Field(max_length=200)] | None, BeforeValidator(_empty_is_none)]
Figure = Annotated[float | None, BeforeValidator(_empty_is_none)]
State = Annotated[Literal["candidate", "released", "live"] | None, BeforeValidator(_empty_is_none)]


class Conditions(BaseModel):
    """The search form; an empty field is no condition.

    Attributes:
        parameter: ``path=value``, the value as JSON or as text: ``model.C=0.5``.
        after: where the page before ended.
    """

    model_config = ConfigDict(extra="ignore")

    name: Text = None
    tag: Text = None
    commit: Text = None
    state: State = None
    metric: Text = None
    lowest: Figure = None
    highest: Figure = None
    parameter: Text = None
    after: Text = None

    def arguments(self) -> dict[str, Any]:
        """Return the conditions as ``Versions.find`` takes them."""
        path, _, value = (self.parameter or "").partition("=")
        return {
            "name": self.name,
            "tag": self.tag,
            "commit": self.commit,
            "state": self.state,
            "metric": {self.metric: (self.lowest, self.highest)} if self.metric else None,
            "parameter": {path.strip(): _value(value.strip())} if path.strip() else None,
            "after": self.after,
        }

    def query(self, after: str) -> str:
        """Return the address's query for the page that begins after ``after``."""
        return urlencode(self.model_dump(exclude_none=True) | {"after": after})


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
