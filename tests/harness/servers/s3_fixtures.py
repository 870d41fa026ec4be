"""Fixtures of the S3 services in a test run. pytest loads this plugin by name (pyproject.toml)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from demo.seaweedfs import SeaweedFS
from tests.harness.servers.garage import running_garage
from tests.harness.servers.juicefs import running_juicefs
from tests.harness.servers.minio import running_minio
from tests.harness.servers.s3_service import S3Service, seaweedfs_service
from tests.harness.servers.swift import running_swift
from tests.harness.servers.versitygw import running_versitygw

COMPILED = (
    pytest.param("minio", marks=pytest.mark.long),
    pytest.param("versitygw", marks=pytest.mark.long),
    pytest.param("garage", marks=pytest.mark.long),
)
"""The services that are built from source, which takes minutes the first time."""

SERVICES = ("seaweedfs", "swift", "juicefs", *COMPILED)


@pytest.fixture(scope="session")
def seaweedfs(s3: SeaweedFS) -> S3Service:
    """SeaweedFS, the server that most tests use, with the least privilege."""
    return seaweedfs_service(s3)


@pytest.fixture(scope="session")
def swift(tmp_path_factory: pytest.TempPathFactory, clean_environment: None) -> Iterator[S3Service]:
    """OpenStack Swift for the whole run. Each test uses a prefix of its own."""
    with running_swift(tmp_path_factory.mktemp("swift")) as service:
        yield service


@pytest.fixture(scope="session")
def juicefs(
    tmp_path_factory: pytest.TempPathFactory, clean_environment: None
) -> Iterator[S3Service]:
    """The gateway of JuiceFS for the whole run. Each test uses a prefix of its own."""
    with running_juicefs(tmp_path_factory.mktemp("juicefs")) as service:
        yield service


@pytest.fixture(scope="session")
def minio(tmp_path_factory: pytest.TempPathFactory, clean_environment: None) -> Iterator[S3Service]:
    """MinIO for the whole run. Each test uses a prefix of its own."""
    with running_minio(tmp_path_factory.mktemp("minio")) as service:
        yield service


@pytest.fixture(scope="session")
def versitygw(
    tmp_path_factory: pytest.TempPathFactory, clean_environment: None
) -> Iterator[S3Service]:
    """The gateway of Versity for the whole run. Each test uses a prefix of its own."""
    with running_versitygw(tmp_path_factory.mktemp("versitygw")) as service:
        yield service


@pytest.fixture(scope="session")
def garage(
    tmp_path_factory: pytest.TempPathFactory, clean_environment: None
) -> Iterator[S3Service]:
    """Garage for the whole run. Each test uses a prefix of its own."""
    with running_garage(tmp_path_factory.mktemp("garage")) as service:
        yield service


@pytest.fixture(params=SERVICES)
def service(request: pytest.FixtureRequest) -> S3Service:
    """Each of the services in turn. A service starts when a test first needs it."""
    found = request.getfixturevalue(request.param)
    assert isinstance(found, S3Service)
    return found
