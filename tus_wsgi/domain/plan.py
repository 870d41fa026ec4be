"""What the application decides once for an upload, at its creation. No I/O.

The plan is part of the upload's record, because another process may finish the upload, much later.
The checks of this module return sentences for the developer of the application.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from tus_wsgi.domain.response_fields import checked_fields

MAX_PRIVATE_SIZE = 16 * 1024
"""The maximum size of all private keys and values of a plan together, in bytes. The upload's record
contains them."""

MAX_TAGS = 10
MAX_TAG_KEY = 128
MAX_TAG_VALUE = 256
"""The limits of S3 for the tags of an object: their number, and characters of keys and values."""

MAX_USER_METADATA = 2 * 1024
"""Bytes of all keys and values of an object's user metadata: the limit of S3."""

MAX_VALUE_SIZE = 1024
"""The maximum size of one option such as `content_disposition`, in bytes."""

_PRINTABLE = re.compile(r"[\x20-\x7e]*")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_UNENCODABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectOptions:
    """The headers and properties of the object in S3. An option that is None has the default.

    Attributes:
        content_type: the Content-Type, instead of the one that the client sent.
        content_disposition: the Content-Disposition.
        content_encoding: the Content-Encoding.
        content_language: the Content-Language.
        cache_control: the Cache-Control.
        user_metadata: the user metadata (`x-amz-meta-`), instead of the upload's metadata.
        tags: the tags. They need the permission `s3:PutObjectTagging`.
        storage_class: the storage class, such as `STANDARD_IA`.
        acl: a canned ACL, such as `bucket-owner-full-control`. It needs `s3:PutObjectAcl`.
        encryption: the server-side encryption: `AES256`, `aws:kms` or `aws:kms:dsse`.
        kms_key_id: the KMS key, if `encryption` uses KMS.
        bucket_key: whether S3 uses a bucket key for KMS.
    """

    content_type: str | None = None
    content_disposition: str | None = None
    content_encoding: str | None = None
    content_language: str | None = None
    cache_control: str | None = None
    user_metadata: Mapping[str, str] | None = None
    tags: Mapping[str, str] | None = None
    storage_class: str | None = None
    acl: str | None = None
    encryption: str | None = None
    kms_key_id: str | None = None
    bucket_key: bool | None = None

    def over(self, defaults: ObjectOptions) -> ObjectOptions:
        """Return these options, with the value in `defaults` for each option that is None here.

        If `encryption` is set here, no option of the encryption is taken from `defaults`, because a
        key is meaningless for another algorithm.
        """
        given = self.given()
        inherited = defaults.given()
        if self.encryption is not None:
            for name in ("encryption", "kms_key_id", "bucket_key"):
                inherited.pop(name, None)
        return ObjectOptions(**(inherited | given))

    def given(self) -> dict[str, Any]:
        """Return the options that are not None, by their names."""
        values = {option.name: getattr(self, option.name) for option in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The application's decisions about one upload.

    Attributes:
        private: the application's own values for its later hooks. Clients never see them.
        max_size: bytes of the largest file, in addition to `TUS_MAX_SIZE`; None for no other limit.
        lifetime: seconds after which the unfinished upload expires; 0 for never, None for
            `TUS_EXPIRES`.
        key: the key of the object below the object prefix; None for `TUS_S3_OBJECT_KEY`. Always
            None in a plan that was read from a record, which has the complete key elsewhere.
        object: the headers and properties of the object.
    """

    private: Mapping[str, str] = field(default_factory=dict)
    max_size: int | None = None
    lifetime: float | None = None
    key: str | None = None
    object: ObjectOptions = field(default_factory=ObjectOptions)

    def cap(self, max_size: int) -> int:
        """Return the smaller limit: that of the plan, or `max_size`, that of the server."""
        return max_size if self.max_size is None else min(max_size, self.max_size)


NO_PLAN = Plan()
"""The plan of an upload about which the application decided nothing."""


_PROTOCOL_FIELDS = frozenset(("location", "content-type", "cache-control"))
_PROTOCOL_PREFIXES = ("upload-", "tus-")


def checked_added_fields(fields: Mapping[str, str]) -> Mapping[str, str]:
    """Return fields that an application adds to a successful response.

    Raises:
        ValueError: a field cannot be sent, or the server sets it itself.
    """
    for name in fields:
        if name.lower() in _PROTOCOL_FIELDS or name.lower().startswith(_PROTOCOL_PREFIXES):
            raise ValueError(f"the field {name} is set by the server")
    return checked_fields(fields)


def find_mistakes(plan: Plan) -> Iterator[str]:
    """Yield a sentence for each invalid value. No sentence contains a value of the client."""
    if not _is_text_mapping(plan.private):
        yield "private: expected a mapping of str to str"
    elif (size := _size_of(plan.private)) > MAX_PRIVATE_SIZE:
        yield f"private: expected at most {MAX_PRIVATE_SIZE} bytes, got {size}"
    if plan.max_size is not None and (type(plan.max_size) is not int or plan.max_size < 0):
        yield f"max_size: expected bytes as a non-negative int, got {plan.max_size!r}"
    if plan.lifetime is not None and not _is_duration(plan.lifetime):
        yield f"lifetime: expected seconds as a non-negative number, got {plan.lifetime!r}"
    if plan.key is not None and not isinstance(plan.key, str):
        yield f"key: expected a str, got a {type(plan.key).__name__}"
    yield from find_option_mistakes(plan.object)


def find_option_mistakes(options: ObjectOptions) -> Iterator[str]:
    """Yield a sentence for each invalid option."""
    if not isinstance(options, ObjectOptions):
        yield f"object: expected ObjectOptions, got a {type(options).__name__}"
        return
    for option in fields(options):
        value = getattr(options, option.name)
        if option.name in _NOT_TEXT or value is None:
            continue
        if not _is_field_value(value):
            limit = f"at most {MAX_VALUE_SIZE} printable ASCII characters"
            yield f"object.{option.name}: expected {limit}"
    if options.bucket_key not in (None, True, False):
        yield f"object.bucket_key: expected a bool, got {options.bucket_key!r}"
    yield from _find_tag_mistakes(options.tags)
    yield from _find_metadata_mistakes(options.user_metadata)


_NOT_TEXT = frozenset(("user_metadata", "tags", "bucket_key"))


def _find_tag_mistakes(tags: Mapping[str, str] | None) -> Iterator[str]:
    if tags is None:
        return
    if not _is_text_mapping(tags):
        yield "object.tags: expected a mapping of str to str"
        return
    if len(tags) > MAX_TAGS:
        yield f"object.tags: expected at most {MAX_TAGS} tags, got {len(tags)}"
    for key, value in tags.items():
        if not 0 < len(key) <= MAX_TAG_KEY or len(value) > MAX_TAG_VALUE:
            yield (
                f"object.tags: expected keys of 1 to {MAX_TAG_KEY} characters and values of at "
                f"most {MAX_TAG_VALUE}, got {len(key)} and {len(value)}"
            )
        elif _UNENCODABLE.search(key + value):
            yield "object.tags: expected text without control characters"


def _find_metadata_mistakes(metadata: Mapping[str, str] | None) -> Iterator[str]:
    if metadata is None:
        return
    if not _is_text_mapping(metadata):
        yield "object.user_metadata: expected a mapping of str to str"
        return
    for key, value in metadata.items():
        if _TOKEN.fullmatch(key) is None or not _is_field_value(value):
            yield "object.user_metadata: expected names of header fields and printable ASCII values"
    if _size_of(metadata) > MAX_USER_METADATA:
        limit = f"at most {MAX_USER_METADATA} bytes"
        yield f"object.user_metadata: expected {limit}, got {_size_of(metadata)}"


def _is_text_mapping(values: object) -> bool:
    return isinstance(values, Mapping) and all(
        isinstance(text, str) and _is_encodable(text) for pair in values.items() for text in pair
    )


def _is_encodable(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _is_field_value(value: object) -> bool:
    return (
        isinstance(value, str)
        and len(value) <= MAX_VALUE_SIZE
        and _PRINTABLE.fullmatch(value) is not None
        and value == value.strip()
    )


def _is_duration(value: object) -> bool:
    # More than a thousand years overflows a date.
    return type(value) in (int, float) and 0 <= value < 1000 * 366 * 86400  # type: ignore[operator]


def _size_of(values: Mapping[str, str]) -> int:
    return sum(len(key.encode()) + len(value.encode()) for key, value in values.items())
