"""Values of header fields, in pairs `parse_x` / `build_x`.

Whatever text comes in, the only exception that comes out is `MalformedField`. Every value that
`build_x` makes is read back by `parse_x` as what it was made of.

Text is as WSGI has it: one character is one byte (PEP 3333, "Unicode Issues").
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Iterable
from datetime import UTC, datetime

from werkzeug.http import http_date
from werkzeug.http import parse_date as werkzeug_parse_date

from tus_wsgi.domain.checksums import Algorithm, Checksum
from tus_wsgi.domain.errors import MalformedField
from tus_wsgi.domain.model import KIB, Metadata

MAX_INTEGER = 2**63 - 1
"""The largest length or offset: what the other servers and S3's own fields can hold."""

DEFERRED = "1"
"""The only value of `Upload-Defer-Length`."""

MAX_METADATA = 32 * KIB
MAX_PAIRS = 200
"""Bytes of an `Upload-Metadata` field, and pairs in it. gunicorn takes 8,190 in a line by default,
but joins up to a hundred lines: 190,000 pairs took two seconds, and half of that in each HEAD."""

SHOWN = 60
"""Characters of a bad value that an error quotes: enough to recognise it in a log."""

# Not int(): it takes "+5", "1_0", " 1" and "٣", and raises something else at 4,301 digits.
_INTEGER = re.compile(r"[0-9]{1,19}")

# "The key MUST NOT contain spaces and commas and MUST NOT be empty." Control characters are out
# because no field can carry them back. 0x80-0xFF are the bytes of a key that is not ASCII.
_METADATA_KEY = re.compile(r"[\x21-\x2b\x2d-\x7e\x80-\xff]+")

# Not b64decode(validate=True) alone: before Python 3.13 it takes "YWJj=".
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")

_ALGORITHMS = frozenset(Algorithm)

_OWS = " \t"
_TCHARS = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_QUOTED = r'"(?:[\t\x20\x21\x23-\x5b\x5d-\x7e]|\\[\t\x20-\x7e])*"'
# A semicolon with nothing behind it is allowed (RFC 9110, section 5.6.6).
_PARAMETER = rf"{_TCHARS}=(?:{_TCHARS}|{_QUOTED})"
_MEDIA_TYPE = re.compile(rf"({_TCHARS}/{_TCHARS})(?:[ 	]*;(?:[ 	]*{_PARAMETER})?)*[ 	]*")


def shown(value: str) -> str:
    """`value` for an error message: quoted, escaped, and cut when it is long."""
    return repr(value if len(value) <= SHOWN else value[:SHOWN] + "…")


def parse_integer(field: str, text: str) -> int:
    """The length or offset that `text` is, in bytes. `00` is 0.

    Raises:
        MalformedField: it is no whole number from 0 to `MAX_INTEGER`.
    """
    value = int(text) if _INTEGER.fullmatch(text) else -1
    if not 0 <= value <= MAX_INTEGER:
        reason = f"expected a whole number from 0 to {MAX_INTEGER}, got {shown(text)}"
        raise MalformedField(field, reason)
    return value


def build_integer(value: int) -> str:
    """The text of a length or an offset."""
    return str(value)


def check_defer_length(text: str) -> None:
    """Refuse every `Upload-Defer-Length` but the only one there is.

    Raises:
        MalformedField: `text` is not `1`.
    """
    if text != DEFERRED:
        raise MalformedField("Upload-Defer-Length", f"expected {DEFERRED!r}, got {shown(text)}")


def check_transfer_coding(text: str | None) -> None:
    """Refuse `gzip, chunked`: gunicorn undoes the chunks and hands the gzip on as the data.

    Raises:
        MalformedField: `text` is there and is not `chunked`.
    """
    if text is not None and text.lower() != "chunked":
        reason = f"only chunked is understood, got {shown(text)}"
        raise MalformedField("Transfer-Encoding", reason)


