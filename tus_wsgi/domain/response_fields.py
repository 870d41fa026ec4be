"""Check response fields that the application has chosen."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[\x20-\x7e\xa0-\xff]*")
_SERVER_FIELDS = frozenset(
    ("connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade")
)
"""Fields that describe the connection or the body's framing. The server sets them."""

NO_FIELDS: Mapping[str, str] = MappingProxyType({})


def is_field_name(text: str) -> bool:
    """Return whether `text` can be the name of a header field (RFC 9110, section 5.1)."""
    return _NAME.fullmatch(text) is not None


def checked_fields(fields: Mapping[str, str]) -> Mapping[str, str]:
    """Return a copy of response fields, after checking that they can be sent.

    Raises:
        ValueError: a name or a value has a character that a field cannot contain, or the server
            sets the field itself.
    """
    for name, value in fields.items():
        if not is_field_name(name) or not _VALUE.fullmatch(value):
            raise ValueError(f"{name!r} is not a valid field, or its value {value!r} is not")
        if name.lower() in _SERVER_FIELDS or name.lower().startswith("access-control-"):
            raise ValueError(f"the field {name} is set by the server")
    return MappingProxyType(dict(fields))
