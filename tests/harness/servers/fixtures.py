"""The servers of a test run as fixtures. pytest loads this plugin by name (`pyproject.toml`).

Modules that few tests need are imported by the fixtures, so that unit tests start quickly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from demo.seaweedfs import SeaweedFS, start_seaweedfs

if TYPE_CHECKING:
    from tests.harness.servers.deployment import Deployment
    from tests.harness.servers.dynamodb import DynamoDB


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory, clean_environment: None) -> Iterator[SeaweedFS]:
    """A real S3 server for the whole run. Each test uses a prefix of its own."""
    with start_seaweedfs(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="session")
def dynamodb(
    tmp_path_factory: pytest.TempPathFactory, clean_environment: None
) -> Iterator[DynamoDB]:
    """A real DynamoDB for the whole run."""
    from tests.harness.servers.dynamodb import running_dynamodb

    with running_dynamodb(tmp_path_factory.mktemp("dynamodb")) as server:
        yield server


@pytest.fixture
def lock_table(dynamodb: DynamoDB) -> str:
    """A table for one test: tests that kill holders leave locks behind."""
    return dynamodb.new_table()


@pytest.fixture
def new_deployment(
    s3: SeaweedFS, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Deployment]]:
    """A function that creates a deployment from settings. It is closed after the test."""
    from tests.harness.servers.deployment import Deployment

    with ExitStack() as deployments:

        def make(**settings: str) -> Deployment:
            deployment = Deployment(s3, tmp_path_factory.mktemp("deployment"), **settings)
            deployments.callback(deployment.close)
            return deployment

        yield make
