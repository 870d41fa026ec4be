"""Structured fields (RFC 9651), as much of them as resumable uploads need: integers and booleans.

"If parsing fails, [...] the entire field value MUST be ignored" (section 4.2): so what cannot be
read is None, just like what is not there, and never an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

MAX_INTEGER = 999_999_999_999_999
"""The largest integer: fifteen digits (section 3.3.1)."""

_KEY = r"[a-z*][a-z0-9_.*-]*"
_BARE = (
    r"(?:-?[0-9]{1,12}\.[0-9]{1,3}|-?[0-9]{1,15}"  # decimals, integers
    r'|"(?:[ !#-\[\]-~]|\\["\\])*"'  # strings
    r"|[A-Za-z*][!#$%&'*+.^_`|~:/0-9A-Za-z-]*"  # tokens
    r"|:[A-Za-z0-9+/=]*:|\?[01]|@-?[0-9]{1,15})"  # bytes, booleans, dates
)
_PARAMETERS = rf"(?:; *{_KEY}(?:={_BARE})?)*"
_INTEGER = re.compile(rf" *(-?[0-9]{{1,15}}){_PARAMETERS} *")
_BOOLEAN = re.compile(rf" *\?([01]){_PARAMETERS} *")


def parse_integer(text: str | None) -> int | None:
    """The integer that the field says, if it says one that is not negative.

    Its parameters are ignored, as RFC 9651 wants it of parameters that are not known.
    """
    match = _INTEGER.fullmatch(text or "")
    return None if match is None or match[1].startswith("-") else int(match[1])


def parse_boolean(text: str | None) -> bool | None:
    """The boolean that the field says, if it says one."""
    match = _BOOLEAN.fullmatch(text or "")
    return None if match is None else match[1] == "1"


def build_boolean(value: bool) -> str:  # noqa: FBT001 - it is the value
    """The field that says `value`."""
    return "?1" if value else "?0"


def build_dictionary(members: Iterable[tuple[str, int]]) -> str:
    """A dictionary of integers, as `Upload-Limit` is one. What is too large for one is cut."""
    return ", ".join(f"{key}={min(value, MAX_INTEGER)}" for key, value in members)
