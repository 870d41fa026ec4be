"""Downloading finished uploads: the bytes, the offset instead of them, and presigned URLs."""

from __future__ import annotations

import pytest

from tests.harness.bodies import ScriptedBody
from tests.harness.clients.service import ServiceClient
from tests.service.service_fixtures import Call, FailingServiceClient
from tus_wsgi.domain.commands import Content, Download, Downloadable, Inspected, Outcome
from tus_wsgi.domain.errors import OnFinishFailed, StoreUnavailable, UploadIncomplete
from tus_wsgi.domain.model import UploadId, UploadInfo

DATA = b"0123456789"


def download(uploads: ServiceClient, id: UploadId, *, or_inspect: bool = False) -> Outcome:
    return uploads.service.execute(Download(id, or_inspect=or_inspect), ScriptedBody())


def bytes_of(outcome: Outcome) -> bytes:
    assert isinstance(outcome, Downloadable)
    return b"".join(outcome.content.read(0, outcome.content.length))


def create_rejected(uploads: ServiceClient) -> UploadId:
    """Create a full upload whose `on_finish` hook has raised once."""
    uploads.finish_errors = [ValueError("rejected")]
    with pytest.raises(OnFinishFailed) as caught:
        uploads.create(len(DATA), DATA)
    return UploadId(caught.value.id)


@pytest.mark.parametrize("has_hook", [False, True])
def test_an_unfinished_upload_cannot_be_downloaded(*, has_hook: bool) -> None:
    uploads = FailingServiceClient(has_hook=has_hook)
    id = uploads.create(10)
    uploads.append(id, 0, b"01234")
    with pytest.raises(UploadIncomplete):
        uploads.content(id)


def test_without_a_hook_an_upload_can_be_downloaded_once_its_object_exists(
    uploads: FailingServiceClient,
) -> None:
    id = uploads.create(10)
    uploads.store.fail(Call.FINISH_MAY_DEFER)
    with pytest.raises(StoreUnavailable):
        uploads.append(id, 0, DATA)
    assert uploads.content(id) == DATA


def test_with_a_hook_an_upload_cannot_be_downloaded_before_the_hook_has_returned(
    hooked_uploads: FailingServiceClient,
) -> None:
    """D-06."""
    hooked_uploads.finish_errors = [ValueError("rejected")]
    id = hooked_uploads.create(10)
    with pytest.raises(OnFinishFailed):
        hooked_uploads.append(id, 0, DATA)
    with pytest.raises(UploadIncomplete):
        hooked_uploads.content(id)


# -- the file, or the offset -----------------------------------------------------------------------


@pytest.mark.parametrize("has_hook", [True, False])
def test_a_download_or_inspect_returns_the_file_of_a_finished_upload(*, has_hook: bool) -> None:
    uploads = FailingServiceClient(has_hook=has_hook)
    id = uploads.create(len(DATA), DATA)
    assert bytes_of(download(uploads, id, or_inspect=True)) == DATA


@pytest.mark.parametrize("has_hook", [True, False])
def test_a_download_or_inspect_returns_the_offset_of_an_unfinished_upload(
    *, has_hook: bool
) -> None:
    """R-30: like HEAD, in the newest version of the IETF draft."""
    uploads = FailingServiceClient(has_hook=has_hook)
    id = uploads.create(len(DATA), DATA[:4])
    outcome = download(uploads, id, or_inspect=True)
    assert outcome == Inspected(uploads.inspect(id))
    assert isinstance(outcome, Inspected)
    assert outcome.info.offset == 4
    with pytest.raises(UploadIncomplete):
        download(uploads, id)


def test_a_download_or_inspect_finishes_a_full_upload_and_returns_its_file(
    hooked_uploads: FailingServiceClient,
) -> None:
    id = create_rejected(hooked_uploads)
    with pytest.raises(UploadIncomplete):
        download(hooked_uploads, id)
    assert bytes_of(download(hooked_uploads, id, or_inspect=True)) == DATA
    assert [upload.id for upload in hooked_uploads.finished] == [id, id]


def test_a_download_or_inspect_fails_if_the_hook_raises_again(
    hooked_uploads: FailingServiceClient,
) -> None:
    id = create_rejected(hooked_uploads)
    hooked_uploads.finish_errors = [ValueError("rejected again")]
    with pytest.raises(OnFinishFailed):
        download(hooked_uploads, id, or_inspect=True)


# -- presigned URLs --------------------------------------------------------------------------------


def presign_url(info: UploadInfo, content: Content) -> str:
    return f"https://s3/{info.id}?{content.length}"


def test_a_download_returns_the_presigned_url() -> None:
    uploads = FailingServiceClient(presign_url=presign_url)
    id = uploads.create(len(DATA), DATA)
    outcome = download(uploads, id)
    assert isinstance(outcome, Downloadable)
    assert outcome.presigned_url == f"https://s3/{id}?10"


def test_a_download_returns_no_presigned_url_by_default(
    hooked_uploads: FailingServiceClient,
) -> None:
    outcome = download(hooked_uploads, hooked_uploads.create(len(DATA), DATA))
    assert isinstance(outcome, Downloadable)
    assert outcome.presigned_url is None


def test_a_download_that_may_not_redirect_returns_no_presigned_url() -> None:
    """R-30, R-32: the response is a 2xx from this server."""
    uploads = FailingServiceClient(presign_url=presign_url)
    command = Download(uploads.create(len(DATA), DATA), or_inspect=True, may_redirect=False)
    outcome = uploads.service.execute(command, ScriptedBody())
    assert isinstance(outcome, Downloadable)
    assert outcome.presigned_url is None


def test_a_download_fails_if_the_url_cannot_be_signed() -> None:
    def fail(_info: UploadInfo, _content: Content) -> str:
        raise StoreUnavailable("GetObject")

    uploads = FailingServiceClient(presign_url=fail)
    id = uploads.create(len(DATA), DATA)
    with pytest.raises(StoreUnavailable):
        download(uploads, id)
