"""Listings of a bucket, and the responses that prove that an entry does not exist."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.stores.s3.stubbed_bucket import StubbedBucket
from tus_wsgi.domain.errors import StoreUnavailable
from tus_wsgi.operations.listing import Listing

CALLS: dict[str, tuple[str, Callable[[Listing], object]]] = {
    "objects": ("list_objects_v2", lambda listing: list(listing.objects("p/"))),
    "one object": ("list_objects_v2", lambda listing: listing.has_object("p/a")),
    "multipart uploads": ("list_multipart_uploads", lambda listing: list(listing.multiparts("p/"))),
}


@pytest.mark.parametrize(("operation", "call"), CALLS.values(), ids=CALLS)
def test_a_response_without_the_bucket_name_does_not_prove_absence(
    stubbed: StubbedBucket, operation: str, call: Callable[[Listing], object]
) -> None:
    """D-07: a sweep removes what is not listed, so an empty 200 of a proxy must be a failure."""
    stubbed.add_response(operation)
    with pytest.raises(StoreUnavailable):
        call(Listing(stubbed.client, "bucket"))


@pytest.mark.parametrize(("operation", "call"), CALLS.values(), ids=CALLS)
def test_an_empty_listing_with_the_bucket_name_proves_absence(
    stubbed: StubbedBucket, operation: str, call: Callable[[Listing], object]
) -> None:
    """D-07: the response is S3's own."""
    name = "Name" if operation == "list_objects_v2" else "Bucket"
    stubbed.add_response(operation, **{name: "bucket"})
    assert not call(Listing(stubbed.client, "bucket"))
