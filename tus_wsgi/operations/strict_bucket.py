"""S3 calls for a sweep, which deletes data and so must not mistake a failure for absence."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Self, TypeVar

from tus_wsgi.stores.s3.bucket import Bucket, ObjectFacts
from tus_wsgi.stores.s3.errors import NOT_FROM_S3, Forbidden, NotFound, UnprovenAbsence

if TYPE_CHECKING:
    from tus_wsgi.domain.parts import Part
    from tus_wsgi.operations.listing import Listing

IS_LISTED = f"not found, although the bucket's listing has it: {NOT_FROM_S3}"
"""The reason if a response contradicts the listing."""

_Read = TypeVar("_Read")

_OBJECT_OPERATIONS = frozenset({"GetObject", "HeadObject", "DeleteObject"})


class StrictBucket(Bucket):
    """A bucket in which only S3's own error document, or a listing, proves absence.

    A server may lack `s3:ListBucket`, so a `Bucket` finds out whether a 403 stands for a missing
    object. A sweep has that permission, so it need not ask (D-07, D-08):

    - a 403 is a missing permission;
    - with a listing (`with_listing`), an object that is listed exists, whatever S3 answered.
    """

    _listing: Listing | None = None

    def with_listing(self, listing: Listing) -> Self:
        """Return a bucket that lists before it concludes that an object does not exist."""
        bucket = copy.copy(self)
        bucket._listing = listing  # noqa: SLF001 - of this class
        return bucket

    def get(self, key: str) -> tuple[bytes, ObjectFacts]:
        """Return the content and the headers of an object.

        Raises:
            NotFound: the object does not exist.
            StoreUnavailable: S3 did not answer, or did not prove that the object does not exist.
        """
        with self._require_proof("GetObject", key):
            return super().get(key)

    def head(self, key: str) -> ObjectFacts:
        """Return the headers of an object.

        Raises:
            NotFound: the object does not exist.
            StoreUnavailable: S3 did not answer, or did not prove that the object does not exist.
        """
        with self._require_proof("HeadObject", key):
            return super().head(key)

    def delete(self, key: str) -> None:
        """Delete the object. If it is missing, its absence must be proved (D-13)."""
        operation = "DeleteObject"
        with (
            suppress(NotFound),
            self._require_proof(operation, key),
            self._translate_errors(operation, key),
        ):
            self._direct.delete_object(Bucket=self.name, Key=key)
        self._sightings.discard(key)

    def list_parts(self, key: str, multipart: str, *, after: int = 0) -> list[Part]:
        """Return the uploaded parts after part `after`, in any order; see `Bucket.list_parts`.

        Raises:
            NotFound: the multipart upload does not exist.
            StoreUnavailable: S3 did not answer, or did not prove that the upload does not exist.
        """
        with self._require_proof("ListParts", key):
            return super().list_parts(key, multipart, after=after)

    def _find(self, key: str, *, is_likely: bool) -> ObjectFacts:
        with self._require_proof("GetObject", key):
            return super()._find(key, is_likely=is_likely)

    def _confirm_absence(self, key: str, read: Callable[[], _Read], error: Forbidden) -> _Read:
        del key, read
        raise error

    @contextmanager
    def _require_proof(self, operation: str, key: str) -> Iterator[None]:
        try:
            yield
        except NotFound as error:
            if isinstance(error.__cause__, Forbidden):
                raise error.__cause__ from error.__cause__.__cause__
            if self._listing is None or operation not in _OBJECT_OPERATIONS:
                raise
            if self._listing.has_object(key):
                raise UnprovenAbsence(operation, IS_LISTED, key=key) from error.__cause__
            raise
