"""A site that most of this ring shares: gunicorn with two gevent workers, and real S3."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from demo.seaweedfs import SeaweedFS
from tests.harness.clients.tus import Tus
from tests.harness.servers.deployment import Site
from tests.harness.servers.gunicorn import Gunicorn


@pytest.fixture(scope="session")
def site(s3: SeaweedFS, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Nobody kills its server or fills it for good: tests that do so make a site of their own."""
    site = Site(s3, tmp_path_factory.mktemp("shared"))
    site.start()
    yield site
    site.close()


@pytest.fixture(scope="session")
def server(site: Site) -> Gunicorn:
    return site.servers[0]


@pytest.fixture
def tus(server: Gunicorn) -> Tus:
    return Tus(server.port)
