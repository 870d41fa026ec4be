"""Free TCP ports for a server that has to be told all of its ports beforehand.

They are chosen below those that Linux hands out by itself (32768 and up), so that nobody gets
one of them by chance between the look and the use.
"""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Iterator, Mapping, Sequence

from demo.process import SetupError

HOST = "127.0.0.1"

RANGE = range(12_000, 22_000)
"""The ports to choose from; companions of a port may lie above it."""


def free_ports(distances: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """A free loopback port for every name in `distances`, no two alike.

    Args:
        distances: for each name, how far above its port others have to be free as well.

    Raises:
        SetupError: there are not enough of them.
    """
    ports: dict[str, int] = {}
    candidates = iter(random.sample(RANGE, len(RANGE)))
    with contextlib.ExitStack() as held:
        for name, above in distances.items():
            ports[name] = _hold_first(held, candidates, above)
    return ports


def _hold_first(held: contextlib.ExitStack, candidates: Iterator[int], above: Sequence[int]) -> int:
    """The first candidate that is free, with its companions; all are bound until `held` closes."""
    for port in candidates:
        with contextlib.suppress(OSError), contextlib.ExitStack() as attempt:
            for distance in (0, *above):
                attempt.enter_context(socket.socket()).bind((HOST, port + distance))
            held.enter_context(attempt.pop_all())
            return port
    raise SetupError(f"no free port from {RANGE.start} to {RANGE.stop} on {HOST}")
