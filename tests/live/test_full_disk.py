"""A full disk under a real server: a limit on the size of files is one that every user can set."""

from __future__ import annotations

import resource
from collections.abc import Callable

import pytest

from tests.harness.clients.tus import TusClient
from tests.harness.data import some_bytes
from tests.harness.servers.deployment import PART_SIZE, Deployment
from tus_wsgi.domain.model import KIB

pytestmark = pytest.mark.live


def test_what_came_before_the_disk_was_full_is_kept(
    new_deployment: Callable[..., Deployment],
) -> None:
    """The client reads 507, and goes on from there as soon as there is room again."""
    deployment = new_deployment(TUS_MEMORY_BUDGET="0")
    deployment.expected_errors = r"Traceback"  # the operator's disk is the operator's business
    server = deployment.start(workers=1)
    (worker,) = server.workers()
    tus = TusClient(server.port)
    room = PART_SIZE - 512 * KIB
    data = some_bytes(PART_SIZE)
    unlimited = resource.prlimit(worker, resource.RLIMIT_FSIZE)
    for before in (0, PART_SIZE):
        path = tus.create(before + PART_SIZE)
        if before:
            tus.append(path, 0, data)
        resource.prlimit(worker, resource.RLIMIT_FSIZE, (room, unlimited[1]))
        assert tus.patch(path, before, data).status == 507
        assert tus.offset(path) == before + room
        resource.prlimit(worker, resource.RLIMIT_FSIZE, unlimited)
        tus.append(path, before + room, data[room:])
        assert deployment.read_object(path)[before:] == data
