"""What live tests share: gunicorn with two gevent workers and a real S3, Uppy, and a browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.app import UPPY_FILES
from demo.npm import fetch_files
from demo.runner import UPPY
from demo.seaweedfs import SeaweedFS
from tests.harness.clients.tus import TusClient
from tests.harness.servers.deployment import Deployment
from tests.harness.servers.gunicorn import Gunicorn
from tests.live.demo_fixtures.chromium import Chromium, find_chromium


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


@pytest.fixture(scope="session")
def uppy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the upload widget, downloaded once."""
    directory = tmp_path_factory.mktemp("npm") / "uppy"
    fetch_files(UPPY, [f"dist/{name}" for name in UPPY_FILES], directory)
    return directory


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chromium]:
    """A browser. At the end, no script of a page may have failed."""
    command = find_chromium()
    if command is None:
        pytest.skip("Chromium is missing: apt-get install chromium")
    with Chromium.started(command, tmp_path / "chromium") as browser:
        yield browser
        assert browser.errors == []
