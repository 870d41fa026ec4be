"""Fixtures of the ring that tries the store on several services."""

from __future__ import annotations

import functools
import secrets
from typing import TYPE_CHECKING

import pytest

from tests.compat.sandbox import Shop
from tests.harness.servers.s3_service import S3Service
from tus_wsgi.stores.s3.client import make_client
from tus_wsgi.stores.s3.keys import Keys

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@functools.cache
def client_of(service: S3Service) -> S3Client:
    """The client that the application would have."""
    with pytest.MonkeyPatch.context() as patch:
        for name, text in service.environ().items():
            patch.setenv(name, text)
        return make_client(endpoint=service.endpoint, parallel_parts=4)


@pytest.fixture
def shop(service: S3Service) -> Shop:
    """A corner of a bucket of each service in turn."""
    return Shop(service, client_of(service), Keys(f"compat/{secrets.token_hex(6)}"))
