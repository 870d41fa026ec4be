"""How many bytes of tails an upload writes: they are versions in a bucket with versioning (C13)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.harness.stores import PART, S3Sandbox
from tests.stores.s3.upload_client import UploadClient
from tus_wsgi.domain.model import MIB
from tus_wsgi.domain.parts import PartLimits

LENGTH = 11 * MIB
DATA = bytes(LENGTH)


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


@pytest.mark.parametrize("part_size", [PART, 16 * MIB])
def test_each_request_writes_the_bytes_of_the_part_that_it_ends_in(
    sandbox: S3Sandbox, tails: list[int], part_size: int
) -> None:
    """Bytes of a full part are never in a later tail, and the last request writes no tail."""
    chunk = -(-LENGTH // 17)
    upload(sandbox, PartLimits(part_size=part_size), chunk)
    ends = range(chunk, LENGTH, chunk)
    assert tails == [end % part_size for end in ends]
    print(f"parts of {part_size / MIB:.0f} MiB: {sum(tails) / 1e6:.1f} MB of tails")


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
