"""What the client's metadata becomes on the S3 object: Content-Type and user metadata. No I/O.

The unchanged metadata is in the info object; this is a copy for whoever reads the bucket.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tus_wsgi.domain.model import KIB, Metadata

MAX_METADATA_SIZE = 2 * KIB
"""Bytes of all keys and values together, see
https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html. MinIO's code counts the
names of the header fields, with the prefix that each of them has, so they are counted here."""

FIELD_PREFIX = "x-amz-meta-"
"""What the name of a metadata's header field begins with."""

MAX_PAIRS = 48
"""Pairs of one object. Swift takes 90, and whoever reads an answer of more than 100 fields with
Python's `http.client`, as boto3 does, gets an error instead of the object."""

MAX_KEY_SIZE = 128
"""Bytes of one key that every service takes: OpenStack Swift refuses more."""

MAX_VALUE_SIZE = 256
"""Bytes of one value that every service takes: OpenStack Swift refuses more."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_MEDIA_TYPE = re.compile(
    r"[!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+"
    r"([ \t]*;[ \t]*[!#$%&'*+.^_`|~0-9A-Za-z-]+=([!#$%&'*+.^_`|~0-9A-Za-z-]+|\"[ !#-\[\]-~]*\"))*"
)
_UNSAFE = re.compile(r"[^\t\x20-\x7e]")


@dataclass(frozen=True, slots=True)
class ObjectHeaders:
    """What is said of a data object. `content_type` is None for the service's default."""

    content_type: str | None
    metadata: dict[str, str]


def object_headers(metadata: Metadata) -> ObjectHeaders:
    """The headers of the data object.

    As in tusd, every character outside TAB and 0x20-0x7E becomes a "?" (`Menü` is `Men?`), and
    `filetype` is the Content-Type. What S3 would refuse stays in the info object alone: keys that
    are no HTTP token, values and totals past the limits, a `filetype` that is no media type.
    """
    kept: dict[str, str] = {}
    room = MAX_METADATA_SIZE
    for key, value in metadata.pairs:
        text = _printable(value)
        size = len(FIELD_PREFIX) + len(key) + len(text)
        if not _fits(key, text) or size > room or len(kept) == MAX_PAIRS:
            continue
        # Header names ignore case, and so do S3's keys: of `a` and `A` the first one stays.
        if key.lower() not in kept:
            kept[key.lower()] = text
            room -= size
    filetype = metadata.text("filetype")
    is_type = filetype is not None and _MEDIA_TYPE.fullmatch(filetype) is not None
    return ObjectHeaders(filetype if is_type else None, kept)


def _fits(key: str, text: str) -> bool:
    is_token = _TOKEN.fullmatch(key) is not None
    return is_token and len(key) <= MAX_KEY_SIZE and len(text) <= MAX_VALUE_SIZE


def _printable(value: bytes) -> str:
    # One "?" for each byte that is no UTF-8, as tusd does it; "backslashreplace" would give four.
    return _UNSAFE.sub("?", value.decode("utf-8", "surrogateescape")).strip()
