"""The library works without gevent, in gunicorn's gthread workers."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from tests.harness.clients.http import Connection
from tests.harness.clients.tus import TusClient, patch_fields
from tests.harness.data import some_bytes
from tests.harness.servers.deployment import PART_SIZE, Deployment
from tests.harness.timing import wait_until

pytestmark = pytest.mark.live

FILE = some_bytes(2 * PART_SIZE + 50_000)

GTHREAD_ARGUMENTS = ["--worker-class", "gthread", "--threads", "8"]


def test_uploads_cuts_takeovers_and_stops_work_with_gthread(
    new_deployment: Callable[..., Deployment],
) -> None:
    deployment = new_deployment()
    server = deployment.start(workers=2, arguments=GTHREAD_ARGUMENTS)
    assert "Using worker: gthread" in server.read_log()
    tus = TusClient(server.port)

    path = tus.upload(FILE)
    assert deployment.read_object(path) == FILE
    assert tus.request("GET", path).body == FILE

    path, sent = tus.create(len(FILE)), PART_SIZE + 1
    with Connection(server.port) as stalled:
        stalled.send_head("PATCH", path, patch_fields(0, Content_Length=str(len(FILE))))
        stalled.send(FILE[:sent])
        stalled.wait_until_delivered()
        deployment.wait_for_lock(path)
        assert tus.offset(path) == sent
        assert stalled.read_response().status == 423

    with Connection(server.port) as cut:
        cut.send_head("PATCH", path, patch_fields(sent, Transfer_Encoding="chunked"))
        cut.send_chunk(FILE[sent : sent + 777])
        cut.close()
    wait_until(lambda: tus.offset(path) == sent + 777)

    with Connection(server.port) as active:
        offset = sent + 777
        length = str(len(FILE) - offset)
        active.send_head("PATCH", path, patch_fields(offset, Content_Length=length))
        active.send(FILE[offset : offset + 10])
        active.wait_until_delivered()
        deployment.wait_for_lock(path)
        server.signal(signal.SIGTERM)
        response = active.read_response()
        assert (response.status, response["Upload-Offset"]) == (503, str(offset + 10))
    assert server.wait_for_exit(10) == 0

    restarted = TusClient(deployment.start(workers=1, arguments=GTHREAD_ARGUMENTS).port)
    assert restarted.offset(path) == offset + 10
    restarted.append(path, offset + 10, FILE[offset + 10 :])
    assert deployment.read_object(path) == FILE
