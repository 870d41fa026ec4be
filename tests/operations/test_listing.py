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


def test_a_listing_that_ends_without_a_token_proves_nothing(stubbed: StubbedBucket) -> None:
    """D-07: the rest is missing."""
    stubbed.add_response("list_objects_v2", Name="bucket", IsTruncated=True)
    with pytest.raises(StoreUnavailable):
        Listing(stubbed.client, "bucket").has_object("p/a")


def test_a_listing_that_repeats_a_token_proves_nothing(stubbed: StubbedBucket) -> None:
    """D-07: it would never end."""
    for _ in range(2):
        stubbed.add_response(
            "list_objects_v2", Name="bucket", IsTruncated=True, NextContinuationToken="t"
        )
    with pytest.raises(StoreUnavailable):
        Listing(stubbed.client, "bucket").has_object("p/a")


def test_an_object_is_found_behind_others_with_the_same_prefix(stubbed: StubbedBucket) -> None:
    """D-07: not every service sorts the keys."""
    entries = [
        {"Key": key, "Size": 1, "LastModified": "2026-01-02T03:04:05Z"}
        for key in ("p/a.part", "p/a.info", "p/a")
    ]
    stubbed.add_response("list_objects_v2", Name="bucket", Contents=entries)
    assert Listing(stubbed.client, "bucket").has_object("p/a")


@pytest.mark.parametrize("entry", [{"Key": "p/a"}, {"Size": 1}])
def test_an_incomplete_entry_is_a_failure(stubbed: StubbedBucket, entry: dict[str, object]) -> None:
    """D-07: a sweep reports it instead of ending with a traceback."""
    stubbed.add_response("list_objects_v2", Name="bucket", Contents=[entry])
    with pytest.raises(StoreUnavailable):
        list(Listing(stubbed.client, "bucket").objects("p/"))
