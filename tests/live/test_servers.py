"""What becomes of a request that does not end as it should, on every WSGI server.

`docs/servers.md` has the table of what is expected. `test_unknown_length.py` uploads, reads and
deletes files on each server.
"""

from __future__ import annotations

import os
import random
import re
import signal
import time
from pathlib import Path

import pytest

from demo.process import ChildProcess
from tests.harness.clients.http import Connection
from tests.harness.clients.tus import VERSION, TusClient, patch_fields
from tests.harness.timing import wait_until
from tests.live.test_unknown_length import PAGE, SERVERS, name, running_server, table
from tus_wsgi.domain.model import KIB
from tus_wsgi.wsgi.input import INPUT_STEP

__all__ = ["name"]

pytestmark = pytest.mark.live

HEADING = "Other servers"

DATA = random.Random(15).randbytes(300_000)

SENT = 200_000

MISSING = "stored, except the last 64 KiB"
"""The outcome if the server passes on only whole blocks of a body."""

PAUSE_SECONDS = 0.5
"""Enough for a server to pass on what has arrived."""

WAIT_SECONDS = 8.0
"""Longer than a request waits for a lock."""


def begin(connection: Connection, path: str) -> None:
    """Send the first bytes of a request that appends all data."""
    connection.send_head("PATCH", path, patch_fields(0, Content_Length=str(len(DATA))))
    connection.send(DATA[:SENT])
    connection.wait_until_consumed()
    time.sleep(PAUSE_SECONDS)


def outcome_of_a_broken_connection(port: int) -> str:
    """Return which bytes are stored if the client closes the connection within a body."""
    tus = TusClient(port)
    path = tus.create(len(DATA))
    with Connection(port) as connection:
        begin(connection, path)
    deadline = time.monotonic() + 3
    while (offset := tus.offset(path)) < SENT and time.monotonic() < deadline:
        time.sleep(0.1)
    tus.append(path, offset, DATA[offset:])
    assert tus.request("GET", path).body == DATA
    if offset == 0:
        return "nothing stored"
    if offset == SENT:
        return "all stored"
    assert SENT - offset < INPUT_STEP
    return MISSING


def outcome_of_a_hanging_connection(port: int) -> str:
    """Return what a client gets that resumes while its older connection hangs within a body."""
    path = TusClient(port).create(len(DATA))
    with Connection(port) as hanging:
        begin(hanging, path)
        with Connection(port, timeout=WAIT_SECONDS) as newer:
            began = time.monotonic()
            newer.request("HEAD", path, VERSION)
            try:
                status = newer.read_response().status
            except TimeoutError:
                return "waits"
    if status == 423:
        return "423"
    return "continues at once" if time.monotonic() - began < 3 else "waits"


def outcome_of_sigterm(port: int, process: ChildProcess) -> str:
    """Return what becomes of a request if the server gets SIGTERM within its body."""
    wait_until(lambda: TusClient(port).request("OPTIONS", "/files").status < 300)
    path = TusClient(port).create(len(DATA))
    with Connection(port, timeout=WAIT_SECONDS) as connection:
        begin(connection, path)
        os.kill(process.pid, signal.SIGTERM)
        time.sleep(2 * PAUSE_SECONDS)
        try:
            connection.send(DATA[SENT:])
            if connection.read_response().status == 204:
                return "serves the request"
        except (EOFError, OSError):
            pass
    wait_until(lambda: not process.running())
    log = process.log.read_text(encoding="utf-8", errors="replace")
    if re.search(rf"event=bytes_stored .*offset={SENT} .*cut_short=draining", log):
        return "all stored"
    return "ends at once"


@pytest.mark.long
def test_requests_that_do_not_end_have_the_outcomes_in_the_documentation(
    name: str, tmp_path: Path
) -> None:
    with running_server(name, tmp_path) as (port, process):
        broken = outcome_of_a_broken_connection(port)
        hanging = outcome_of_a_hanging_connection(port)
        stopped = outcome_of_sigterm(port, process)
    assert [broken, hanging, stopped] == table(HEADING)[name]


def test_the_documentation_lists_all_servers() -> None:
    assert list(table(HEADING)) == list(SERVERS)
    assert INPUT_STEP == 64 * KIB
    assert f"except the last {INPUT_STEP // KIB} KiB" in PAGE.read_text(encoding="utf-8")
