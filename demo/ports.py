"""Find free TCP ports for a server whose ports must all be known before it starts.

The ports lie below Linux's ephemeral range (32768 and up), so that the kernel does not give one of
them to another program between the check and the use.
"""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Iterator, Mapping, Sequence

from demo.process import SetupError

HOST = "127.0.0.1"

RANGE = range(12_000, 22_000)
"""The ports to choose from. A chosen port plus an offset may lie above the range."""


def free_ports(offsets: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """Return a free loopback port for every name in `offsets`. All of them differ.

    Args:
        offsets: for each name, what to add to its port: the resulting ports must be free too.

    Raises:
        SetupError: too few ports are free.
    """
    ports: dict[str, int] = {}
    candidates = iter(random.sample(RANGE, len(RANGE)))
    with contextlib.ExitStack() as bound:
        for name, further in offsets.items():
            ports[name] = _bind_first(bound, candidates, further)
    return ports


def _bind_first(
    bound: contextlib.ExitStack, candidates: Iterator[int], further: Sequence[int]
) -> int:
    """Return the first candidate that is free together with its further ports.

    All of them stay bound until `bound` closes.
    """
    for port in candidates:
        with contextlib.suppress(OSError), contextlib.ExitStack() as attempt:
            for offset in (0, *further):
                attempt.enter_context(socket.socket()).bind((HOST, port + offset))
            # Keep these sockets open. Without this line, the end of the block closes them.
            bound.enter_context(attempt.pop_all())
            return port
    raise SetupError(f"no free port from {RANGE.start} to {RANGE.stop} on {HOST}")
