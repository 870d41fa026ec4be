"""A TCP proxy between a client and a server: it cuts and slows down connections.

It knows nothing of HTTP, so any client can be behind it, a browser too: Chromium's own network
emulation neither slows down nor cuts the body of a request in progress. `proxies.faults` fails
single S3 calls instead.
"""

from __future__ import annotations

import enum
import socket
import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

from tests.harness.proxies.listener import Listener
from tests.harness.sockets import CHUNK_SIZE, HOST, close_with_fin, close_with_reset


class Cut(enum.Enum):
    """How a connection is lost."""

    RST = enum.auto()
    """Both ends get a reset."""
    FIN = enum.auto()
    """Both ends get an orderly end, after everything that was sent to them."""


class TcpProxy:
    """Listen on a free port, and forward to a server. A context manager.

    Bytes are counted from the clients to the server, over all connections together: a client is cut
    in the middle of its upload whether it uses one connection for everything or one per request.

    Args:
        to: the server's port.
        cuts: after how many bytes from the clients the connection that carries them is cut.
        how: the way it is cut.
        upload_rate: bytes a second that each connection carries to the server; None for no limit.

    Attributes:
        port: where it listens.
        carried: bytes from the clients so far.
        cut_count: how many connections it has cut at `cuts` so far.
    """

    def __init__(
        self,
        to: int,
        *,
        cuts: Iterable[int] = (),
        how: Cut = Cut.RST,
        upload_rate: int | None = None,
    ) -> None:
        self._to = to
        self._cuts = sorted(cuts)
        self._how = how
        self._upload_rate = upload_rate
        self._mutex = threading.Lock()
        self._links: set[_Link] = set()
        self._is_connected = True
        self.carried = 0
        self.cut_count = 0
        self._listener = Listener(self._serve)
        self.port = self._listener.port

    def disconnect(self) -> None:
        """Reset every connection, and each new one until `reconnect`."""
        with self._mutex:
            self._is_connected = False
            links = list(self._links)
        for link in links:
            link.close(Cut.RST)

    def reconnect(self) -> None:
        """Accept connections again."""
        with self._mutex:
            self._is_connected = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.close()
        self.disconnect()

    def _serve(self, client: socket.socket) -> None:
        """Connect a client to the server, and forward bytes until both directions have ended."""
        try:
            server = socket.create_connection((HOST, self._to))
        except OSError:
            close_with_reset(client)
            return
        link = _Link(client, server)
        with self._mutex:
            is_connected = self._is_connected
            if is_connected:
                self._links.add(link)
        if not is_connected:
            link.close(Cut.RST)
            return
        download = threading.Thread(target=self._forward, args=[link, self._download], daemon=True)
        download.start()
        self._forward(link, self._upload)
        download.join()
        link.close(Cut.FIN)
        with self._mutex:
            self._links.discard(link)

    def _forward(self, link: _Link, direction: Callable[[_Link], None]) -> None:
        """Forward in one direction until its end. If either connection fails, reset both."""
        try:
            direction(link)
        except OSError:
            link.close(Cut.RST)

    def _upload(self, link: _Link) -> None:
        while data := link.client.recv(CHUNK_SIZE):
            if self._upload_rate is not None:
                time.sleep(len(data) / self._upload_rate)
            size, is_cut = self._count(len(data))
            link.server.sendall(data[:size])
            if is_cut:
                link.close(self._how)
                return
        link.half_close(link.server)

    def _download(self, link: _Link) -> None:
        while data := link.server.recv(CHUNK_SIZE):
            link.client.sendall(data)
        link.half_close(link.client)

    def _count(self, size: int) -> tuple[int, bool]:
        """Return how many of these bytes may pass, and whether the connection is cut there."""
        with self._mutex:
            is_cut = bool(self._cuts) and self.carried + size >= self._cuts[0]
            if is_cut:
                size = self._cuts.pop(0) - self.carried
                self.cut_count += 1
            self.carried += size
            return size, is_cut


class _Link:
    """A client's connection, and the connection to the server that belongs to it."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self._mutex = threading.Lock()
        self._is_closed = False

    def half_close(self, side: socket.socket) -> None:
        """Pass on the FIN of the other side, unless the link is closed already."""
        with self._mutex:
            if not self._is_closed:
                side.shutdown(socket.SHUT_WR)

    def close(self, how: Cut) -> None:
        """Close both connections. A second call does nothing."""
        with self._mutex:
            if self._is_closed:
                return
            self._is_closed = True
        close = close_with_reset if how is Cut.RST else close_with_fin
        close(self.server)
        close(self.client)
