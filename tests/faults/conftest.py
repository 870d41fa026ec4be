"""The fault ring's servers, and its table at the end of the run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from demo.seaweedfs import SeaweedFS
from tests.faults.faulty_s3 import Lane, open_lane
from tests.faults.matrix import Matrix
from tests.faults.worker_pool import Pool, open_pool
from tests.harness.servers.ministack import running_ministack
from tests.harness.servers.s3_service import S3Service, seaweedfs_service
from tus_wsgi.domain.model import MIB

TINY_PART = 1000
"""Bytes of a part where any size will do."""

SMALLEST_PART = 5 * MIB
"""Bytes of a part where it has to be as large as AWS wants it."""

MATRIX = pytest.StashKey[Matrix]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[MATRIX] = Matrix()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    matrix = config.stash[MATRIX]
    if not matrix.cells:
        return
    terminalreporter.section("fault matrix")
    for line in matrix.lines():
        terminalreporter.write_line(line)
    cache: pytest.Cache | None = getattr(config, "cache", None)
    if cache is not None:
        path = cache.mkdir("faults") / "matrix.json"
        matrix.write(path)
        terminalreporter.write_line(f"written to {path.relative_to(config.rootpath)}")


@pytest.fixture(scope="session")
def matrix(request: pytest.FixtureRequest) -> Matrix:
    return request.config.stash[MATRIX]


@pytest.fixture(scope="session")
def ministack(
    tmp_path_factory: pytest.TempPathFactory, clean_environment: None
) -> Iterator[S3Service]:
    """A server for parts of any size."""
    with running_ministack(tmp_path_factory.mktemp("ministack")) as service:
        yield service


@pytest.fixture(scope="session")
def tiny_pool(ministack: S3Service) -> Iterator[Pool]:
    """Many cases at once, with tiny parts."""
    with open_pool(ministack, TINY_PART) as pool:
        yield pool


@pytest.fixture(scope="session")
def real_pool(s3: SeaweedFS) -> Iterator[Pool]:
    """Many cases at once, with parts of a size that AWS would take."""
    with open_pool(seaweedfs_service(s3), SMALLEST_PART) as pool:
        yield pool


@pytest.fixture(scope="session", params=["swift", "juicefs"])
def other(request: pytest.FixtureRequest) -> S3Service:
    """Two services that are further from AWS."""
    service = request.getfixturevalue(request.param)
    assert isinstance(service, S3Service)
    return service


@pytest.fixture(scope="session")
def other_pool(other: S3Service) -> Iterator[Pool]:
    """Many cases at once, with parts of a size that both take."""
    with open_pool(other, SMALLEST_PART) as pool:
        yield pool


@pytest.fixture
def lane(ministack: S3Service) -> Iterator[Lane]:
    """One case at a time, in this process, where rules can be patched."""
    with open_lane(ministack, TINY_PART) as lane:
        yield lane
