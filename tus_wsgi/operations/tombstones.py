"""Remove the tombstones of terminated uploads, and what S3 wrote after the termination.

See `tus_wsgi.stores.s3.termination`. A tombstone names the multipart upload, the data object and
the tail of its upload, which proves that they belong to this deployment (D-12).
"""

from __future__ import annotations

from dataclasses import dataclass

from tus_wsgi.domain.interfaces import AssertHeld
from tus_wsgi.operations.listing import Listing
from tus_wsgi.operations.strict_bucket import StrictBucket
from tus_wsgi.stores.s3.keys import Keys
from tus_wsgi.stores.s3.record import UploadRecord


@dataclass(frozen=True, slots=True)
class LateWrites:
    """What S3 wrote after the termination of an upload.

    Attributes:
        has_object: whether there is the data object of the upload.
        has_other_object: whether there is an object of another size at the key, which may be
            another program's. It is left alone.
        multiparts: the UploadIds of open multipart uploads at the key.
    """

    has_object: bool
    has_other_object: bool
    multiparts: tuple[str, ...]


class TombstoneRemover:
    """Examines and removes tombstones that are older than any late write.

    Args:
        bucket: a bucket with a listing.
        listing: the listing of the same bucket.
        keys: the prefixes.
    """

    def __init__(self, bucket: StrictBucket, listing: Listing, keys: Keys) -> None:
        self._bucket = bucket
        self._listing = listing
        self._keys = keys

    def find_late_writes(self, tombstone: UploadRecord) -> LateWrites:
        """Look up what S3 wrote after the termination. Up to three S3 calls.

        Only a key that contains the upload's random id certainly belongs to this upload alone.

        Raises:
            StoreUnavailable: S3 did not answer, or did not prove that there is no object.
        """
        key = tombstone.key
        if not self._keys.is_own(key, tombstone.info.id):
            return LateWrites(has_object=False, has_other_object=False, multiparts=())
        facts = self._bucket.find(key) if tombstone.may_have_object else None
        is_own = facts is not None and facts.size == tombstone.info.length
        return LateWrites(
            has_object=is_own,
            has_other_object=facts is not None and not is_own,
            multiparts=tuple(
                listed.multipart for listed in self._listing.multiparts(key) if listed.key == key
            ),
        )

    def remove(self, tombstone: UploadRecord, late: LateWrites, assert_held: AssertHeld) -> None:
        """Remove the late writes and then the tombstones; the one in the info object last (D-13).

        Raises:
            LockLost: a request holds the lock.
            StoreUnavailable: the tombstone is left, and the next sweep tries again.
        """
        named = () if tombstone.multipart is None else (tombstone.multipart,)
        for multipart in dict.fromkeys((*named, *late.multiparts)):
            assert_held()
            self._bucket.abort(tombstone.key, multipart)
        id = tombstone.info.id
        data = (tombstone.key,) if late.has_object else ()
        tail = self._keys.tail(id)
        numbered = [
            listed.key
            for listed in self._listing.objects(f"{tail}.")
            if self._keys.object_id_of_tail(listed.key) is not None
        ]
        for key in (*data, *numbered, tail, self._keys.info(id)):
            assert_held()
            self._bucket.delete(key)
