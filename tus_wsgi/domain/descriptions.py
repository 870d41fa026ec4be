"""The file name and the type in a client's description of a file, in a safe form. No I/O.

Downloads and the application's hooks use the same functions. So a hook that checks the name sees
the name that a browser saves.
"""

from __future__ import annotations

import re
from typing import Protocol

MAX_FILENAME = 255
"""The maximum number of characters of a file name. Common file systems allow 255 bytes."""

# Control characters, line separators, and marks of the direction of text. A mark that reverses the
# text after it makes "photo" + mark + "gpj.exe" look like "photoexe.jpg".
_UNPRINTABLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
# The white space of Unicode, without the characters above.
_SPACES = " \u00a0\u1680\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
_IGNORED_AT_END = "." + _SPACES
_SEPARATORS = re.compile(r"[/\\]")

_TCHARS = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_QUOTED = r'"(?:[\t\x20\x21\x23-\x5b\x5d-\x7e]|\\[\t\x20-\x7e])*"'
# A semicolon without a parameter is allowed (RFC 9110, section 5.6.6).
_PARAMETER = rf"{_TCHARS}=(?:{_TCHARS}|{_QUOTED})"
_MEDIA_TYPE = re.compile(rf"({_TCHARS}/{_TCHARS})(?:[ 	]*;(?:[ 	]*{_PARAMETER})?)*[ 	]*")


def safe_filename(text: str) -> str:
    """Return a file name without control characters and separators; empty if nothing is left.

    Path separators become `_`. Windows ignores dots and spaces at the end of a name, so they are
    removed: `a.exe.` is an `a.exe`. A long name is truncated at its start, to keep the extension.
    """
    name = _UNPRINTABLE.sub("", text).rstrip(_IGNORED_AT_END)
    return _SEPARATORS.sub("_", name[-MAX_FILENAME:].lstrip())


def parse_media_type(text: str) -> str | None:
    """Return the type and subtype of a media type in lower case, without its parameters.

    None if `text` does not follow the grammar of RFC 9110, section 8.3.1. If the result is not
    None, `text` consists of printable ASCII and can be sent in a field as it is.
    """
    match = _MEDIA_TYPE.fullmatch(text)
    return match[1].lower() if match else None


class Description(Protocol):
    """The part of an upload's metadata that this module reads."""

    def text(self, key: str) -> str | None:
        """Return the value of `key`, or None."""


def filename_of(metadata: Description) -> str | None:
    """Return the file name in the metadata, in a safe form; None if there is none."""
    name = safe_filename(metadata.text("filename") or "")
    return name or None


def content_type_of(metadata: Description) -> str | None:
    """Return the media type in the metadata, in lower case and without parameters; None if none."""
    return parse_media_type(metadata.text("filetype") or "")
