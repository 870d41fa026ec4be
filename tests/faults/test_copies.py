"""Concatenation on services that do not copy parts, or do not complete copied parts.

The fault proxy answers as such a service does (`deviation`). All parts lie within one partial
upload, so that S3 would copy each of them.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator

import pytest

from tests.faults.faulty_s3 import CALL_TIMEOUT, FaultyS3, limits_for
from tests.harness.clients.service import ServiceClient
from tests.harness.data import some_bytes
from tests.harness.proxies.deviations import (
    COPY_REFUSALS,
    Deviation,
    answering,
    no_deviation,
    requiring_checksums,
)
from tests.harness.proxies.faults import Call, CannedReply
from tus_wsgi.domain.errors import StoreUnavailable
from tus_wsgi.stores.s3 import S3Store
from tus_wsgi.stores.s3.copy_support import RETRY_AFTER, CopySupport
from tus_wsgi.stores.s3.keys import Keys

pytestmark = pytest.mark.faults

COPY = "UploadPartCopy"


class Concatenator:
    """A server process that concatenates uploads behind the fault proxy.

    Args:
        faulty_s3: the service.
        has_checksums: whether S3 gets checksums.
        tiny: the bytes of a copy whose refusal says nothing about other copies.

    Attributes:
        now: seconds of a clock. The store tries copies again when enough of them have passed.
    """

    def __init__(self, faulty_s3: FaultyS3, *, has_checksums: bool = True, tiny: int = 0) -> None:
        self.now = 0.0
        self._faulty_s3 = faulty_s3
        self._keys = Keys(secrets.token_hex(6))
        self._part = faulty_s3.part_size
        self._store = S3Store(
            faulty_s3.client(timeout=CALL_TIMEOUT, retries=False),
            faulty_s3.service.bucket,
            keys=self._keys,
            limits=limits_for(self._part),
            parallel_parts=1,  # otherwise several copies fail before the store gives up copying
            has_checksums=has_checksums,
            copies=CopySupport(lambda: self.now, tiny=tiny),
        )
        self._uploads = ServiceClient(self._store)

    def concatenate(self) -> list[Call]:
        """Concatenate three uploads, check the object, and return the calls that name a part."""
        content = some_bytes(2 * self._part + 5)
        slices = [
            content[start : start + self._part] for start in range(0, len(content), self._part)
        ]
        ids = [self._uploads.create_partial(slice) for slice in slices]
        self._faulty_s3.proxy.start()
        info = self._uploads.concatenate(*ids)
        assert info.is_finished
        admin, bucket = self._faulty_s3.admin, self._faulty_s3.service.bucket
        stored = admin.get_object(Bucket=bucket, Key=self._keys.data(info.id))
        assert stored["Body"].read() == content
        left = admin.list_multipart_uploads(Bucket=bucket, Prefix=self._keys.object_prefix)
        assert "Uploads" not in left
        return [call for call in self._faulty_s3.proxy.calls if call.part is not None]


def copies_in(calls: list[Call]) -> int:
    return sum(call.operation == COPY for call in calls)


@pytest.fixture
def deviating(faulty_s3: FaultyS3) -> Iterator[Callable[[Deviation], None]]:
    """A function that sets how the service differs, until the test ends."""

    def deviate(deviation: Deviation) -> None:
        faulty_s3.proxy.deviation = deviation

    yield deviate
    faulty_s3.proxy.deviation = no_deviation


Deviate = Callable[[Deviation], None]


@pytest.mark.parametrize("refusal", COPY_REFUSALS)
def test_the_bytes_of_parts_that_the_service_does_not_copy_are_sent(
    faulty_s3: FaultyS3, deviating: Deviate, refusal: str
) -> None:
    deviating(answering(COPY, COPY_REFUSALS[refusal]))
    calls = Concatenator(faulty_s3).concatenate()
    assert [call.part for call in calls if call.operation == "UploadPart"] == [1, 2, 3]


def test_a_process_remembers_that_copies_are_refused_and_tries_again_later(
    faulty_s3: FaultyS3, deviating: Deviate
) -> None:
    """Only the copy of the first part fails; the other parts are not copied."""
    deviating(answering(COPY, COPY_REFUSALS["501"]))
    process = Concatenator(faulty_s3)
    assert [copies_in(process.concatenate()) for _ in range(2)] == [1, 0]
    deviating(no_deviation)
    process.now += RETRY_AFTER - 1
    assert copies_in(process.concatenate()) == 0
    process.now += 1
    assert copies_in(process.concatenate()) == 3


def test_the_refusal_of_a_tiny_copy_says_nothing_about_the_next_copy(
    faulty_s3: FaultyS3, deviating: Deviate
) -> None:
    """Garage does not copy objects of up to 3 KiB. It copies all others."""
    deviating(answering(COPY, COPY_REFUSALS["501"]))
    process = Concatenator(faulty_s3, tiny=faulty_s3.part_size)
    assert copies_in(process.concatenate()) == 3


def test_copied_parts_that_the_service_does_not_complete_are_replaced(
    faulty_s3: FaultyS3, deviating: Deviate
) -> None:
    """D-01: the same bytes replace each copied part, which has no checksum."""
    deviating(requiring_checksums())
    process = Concatenator(faulty_s3)
    calls = process.concatenate()
    assert copies_in(calls) == 3
    assert [call.part for call in calls if call.operation == "UploadPart"] == [1, 2, 3]
    assert copies_in(process.concatenate()) == 0


def test_a_refused_completion_without_checksums_is_an_error(
    faulty_s3: FaultyS3, deviating: Deviate
) -> None:
    """Sending the bytes again cannot help, since parts have no checksums in this mode."""
    deviating(requiring_checksums())
    process = Concatenator(faulty_s3, has_checksums=False)
    with pytest.raises(StoreUnavailable):
        process.concatenate()
    assert not any(call.operation == "UploadPart" for call in faulty_s3.proxy.calls)


def test_a_failure_of_the_service_is_no_refusal(faulty_s3: FaultyS3, deviating: Deviate) -> None:
    """The next request tries the copy again."""
    failure = CannedReply("500 Internal Server Error", "InternalError")
    deviating(answering(COPY, failure))
    process = Concatenator(faulty_s3)
    with pytest.raises(StoreUnavailable):
        process.concatenate()
    deviating(no_deviation)
    assert copies_in(process.concatenate()) == 3
