"""The listening socket of a proxy."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

from tests.harness.sockets import HOST

BACKLOG = 64


class Listener:
    """Listen on a free port, and serve each connection in a thread of its own.

    Args:
        serve: called with each accepted connection.

    Attributes:
        port: where it listens.
    """

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        self._serve = serve
        self._socket = socket.create_server((HOST, 0), backlog=BACKLOG)
        self.port: int = self._socket.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def close(self) -> None:
        """Accept no more connections. Those that exist stay open."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._acceptor.join(5)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the socket was closed
            while True:
                client, _ = self._socket.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._serve, args=[client], daemon=True).start()
