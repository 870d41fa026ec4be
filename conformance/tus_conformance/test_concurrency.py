"""Several requests for one upload at a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from .rules import PRACTICE, needs, rule
from .server import KIB, MIB, Server, Upload, some_bytes
from .wire import NoResponse, Response

pytestmark = needs("creation")

SIZE = 200 * KIB


def finished(upload: Upload, *candidates: bytes) -> None:
    """Fill an upload up, and fail unless its beginning is one of the candidates'."""
    offset = upload.offset()
    rest = b"\xff" * (SIZE - offset)
    if rest:
        upload.append(rest, offset)
    if upload.server.access.can_read:
        content = upload.read()
        assert content[offset:] == rest
        assert content[:offset] in {one[:offset] for one in candidates}, "bytes are mixed"


@rule("C-43")
def test_bytes_of_two_writers_are_never_mixed(server: Server) -> None:
    """The second one comes while the first is half-way, and the first then goes on."""
    one, two = some_bytes(SIZE, seed=1), some_bytes(SIZE, seed=2)
    upload = server.create(SIZE)
    with upload.connect() as first:
        upload.begin_patch(first, one[: SIZE // 2], 0, content_length=SIZE)
        answer = upload.patch(two, 0)
        statuses = [answer.status]
        try:
            first.send(one[SIZE // 2 :])
            statuses.append(first.response("PATCH").status)
        except (NoResponse, OSError):
            pass  # It was hung up on, so that the second one could go on.
    assert statuses.count(204) <= 1
    finished(upload, one, two)


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
        answers = list(pool.map(write, contents))
    winners = [answer for answer in answers if answer is not None and answer.status == 204]
    assert len(winners) <= 1
    finished(upload, *contents)


@rule("C-43", level=PRACTICE)
def test_writers_that_lose_get_a_status_that_clients_retry(server: Server) -> None:
    """409, 423 or 5xx: after any other 4xx common clients give up."""
    contents = [some_bytes(SIZE, seed=seed) for seed in range(3)]
    upload = server.create(SIZE)

    def write(content: bytes) -> int | None:
        try:
            return upload.patch(content, 0).status
        except ConnectionError:
            return None

    with ThreadPoolExecutor(len(contents)) as pool:
        statuses = set(pool.map(write, contents))
    assert all(status in {None, 204, 409, 423} or status >= 500 for status in statuses if status)


@rule("C-43", needs="second-url")
def test_bytes_of_writers_at_two_workers_are_never_mixed(
    server: Server, second_server: Server
) -> None:
    one, two = some_bytes(SIZE, seed=1), some_bytes(SIZE, seed=2)
    upload = server.create(SIZE)
    with upload.connect() as first:
        upload.begin_patch(first, one[: SIZE // 2], 0, content_length=SIZE)
        statuses = [upload.on(second_server).patch(two, 0).status]
        try:
            first.send(one[SIZE // 2 :])
            statuses.append(first.response("PATCH").status)
        except (NoResponse, OSError):
            pass
    assert statuses.count(204) <= 1
    finished(upload, one, two)


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
    measure("taken over by another worker after", f"{seconds:.2f} s")
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
        said = int(head["Upload-Offset"]) if head.status == 200 else 0
        assert said <= SIZE // 2
        connection.close()
    assert upload.offset() >= said
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
        seen += sorted(int(one["Upload-Offset"]) for one in heads if one.status == 200)
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
    """Pipelining (RFC 9112, section 9.3.2)."""
    upload = server.create(5)
    with upload.connect() as connection:
        for offset, data in ((0, b"he"), (2, b"llo")):
            fields = server.fields(upload.patch_fields(offset), body=data)
            connection.begin("PATCH", upload.target, fields)
            connection.send(data)
        offsets = [connection.response("PATCH").get("Upload-Offset") for _ in range(2)]
    assert offsets == ["2", "5"]
    upload.assert_content(b"hello")
