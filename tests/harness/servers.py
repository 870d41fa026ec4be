"""The servers of a test run, as fixtures; pytest loads this module by name (`pyproject.toml`)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tus_wsgi.dev.seaweedfs import SeaweedFS, start_seaweedfs


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory, clean_environment: None) -> Iterator[SeaweedFS]:
    """A real S3 server for the whole run. Tests keep apart by prefixes of their own."""
    with start_seaweedfs(tmp_path_factory.mktemp("s3")) as server:
        yield server
