"""The keys of an upload's objects. Names follow tusd's S3 store."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tus_wsgi.domain.model import UploadId, UploadInfo
from tus_wsgi.stores.s3.key_template import (
    DEFAULT_TEMPLATE,
    MIN_RANDOM_ID,
    TAIL_SUFFIX,
    is_reserved,
    render_key,
)

MAX_KEY_SIZE = 1024
"""Bytes of a key in UTF-8: the limit of S3."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


class InvalidKey(ValueError):
    """An application chose a key that an upload cannot have. The message contains no id."""


_TAIL_KEY = re.compile(f"(.*){TAIL_SUFFIX}", re.DOTALL)


def segment_key(tail_key: str, number: int) -> str:
    """Return the key of segment `number` of the tail at `tail_key`. Numbers begin at 1."""
    return f"{tail_key}.segment.{number}"


def numbered_key(tail_key: str, start: int, number: int) -> str:
    """Return the key of the numbered tail that starts at the offset `start`."""
    return f"{tail_key}.{start}.{number}"


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of an upload's objects under the configured prefixes.

    Attributes:
        object_prefix: prefix of data objects. A trailing slash is added if it is missing.
        metadata_prefix: prefix of all other objects; if empty, `object_prefix` is used.
        lock_object_prefix: prefix of lock records; if empty, `locks/` after the prefix of info
            objects.
        template: the keys of new data objects, see `tus_wsgi.stores.s3.key_template`.
    """

    object_prefix: str = ""
    metadata_prefix: str = ""
    lock_object_prefix: str = ""
    template: str = DEFAULT_TEMPLATE

    def data(self, id: UploadId) -> str:
        """Return the default key of the data object. The record may name another one."""
        return self.data_prefix + _object_id(id)

    def new_data(self, info: UploadInfo) -> str:
        """Return the key of a new upload's data object.

        It is the key in the application's plan, or else the template makes it.

        Raises:
            InvalidKey: the plan's key cannot be used.
        """
        id = _object_id(info.id)
        if info.plan.key is not None:
            self._check(info.plan.key, id)
            return self.data_prefix + info.plan.key
        if self.has_default_template:
            return self.data(info.id)
        key = render_key(self.template, info, id)
        if self._is_lock(key):
            key = f"_{key}"  # outside of the prefix of locks
        return self.data_prefix + key

    @property
    def has_default_template(self) -> bool:
        """Whether new data objects have the default keys, unless a plan says otherwise."""
        return self.template == DEFAULT_TEMPLATE

    def is_own(self, key: str, id: UploadId) -> bool:
        """Return whether a data key can only be this upload's: it contains the random id (D-12)."""
        if not key.startswith(self.data_prefix):
            return False
        name, object_id = key.removeprefix(self.data_prefix), _object_id(id)
        is_random = len(object_id) >= MIN_RANDOM_ID
        return name == object_id or (is_random and object_id in name)

    def _check(self, key: str, id: str) -> None:
        if id not in key:
            raise InvalidKey(f"expected a key that contains the upload's id, got {key!r}")
        if _CONTROL.search(key):
            raise InvalidKey("expected a key without control characters")
        if (size := len((self.data_prefix + key).encode())) > MAX_KEY_SIZE:
            limit = f"at most {MAX_KEY_SIZE} bytes with the object prefix"
            raise InvalidKey(f"expected a key of {limit}, got {size}")
        segments = key.split("/")
        if any(segment in ("", ".", "..") for segment in segments):
            raise InvalidKey("expected a key without empty, '.' and '..' segments")
        if any(map(is_reserved, segments)):
            raise InvalidKey("expected a key in which no segment ends with '.info' or '.part'")
        if self._is_lock(key):
            raise InvalidKey("expected a key outside of the prefix of locks")

    def _is_lock(self, key: str) -> bool:
        return (self.data_prefix + key).startswith(self.lock_prefix)

    def info(self, id: UploadId) -> str:
        """Return the key of the info object, which holds the upload's record."""
        return self._info_base(id) + ".info"

    def tail(self, id: UploadId) -> str:
        """Return the key of the tail: the newest bytes that do not fill a part yet."""
        return self._info_base(id) + ".part"

    def object_id_of_tail(self, key: str) -> str | None:
        """Return the object id in the key of a tail of any kind; None for other keys."""
        match = _TAIL_KEY.fullmatch(key.removeprefix(self.info_prefix))
        return None if match is None else match[1]

    def is_data_key(self, key: str) -> bool:
        """Return whether an upload's data object may have this key (D-12).

        A record may come from another program. The key must be below the object prefix, and must
        not be that of an info object, a tail or a lock record.
        """
        if not key.startswith(self.data_prefix):
            return False
        path = key.removeprefix(self.data_prefix)
        is_lock = key.startswith(self.lock_prefix)
        is_info_or_tail = key.endswith(".info") or _TAIL_KEY.fullmatch(key) is not None
        # Some services resolve these segments, as a file system does.
        has_dots = not {".", ".."}.isdisjoint(path.split("/"))
        return bool(path) and not (is_lock or is_info_or_tail or has_dots)

    @property
    def data_prefix(self) -> str:
        """The prefix of data objects, with its slash."""
        return _with_slash(self.object_prefix)

    @property
    def info_prefix(self) -> str:
        """The prefix of info objects, tails and locks, with its slash."""
        return _with_slash(self.metadata_prefix or self.object_prefix)

    @property
    def lock_prefix(self) -> str:
        """The prefix of lock records, if `TUS_LOCKER` is `s3`.

        Upload ids contain no slash, so no default key begins with the default prefix.
        """
        return self.lock_object_prefix or self.info_prefix + "locks/"

    def _info_base(self, id: UploadId) -> str:
        return self.info_prefix + _object_id(id)


def _object_id(id: UploadId) -> str:
    # tusd's ids are `objectId+UploadId`; the keys contain only the objectId.
    return id.rpartition("+")[0] or id


def _with_slash(prefix: str) -> str:
    return prefix if not prefix or prefix.endswith("/") else prefix + "/"
