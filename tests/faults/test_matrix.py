"""Every S3 call of every scenario fails in every way: no byte is lost, duplicated or left behind.

A case proves the rules on its path: offsets that never decrease (D-02, D-03), acknowledged tails
that survive (D-04), a Complete that is verified and repeated (D-05), `on_finish` after the whole
object (D-06), failures that do not look like absence (D-07), late writes that do no harm (D-09,
D-11), and leftovers that a record names (D-12, D-13).
"""

from __future__ import annotations

from collections.abc import Container, Iterable

import pytest
from _pytest.mark import ParameterSet

from tests.faults.matrix import (
    AWS_PARTS,
    AWS_PARTS_DEFAULT,
    OTHER_SERVICES,
    OTHER_SERVICES_DEFAULT,
    PASSES,
    TINY_PARTS,
    TINY_PARTS_DEFAULT,
    Matrix,
)
from tests.faults.worker_pool import WorkerPool
from tests.harness.servers.s3_service import S3Service

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]


def cells(
    every: Iterable[tuple[str, str]], default: Container[tuple[str, str]]
) -> list[ParameterSet]:
    """Return all cells; mark the cells that are not in `default` as long."""
    return [
        pytest.param(*cell, marks=() if cell in default else pytest.mark.long) for cell in every
    ]


@pytest.mark.parametrize(("scenario", "column"), cells(TINY_PARTS, TINY_PARTS_DEFAULT))
def test_no_byte_is_lost_when_a_call_fails(
    matrix: Matrix, embedded_pool: WorkerPool, scenario: str, column: str
) -> None:
    """With tiny parts, so that every scenario with every fault is affordable."""
    failed = matrix.run("MiniStack", embedded_pool, scenario, PASSES[column])
    assert not failed, "\n".join(map(str, failed))


@pytest.mark.parametrize(("scenario", "column"), cells(AWS_PARTS, AWS_PARTS_DEFAULT))
def test_no_byte_is_lost_when_a_call_fails_on_a_disk(
    matrix: Matrix, seaweedfs_pool: WorkerPool, scenario: str, column: str
) -> None:
    """With parts of 5 MiB, and a server that writes to a disk and verifies what it receives."""
    failed = matrix.run("SeaweedFS", seaweedfs_pool, scenario, PASSES[column])
    assert not failed, "\n".join(map(str, failed))


@pytest.mark.parametrize(("scenario", "column"), cells(OTHER_SERVICES, OTHER_SERVICES_DEFAULT))
def test_no_byte_is_lost_when_a_call_fails_on_other_services(
    matrix: Matrix,
    other_pool: WorkerPool,
    scenario: str,
    column: str,
    other_service: S3Service,
) -> None:
    """D-11: With services that ignore or refuse conditional writes."""
    failed = matrix.run(other_service.name, other_pool, scenario, PASSES[column])
    assert not failed, "\n".join(map(str, failed))
