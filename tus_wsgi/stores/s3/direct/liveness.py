"""Find out without blocking whether an idle connection can be used.

urllib3 checks this with `poll` before each request. gevent's `poll` registers watchers and switches
to the event loop, which takes a tenth of the CPU time of a call. So this module asks the kernel.
"""

from __future__ import annotations

import fcntl
import functools
import socket
import struct
import termios
from typing import Any

from urllib3.connectionpool import HTTPConnectionPool

_TCP_ESTABLISHED = 1
"""The state in which neither side has closed the connection: `net/tcp_states.h` of Linux."""


def is_usable(sock: socket.socket) -> bool:
    """Return whether the peer has neither closed the connection nor sent anything.

    Raises:
        OSError: the socket is closed, or is not a TCP socket.
    """
    # The first byte of `tcp_info` is the state.
    state = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    if state != _TCP_ESTABLISHED:
        return False
    (unread,) = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.FIONREAD, bytes(4)))
    return bool(unread == 0)


def check_quickly(pool: HTTPConnectionPool) -> None:
    """Let new connections of a pool be checked with `is_usable`; a second call does nothing."""
    if hasattr(socket, "TCP_INFO"):
        pool.ConnectionCls = _checked(pool.ConnectionCls)


@functools.cache
def _checked(connection_class: Any) -> Any:
    """Return a subclass whose connections are checked with `is_usable`."""
    if issubclass(connection_class, _Checked):
        return connection_class
    return type(connection_class.__name__, (_Checked, connection_class), {})


class _Checked:
    """Overrides urllib3's check."""

    sock: socket.socket | None

    @property
    def is_connected(self) -> bool:
        if self.sock is None:
            return False
        try:
            return is_usable(self.sock)
        except OSError:
            inherited: bool = super().is_connected  # type: ignore[misc] # of urllib3's class
            return inherited
