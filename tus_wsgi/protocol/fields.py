"""Values of header fields, in pairs `parse_x` / `build_x`.

`parse_x` accepts any text, and raises no exception other than `MalformedField`. The result of
`parse_x(build_x(value))` is `value`.

Text is in the form that WSGI uses: each character is a byte (PEP 3333, "Unicode Issues").
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
"""The largest length or offset: the limit of other servers and of S3's fields."""

DEFERRED = "1"
"""The only value of `Upload-Defer-Length`."""

MAX_METADATA = 32 * KIB
MAX_PAIRS = 200
"""Limits of an `Upload-Metadata` field: bytes and pairs. By default gunicorn accepts 8,190 bytes in
a line, but a field may have a hundred lines, which it joins. Without these limits, parsing 190,000
pairs took two seconds, and rendering them one second in each HEAD."""

MAX_QUOTED = 60
"""Characters of an invalid value that an error message quotes."""

# int() alone is too lenient: it accepts "+5", "1_0", " 1" and "٣". Its limit is 4,300 digits.
_INTEGER = re.compile(r"[0-9]{1,19}")

# "The key MUST NOT contain spaces and commas and MUST NOT be empty." Control characters are
# rejected because no field can contain them. 0x80-0xFF are the bytes of a non-ASCII key.
_METADATA_KEY = re.compile(r"[\x21-\x2b\x2d-\x7e\x80-\xff]+")

# b64decode(validate=True) alone is too lenient: before Python 3.13 it accepts "YWJj=".
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")

_ALGORITHMS = frozenset(Algorithm)

_OWS = " \t"


def quote_value(value: str) -> str:
    """Quote, escape and truncate a value for an error message."""
    return repr(value if len(value) <= MAX_QUOTED else value[:MAX_QUOTED] + "…")


def parse_integer(field: str, text: str) -> int:
    """Parse a length or an offset, in bytes. Leading zeros are allowed.

    Raises:
        MalformedField: the text is not a whole number from 0 to `MAX_INTEGER`.
    """
    value = int(text) if _INTEGER.fullmatch(text) else -1
    if not 0 <= value <= MAX_INTEGER:
        reason = f"expected a whole number from 0 to {MAX_INTEGER}, got {quote_value(text)}"
        raise MalformedField(field, reason)
    return value


def build_integer(value: int) -> str:
    """Return the text of a length or an offset."""
    return str(value)


def check_defer_length(text: str) -> None:
    """Check that the value of `Upload-Defer-Length` is `1`.

    Raises:
        MalformedField: the value is not `1`.
    """
    if text != DEFERRED:
        raise MalformedField(
            "Upload-Defer-Length", f"expected {DEFERRED!r}, got {quote_value(text)}"
        )


def check_transfer_coding(text: str | None) -> None:
    """Reject transfer codings other than `chunked`.

    gunicorn decodes only the last coding of `gzip, chunked`: it would return the gzip stream.

    Raises:
        MalformedField: the field is present and is not `chunked`.
    """
    if text is not None and text.lower() != "chunked":
        reason = f"only chunked is supported, got {quote_value(text)}"
        raise MalformedField("Transfer-Encoding", reason)


def parse_metadata(text: str) -> Metadata:
    """Parse an `Upload-Metadata` field. `Metadata.raw` keeps the text, so that HEAD can repeat it.

    An empty field is ignored (tuspy sends one if it has no metadata). White space around the commas
    is allowed and empty elements are ignored, as in every HTTP list (RFC 9110, section 5.6.1).

    Raises:
        MalformedField: a key is invalid or repeated, a value is not padded base64, or the field is
            too long.
    """
    count = text.count(",") + 1
    if len(text) > MAX_METADATA or count > MAX_PAIRS:
        reason = f"expected at most {MAX_PAIRS} pairs in {MAX_METADATA} bytes"
        raise MalformedField("Upload-Metadata", f"{reason}, got {count} in {len(text)}")
    items = text.split(",")
    kept = [item for item in items if item.strip(_OWS)]
    if not kept:
        return Metadata()
    pairs: dict[str, bytes] = {}
    for item in kept:
        key, value = _parse_pair(item.strip(_OWS))
        if key in pairs:
            raise MalformedField("Upload-Metadata", f"the key {quote_value(key)} is repeated")
        pairs[key] = value
    # A response must not contain empty elements. If there are none, the text is kept as it is.
    raw = text if kept == items else ",".join(item.strip(_OWS) for item in kept)
    # Tabs can only surround commas here. PEP 3333 forbids them in a response.
    return Metadata(pairs=tuple(pairs.items()), raw=raw.replace("\t", " "))


