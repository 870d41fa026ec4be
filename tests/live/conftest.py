"""The deployment that most live tests share: gunicorn with two gevent workers and a real S3."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from demo.seaweedfs import SeaweedFS
from tests.harness.clients.tus import TusClient
from tests.harness.servers.deployment import Deployment
from tests.harness.servers.gunicorn import Gunicorn


@pytest.fixture(scope="session")
def deployment(s3: SeaweedFS, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """The shared deployment. Tests that kill its server or fill its disk create their own."""
    deployment = Deployment(s3, tmp_path_factory.mktemp("shared"))
    deployment.start()
    yield deployment
    deployment.close()


@pytest.fixture(scope="session")
def server(deployment: Deployment) -> Gunicorn:
    return deployment.servers[0]


@pytest.fixture
def tus(server: Gunicorn) -> TusClient:
    return TusClient(server.port)
