"""A network that breaks: a TCP proxy that cuts connections after so many bytes.

Bytes are counted in the direction from the clients to the server, over all connections together:
whether a client takes one connection for everything or one for each request, it is cut in the
middle of its upload.
"""

from __future__ import annotations

import contextlib
import enum
import socket
import struct
import threading
from collections.abc import Iterable
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"
PIECE = 64 * 1024


class Cut(enum.Enum):
    """How a connection is lost."""

    RST = enum.auto()
    """Both sides get a reset."""
    FIN = enum.auto()
    """Both sides get a polite end, after all that was under way to them."""


class CuttingProxy:
    """Listens on a free port, and passes on what comes. A context manager.

    Args:
        to: the server's port.
        cuts: after how many bytes from the clients the connection that carries them is cut.
        how: the way it is cut.

    Attributes:
        port: where it listens.
        cut_count: how many connections it has cut so far.
    """

    def __init__(self, to: int, *, cuts: Iterable[int] = (), how: Cut = Cut.RST) -> None:
        self._to = to
        self._cuts = sorted(cuts)
        self._how = how
        self._carried = 0
        self._mutex = threading.Lock()
        self._flowing = threading.Event()
        self._flowing.set()
        self._links: set[_Link] = set()
        self.cut_count = 0
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    @property
    def carried(self) -> int:
        """Bytes that came from clients so far."""
        return self._carried

    def stall(self) -> None:
        """Carry nothing towards the server until `flow`, and keep all connections open."""
        self._flowing.clear()

    def flow(self) -> None:
        """Carry on."""
        self._flowing.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.flow()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join(5)
        for link in list(self._links):
            link.cut(Cut.RST)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the listener was closed
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection((HOST, self._to))
                except OSError:
                    client.close()
                    continue
                link = _Link(client, server)
                with self._mutex:
                    self._links.add(link)
                for carry in (self._carry_up, self._carry_down):
                    threading.Thread(target=carry, args=[link], daemon=True).start()

    def _carry_up(self, link: _Link) -> None:
        """From the client to the server."""
        with contextlib.suppress(OSError):
            while piece := link.client.recv(PIECE):
                self._flowing.wait()
                allowed, is_cut = self._count(len(piece))
                link.server.sendall(piece[:allowed])
                if is_cut:
                    link.cut(self._how)
                    break
            else:
                link.server.shutdown(socket.SHUT_WR)
                return
        self._forget(link)

    def _carry_down(self, link: _Link) -> None:
        """From the server to the client."""
        with contextlib.suppress(OSError):
            while piece := link.server.recv(PIECE):
                link.client.sendall(piece)
        self._forget(link)

    def _count(self, size: int) -> tuple[int, bool]:
        """How much of a piece may pass, and whether the connection ends there."""
        with self._mutex:
            if self._cuts and self._carried + size >= self._cuts[0]:
                size = self._cuts.pop(0) - self._carried
                self.cut_count += 1
                is_cut = True
            else:
                is_cut = False
            self._carried += size
            return size, is_cut

    def _forget(self, link: _Link) -> None:
        link.cut(Cut.FIN)
        with self._mutex:
            self._links.discard(link)


class _Link:
    """A client's connection and the one to the server that belongs to it."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self._mutex = threading.Lock()
        self._is_cut = False

    def cut(self, how: Cut) -> None:
        """End both connections. A second call does nothing."""
        with self._mutex:
            if self._is_cut:
                return
            self._is_cut = True
        for side in (self.server, self.client):
            if how is Cut.RST:
                side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            # It wakes the thread that receives from there, without which the kernel keeps the
            # connection open after the close. SHUT_RD tells the other end nothing.
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RD if how is Cut.RST else socket.SHUT_RDWR)
            side.close()
