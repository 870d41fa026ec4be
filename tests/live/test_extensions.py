"""The extensions of tus 1.0.0 as real clients use them, through gunicorn and real S3."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import aiotus
import pytest
from tusclient.client import TusClient

from tests.harness.data import some_bytes
from tests.harness.gunicorn import wait_until
from tests.harness.site import PART_SIZE, Site
from tests.harness.tus import Tus

pytestmark = pytest.mark.live

NewSite = Callable[..., Site]


def test_aiotus_uploads_a_file_in_several_that_are_joined(
    new_site: NewSite, tmp_path: Path
) -> None:
    """CO-02: its URLs are absolute, its pieces of any size, and with the setting none is left."""
    site = new_site(TUS_DELETE_PARTIALS="true")
    server = site.start()
    data = some_bytes(2 * PART_SIZE + 1234)
    pieces = [data[: PART_SIZE + 7], data[PART_SIZE + 7 : PART_SIZE + 10], data[PART_SIZE + 10 :]]
    files = [tmp_path / str(number) for number in range(len(pieces))]
    for file, piece in zip(files, pieces, strict=True):
        file.write_bytes(piece)
    endpoint = f"http://127.0.0.1:{server.port}/files"
    with ExitStack() as opened:
        readers = [opened.enter_context(file.open("rb")) for file in files]
        url = asyncio.run(
            aiotus.upload_multiple(endpoint, readers, {"filename": b"x"}, chunksize=1_000_000)
        )
    assert url is not None
    assert site.stored(str(url)) == data
    assert set(site.listing()) == {site.key(str(url)), site.key(str(url)) + ".info"}


def test_tuspy_verifies_each_request(new_site: NewSite, tmp_path: Path) -> None:
    """CK-02, CK-07."""
    site = new_site()
    server = site.start()
    file = tmp_path / "file"
    file.write_bytes(data := some_bytes(2_500_000))
    client = TusClient(f"http://127.0.0.1:{server.port}/files")
    with file.open("rb") as reader:
        uploader = client.uploader(file_stream=reader, chunk_size=1_000_000, upload_checksum=True)
        uploader.upload()
    assert uploader.url is not None
    assert site.stored(uploader.url) == data


def test_a_whole_is_found_by_another_worker(new_site: NewSite) -> None:
    """CU-01, CU-02: with several workers nobody remembers anything."""
    site = new_site()
    tus = Tus(site.start(workers=3).port)
    partial = {"Upload-Concat": "partial"}
    first, last = tus.create(3, partial), tus.create(4, partial)
    tus.send(first, 0, b"abc")
    named = {"Upload-Concat": f"final;{first} {last}"}
    created = tus.ask("POST", tus.base, named)
    assert created.status == 201
    waiting = tus.head(created["Location"].removeprefix(f"http://127.0.0.1:{tus.port}"))
    assert waiting.get("Upload-Offset") is None
    assert waiting["Upload-Length"] == "7"
    tus.send(last, 0, b"defg")
    path = created["Location"].removeprefix(f"http://127.0.0.1:{tus.port}")
    assert tus.offset(path) == 7
    assert tus.head(path)["Upload-Concat"] == named["Upload-Concat"]
    assert site.stored(path) == b"abcdefg"


def test_an_upload_lapses(new_site: NewSite) -> None:
    """EX-02, EX-05, against the server's own clock."""
    site = new_site(TUS_EXPIRES="1s")
    tus = Tus(site.start(workers=2).port)
    path = tus.create(10)
    assert tus.head(path).get("Upload-Expires")
    wait_until(lambda: tus.head(path).status == 410, seconds=10)
    assert tus.patch(path, 0, b"x").status == 410