def _parse_pair(item: str) -> tuple[str, bytes]:
    """Parse a pair: a key, and after one space its value in base64. The value may be missing."""
    key, _, value = item.partition(" ")
    if _METADATA_KEY.fullmatch(key) is None:
        raise MalformedField("Upload-Metadata", f"{quote_value(key)} is not a valid key")
    if _BASE64.fullmatch(value) is None:
        reason = f"the value of {quote_value(key)} is not padded base64, got {quote_value(value)}"
        raise MalformedField("Upload-Metadata", reason)
    return _decode_key(key), b64decode(value)


def _decode_key(key: str) -> str:
    """Decode the bytes of a key as UTF-8, or byte by byte if they are not valid UTF-8.

    Non-ASCII keys are accepted because tus only says "SHOULD be ASCII encoded". tusd decodes UTF-8
    too.
    """
    try:
        return key.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return key


def build_metadata(pairs: Iterable[tuple[str, bytes]]) -> str:
    """Return the `Upload-Metadata` field of `pairs`; empty if there are none.

    Used for uploads whose original field was not stored. A key that the field cannot contain is
    omitted: tusd accepts some such keys (with a TAB, for example).
    """
    items = []
    for key, value in pairs:
        octets = key.encode("utf-8", "replace").decode("latin-1")
        if _METADATA_KEY.fullmatch(octets):
            items.append(f"{octets} {b64encode(value).decode()}" if value else octets)
    return ",".join(items)


def parse_checksum(text: str) -> Checksum:
    """Parse an `Upload-Checksum` field.

    Raises:
        MalformedField: the text is not the name of an algorithm, one space, and a checksum of the
            algorithm's size in padded base64.
    """
    name, _, value = text.partition(" ")
    if name not in _ALGORITHMS:
        reason = f"expected one of {', '.join(Algorithm)}, got {quote_value(name)}"
        raise MalformedField("Upload-Checksum", reason)
    algorithm = Algorithm(name)
    digest = b64decode(value) if _BASE64.fullmatch(value) else b""
    if len(digest) != algorithm.size:
        reason = f"expected {algorithm.size} bytes in padded base64, got {quote_value(value)}"
        raise MalformedField("Upload-Checksum", reason)
    return Checksum(algorithm, digest)


def build_checksum(checksum: Checksum) -> str:
    """Return the `Upload-Checksum` field of a checksum."""
    return f"{checksum.algorithm} {b64encode(checksum.digest).decode()}"


def parse_field_names(text: str) -> frozenset[str]:
    """Parse a list of field names such as `Trailer`, in lower case. Empty entries are ignored."""
    names = [entry.strip(_OWS).lower() for entry in text.split(",")]
    return frozenset(name for name in names if name)


def parse_date(text: str | None) -> datetime | None:
    """Parse an HTTP date; None if it is missing or malformed.

    A malformed date must be ignored, not rejected (RFC 9110, section 13.1).
    """
    try:
        return werkzeug_parse_date(text)
    except OverflowError:  # for example, a day of thirty digits
        return None


def build_date(instant: datetime) -> str:
    """Return the HTTP date of `instant`, in whole seconds."""
    return http_date(instant.astimezone(UTC))
