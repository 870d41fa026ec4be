"""Fixtures of tests that need a store, in memory or on a real S3 server, and both protocols."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.app.hooked_app import PROTOCOLS, HookedApp, Protocol
from tests.harness.stores import S3Sandbox, admin, recorded, sandbox
from tus_wsgi.domain.interfaces import Store
from tus_wsgi.stores.memory import MemoryStore

__all__ = ["admin", "recorded", "sandbox"]


@pytest.fixture(params=PROTOCOLS, ids=lambda protocol: protocol.name)
def protocol(request: pytest.FixtureRequest) -> Protocol:
    """Each protocol in turn."""
    param: Protocol = request.param
    return param


@pytest.fixture(params=["memory", "s3"])
def store(request: pytest.FixtureRequest) -> Store:
    """A store in memory, and one on S3."""
    if request.param == "memory":
        return MemoryStore()
    s3_store: Store = request.getfixturevalue("sandbox").store()
    return s3_store


NewHookedApp = Callable[..., HookedApp]


@pytest.fixture
def hooked_app(protocol: Protocol) -> NewHookedApp:
    """Creates applications with the hooks and settings that it is called with."""
    return _new_hooked_app(protocol, MemoryStore())


@pytest.fixture
def hooked_app_on_any_store(protocol: Protocol, store: Store) -> NewHookedApp:
    """The same, with each store in turn."""
    return _new_hooked_app(protocol, store)


@pytest.fixture
def hooked_app_on_s3(protocol: Protocol, sandbox: S3Sandbox) -> NewHookedApp:
    """The same, on S3."""
    return _new_hooked_app(protocol, sandbox.store())


def _new_hooked_app(protocol: Protocol, store: Store) -> NewHookedApp:
    def new_hooked_app(environ: dict[str, str] | None = None, **hooks: Any) -> HookedApp:
        return HookedApp(protocol, store, hooks, environ or {})

    return new_hooked_app
