"""The keys of an upload's objects. Names follow tusd's S3 store."""

from __future__ import annotations

from dataclasses import dataclass

from tus_wsgi.domain.model import UploadId


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of an upload's objects under the configured prefixes.

    Attributes:
        object_prefix: prefix of data objects. A trailing slash is added if it is missing.
        metadata_prefix: prefix of all other objects; if empty, `object_prefix` is used.
    """

    object_prefix: str = ""
    metadata_prefix: str = ""

    def data(self, id: UploadId) -> str:
        """Return the key of the data object, which exists only once the upload is complete."""
        return self.data_prefix + _object_id(id)

    def info(self, id: UploadId) -> str:
        """Return the key of the info object, which holds the upload's record."""
        return self._info_base(id) + ".info"

    def tail(self, id: UploadId) -> str:
        """Return the key of the tail: the newest bytes that do not fill a part yet."""
        return self._info_base(id) + ".part"

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
        """The prefix of lock records, if `TUS_LOCKER` is `s3`."""
        return self.info_prefix + "locks/"

    def _info_base(self, id: UploadId) -> str:
        return self.info_prefix + _object_id(id)


def _object_id(id: UploadId) -> str:
    # tusd's ids are `objectId+UploadId`; the keys contain only the objectId.
    return id.rpartition("+")[0] or id


def _with_slash(prefix: str) -> str:
    return prefix if not prefix or prefix.endswith("/") else prefix + "/"
