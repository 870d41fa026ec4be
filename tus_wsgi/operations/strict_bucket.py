"""S3 calls for a sweep, which deletes data and so must not mistake a failure for absence."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Self

from botocore.exceptions import ClientError

from tus_wsgi.domain.aws_errors import AwsErrorKind, classify_error
from tus_wsgi.domain.errors import StoreUnavailable
from tus_wsgi.stores.s3.bucket import Bucket, ObjectFacts
from tus_wsgi.stores.s3.errors import Forbidden, NotFound

if TYPE_CHECKING:
    from tus_wsgi.domain.parts import Part
    from tus_wsgi.operations.listing import Listing

_NOT_FOUND_CODES = frozenset({"NoSuchKey", "NoSuchUpload"})
_ADVICE = "check TUS_S3_ENDPOINT, and the proxies in front of the service"

IS_LISTED = f"not found, although the bucket's listing has it: {_ADVICE}"
"""The reason if a response contradicts the listing."""

_OBJECT_OPERATIONS = frozenset({"GetObject", "HeadObject", "DeleteObject"})


class UnprovenAbsence(StoreUnavailable):
    """A response says "not found", but does not prove it.

    Attributes:
        reason: what is wrong with the response, and what to do.
    """

    def __init__(self, operation: str, reason: str, *, key: str) -> None:
        super().__init__(operation, key=key)
        self.reason = reason


class StrictBucket(Bucket):
    """A bucket in which only S3's own error document, or a listing, proves absence.

    A server may lack `s3:ListBucket`, so a `Bucket` accepts some responses that only suggest that
    an object does not exist. A sweep has that permission, so it need not guess (D-07, D-08):

    - a 403 is a missing permission;
    - a 404 without S3's error document comes from another program. A response to HEAD has no
      document, so it is accepted only as a reason to list;
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
            self._client.delete_object(Bucket=self.name, Key=key)

    def abort(self, key: str, multipart: str) -> None:
        """Abort the multipart upload. If it is missing, its absence must be proved (D-13)."""
        operation = "AbortMultipartUpload"
        with (
            suppress(NotFound),
            self._require_proof(operation, key),
            self._translate_errors(operation, key),
        ):
            self._client.abort_multipart_upload(Bucket=self.name, Key=key, UploadId=multipart)

    def list_parts(self, key: str, multipart: str) -> list[Part]:
        """Return all uploaded parts, in any order; a part may be listed twice.

        Raises:
            NotFound: the multipart upload does not exist.
            StoreUnavailable: S3 did not answer, or did not prove that the upload does not exist.
        """
        with self._require_proof("ListParts", key):
            return super().list_parts(key, multipart)

    @contextmanager
    def _require_proof(self, operation: str, key: str) -> Iterator[None]:
        try:
            yield
        except NotFound as error:
            cause = _find_response(error)
            if cause is not None:
                self._check_response(operation, key, cause)
            if (
                operation in _OBJECT_OPERATIONS
                and self._listing is not None
                and self._listing.has_object(key)
            ):
                raise UnprovenAbsence(operation, IS_LISTED, key=key) from cause
            raise

    def _check_response(self, operation: str, key: str, cause: ClientError) -> None:
        response = classify_error(cause)
        if response.kind is AwsErrorKind.FORBIDDEN:
            raise Forbidden(operation, response.message, key=key) from cause
        if operation != "HeadObject" and response.code not in _NOT_FOUND_CODES:
            reason = f"HTTP status {response.status} without the error document of S3"
            raise UnprovenAbsence(operation, f"{reason}: {_ADVICE}", key=key) from cause


def _find_response(error: BaseException) -> ClientError | None:
    """Return S3's error response in the chain of causes."""
    current: BaseException | None = error
    while current is not None and not isinstance(current, ClientError):
        current = current.__cause__
    return current
