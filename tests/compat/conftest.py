"""Fixtures for the tests that run on several S3 services."""

from __future__ import annotations

import functools
import secrets
from typing import TYPE_CHECKING

import pytest

from tests.compat.sandbox import ServiceSandbox
from tests.harness.servers.s3_service import S3Service
from tus_wsgi.stores.s3.client import make_client
from tus_wsgi.stores.s3.keys import Keys

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@functools.cache
def client_of(service: S3Service) -> S3Client:
    """Return the client that a server would create for the service."""
    with pytest.MonkeyPatch.context() as patch:
        for name, text in service.environ().items():
            patch.setenv(name, text)
        return make_client(endpoint=service.endpoint, parallel_parts=4)


@pytest.fixture
def sandbox(service: S3Service) -> ServiceSandbox:
    """A sandbox in the bucket of each service."""
    return ServiceSandbox(service, client_of(service), Keys(f"compat/{secrets.token_hex(6)}"))
