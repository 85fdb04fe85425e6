"""A yes or no that a person has written: in JSON it is a boolean, in a connection's URI or a variable it is a word."""

from __future__ import annotations

from modelyard.errors import ModelyardError

_YES = ("1", "true", "yes")
_NO = ("", "0", "false", "no")


def flag(value: object, key: str, error: type[ModelyardError]) -> bool:
    """Return what a setting says; one that is not there, or empty, says no.

    Args:
        value: a boolean, None, or a word in any case: 1, true, yes, 0, false, no.
        key: of the setting, for the message.
        error: what is raised of a word that is neither. ``bool`` would take the word "false" for a yes.
    """
    word = "" if value is None else str(value).strip().lower()
    if word not in (*_YES, *_NO):
        raise error(f"{key} is '{value}', which is neither yes nor no", "write true or false")
    return word in _YES
