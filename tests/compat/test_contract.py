"""The contract of all stores (`tests/stores/test_contract.py`), on services that differ from AWS.

The module runs the tests of the contract with a fixture for another store. In every run,
`test_store.py` covers Swift, on which the contract takes longest.
"""

from __future__ import annotations

import functools
import secrets

import pytest

from tests.compat.conftest import client_of
from tests.compat.sandbox import ServiceSandbox
from tests.harness.servers.s3_fixtures import COMPILED
from tests.harness.servers.s3_service import S3Service
from tests.stores.test_contract import *  # noqa: F403
from tests.stores.test_contract import StoreUnderTest, list_after_sweep
from tus_wsgi.stores.s3.keys import Keys

pytestmark = pytest.mark.compat


@pytest.fixture(  # type: ignore[no-redef]
    params=["juicefs", pytest.param("swift", marks=pytest.mark.long), *COMPILED]
)
def store(request: pytest.FixtureRequest) -> StoreUnderTest:
    """A sandbox in the bucket of each service."""
    service = request.getfixturevalue(request.param)
    assert isinstance(service, S3Service)
    sandbox = ServiceSandbox(service, client_of(service), Keys(f"contract/{secrets.token_hex(6)}"))
    return StoreUnderTest(sandbox.store, functools.partial(list_after_sweep, sandbox))
