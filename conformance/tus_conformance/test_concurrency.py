"""Concurrent requests for one upload."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from .rules import PRACTICE, needs, rule
from .server import KIB, MIB, Server, Upload, some_bytes
from .wire import NoResponse, Response

pytestmark = needs("creation")

SIZE = 200 * KIB


def assert_one_writer(upload: Upload, *candidates: bytes) -> None:
    """Complete an upload, and fail unless its first bytes are those of one candidate."""
    offset = upload.offset()
    rest = b"\xff" * (SIZE - offset)
    if rest:
        upload.append(rest, offset)
    if upload.server.access.can_read:
        stored = upload.read()
        assert stored[offset:] == rest
        assert stored[:offset] in {content[:offset] for content in candidates}, "bytes are mixed"


@rule("C-43")
def test_bytes_of_two_writers_are_never_mixed(server: Server) -> None:
    """The second writer starts when the first has sent half of its body; the first continues."""
    first_content, second_content = some_bytes(SIZE, seed=1), some_bytes(SIZE, seed=2)
    upload = server.create(SIZE)
    with upload.connect() as first:
        upload.begin_patch(first, first_content[: SIZE // 2], 0, content_length=SIZE)
        response = upload.patch(second_content, 0)
        statuses = [response.status]
        try:
            first.send(first_content[SIZE // 2 :])
            statuses.append(first.response("PATCH").status)
        except (NoResponse, OSError):
            pass  # The server closed the first connection in favour of the second.
    assert statuses.count(204) <= 1
    assert_one_writer(upload, first_content, second_content)


@rule("C-43")
def test_at_most_one_of_many_writers_succeeds(server: Server) -> None:
    contents = [some_bytes(SIZE, seed=seed) for seed in range(4)]
    upload = server.create(SIZE)

    def write(content: bytes) -> Response | None:
        try:
            return upload.patch(content, 0)
        except ConnectionError:
            return None

    with ThreadPoolExecutor(len(contents)) as pool:
        responses = list(pool.map(write, contents))
    winners = [
        response for response in responses if response is not None and response.status == 204
    ]
    assert len(winners) <= 1
    assert_one_writer(upload, *contents)


@rule("C-43", level=PRACTICE)
def test_writers_that_lose_get_a_status_that_clients_retry(server: Server) -> None:
    """409, 423 or 5xx: common clients give up after any other 4xx."""
    contents = [some_bytes(SIZE, seed=seed) for seed in range(3)]
    upload = server.create(SIZE)

    def write(content: bytes) -> int | None:
        try:
            return upload.patch(content, 0).status
        except ConnectionError:
            return None

    with ThreadPoolExecutor(len(contents)) as pool:
        responses = set(pool.map(write, contents))
    statuses = [status for status in responses if status is not None]
    assert all(status in {204, 409, 423} or status >= 500 for status in statuses)


@rule("C-43", needs="second-url")
def test_bytes_of_writers_at_two_workers_are_never_mixed(
    server: Server, second_server: Server
) -> None:
    first_content, second_content = some_bytes(SIZE, seed=1), some_bytes(SIZE, seed=2)
    upload = server.create(SIZE)
    with upload.connect() as first:
        upload.begin_patch(first, first_content[: SIZE // 2], 0, content_length=SIZE)
        statuses = [upload.on(second_server).patch(second_content, 0).status]
        try:
            first.send(first_content[SIZE // 2 :])
            statuses.append(first.response("PATCH").status)
        except (NoResponse, OSError):
            pass
    assert statuses.count(204) <= 1
    assert_one_writer(upload, first_content, second_content)


@rule("C-43", "C-41", level=PRACTICE, needs="second-url")
def test_another_worker_takes_over_an_upload_within_9_seconds(
    server: Server, second_server: Server, measure: Callable[[str, str], None]
) -> None:
    content = some_bytes(SIZE)
    upload = server.create(SIZE)
    with upload.connect() as silent:
        upload.begin_patch(silent, content[:1000], 0, content_length=SIZE)
        began = time.monotonic()
        upload.on(second_server).resume(content)
        seconds = time.monotonic() - began
    measure("time until another worker took over", f"{seconds:.2f} s")
    assert seconds < 9
    upload.assert_content(content)


@rule("C-26", level=PRACTICE)
def test_an_offset_returned_during_a_patch_never_decreases(server: Server) -> None:
    content = some_bytes(SIZE)
    upload = server.create(SIZE)
    with upload.connect() as connection:
        upload.begin_patch(connection, content[: SIZE // 2], 0, content_length=SIZE)
        head = upload.head()
        assert head.status in {200, 423}
        returned = int(head["Upload-Offset"]) if head.status == 200 else 0
        assert returned <= SIZE // 2
        connection.close()
    assert upload.offset() >= returned
    upload.resume(content)
    upload.assert_content(content)


@rule("C-26")
def test_many_head_requests_during_patches_never_see_the_offset_decrease(server: Server) -> None:
    content = some_bytes(MIB)
    upload = server.create(len(content))
    seen: list[int] = []
    step = 100 * KIB
    for start in range(0, len(content), step):
        with upload.connect() as connection:
            offset = upload.offset()
            chunk = content[offset : start + step]
            upload.begin_patch(connection, chunk, offset, content_length=len(content) - offset)
            with ThreadPoolExecutor(3) as pool:
                heads = list(pool.map(lambda _: upload.head(), range(3)))
        seen += sorted(int(head["Upload-Offset"]) for head in heads if head.status == 200)
    assert seen == sorted(seen)
    upload.resume(content)
    upload.assert_content(content)


@rule("C-43", level=PRACTICE)
def test_a_stalled_upload_does_not_block_other_uploads(server: Server) -> None:
    stalled = server.create(SIZE)
    with stalled.connect() as connection:
        stalled.begin_patch(connection, b"x", 0, content_length=SIZE)
        began = time.monotonic()
        server.assert_works()
        assert time.monotonic() - began < 5


@rule("C-43", level=PRACTICE)
def test_concurrent_uploads_are_stored_completely(server: Server) -> None:
    contents = [some_bytes(100_000 + seed, seed=seed) for seed in range(8)]

    def write(content: bytes) -> None:
        server.upload(content).assert_content(content)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, contents))


@rule("C-37", "C-43", level=PRACTICE)
def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    """RFC 9112, section 9.3.2."""
    upload = server.create(5)
    with upload.connect() as connection:
        for offset, data in ((0, b"he"), (2, b"llo")):
            fields = server.fields(upload.patch_fields(offset), body=data)
            connection.begin("PATCH", upload.target, fields)
            connection.send(data)
        offsets = [connection.response("PATCH").get("Upload-Offset") for _ in range(2)]
    assert offsets == ["2", "5"]
    upload.assert_content(b"hello")
