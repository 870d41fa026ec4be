"""Connections that are lost during a PATCH."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from .options import Options
from .rules import PRACTICE, SHOULD, needs, rule
from .server import KIB, MIB, Server, Upload, some_bytes
from .wire import Connection

pytestmark = needs("creation")

SIZE = MIB
CONTENT = some_bytes(SIZE, seed=41)
SENT_SIZES = [0, 1, SIZE // 2, SIZE - 1]

MAX_LOSS = 64 * KIB
"""Received bytes that a server may lose in its buffers, in tests that do not demand every byte."""


@contextmanager
def _closed(connection: Connection) -> Iterator[None]:
    connection.close()
    yield


@contextmanager
def _half_closed(connection: Connection) -> Iterator[None]:
    connection.half_close()
    yield
    connection.close()


@contextmanager
def _reset(connection: Connection) -> Iterator[None]:
    connection.reset()
    yield


@contextmanager
def _silent(connection: Connection) -> Iterator[None]:
    yield
    connection.close()


INTERRUPTIONS: dict[str, Callable[[Connection], AbstractContextManager[None]]] = {
    "close": _closed,
    "half-close": _half_closed,
    "reset": _reset,
    "silence": _silent,
}
"""How a client interrupts a request. The connection stays so during the block, and then closes."""

every_interruption = pytest.mark.parametrize("interruption", INTERRUPTIONS)
every_size = pytest.mark.parametrize("sent", SENT_SIZES)
every_framing = pytest.mark.parametrize("framing", ["length", "chunked"])


@contextmanager
def interrupted_upload(
    server: Server, interruption: str, sent: int, framing: str
) -> Iterator[Upload]:
    """Create an upload and interrupt its first PATCH after `sent` bytes.

    Args:
        server: where to create the upload.
        interruption: a key of `INTERRUPTIONS`.
        sent: how many bytes of the body are sent.
        framing: `length` or `chunked`.
    """
    upload = server.create(SIZE)
    connection = upload.connect()
    content_length = SIZE if framing == "length" else None
    upload.begin_patch(connection, CONTENT[:sent], 0, content_length=content_length)
    with INTERRUPTIONS[interruption](connection):
        yield upload


@rule("C-41", "C-25")
@every_interruption
@every_size
@every_framing
def test_an_interrupted_upload_can_be_resumed(
    server: Server, interruption: str, sent: int, framing: str
) -> None:
    with interrupted_upload(server, interruption, sent, framing) as upload:
        assert 0 <= upload.offset() <= sent
        upload.resume(CONTENT)
        upload.assert_content(CONTENT)


def offset_after(upload: Upload, *, at_least: int) -> int:
    """Return the offset once the server has stored `at_least` so many bytes, or after 5 seconds."""
    deadline = time.monotonic() + 5
    while (offset := upload.offset()) < at_least and time.monotonic() < deadline:
        time.sleep(0.1)
    return offset


@rule("C-41", level=SHOULD)
@every_interruption
@every_framing
def test_most_received_bytes_are_stored(server: Server, interruption: str, framing: str) -> None:
    """ "The Server SHOULD always attempt to store as much of the received data as possible." """
    sent = SIZE // 2
    with interrupted_upload(server, interruption, sent, framing) as upload:
        assert sent - MAX_LOSS <= offset_after(upload, at_least=sent - MAX_LOSS) <= sent


@rule("C-41", level=PRACTICE)
@every_interruption
@every_size
@every_framing
def test_every_received_byte_is_stored(
    server: Server, interruption: str, sent: int, framing: str
) -> None:
    with interrupted_upload(server, interruption, sent, framing) as upload:
        assert offset_after(upload, at_least=sent) == sent


@rule("C-41", "C-43", level=PRACTICE)
@every_interruption
@every_framing
def test_an_interrupted_upload_can_be_resumed_within_9_seconds(
    server: Server, interruption: str, framing: str, measure: Callable[[str, str], None]
) -> None:
    """Common clients stop retrying after about nine seconds."""
    with interrupted_upload(server, interruption, SIZE // 2, framing) as upload:
        began = time.monotonic()
        upload.resume(CONTENT)
        seconds = time.monotonic() - began
        measure(f"time to resume after {interruption}, {framing}", f"{seconds:.2f} s")
    assert seconds < 9


@rule("C-41")
def test_an_upload_survives_many_interruptions(server: Server) -> None:
    """Every request is interrupted in a different way; the offset never decreases."""
    content = CONTENT[: 300 * KIB]
    upload = server.create(len(content))
    offset = 0
    interruptions = (_closed, _reset, _half_closed, _silent, _reset, _closed)
    for number, interrupt in enumerate(interruptions):
        connection = upload.connect()
        remaining = len(content) - offset
        chunk = content[offset : offset + 40_001 + number]
        upload.begin_patch(connection, chunk, offset, content_length=remaining)
        with interrupt(connection):
            current = upload.offset()
            assert offset <= current <= offset + len(chunk)
        offset = upload.offset()
        assert offset >= current
    upload.resume(content)
    upload.assert_content(content)


@rule("C-41", "FRAMING", level=PRACTICE)
@pytest.mark.parametrize(
    "interrupt", [_closed, _reset, _half_closed], ids=["close", "reset", "half"]
)
@pytest.mark.parametrize("text", [b"", b"PAT", b"PATCH /x HTTP/1.1\r\nHost: x\r\nUplo"])
def test_an_incomplete_request_head_does_no_harm(
    server: Server, text: bytes, interrupt: Callable[[Connection], AbstractContextManager[None]]
) -> None:
    connection = server.connect()
    connection.send(text)
    with interrupt(connection):
        server.assert_works()


@rule("C-42", level=SHOULD, needs="stall")
@every_framing
def test_an_idle_client_is_timed_out_and_its_bytes_are_stored(
    server: Server, options: Options, framing: str, measure: Callable[[str, str], None]
) -> None:
    assert options.stall is not None
    upload = server.create(SIZE)
    with upload.connect() as connection:
        content_length = SIZE if framing == "length" else None
        upload.begin_patch(connection, CONTENT[:100_000], 0, content_length=content_length)
        began = time.monotonic()
        assert connection.closes_within(options.stall + 15)
        measure(f"idle timeout, {framing}", f"{time.monotonic() - began:.2f} s")
    assert 100_000 - MAX_LOSS <= upload.offset() <= 100_000
    upload.resume(CONTENT)
    upload.assert_content(CONTENT)


@rule("C-42", level=PRACTICE, needs="stall")
def test_a_slow_client_is_not_timed_out(server: Server, options: Options) -> None:
    """Each byte restarts the idle timeout."""
    assert options.stall is not None
    upload = server.create(6)
    with upload.connect() as connection:
        upload.begin_patch(connection, b"", 0, content_length=6)
        for octet in b"slowly":
            time.sleep(options.stall / 2)
            connection.send(bytes((octet,)))
        assert connection.response("PATCH").status == 204
    upload.assert_content(b"slowly")


@rule("C-44", needs="second-url")
def test_every_worker_returns_the_same_offset(server: Server, second_server: Server) -> None:
    upload = server.create(SIZE)
    other = upload.on(second_server)
    assert other.offset() == 0
    offset = upload.append(CONTENT[:1000])
    assert other.offset() == offset
    offset = other.append(CONTENT[offset : SIZE // 2], offset)
    assert upload.offset() == offset
    upload.append(CONTENT[offset:], offset)
    other.assert_content(CONTENT)


@rule("C-44", needs="kill")
@pytest.mark.parametrize("sent", [0, 1, SIZE // 2, SIZE])
def test_an_offset_survives_a_crash(
    server: Server, kill_workers: Callable[[], None], sent: int
) -> None:
    upload = server.create(SIZE)
    upload.append(CONTENT[:sent])
    kill_workers()
    assert upload.offset() == sent
    upload.resume(CONTENT)
    upload.assert_content(CONTENT)


@rule("C-44", "C-41", needs="kill")
def test_a_crash_during_a_patch_loses_no_acknowledged_bytes(
    server: Server, kill_workers: Callable[[], None]
) -> None:
    upload = server.create(SIZE)
    upload.append(CONTENT[:100])
    with upload.connect() as connection:
        upload.begin_patch(connection, CONTENT[100 : SIZE // 2], 100, content_length=SIZE - 100)
        kill_workers()
    assert upload.offset() >= 100
    upload.resume(CONTENT)
    upload.assert_content(CONTENT)
