"""The contract of all stores for concatenation, exercised through the service."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any

import pytest

from tests.harness.bodies import ScriptedBody
from tests.harness.clients.service import METADATA, NOW, ServiceClient
from tests.harness.stores import PART, S3Sandbox
from tus_wsgi.domain.errors import (
    InvalidPartial,
    OnFinishFailed,
    UploadFinal,
    UploadGone,
    UploadIncomplete,
    UploadNotFound,
    UploadTooLarge,
)
from tus_wsgi.domain.events import UploadCreated, UploadFinished
from tus_wsgi.domain.interfaces import Store
from tus_wsgi.domain.model import Extension, Final, Metadata, UploadId
from tus_wsgi.stores.memory import MemoryStore

DATA = random.Random(3).randbytes(PART)
WITHOUT_UNFINISHED = tuple(e for e in Extension if e is not Extension.CONCATENATION_UNFINISHED)
UNKNOWN = UploadId("unknown")

NewService = Callable[..., ServiceClient]


@pytest.fixture(params=["memory", "s3"])
def new(request: pytest.FixtureRequest) -> NewService:
    """A function that makes a service over an empty store, with options of the service."""

    def make(**options: Any) -> ServiceClient:
        return ServiceClient(store(), **options)

    def store() -> Store:
        if request.param == "memory":
            return MemoryStore()
        sandbox: S3Sandbox = request.getfixturevalue("sandbox")
        return sandbox.store()

    return make


@pytest.fixture
def uploads(new: NewService) -> ServiceClient:
    return new()


@pytest.mark.parametrize(
    "sizes",
    [[5], [3, 4], [0], [0, 0], [0, 7, 0], [1] * 20, [1000, 1, 0, 1000]],
    ids=lambda sizes: "-".join(map(str, sizes[:4])),
)
def test_small_partial_uploads_are_concatenated(uploads: ServiceClient, sizes: list[int]) -> None:
    """CO-02, CO-03, CO-09, CO-14: of any size, in the order of the list."""
    starts = [0, *itertools.accumulate(sizes)]
    slices = [DATA[start : start + size] for start, size in zip(starts, sizes, strict=False)]
    info = uploads.concatenate(*map(uploads.create_partial, slices))
    assert info.is_finished
    assert info.length == info.offset == sum(sizes)
    assert uploads.inspect(info.id) == info
    assert uploads.content(info.id) == b"".join(slices)


def test_a_partial_upload_can_be_used_twice_and_in_two_final_uploads(
    uploads: ServiceClient,
) -> None:
    """CO-06, TE-07: and deleted afterwards."""
    a, b = uploads.create_partial(b"abc"), uploads.create_partial(b"de")
    first, second = uploads.concatenate(a, b, a), uploads.concatenate(b, a)
    uploads.terminate(a)
    uploads.terminate(b)
    assert uploads.content(first.id) == b"abcdeabc"
    assert uploads.content(second.id) == b"deabc"


def test_the_final_upload_has_metadata_of_its_own(uploads: ServiceClient) -> None:
    """CO-05."""
    partial = uploads.create_partial(b"abc")
    for metadata in (Metadata((("whole", b"x"),), "whole eA=="), Metadata()):
        info = uploads.concatenate(partial, metadata=metadata)
        assert uploads.inspect(info.id).metadata == metadata
    assert uploads.inspect(partial).metadata == METADATA


def test_the_upload_concat_field_is_stored(uploads: ServiceClient) -> None:
    """CO-01, CO-03."""
    partial = uploads.create_partial(b"abc")
    final = uploads.inspect(uploads.concatenate(partial).id)
    assert final.concat == Final((partial,), f"final;{partial}")
    assert final.created == NOW


def test_the_hook_is_called_for_the_final_upload_only(uploads: ServiceClient) -> None:
    """CO-15: once, and for no partial upload."""
    partials = [uploads.create_partial(b"abc"), uploads.create(3, is_partial=True)]
    uploads.append(partials[1], 0, b"def")
    assert uploads.inspect(partials[1]).is_finished
    assert uploads.finished == []
    info = uploads.concatenate(*partials)
    uploads.inspect(info.id)
    assert [(upload.id, upload.length, upload.metadata) for upload in uploads.finished] == [
        (info.id, 6, METADATA)
    ]
    finished = [event for event in uploads.events if isinstance(event, UploadFinished)]
    assert finished == [UploadFinished(info.id, 6)]
    assert UploadCreated(info.id, 6) in uploads.events


def test_a_final_upload_takes_no_bytes(uploads: ServiceClient) -> None:
    """CO-04: finished or not, at any offset, and nothing of the body is read."""
    partial, running = uploads.create_partial(b"abc"), uploads.create(3, is_partial=True)
    for info in (uploads.concatenate(partial), uploads.concatenate(partial, running)):
        for offset in (0, 3, 7):
            body = ScriptedBody(b"x")
            with pytest.raises(UploadFinal):
                uploads.append(info.id, offset, body)
            assert body.received == 0
    assert uploads.content(partial) == b"abc"


def test_only_partial_uploads_can_be_concatenated(uploads: ServiceClient) -> None:
    """CO-09: not unknown, ordinary or final uploads; the attempt leaves nothing."""
    good = uploads.create_partial(b"abc")
    ordinary = uploads.create(3, b"abc")
    final = uploads.concatenate(good).id
    event_count = len(uploads.events)
    for bad in (UNKNOWN, ordinary, final):
        for partials in ((bad,), (good, bad), (bad, good)):
            with pytest.raises(InvalidPartial, match=bad):
                uploads.concatenate(*partials)
    assert len(uploads.events) == event_count


def test_the_sum_of_the_lengths_is_limited(new: NewService) -> None:
    """CO-12."""
    uploads = new(max_size=10)
    partial = uploads.create_partial(b"x" * 5)
    assert uploads.concatenate(partial, partial).is_finished
    with pytest.raises(UploadTooLarge) as caught:
        uploads.concatenate(partial, partial, partial)
    assert (caught.value.limit, caught.value.provided) == (10, 15)


def test_without_concatenation_unfinished_every_partial_must_be_finished(new: NewService) -> None:
    """CO-08."""
    uploads = new(extensions=WITHOUT_UNFINISHED)
    running = uploads.create(3, is_partial=True)
    with pytest.raises(InvalidPartial):
        uploads.concatenate(uploads.create_partial(b"abc"), running)
    uploads.append(running, 0, b"def")
    assert uploads.concatenate(running).is_finished


@pytest.mark.parametrize("length", [3, None])
def test_a_final_upload_waits_for_its_last_partial(
    uploads: ServiceClient, length: int | None
) -> None:
    """CU-01, CU-02: the next request after the last byte makes the object, once."""
    first, last = uploads.create_partial(b"abc"), uploads.create(length, is_partial=True)
    info = uploads.concatenate(first, last)
    assert not info.is_full
    assert info.length == (None if length is None else 6)
    uploads.append(last, 0, b"d")
    waiting = uploads.inspect(info.id)
    assert (waiting.is_full, waiting.length) == (False, None if length is None else 6)
    with pytest.raises(UploadIncomplete):
        uploads.content(info.id)
    uploads.append(last, 1, b"ef", length=3)
    for _ in range(3):
        done = uploads.inspect(info.id)
        assert done.is_finished
        assert done.length == done.offset == 6
    assert uploads.content(info.id) == b"abcdef"
    assert [upload.id for upload in uploads.finished] == [info.id]


def test_a_final_upload_waits_for_all_its_partials(uploads: ServiceClient) -> None:
    """CU-02: in any order."""
    partials = [uploads.create(2, is_partial=True) for _ in range(3)]
    info = uploads.concatenate(*partials)
    for partial in (partials[2], partials[0], partials[1]):
        assert not uploads.inspect(info.id).is_full
        uploads.append(partial, 0, b"ab")
    assert uploads.inspect(info.id).is_finished
    assert uploads.content(info.id) == b"ababab"


def test_an_empty_finished_partial_upload_does_not_delay_the_final_upload(
    uploads: ServiceClient,
) -> None:
    """CO-14, CU-01."""
    assert uploads.concatenate(
        uploads.create_partial(b""), uploads.create(0, is_partial=True)
    ).is_finished


def test_a_final_upload_without_one_of_its_partials_is_gone(uploads: ServiceClient) -> None:
    """CU-03: the client gets an error instead of waiting for ever."""
    first, last = uploads.create_partial(b"abc"), uploads.create(3, is_partial=True)
    info = uploads.concatenate(first, last)
    uploads.terminate(last)
    for ask in (uploads.inspect, uploads.content):
        with pytest.raises(UploadGone, match=last):
            ask(info.id)
    with pytest.raises(UploadFinal):
        uploads.append(info.id, 0, b"x")
    uploads.terminate(info.id)
    with pytest.raises(UploadNotFound):
        uploads.inspect(info.id)


def test_a_final_upload_that_grows_too_long_is_refused(new: NewService) -> None:
    """CO-12: a deferred length is not known at the creation of the final upload."""
    uploads = new(max_size=10)
    running = uploads.create(None, is_partial=True)
    info = uploads.concatenate(running, running)
    uploads.append(running, 0, b"x" * 6, length=6)
    with pytest.raises(UploadTooLarge):
        uploads.inspect(info.id)


def test_requests_extend_the_expiry_of_a_waiting_final_upload(new: NewService) -> None:
    """EX-06; without requests it expires (EX-05)."""
    uploads = new(lifetime=100.0)
    running = uploads.create(100, is_partial=True)
    info = uploads.concatenate(running)
    assert info.expires is not None
    for offset in range(5):
        uploads.advance_clock(60)
        uploads.append(running, offset, b"x")
        assert uploads.inspect(info.id).expires is not None
    uploads.advance_clock(99)
    uploads.append(running, 5, b"x")
    uploads.advance_clock(2)
    with pytest.raises(UploadGone):
        uploads.inspect(info.id)


def test_finished_final_and_partial_uploads_never_expire(new: NewService) -> None:
    uploads = new(lifetime=100.0)
    partial = uploads.create_partial(b"abc")
    info = uploads.concatenate(partial)
    uploads.advance_clock(1e6)
    assert uploads.inspect(info.id).is_finished
    assert uploads.concatenate(partial).is_finished


def test_delete_partials_deletes_the_partial_uploads(new: NewService) -> None:
    """CO-06: a second final upload of them is refused."""
    uploads = new(delete_partials=True)
    partials = [uploads.create_partial(b"abc"), uploads.create_partial(b"")]
    info = uploads.concatenate(*partials, partials[0])
    for partial in partials:
        with pytest.raises(UploadNotFound):
            uploads.inspect(partial)
    assert uploads.content(info.id) == b"abcabc"
    assert uploads.inspect(info.id).is_finished
    with pytest.raises(InvalidPartial):
        uploads.concatenate(*partials)


def test_partial_uploads_are_kept_until_on_finish_succeeds(new: NewService) -> None:
    """Nothing is deleted before the final upload is finished."""
    uploads = new(delete_partials=True)
    partial = uploads.create_partial(b"abc")
    uploads.finish_errors = [RuntimeError("not today")]
    with pytest.raises(OnFinishFailed):
        uploads.concatenate(partial)
    assert uploads.inspect(partial).is_finished
    (refused,) = uploads.finished
    assert uploads.inspect(refused.id).is_finished
    assert uploads.content(refused.id) == b"abc"
    with pytest.raises(UploadNotFound):
        uploads.inspect(partial)


def test_a_final_upload_can_be_terminated(uploads: ServiceClient) -> None:
    """TE-01, TE-07: waiting or finished; its partial uploads stay."""
    partial, running = uploads.create_partial(b"abc"), uploads.create(3, is_partial=True)
    for info in (uploads.concatenate(partial), uploads.concatenate(partial, running)):
        uploads.terminate(info.id)
        with pytest.raises(UploadNotFound):
            uploads.inspect(info.id)
    assert uploads.content(partial) == b"abc"
