"""Build the headers of the data object from the metadata and the application's plan. No I/O.

The info object holds the metadata unchanged; the copy on the data object is for other programs that
read the bucket.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from tus_wsgi.domain.model import KIB, Metadata
from tus_wsgi.domain.plan import ObjectOptions
from tus_wsgi.stores.s3.options import NO_OPTIONS, write_parameters

MAX_METADATA_SIZE = 2 * KIB
"""Bytes of all keys and values together, see
https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html. MinIO counts the keys with
their prefix `x-amz-meta-`, so this module does too."""

FIELD_PREFIX = "x-amz-meta-"
"""The prefix of a header field that carries user metadata."""

MAX_PAIRS = 48
"""Pairs of one object. Swift accepts 90, and Python's `http.client`, which boto3 uses, fails on
responses with more than 100 header fields."""

MAX_KEY_SIZE = 128
"""Bytes of one key. OpenStack Swift refuses longer keys."""

MAX_VALUE_SIZE = 256
"""Bytes of one value. OpenStack Swift refuses longer values."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_MEDIA_TYPE = re.compile(
    r"[!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+"
    r"([ \t]*;[ \t]*[!#$%&'*+.^_`|~0-9A-Za-z-]+=([!#$%&'*+.^_`|~0-9A-Za-z-]+|\"[ !#-\[\]-~]*\"))*"
)
_UNSAFE = re.compile(r"[^\x20-\x7e]")


@dataclass(frozen=True, slots=True)
class ObjectHeaders:
    """The headers of a data object.

    Attributes:
        content_type: the Content-Type; None for the service's default.
        metadata: the user metadata.
        parameters: more parameters of boto3's `put_object` and `create_multipart_upload`.
    """

    content_type: str | None
    metadata: dict[str, str]
    parameters: dict[str, Any] = field(default_factory=dict)


def object_headers(metadata: Metadata, options: ObjectOptions = NO_OPTIONS) -> ObjectHeaders:
    """Return the headers of the data object.

    As in tusd, every character outside 0x20-0x7E becomes a "?" (`Menü` is `Men?`), and `filetype`
    is the Content-Type. Unlike in tusd, a TAB becomes a space: botocore signs it as a space, so a
    service that compares the TAB itself (Versity) would refuse the upload.

    Values that S3 would refuse are omitted: pairs whose key is not an HTTP token, pairs that exceed
    the limits above, and a `filetype` that is not a media type.

    Args:
        metadata: the upload's metadata.
        options: the options of the object. They take precedence over the metadata.
    """
    given = options.user_metadata
    return ObjectHeaders(
        options.content_type or _content_type(metadata),
        _user_metadata(metadata) if given is None else dict(given),
        write_parameters(options),
    )


def _user_metadata(metadata: Metadata) -> dict[str, str]:
    kept: dict[str, str] = {}
    room = MAX_METADATA_SIZE
    for key, value in metadata.pairs:
        text = _printable(value)
        size = len(FIELD_PREFIX) + len(key) + len(text)
        has_room = size <= room and len(kept) < MAX_PAIRS
        if not has_room or not _fits(key, text):
            continue
        # Header field names are case-insensitive, so only the first of `a` and `A` is kept.
        if key.lower() not in kept:
            kept[key.lower()] = text
            room -= size
    return kept


def _content_type(metadata: Metadata) -> str | None:
    filetype = metadata.text("filetype")
    if filetype is None or _MEDIA_TYPE.fullmatch(filetype) is None:
        return None
    return filetype.replace("\t", " ")


def _fits(key: str, text: str) -> bool:
    is_token = _TOKEN.fullmatch(key) is not None
    return is_token and len(key) <= MAX_KEY_SIZE and len(text) <= MAX_VALUE_SIZE


def _printable(value: bytes) -> str:
    # As in tusd, each byte that is not UTF-8 becomes one "?"; "backslashreplace" would give four.
    text = value.decode("utf-8", "surrogateescape").replace("\t", " ")
    return _UNSAFE.sub("?", text).strip()
