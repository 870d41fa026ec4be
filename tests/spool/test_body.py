"""Bodies that are buffered in memory and on disk until their checksum is verified."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.harness.bodies import ScriptedBody, sliced
from tus_wsgi.domain.checksums import Algorithm
from tus_wsgi.domain.interfaces import BodyEnd
from tus_wsgi.spool.body import STEP, SpooledBody
from tus_wsgi.spool.spool import Spool


@pytest.mark.parametrize("budget", [0, 100, 10**9], ids=["disk", "both", "memory"])
@pytest.mark.parametrize("size", [0, 1, STEP - 1, STEP, 2 * STEP + 1])
@pytest.mark.parametrize("has_content_length", [True, False])
def test_a_buffered_body_returns_the_bytes_that_it_received(
    tmp_path: Path, budget: int, size: int, has_content_length: bool
) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    data = data[:size]
    content_length = size if has_content_length else None
    body = ScriptedBody(*sliced(data, [1, 1000]), content_length=content_length)
    with SpooledBody(Spool(budget, str(tmp_path)), body) as buffered:
        buffered.limit(10 * STEP)
        assert buffered.receive() is BodyEnd.COMPLETE
        assert buffered.content_length == size
        assert buffered.digest(Algorithm.SHA256) == hashlib.sha256(data).digest()
        result = bytearray()
        buffer = memoryview(bytearray(70_000))
        while count := buffered.readinto(buffer):
            result += buffer[:count]
        assert result == data
        assert buffered.end is BodyEnd.COMPLETE


def test_leaving_the_context_frees_the_memory(tmp_path: Path) -> None:
    spool = Spool(2 * STEP, str(tmp_path))
    for _ in range(3):
        with SpooledBody(spool, ScriptedBody(b"x" * STEP)) as buffered:
            buffered.limit(STEP)
            buffered.receive()
            assert spool.memory.available == STEP
        assert spool.memory.available == 2 * STEP


def test_memory_grows_with_the_received_bytes_and_not_with_the_content_length(
    tmp_path: Path,
) -> None:
    """A client that announces the whole budget and sends nothing must not block other clients."""
    spool = Spool(100 * STEP, str(tmp_path))
    with SpooledBody(spool, ScriptedBody(b"x", content_length=100 * STEP)) as buffered:
        buffered.limit(100 * STEP)
        buffered.receive()
        assert spool.memory.available >= 99 * STEP


def test_a_verified_body_can_be_interrupted_while_it_is_read(tmp_path: Path) -> None:
    """The bytes that were read before the interruption stay valid. Only the first one counts."""
    with SpooledBody(Spool(0, str(tmp_path)), ScriptedBody(b"01234")) as buffered:
        buffered.limit(5)
        buffered.receive()
        buffer = memoryview(bytearray(2))
        assert buffered.readinto(buffer) == 2
        buffered.interrupt(BodyEnd.INTERRUPTED)
        buffered.interrupt(BodyEnd.DRAINING)
        assert buffered.readinto(buffer) == 0
        assert buffered.end is BodyEnd.INTERRUPTED


def test_a_stopping_server_interrupts_the_waits_of_a_verified_body_and_not_its_reads(
    tmp_path: Path,
) -> None:
    """Its parts use the disk instead of waiting for memory, and all of its bytes are stored."""
    body = ScriptedBody(b"01234")
    with SpooledBody(Spool(0, str(tmp_path)), body) as buffered:
        buffered.limit(5)
        assert not buffered.is_interrupted()
        buffered.receive()
        body.interrupt(BodyEnd.DRAINING)
        assert buffered.is_interrupted()
        assert buffered.readinto(memoryview(bytearray(10))) == 5
        assert buffered.end is BodyEnd.COMPLETE
