"""Every S3 call of every scenario fails, in every way: nothing is lost, doubled or left behind."""

from __future__ import annotations

import pytest

from tests.faults.matrix import PASSES, REAL, SHORT, TINY, Matrix
from tests.faults.pool import Pool
from tests.harness.service import Service

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]


@pytest.mark.parametrize(("scenario", "name"), TINY)
def test_no_fault_costs_a_byte(matrix: Matrix, tiny_pool: Pool, scenario: str, name: str) -> None:
    """With tiny parts, so that every scenario and every way can be afforded."""
    bad = matrix.run("MiniStack", tiny_pool, scenario, PASSES[name])
    assert not bad, "\n".join(map(str, bad))


@pytest.mark.parametrize(("scenario", "name"), REAL)
def test_no_fault_costs_a_byte_on_a_disk(
    matrix: Matrix, real_pool: Pool, scenario: str, name: str
) -> None:
    """With parts of 5 MiB, and a server that keeps them on a disk and checks what it gets."""
    bad = matrix.run("SeaweedFS", real_pool, scenario, PASSES[name])
    assert not bad, "\n".join(map(str, bad))


@pytest.mark.parametrize(("scenario", "name"), SHORT)
def test_no_fault_costs_a_byte_on_other_services(
    matrix: Matrix, other_pool: Pool, scenario: str, name: str, other: Service
) -> None:
    """With services whose conditional writes do nothing, or are refused."""
    bad = matrix.run(other.name, other_pool, scenario, PASSES[name])
    assert not bad, "\n".join(map(str, bad))
