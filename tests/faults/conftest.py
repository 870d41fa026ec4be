"""The servers of the fault tests, and the table of their results at the end of the run."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from demo.seaweedfs import SeaweedFS
from tests.faults.faulty_s3 import EMBEDDED, FaultyS3, open_faulty_s3
from tests.faults.matrix import Matrix
from tests.faults.takeover import SHORT_TIMING
from tests.faults.worker_pool import WorkerPool, open_worker_pool
from tests.harness.lockers import LockerSpec
from tests.harness.servers.dynamodb import DynamoDB
from tests.harness.servers.ministack import running_ministack
from tests.harness.servers.s3_service import S3Service, seaweedfs_service
from tus_wsgi.domain.model import MIB

TINY_PART = 1000
"""Bytes of a part for a service that accepts any size."""

AWS_MIN_PART = 5 * MIB
"""Bytes of a part for a service that accepts no smaller ones than AWS."""

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
    """A service that accepts parts of any size."""
    with running_ministack(tmp_path_factory.mktemp("ministack")) as service:
        yield service


@pytest.fixture(scope="session")
def embedded_pool(clean_environment: None) -> Iterator[WorkerPool]:
    """Processes for cases with tiny parts, each with a service in it."""
    with open_worker_pool(EMBEDDED, TINY_PART, lock_specs(EMBEDDED)) as pool:
        yield pool


@pytest.fixture(scope="session")
def embedded_pool_with_dynamodb(dynamodb: DynamoDB) -> Iterator[WorkerPool]:
    """Like `embedded_pool`, with DynamoDB locks in addition."""
    specs = {
        **lock_specs(EMBEDDED),
        "dynamodb": LockerSpec(
            kind="dynamodb",
            location=dynamodb.new_table(),
            environ=dynamodb.environ(),
            timing=SHORT_TIMING,
        ),
    }
    with open_worker_pool(EMBEDDED, TINY_PART, specs) as pool:
        yield pool


@pytest.fixture(scope="session")
def ministack_pool(ministack: S3Service) -> Iterator[WorkerPool]:
    """Processes for cases with tiny parts, over HTTP."""
    with open_worker_pool(ministack, TINY_PART) as pool:
        yield pool


@pytest.fixture(scope="session")
def seaweedfs_pool(s3: SeaweedFS) -> Iterator[WorkerPool]:
    """Processes for cases with parts of a size that AWS accepts."""
    service = seaweedfs_service(s3)
    with open_worker_pool(service, AWS_MIN_PART, lock_specs(service)) as pool:
        yield pool


def lock_specs(service: S3Service) -> dict[str, LockerSpec]:
    """Return a new place for the locks of two servers in a service, by the kind of locks."""
    environ = {name: value for name, value in service.environ().items() if name.startswith("AWS_")}
    spec = LockerSpec(
        kind="s3",
        location=f"locks-{secrets.token_hex(4)}/",
        bucket=service.bucket,
        endpoint=service.endpoint,
        environ=environ,
        timing=SHORT_TIMING,
    )
    return {"s3": spec}


@pytest.fixture(scope="session", params=["swift", "juicefs"])
def other_service(request: pytest.FixtureRequest) -> S3Service:
    """Each of two services that differ more from AWS."""
    service = request.getfixturevalue(request.param)
    assert isinstance(service, S3Service)
    return service


@pytest.fixture(scope="session")
def other_pool(other_service: S3Service) -> Iterator[WorkerPool]:
    """Processes for cases on `other_service`."""
    with open_worker_pool(other_service, AWS_MIN_PART) as pool:
        yield pool


@pytest.fixture
def faulty_s3(ministack: S3Service) -> Iterator[FaultyS3]:
    """A proxy in this process, where a test can patch the store."""
    with open_faulty_s3(ministack, TINY_PART) as faulty_s3:
        yield faulty_s3
