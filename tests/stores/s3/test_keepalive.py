"""Idle connections are probed, because a NAT or a firewall drops idle connections silently."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

from tests.harness.credentials import FAKE_CREDENTIALS
from tus_wsgi.app import _lease_records_in_s3, _open_lock_table, make_remote_hooks
from tus_wsgi.domain.dispatch import EventDispatcher
from tus_wsgi.settings.settings import LockerKind, Settings
from tus_wsgi.stores.s3.client import make_client
from tus_wsgi.stores.s3.direct import direct_calls

MAX_PROBED_AFTER = 60
"""Seconds after which an idle connection is probed at the latest. NAT gateways of AWS drop
connections after 350 s, and load balancers after 60 s."""

MAX_CLOSED_AFTER = 60
"""Seconds without an answer until a connection is closed: less than the timeout of a call."""


@pytest.fixture(autouse=True)
def fake_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set credentials that do not exist."""
    for name, value in FAKE_CREDENTIALS.items():
        monkeypatch.setenv(name, value)


def store_session(url: str) -> Any:
    client: Any = make_client(endpoint=url, parallel_parts=1)
    direct_calls(client)
    return client._endpoint.http_session._manager


def lock_session(url: str) -> Any:
    settings = Settings(s3_bucket="uploads", s3_endpoint=url, locker=LockerKind.S3)
    records: Any = _lease_records_in_s3(settings, EventDispatcher([]))()
    return records.client._endpoint.http_session._manager


def table_session(_url: str) -> Any:
    client: Any = _open_lock_table("locks").client
    return client._endpoint.http_session._manager


def hook_session(url: str) -> Any:
    settings = Settings(s3_bucket="uploads", hooks_http=url)
    hook: Any = make_remote_hooks(settings)["on_create"]
    return hook.__self__._carrier._pool


@pytest.mark.parametrize("open_session", [store_session, lock_session, table_session, hook_session])
def test_idle_connections_are_probed_before_a_nat_drops_them(
    open_session: Callable[[str], Any],
) -> None:
    """Otherwise the next call on a dropped connection waits until it times out."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        connection = open_session(url).connection_from_url(url)._get_conn()
        connection.connect()

        def option(level: int, name: int) -> int:
            value: int = connection.sock.getsockopt(level, name)
            return value

        assert option(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert option(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        idle = option(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
        interval = option(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL)
        probes = option(socket.IPPROTO_TCP, socket.TCP_KEEPCNT)
        assert idle < MAX_PROBED_AFTER
        assert idle + interval * probes < MAX_CLOSED_AFTER
        connection.close()
