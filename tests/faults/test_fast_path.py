"""Faults with bodies that are read from gunicorn's socket, and with real interim responses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.matrix import Matrix
from tests.faults.server_under_test import ServersUnderTest
from tests.harness.proxies.faults import Fault
from tests.harness.servers.s3_service import S3Service

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

SCENARIO_NAMES = (
    "five parts",
    "three appends",
    "created with parts",
    "cut within a part",
    "deferred, long",
    "no hook, one part",
    "no hook, one part, cut",
    "concat, within parts",
    "RUFH, parts",
    "RUFH, appended",
    "RUFH, cut",
)

FAULTS = (
    Fault.INTERNAL_ERROR,
    Fault.CUT_BEFORE,
    Fault.CUT_AFTER,
    Fault.GATEWAY_LATE_AFTER_2,
    Fault.EMPTY_200,
)

NOT_LONG = {
    ("five parts", Fault.INTERNAL_ERROR),
    ("cut within a part", Fault.CUT_AFTER),
    ("RUFH, cut", Fault.CUT_AFTER),
}


@pytest.fixture(scope="module")
def servers(
    ministack: S3Service, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServersUnderTest]:
    servers = ServersUnderTest(ministack, tmp_path_factory.mktemp("fast"), workers=1)
    yield servers
    servers.close()


@pytest.mark.parametrize(
    ("scenario", "fault"),
    [
        pytest.param(name, fault, marks=() if (name, fault) in NOT_LONG else pytest.mark.long)
        for name in SCENARIO_NAMES
        for fault in FAULTS
    ],
)
def test_no_byte_is_lost_when_a_call_fails_on_the_fast_path(
    servers: ServersUnderTest, matrix: Matrix, scenario: str, fault: Fault
) -> None:
    """D-03: Every 2xx and every 104 is for bytes that S3 has confirmed."""
    server = servers.for_scenario(scenario)
    failed = matrix.run_on_server("gunicorn", server, scenario, fault)
    assert not failed, "\n".join(failed)
    assert set(server.bodies.read_text(encoding="ascii").split()) == {"SocketSource"}
