"""Socket helpers that the raw client and the proxies share."""

from __future__ import annotations

import contextlib
import socket
import struct

HOST = "127.0.0.1"

CHUNK_SIZE = 64 * 1024
"""Bytes that a proxy receives at once."""


def send_reset_on_close(connection: socket.socket) -> None:
    """Let the next `close` send an RST instead of a FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def close_with_fin(connection: socket.socket) -> None:
    """Close after everything that was sent, and wake threads that receive from the socket.

    Without the shutdown the kernel keeps the connection open for a thread that is in `recv`.
    """
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


def close_with_reset(connection: socket.socket) -> None:
    """Close at once with an RST, and wake threads that receive from the socket.

    SHUT_RD tells the peer nothing, unlike SHUT_RDWR, which sends a FIN.
    """
    with contextlib.suppress(OSError):
        send_reset_on_close(connection)
        connection.shutdown(socket.SHUT_RD)
    connection.close()
