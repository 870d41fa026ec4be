"""A full disk, simulated with the worker's limit on file sizes, which needs no privileges."""

from __future__ import annotations

import resource
from collections.abc import Callable

import pytest

from tests.harness.clients.tus import TusClient
from tests.harness.data import some_bytes
from tests.harness.servers.deployment import PART_SIZE, Deployment
from tus_wsgi.domain.model import KIB

pytestmark = pytest.mark.live


def test_the_bytes_received_before_the_disk_was_full_are_stored(
    new_deployment: Callable[..., Deployment],
) -> None:
    """The client gets 507, and resumes from the stored offset when the disk has space again."""
    deployment = new_deployment(TUS_MEMORY_BUDGET="0")
    deployment.expected_errors = r"Traceback|event=request_failed"  # a full disk is logged
    server = deployment.start(workers=1)
    (worker,) = server.workers()
    tus = TusClient(server.port)
    free_space = PART_SIZE - 512 * KIB
    data = some_bytes(PART_SIZE)
    soft, hard = resource.prlimit(worker, resource.RLIMIT_FSIZE)
    for before in (0, PART_SIZE):
        path = tus.create(before + PART_SIZE)
        if before:
            tus.append(path, 0, data)
        resource.prlimit(worker, resource.RLIMIT_FSIZE, (free_space, hard))
        assert tus.patch(path, before, data).status == 507
        assert tus.offset(path) == before + free_space
        resource.prlimit(worker, resource.RLIMIT_FSIZE, (soft, hard))
        tus.append(path, before + free_space, data[free_space:])
        assert deployment.read_object(path)[before:] == data
