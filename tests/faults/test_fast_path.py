"""The faults once more with bytes that come straight from gunicorn's socket, and real 104s."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.matrix import Matrix
from tests.faults.server_under_test import Sites
from tests.harness.proxies.faults import Fault
from tests.harness.servers.s3_service import S3Service

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

NAMES = (
    "five parts",
    "pieces",
    "created with parts",
    "cut within a part",
    "deferred, long",
    "no hook, one part",
    "no hook, one part cut",
    "joined across seams",
    "RUFH, parts",
    "RUFH, appended",
    "RUFH, cut",
)

KINDS = (Fault.ERROR, Fault.CUT_BEFORE, Fault.CUT_AFTER, Fault.GATEWAY_LATE, Fault.EMPTY)

BRIEF = {
    ("five parts", Fault.ERROR),
    ("cut within a part", Fault.CUT_AFTER),
    ("RUFH, cut", Fault.CUT_AFTER),
}


@pytest.fixture(scope="module")
def sites(ministack: S3Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    sites = Sites(ministack, tmp_path_factory.mktemp("fast"), workers=1)
    yield sites
    sites.close()


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        pytest.param(name, kind, marks=() if (name, kind) in BRIEF else pytest.mark.long)
        for name in NAMES
        for kind in KINDS
    ],
)
def test_no_fault_costs_a_byte_on_the_fast_path(
    sites: Sites, matrix: Matrix, name: str, fault: Fault
) -> None:
    bad = matrix.run_on_site("gunicorn", sites.of(name), name, fault)
    assert not bad, "\n".join(bad)
    assert set(sites.of(name).bodies.read_text(encoding="ascii").split()) == {"SocketSource"}
