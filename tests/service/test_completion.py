"""Open uploads, which a client declares complete, and bodies that exceed an upload's length.

In tus an upload ends with its last byte. In the IETF protocol the client says with which request it
ends, and a body that exceeds the length terminates the upload.
"""

from __future__ import annotations

import pytest

from tests.harness.bodies import ScriptedBody
from tests.service.service_fixtures import FailingServiceClient
from tus_wsgi.domain.commands import Append
from tus_wsgi.domain.errors import (
    LengthExceeded,
    LengthMismatch,
    OnFinishFailed,
    UploadNotFound,
    UploadTooLarge,
)

# -- open uploads ----------------------------------------------------------------------------------


def test_an_open_upload_is_completed_by_the_last_byte_of_a_tus_append(
    hooked_uploads: FailingServiceClient,
) -> None:
    """A tus client does not declare the upload complete."""
    id = hooked_uploads.create(6, b"012", is_open=True)
    hooked_uploads.append(id, 3, b"34", ends_at_length=False)
    assert not hooked_uploads.append(id, 5, b"").is_full
    assert hooked_uploads.append(id, 5, b"5").is_finished
    assert [upload.length for upload in hooked_uploads.finished] == [6]


def test_an_open_upload_with_all_its_bytes_is_completed_by_an_empty_append(
    hooked_uploads: FailingServiceClient,
) -> None:
    id = hooked_uploads.create(3, b"012", is_open=True)
    assert not hooked_uploads.finished
    assert hooked_uploads.append(id, 3, b"").is_finished
    assert len(hooked_uploads.finished) == 1


# -- bodies that exceed the length -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "length", "error"),
    [
        (ScriptedBody(b"x" * 8), None, UploadTooLarge),
        (ScriptedBody(b"x" * 8, content_length=None), None, UploadTooLarge),
        (ScriptedBody(b"x" * 8), 10, LengthMismatch),
    ],
)
def test_a_body_that_exceeds_the_length_terminates_the_upload(
    uploads: FailingServiceClient, body: ScriptedBody, length: int | None, error: type[Exception]
) -> None:
    """R-40."""
    id = uploads.create(9, b"01")
    command = Append(id, 2, length, completes=True, overrun_is_fatal=True)
    with pytest.raises(error):
        uploads.service.execute(command, body)
    with pytest.raises(UploadNotFound):
        uploads.inspect(id)


@pytest.mark.parametrize(
    ("body", "length"),
    [
        (ScriptedBody(b"x" * 2), 10),
        (ScriptedBody(b"x" * 2, content_length=None), 10),
        (ScriptedBody(b"x" * 2, content_length=None), None),
    ],
)
def test_a_wrong_length_does_not_terminate_the_upload(
    uploads: FailingServiceClient, body: ScriptedBody, length: int | None
) -> None:
    """R-06, R-07: the request is refused, and no more."""
    id = uploads.create(9, b"01")
    command = Append(id, 2, length, completes=True, overrun_is_fatal=True)
    with pytest.raises(LengthMismatch):
        uploads.service.execute(command, body)
    assert uploads.inspect(id).offset in (2, 4)


@pytest.mark.parametrize(("content_length", "offset"), [(9, 2), (None, 10)])
def test_a_body_that_exceeds_the_maximum_size_does_not_terminate_the_upload(
    content_length: int | None, offset: int
) -> None:
    """R-16, R-44: only a body that exceeds the upload's own length does."""
    uploads = FailingServiceClient(has_hook=False, max_size=10)
    id = uploads.create(None)
    uploads.append(id, 0, b"01")
    body = ScriptedBody(b"x" * 9, content_length=content_length)
    command = Append(id, 2, ends_at_length=False, overrun_is_fatal=True)
    with pytest.raises(UploadTooLarge) as caught:
        uploads.service.execute(command, body)
    assert not isinstance(caught.value, LengthExceeded)
    assert uploads.inspect(id).offset == offset


@pytest.mark.parametrize("content_length", [1, None])
def test_a_body_for_a_full_upload_does_not_terminate_it(
    hooked_uploads: FailingServiceClient, content_length: int | None
) -> None:
    """R-43: "the server MUST NOT modify the upload resource", even before it is finished."""
    hooked_uploads.finish_errors = [RuntimeError("rejected")]
    id = hooked_uploads.create(3)
    with pytest.raises(OnFinishFailed):
        hooked_uploads.append(id, 0, b"abc")
    body = ScriptedBody(b"x", content_length=content_length)
    command = Append(id, 3, None, completes=True, overrun_is_fatal=True)
    with pytest.raises(UploadTooLarge):
        hooked_uploads.service.execute(command, body)
    assert hooked_uploads.inspect(id).is_finished
