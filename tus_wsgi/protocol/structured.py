"""Structured fields (RFC 9651), limited to what resumable uploads need: integers and booleans.

"If parsing fails, [...] the entire field value MUST be ignored" (section 4.2). So a malformed value
is parsed as None, like a missing field, and never raises.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

MAX_INTEGER = 999_999_999_999_999
"""The largest integer: fifteen digits (section 3.3.1)."""

_KEY = r"[a-z*][a-z0-9_.*-]*"
_BARE_ITEM = (
    r"(?:-?[0-9]{1,12}\.[0-9]{1,3}|-?[0-9]{1,15}"  # decimals, integers
    r'|"(?:[ !#-\[\]-~]|\\["\\])*"'  # strings
    r"|[A-Za-z*][!#$%&'*+.^_`|~:/0-9A-Za-z-]*"  # tokens
    r"|:[A-Za-z0-9+/=]*:|\?[01]|@-?[0-9]{1,15})"  # bytes, booleans, dates
)
_PARAMETERS = rf"(?:; *{_KEY}(?:={_BARE_ITEM})?)*"
_INTEGER = re.compile(rf" *(-?[0-9]{{1,15}}){_PARAMETERS} *")
_BOOLEAN = re.compile(rf" *\?([01]){_PARAMETERS} *")


def parse_integer(text: str | None) -> int | None:
    """Return the integer in the field; None if it is missing, malformed or negative.

    Parameters are ignored, as RFC 9651 requires for unknown parameters.
    """
    match = _INTEGER.fullmatch(text or "")
    return None if match is None or match[1].startswith("-") else int(match[1])


def parse_boolean(text: str | None) -> bool | None:
    """Return the boolean in the field; None if it is missing or malformed."""
    match = _BOOLEAN.fullmatch(text or "")
    return None if match is None else match[1] == "1"


def build_boolean(value: bool) -> str:  # noqa: FBT001 - it is the value
    """Return the field value for a boolean."""
    return "?1" if value else "?0"


def build_dictionary(members: Iterable[tuple[str, int]]) -> str:
    """Return a dictionary of integers such as `Upload-Limit`, capped at `MAX_INTEGER`."""
    return ", ".join(f"{key}={min(value, MAX_INTEGER)}" for key, value in members)
