"""The template of data keys, `TUS_S3_OBJECT_KEY`. No I/O.

A template consists of literal text and of placeholders in braces:

| placeholder               | value                                                           |
|---------------------------|-----------------------------------------------------------------|
| {id}                      | the upload's id; required                                       |
| {filename}                | the name that the client sent, in a safe form                   |
| {owner}                   | the identity that created the upload, in the same form          |
| {year}, {month}, {day}    | the date of the creation in UTC, with two digits for the month  |

The key contains the id, so no two uploads have the same key: an object at the key is this upload's
(D-05, D-12).
"""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime

from tus_wsgi.domain.descriptions import safe_filename
from tus_wsgi.domain.model import UploadInfo

DEFAULT_TEMPLATE = "{id}"

MAX_VALUE_SIZE = 128
"""Bytes of a file name or an owner in a key. A longer value is truncated at its start, to keep the
extension."""

MAX_KEY_SIZE = 900
"""Bytes of a key without the object prefix. S3 accepts 1,024 with it."""

MISSING_NAME = "file"
MISSING_OWNER = "_"

MIN_RANDOM_ID = 22
"""Characters that an id needs so that no other key contains it by accident."""

_ID_GROUP = rf"(?P<id>[A-Za-z0-9_-]{{{MIN_RANDOM_ID}}})"
_VALUE = r"[\w.-]+"
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_NAMES = ("id", "filename", "owner", "year", "month", "day")
_MAX_SIZES = {"id": 32, "filename": MAX_VALUE_SIZE, "owner": MAX_VALUE_SIZE}
_LITERAL = re.compile(r"[A-Za-z0-9!_.*'()=@+,/-]*")
_UNSAFE = re.compile(r"[^\w.-]")
TAIL_SUFFIX = r"\.part(?:\.(?:\d+|segment)\.\d+)?"
"""How the keys of tails end, with those of segments (`tail_chain.py`) and of numbered tails."""

_RESERVED = re.compile(rf".*(?:\.info|{TAIL_SUFFIX})", re.DOTALL | re.IGNORECASE)


def check_template(text: str) -> str:
    """Return the template unchanged.

    Raises:
        ValueError: the text is not a template, or lacks `{id}`.
    """
    names = _PLACEHOLDER.findall(text)
    unknown = [name for name in names if name not in _NAMES]
    if unknown:
        known = ", ".join(f"{{{name}}}" for name in _NAMES)
        raise ValueError(f"expected placeholders among {known}, got {{{unknown[0]}}}")
    if "id" not in names:
        raise ValueError(f"expected {{id}} in the template, got {text!r}: keys must be unique")
    literal = _PLACEHOLDER.sub("", text)
    if _LITERAL.fullmatch(literal) is None:
        raise ValueError(f"expected letters, digits and !_.*'()=@+,/- in the text, got {text!r}")
    if any(segment in ("", ".", "..") for segment in text.split("/")):
        raise ValueError(f"expected no empty, '.' or '..' segment, got {text!r}")
    size = len(literal) + sum(_MAX_SIZES.get(name, 4) for name in names)
    if size > MAX_KEY_SIZE:
        raise ValueError(f"expected keys of at most {MAX_KEY_SIZE} bytes, got up to {size}")
    return text


def render_key(template: str, info: UploadInfo, id: str) -> str:
    """Return the key of a new upload's data object, without the object prefix.

    Args:
        template: see the module.
        info: the upload.
        id: the upload's id in keys.
    """
    created = info.created or datetime.min.replace(tzinfo=UTC)
    values = {
        "id": id,
        "filename": _value(info.metadata.text("filename") or "", MISSING_NAME),
        "owner": _value(info.owner or "", MISSING_OWNER),
        "year": f"{created.year:04}",
        "month": f"{created.month:02}",
        "day": f"{created.day:02}",
    }
    key = _PLACEHOLDER.sub(lambda match: values[match[1]], template)
    return "/".join(map(_segment, key.split("/")))


def key_pattern(template: str) -> re.Pattern[str]:
    """Return a pattern of the template's keys without the object prefix; its group `id` is the id.

    It does not match the few keys that `render_key` changes because they look like other objects.
    """
    pattern, end = "", 0
    for match in _PLACEHOLDER.finditer(template):
        pattern += re.escape(template[end : match.start()])
        if match[1] != "id":
            pattern += _VALUE
        elif _ID_GROUP in pattern:
            pattern += "(?P=id)"  # the same id again
        else:
            pattern += _ID_GROUP
        end = match.end()
    return re.compile(pattern + re.escape(template[end:]))


def is_reserved(segment: str) -> bool:
    """Return whether a segment of a key has the form of an info object or a tail."""
    return _RESERVED.fullmatch(segment) is not None


def _value(text: str, missing: str) -> str:
    """Return text in the form that keys contain: letters, digits and `._-`, everything else `_`.

    Return `missing` if nothing is left.
    """
    name = unicodedata.normalize("NFC", safe_filename(text))
    last_bytes = _UNSAFE.sub("_", name).encode()[-MAX_VALUE_SIZE:]
    # The truncation may have cut the first character in two; "ignore" drops the rest of it.
    return last_bytes.decode(errors="ignore") or missing


def _segment(segment: str) -> str:
    if segment in (".", ".."):
        return segment.replace(".", "_")
    # Without the "_", the object would look like an info object or a tail.
    return segment + "_" if is_reserved(segment) else segment