def parse_metadata(text: str) -> Metadata:
    """What an `Upload-Metadata` field says; `raw` is `text` itself, so that it can be echoed.

    A field that is empty is no field (tuspy sends one when it has no metadata). White space
    around the commas is allowed, as in every list of HTTP (RFC 9110, section 5.6.1).

    Raises:
        MalformedField: an empty or doubled key, a value that is no padded base64, or too much.
    """
    if not text.strip(_OWS):
        return Metadata()
    count = text.count(",") + 1
    if len(text) > MAX_METADATA or count > MAX_PAIRS:
        reason = f"expected at most {MAX_PAIRS} pairs in {MAX_METADATA} bytes"
        raise MalformedField("Upload-Metadata", f"{reason}, got {count} in {len(text)}")
    pairs: dict[str, bytes] = {}
    for item in text.split(","):
        key, value = _parse_pair(item.strip(_OWS))
        if key in pairs:
            raise MalformedField("Upload-Metadata", f"the key {shown(key)} comes twice")
        pairs[key] = value
    # A TAB can only stand around a comma here, and PEP 3333 forbids to send one.
    return Metadata(pairs=tuple(pairs.items()), raw=text.replace("\t", " "))


def _parse_pair(item: str) -> tuple[str, bytes]:
    """One pair: a key, and behind one space its value in base64. Without a value there is none."""
    key, _, value = item.partition(" ")
    if not key:
        raise MalformedField("Upload-Metadata", "there is an empty key")
    if _METADATA_KEY.fullmatch(key) is None:
        raise MalformedField("Upload-Metadata", f"{shown(key)} is no key")
    if _BASE64.fullmatch(value) is None:
        reason = f"the value of {shown(key)} is no padded base64, got {shown(value)}"
        raise MalformedField("Upload-Metadata", reason)
    return _decode_key(key), b64decode(value)


def _decode_key(key: str) -> str:
    """The key whose bytes these are.

    tus only says "SHOULD be ASCII encoded", so other keys are accepted: as UTF-8, which is how
    tusd reads them too, and else byte by byte.
    """
    try:
        return key.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return key


def build_metadata(pairs: Iterable[tuple[str, bytes]]) -> str:
    """The `Upload-Metadata` field of `pairs`; empty for none.

    For uploads whose field was not kept. A key that no such field can hold is left out: tusd
    takes some of them in (a TAB inside a key).
    """
    written = []
    for key, value in pairs:
        octets = key.encode("utf-8", "replace").decode("latin-1")
        if _METADATA_KEY.fullmatch(octets):
            written.append(f"{octets} {b64encode(value).decode()}" if value else octets)
    return ",".join(written)


def parse_checksum(text: str) -> Checksum:
    """The checksum that an `Upload-Checksum` field says.

    Raises:
        MalformedField: it is not the name of an algorithm, one space, and a checksum of that
            algorithm's size in padded base64.
    """
    name, _, value = text.partition(" ")
    if name not in _ALGORITHMS:
        reason = f"expected one of {', '.join(Algorithm)}, got {shown(name)}"
        raise MalformedField("Upload-Checksum", reason)
    algorithm = Algorithm(name)
    digest = b64decode(value) if _BASE64.fullmatch(value) else b""
    if len(digest) != algorithm.size:
        reason = f"expected {algorithm.size} bytes in padded base64, got {shown(value)}"
        raise MalformedField("Upload-Checksum", reason)
    return Checksum(algorithm, digest)


def build_checksum(checksum: Checksum) -> str:
    """The `Upload-Checksum` field of a checksum."""
    return f"{checksum.algorithm} {b64encode(checksum.digest).decode()}"


def parse_field_names(text: str) -> frozenset[str]:
    """The names in a list of fields such as `Trailer`, in lower case. Empty entries are none."""
    return frozenset(name for entry in text.split(",") if (name := entry.strip(_OWS).lower()))


def parse_media_type(text: str) -> str | None:
    """The type and subtype of a media type in lower case, without its parameters.

    None when `text` follows another grammar than that of RFC 9110, section 8.3.1; so what is not
    None consists of printable ASCII and can be sent in a field as it is.
    """
    match = _MEDIA_TYPE.fullmatch(text)
    return match[1].lower() if match else None


def parse_date(text: str | None) -> datetime | None:
    """The instant that an HTTP date names; None for none, and for one that cannot be read.

    A date that cannot be read is to be ignored, not to be refused (RFC 9110, section 13.1).
    """
    try:
        return werkzeug_parse_date(text)
    except OverflowError:  # a day of thirty digits, say
        return None


def build_date(instant: datetime) -> str:
    """The HTTP date of `instant`, in whole seconds."""
    return http_date(instant.astimezone(UTC))
