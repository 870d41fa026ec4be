"""Free TCP ports for a server that has to be told all of its ports beforehand.

They are chosen below those that Linux hands out by itself (32768 and up), so that nobody gets
one of them by chance between the look and the use.
"""

from __future__ import annotations

import contextlib
import json
import random
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from tus_wsgi.dev.process import DevError

HOST = "127.0.0.1"

RANGE = range(12_000, 22_000)
"""The ports to choose from; companions of a port may lie above it."""


def remembered_ports(file: Path, distances: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """The ports that `file` names if they are free, else others, which it names from then on.

    Args:
        file: written as JSON; may be missing or damaged.
        distances: as in `free_ports`.
    """
    ports = _read(file)
    if ports.keys() != distances.keys() or not _all_free(ports, distances):
        ports = free_ports(distances)
        file.write_text(json.dumps(ports), encoding="ascii")
    return ports


def free_ports(distances: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """A free loopback port for every name in `distances`, no two alike.

    Args:
        distances: for each name, how far above its port others have to be free as well.

    Raises:
        DevError: there are not enough of them.
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
            _hold(attempt, [port, *(port + distance for distance in above)])
            held.enter_context(attempt.pop_all())
            return port
    raise DevError(f"no free port from {RANGE.start} to {RANGE.stop} on {HOST}")


def _all_free(ports: Mapping[str, int], distances: Mapping[str, Sequence[int]]) -> bool:
    with contextlib.suppress(OSError), contextlib.ExitStack() as attempt:
        for name, port in ports.items():
            _hold(attempt, [port, *(port + distance for distance in distances[name])])
        return True
    return False


def _hold(held: contextlib.ExitStack, ports: Iterable[int]) -> None:
    for port in ports:
        taken = held.enter_context(socket.socket())
        # A server that ended a moment ago leaves connections that wait; they are in nobody's way.
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind((HOST, port))


def _read(file: Path) -> dict[str, int]:
    try:
        found = json.loads(file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {str(name): port for name, port in found.items() if isinstance(port, int)}
