"""How many bytes of tails an upload writes: they are versions in a bucket with versioning."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest

from tests.harness.stores import PART, S3Sandbox
from tests.stores.s3.upload_client import UploadClient
from tus_wsgi.domain.model import MIB
from tus_wsgi.domain.parts import PartLimits

LENGTH = 11 * MIB
DATA = bytes(LENGTH)

CHUNK = math.ceil(LENGTH / 17)
"""Bytes of each of 17 requests. The last request has fewer."""


@pytest.fixture
def tails(sandbox: S3Sandbox) -> Iterator[list[int]]:
    """The sizes of the tails that are written."""
    sizes: list[int] = []

    def note(params: dict[str, Any], **_: Any) -> None:
        if ".part" in params["Key"]:
            seal = int(params["Metadata"].get("seal", "0"))
            sizes.append(len(params["Body"]) - seal)

    events: Any = sandbox.client.meta.events
    events.register("provide-client-params.s3.PutObject", note)
    yield sizes
    events.unregister("provide-client-params.s3.PutObject", note)


def upload(sandbox: S3Sandbox, limits: PartLimits, chunk: int) -> None:
    client = UploadClient(sandbox, store=sandbox.store(limits=limits))
    id = client.create(LENGTH).id
    for offset in range(0, LENGTH, chunk):
        client.append(id, DATA[offset : offset + chunk], offset=offset)
    assert client.inspect(id).is_finished


def test_each_request_writes_only_its_own_bytes(sandbox: S3Sandbox, tails: list[int]) -> None:
    """10.1 MB of tails in all; 39.8 MB if each request rewrote the tail.

    Bytes of a full part are never in a later tail, and the last request writes no tail.
    """
    upload(sandbox, PartLimits(part_size=PART), CHUNK)
    assert tails == [min(CHUNK, end % PART) for end in range(CHUNK, LENGTH, CHUNK)]
    assert round(sum(tails) / 1e6, 1) == 10.1


def test_sixteen_tails_in_a_part_are_merged_a_few_times(
    sandbox: S3Sandbox, tails: list[int]
) -> None:
    """24.4 MB of tails in all; 92.3 MB if each request rewrote the tail."""
    upload(sandbox, PartLimits(part_size=16 * MIB), CHUNK)
    assert tails == [CHUNK * count for count in (*[1] * 8, 3, 1, 6, 1, 1, 3, 1, 12)]
    assert round(sum(tails) / 1e6, 1) == 24.4


@pytest.mark.parametrize("chunk", [PART, 2 * PART, LENGTH])
def test_requests_that_end_with_a_part_write_no_tail(
    sandbox: S3Sandbox, tails: list[int], chunk: int
) -> None:
    upload(sandbox, PartLimits(part_size=PART), chunk)
    assert tails == []


def test_a_request_without_new_bytes_writes_no_tail(sandbox: S3Sandbox, tails: list[int]) -> None:
    client = UploadClient(sandbox)
    id = client.create(LENGTH).id
    client.append(id, DATA[:1000])
    for _ in range(3):
        client.append(id, b"", offset=1000)
    assert tails == [1000]
