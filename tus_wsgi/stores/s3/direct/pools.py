"""Change how the connections of a boto3 client send and wait, and how they are checked.

**Idle connections are probed**, so that no NAT drops them silently; see `keepalive.py`.

**A call times out only if S3 takes no more bytes.** While urllib3 sends a request, the timeout for
connecting is the socket's. `sendall` applies it to the whole body, which is a part in memory: with
the 5 seconds of `client.py`, no attempt to send 16 MiB would succeed at less than 3.4 MB/s. So a
body is sent in steps, and the timeout for reading limits each step.

https://docs.python.org/3/library/socket.html#socket.socket.sendall

**A read in a HEAD waits less for its answer**; see `tus_wsgi.domain.read_limit`.

**The check of an idle connection** does not use `poll`, which is slow under gevent; see
`liveness.py`.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tus_wsgi.domain.read_limit import limited
from tus_wsgi.stores.s3.direct.exchange import SEND_STEP
from tus_wsgi.stores.s3.direct.keepalive import keep_connections_alive
from tus_wsgi.stores.s3.direct.liveness import is_usable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


READS = frozenset(("GET", "HEAD"))
"""The methods of calls that read."""


def adapt_connections(client: S3Client) -> None:
    """Change the connections that a client opens from now on; a second call does nothing.

    Raises:
        AttributeError: this version of botocore has a different HTTP client.
    """
    keep_connections_alive(client)
    internals: Any = client
    session = internals._endpoint.http_session
    seconds = internals.meta.config.read_timeout
    classes: dict[str, Any] = session._pool_classes_by_scheme
    for scheme, pool_class in classes.items():
        classes[scheme] = _adapted(pool_class, seconds)
    session.close()  # drops the pools that a client in use already has


def _adapted(pool_class: Any, seconds: float | None) -> Any:
    """Return a subclass of a pool, whose connections send for at most `seconds` a step."""
    connection_class = pool_class.ConnectionCls
    if issubclass(connection_class, _Adapted):
        return pool_class
    bases = (_Adapted, connection_class)
    adapted = type(connection_class.__name__, bases, {"send_timeout": seconds})
    return type(pool_class.__name__, (pool_class,), {"ConnectionCls": adapted})


class _Adapted:
    """Overrides what connections of urllib3 do.

    Attributes:
        send_timeout: seconds without progress after which sending fails.
        sock: the socket; None before the connection is opened.
        timeout: seconds without an answer after which a call fails.
    """

    send_timeout: float | None
    sock: socket.socket | None
    timeout: float | None
    _method: str  # of http.client
    _is_connecting = False

    @property
    def is_connected(self) -> bool:
        if self.sock is None:
            return False
        try:
            return is_usable(self.sock)
        except (AttributeError, OSError):  # the system does not tell the state of a connection
            inherited: bool = super().is_connected  # type: ignore[misc] # of urllib3's class
            return inherited

    def connect(self) -> None:
        base: Any = super()
        self._is_connecting = True
        try:
            base.connect()
        finally:
            self._is_connecting = False

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        assert self.sock is not None, "connected above"
        if not self._is_connecting:  # `connect` sends a request to a proxy
            self.sock.settimeout(self.send_timeout)
        base: Any = super()
        if not isinstance(data, bytearray):  # small, or read from a file in small blocks
            base.send(data)
            return
        with memoryview(data) as view:
            for start in range(0, len(view), SEND_STEP):
                base.send(view[start : start + SEND_STEP])

    def getresponse(self) -> Any:
        base: Any = super()
        if self._method not in READS:
            return base.getresponse()
        sock, timeout = self.sock, self.timeout
        self.timeout = limited(timeout)  # until the body begins
        try:
            return base.getresponse()
        finally:
            self.timeout = timeout
            if sock is not None:
                with suppress(OSError):  # it is closed
                    sock.settimeout(timeout)
