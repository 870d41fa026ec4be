"""A proxy marks S3's ETags as weak: conditions, completions and copies work as before."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.harness.data import some_bytes
from tests.harness.stores import PART, S3Sandbox
from tests.operations.answers import responding, weaken_etags
from tests.stores.s3.upload_client import UploadClient
from tus_wsgi.domain.model import Final, Partial, UploadId, UploadInfo
from tus_wsgi.stores.s3.context import no_lock_needed

DATA = some_bytes(PART + 9)


@pytest.fixture(autouse=True)
def weak(sandbox: S3Sandbox) -> Iterator[None]:
    with responding(sandbox.client, weaken_etags):
        yield


def test_an_upload_in_many_requests_is_stored(sandbox: S3Sandbox) -> None:
    """Its record and its tail are written with If-Match, which a weak ETag never satisfies."""
    client = UploadClient(sandbox, has_cache=False)
    id = client.create(None).id
    for start, stop in ((0, 5), (5, 9), (9, PART + 3)):
        client.append(id, DATA[start:stop], offset=start)
        assert client.inspect(id).offset == stop
    client.append(id, DATA[PART + 3 :], offset=PART + 3, length=len(DATA))
    assert sandbox.data(id) == DATA
    assert client.download(id) == DATA


def test_a_final_upload_is_copied(sandbox: S3Sandbox) -> None:
    """Copies name the ETag of their source."""
    partial = UploadId("partial")
    store = sandbox.store()
    store.create(UploadInfo(partial, len(DATA), concat=Partial()), record_now=True)
    UploadClient(sandbox).append(partial, DATA)
    final = store.create(
        UploadInfo(UploadId("final"), None, concat=Final((partial, partial), "")), record_now=True
    )
    final.load_offset()
    final.assemble(no_lock_needed)
    assert sandbox.data(UploadId("final")) == DATA + DATA


def test_a_download_has_a_strong_etag(sandbox: S3Sandbox) -> None:
    """The content is that of S3, byte for byte."""
    client = UploadClient(sandbox)
    id = client.create(9, DATA[:9]).id
    upload = sandbox.store().open(id)
    upload.load_offset()
    assert not upload.content().etag.startswith("W/")
