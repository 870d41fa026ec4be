"""Every S3 call of every scenario fails, in every way: nothing is lost, doubled or left behind."""

from __future__ import annotations

from collections.abc import Container, Iterable

import pytest
from _pytest.mark import ParameterSet

from tests.faults.matrix import (
    BRIEF,
    BRIEF_REAL,
    BRIEF_SHORT,
    EVERYTHING,
    PASSES,
    REAL,
    SHORT,
    Matrix,
)
from tests.faults.worker_pool import Pool
from tests.harness.servers.s3_service import S3Service

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]


def cells(
    every: Iterable[tuple[str, str]], brief: Container[tuple[str, str]]
) -> list[ParameterSet]:
    """All of them, those marked as long that are not among the brief ones."""
    return [pytest.param(*cell, marks=() if cell in brief else pytest.mark.long) for cell in every]


@pytest.mark.parametrize(("scenario", "name"), cells(EVERYTHING, BRIEF))
def test_no_fault_costs_a_byte(matrix: Matrix, tiny_pool: Pool, scenario: str, name: str) -> None:
    """With tiny parts, so that every scenario and every way can be afforded."""
    bad = matrix.run("MiniStack", tiny_pool, scenario, PASSES[name])
    assert not bad, "\n".join(map(str, bad))


@pytest.mark.parametrize(("scenario", "name"), cells(REAL, BRIEF_REAL))
def test_no_fault_costs_a_byte_on_a_disk(
    matrix: Matrix, real_pool: Pool, scenario: str, name: str
) -> None:
    """With parts of 5 MiB, and a server that keeps them on a disk and checks what it gets."""
    bad = matrix.run("SeaweedFS", real_pool, scenario, PASSES[name])
    assert not bad, "\n".join(map(str, bad))


@pytest.mark.parametrize(("scenario", "name"), cells(SHORT, BRIEF_SHORT))
def test_no_fault_costs_a_byte_on_other_services(
    matrix: Matrix, other_pool: Pool, scenario: str, name: str, other: S3Service
) -> None:
    """With services whose conditional writes do nothing, or are refused."""
    bad = matrix.run(other.name, other_pool, scenario, PASSES[name])
    assert not bad, "\n".join(map(str, bad))
