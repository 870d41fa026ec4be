"""Concatenations have their own share of a process, and end when their client is gone."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.harness.bodies import ScriptedBody
from tests.harness.clients.service import ServiceClient
from tests.harness.stores import PART, Call, S3Sandbox
from tus_wsgi.domain.commands import Concatenate, Inspect
from tus_wsgi.domain.errors import ClientDisconnected
from tus_wsgi.domain.model import KIB, Final, Metadata, UploadId
from tus_wsgi.stores.s3.concat_share import SHARE

SMALL = 64 * KIB
REFERENCES = 2 * PART // SMALL + 1
"""A final upload that names one small partial upload so often has three parts. S3 can copy only the
last one."""

DATA = random.Random(10).randbytes(2 * PART + 100)
SECONDS = 20.0

PARALLEL_PARTS = 4
"""Of the stores of a sandbox."""


@pytest.fixture
def uploads(sandbox: S3Sandbox) -> ServiceClient:
    return ServiceClient(sandbox.store())


@contextmanager
def in_background(uploads: ServiceClient, ids: list[UploadId], count: int) -> Iterator[None]:
    """Concatenate the uploads `count` times, in threads. The block ends after all of them."""
    threads = [threading.Thread(target=uploads.concatenate, args=ids) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.join()


def test_parts_of_other_uploads_do_not_wait_for_concatenations(
    uploads: ServiceClient, sandbox: S3Sandbox
) -> None:
    partial = uploads.create_partial(DATA[:SMALL])
    reading, may_continue = threading.Semaphore(0), threading.Event()

    def wait(call: Call) -> None:
        if str(call) == "GetObject data":
            reading.release()
            assert may_continue.wait(SECONDS)

    sandbox.calls.before = wait
    with in_background(uploads, [partial] * REFERENCES, 4):
        try:
            assert reading.acquire(timeout=SECONDS)
            # Every call of the concatenations hangs now.
            id = uploads.create(len(DATA), DATA)
            assert uploads.inspect(id).is_finished
        finally:
            may_continue.set()
    assert sandbox.data(id) == DATA


def test_few_parts_of_concatenations_are_in_memory_at_the_same_time(
    uploads: ServiceClient, sandbox: S3Sandbox
) -> None:
    partial = uploads.create_partial(DATA[:SMALL])
    sandbox.calls.clear()
    with in_background(uploads, [partial] * REFERENCES, 2):
        pass
    running = 0
    for event, call in sandbox.calls.log:
        if call.operation == "UploadPart":
            running += 1 if event == "begin" else -1
            assert running <= max(1, PARALLEL_PARTS // SHARE)
    assert sum(call.startswith("UploadPart ") for call in sandbox.calls.begun) == 4


def has_sent_a_part(sandbox: S3Sandbox) -> bool:
    return any(event == "end" and call.number for event, call in sandbox.calls.log)


def concatenation(partial: UploadId) -> Concatenate:
    return Concatenate(Final((partial,) * REFERENCES), Metadata())


def test_a_concatenation_ends_with_its_client(uploads: ServiceClient, sandbox: S3Sandbox) -> None:
    """Nothing is left of the final upload, whose URL no client knows."""
    partial = uploads.create_partial(DATA[:SMALL])
    before = sandbox.list_keys()
    sandbox.calls.clear()

    with pytest.raises(ClientDisconnected):
        uploads.service.execute(
            concatenation(partial), ScriptedBody(), client_is_gone=lambda: has_sent_a_part(sandbox)
        )
    assert sum(call.startswith("UploadPart") for call in sandbox.calls.begun) == 1
    assert "CompleteMultipartUpload data" not in sandbox.calls.begun
    assert sandbox.list_multiparts() == []
    sandbox.sweep_tombstones()
    assert sandbox.list_keys() == before


def test_a_client_that_is_gone_at_once_causes_no_multipart_upload(
    uploads: ServiceClient, sandbox: S3Sandbox
) -> None:
    partial = uploads.create_partial(DATA[:SMALL])
    sandbox.calls.clear()
    with pytest.raises(ClientDisconnected):
        uploads.service.execute(concatenation(partial), ScriptedBody(), client_is_gone=lambda: True)
    assert not any("Multipart" in call for call in sandbox.calls.begun)


def test_a_later_request_continues_the_concatenation_of_a_client_that_is_gone(
    uploads: ServiceClient, sandbox: S3Sandbox
) -> None:
    """The client knows the URL, so the parts that exist are kept for its next HEAD."""
    partial = uploads.create(SMALL, is_partial=True)
    final = uploads.service.concatenate(concatenation(partial)).info.id
    uploads.append(partial, 0, DATA[:SMALL])
    sandbox.calls.clear()

    with pytest.raises(ClientDisconnected):
        uploads.service.execute(
            Inspect(final), ScriptedBody(), client_is_gone=lambda: has_sent_a_part(sandbox)
        )
    assert final not in {key.rpartition("/")[2] for key in sandbox.list_keys()}
    assert len(sandbox.list_multiparts()) == 1
    assert uploads.inspect(final).is_finished
    assert sandbox.data(final) == DATA[:SMALL] * REFERENCES
