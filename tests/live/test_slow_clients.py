"""Clients that send nothing cannot occupy all connections of a worker."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import pytest

from tests.harness.clients.http import Connection
from tests.harness.clients.tus import TusClient, patch_fields
from tests.harness.servers.deployment import Deployment

pytestmark = pytest.mark.live

CONNECTIONS = 8
SECONDS = 30.0
"""Half of `TUS_NETWORK_TIMEOUT`, after which silent clients are disconnected in any case."""


def test_silent_clients_cannot_take_the_last_connections(
    new_deployment: Callable[..., Deployment],
) -> None:
    """The server disconnects silent clients to free connections, and stores their bytes."""
    server = new_deployment().start(workers=1, arguments=["--worker-connections", str(CONNECTIONS)])
    tus = TusClient(server.port)
    paths = [tus.create(1000) for _ in range(CONNECTIONS)]
    with ExitStack() as stack:
        for path in paths:
            client = stack.enter_context(Connection(server.port, timeout=SECONDS))
            client.send_head("PATCH", path, patch_fields(0, Content_Length="1000"))
            client.send(b"x" * 100)
        other = stack.enter_context(Connection(server.port, timeout=SECONDS))
        other.request("OPTIONS", "/files")
        assert other.read_response().status == 204
        assert [tus.offset(path) for path in paths] == [100] * CONNECTIONS
