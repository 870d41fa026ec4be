"""A network between a browser and a server on the same machine: as slow as wanted, and it breaks.

Chromium's own emulation neither slows down nor cuts the body of a request that is on its way.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"
PIECE = 64 * 1024


class Wire:
    """Listens on a free port, and passes on what comes to the server's.

    Args:
        to: the server's port.
        upload: bytes a second that each connection carries towards the server.

    Attributes:
        port: the port to connect to.
        carried: bytes that went towards the server so far.
    """

    def __init__(self, to: int, *, upload: int) -> None:
        self._to = to
        self.upload = upload
        self.carried = 0
        self._broken = threading.Event()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def cut(self) -> None:
        """Reset every connection, and each new one, from now on."""
        self._broken.set()
        with self._lock:
            for connection in self._open:
                _reset(connection)
            self._open.clear()

    def mend(self) -> None:
        """Let connections through again."""
        self._broken.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _reset(self._listener)
        self.cut()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the listener was closed
            while True:
                client, _ = self._listener.accept()
                self._join(client)

    def _join(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection((HOST, self._to))
        except OSError:
            _reset(client)
            return
        with self._lock:
            self._open |= {client, server}
        if self._broken.is_set():
            self.cut()
            return
        for source, sink in ((client, server), (server, client)):
            arguments = {"source": source, "sink": sink, "slowly": source is client}
            pump = threading.Thread(target=self._pump, kwargs=arguments, daemon=True)
            self._threads.append(pump)
            pump.start()

    def _pump(self, source: socket.socket, sink: socket.socket, *, slowly: bool) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(PIECE):
                if slowly:
                    time.sleep(len(piece) / self.upload)
                    with self._lock:
                        self.carried += len(piece)
                sink.sendall(piece)
            sink.shutdown(socket.SHUT_WR)
            return
        with self._lock:
            for connection in {source, sink} & self._open:
                self._open.discard(connection)
                _reset(connection)


def _reset(connection: socket.socket) -> None:
    """Close at once, with RST where there is a peer; wakes those that wait for it."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
