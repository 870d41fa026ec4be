"""Which objects of the bucket belong to an upload. Names follow tusd's S3 store."""

from __future__ import annotations

from dataclasses import dataclass

from tus_wsgi.domain.model import UploadId


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of an upload's objects.

    Attributes:
        object_prefix: put before the data object's key. A slash is added where there is none.
        metadata_prefix: put before the others' keys instead; empty for the same prefix.
    """

    object_prefix: str = ""
    metadata_prefix: str = ""

    def data(self, id: UploadId) -> str:
        """The finished object. It exists under this key only when the upload is whole."""
        return self.data_prefix + _object_id(id)

    def info(self, id: UploadId) -> str:
        """The record of the upload."""
        return self._info_base(id) + ".info"

    def tail(self, id: UploadId) -> str:
        """The newest bytes, while they do not fill a part."""
        return self._info_base(id) + ".part"

    @property
    def data_prefix(self) -> str:
        """What the keys of data objects begin with."""
        return _with_slash(self.object_prefix)

    @property
    def info_prefix(self) -> str:
        """What the keys of all other objects begin with."""
        return _with_slash(self.metadata_prefix or self.object_prefix)

    @property
    def lock_prefix(self) -> str:
        """What the keys of locks begin with, where they live in the bucket too."""
        return self.info_prefix + "locks/"

    def _info_base(self, id: UploadId) -> str:
        return self.info_prefix + _object_id(id)


def _object_id(id: UploadId) -> str:
    # tusd's ids are `objectId+UploadId`, and its objects are named by the first half.
    return id.rpartition("+")[0] or id


def _with_slash(prefix: str) -> str:
    return prefix if not prefix or prefix.endswith("/") else prefix + "/"
