"""What a sweep is told of a bucket, and what it must not take for "there is nothing"."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.stores.s3.stubs import Stubbed
from tus_wsgi.domain.errors import StoreUnavailable
from tus_wsgi.operations.listing import Listing

QUESTIONS: dict[str, tuple[str, Callable[[Listing], object]]] = {
    "objects": ("list_objects_v2", lambda listing: list(listing.objects("p/"))),
    "one object": ("list_objects_v2", lambda listing: listing.has("p/a")),
    "multipart uploads": ("list_multipart_uploads", lambda listing: list(listing.multiparts("p/"))),
}


@pytest.mark.parametrize(("operation", "ask"), QUESTIONS.values(), ids=QUESTIONS)
def test_an_answer_that_does_not_name_the_bucket_is_no_proof_of_absence(
    stubbed: Stubbed, operation: str, ask: Callable[[Listing], object]
) -> None:
    """A sweep removes what no listing has, so a proxy's empty 200 would remove running uploads."""
    stubbed.answer(operation)
    with pytest.raises(StoreUnavailable):
        ask(Listing(stubbed.client, "bucket"))


@pytest.mark.parametrize(("operation", "ask"), QUESTIONS.values(), ids=QUESTIONS)
def test_an_answer_that_does_is_one(
    stubbed: Stubbed, operation: str, ask: Callable[[Listing], object]
) -> None:
    name = "Name" if operation == "list_objects_v2" else "Bucket"
    stubbed.answer(operation, **{name: "bucket"})
    assert not ask(Listing(stubbed.client, "bucket"))
