"""Many clients at the same time, opened by a few threads."""

from __future__ import annotations

import contextlib
import resource
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from benchmarks.client import Client
from benchmarks.testbed import Target
from benchmarks.usage import Meter

OPENING_THREADS = 16


@contextlib.contextmanager
def open_clients(
    target: Target, count: int, begin: Callable[[Client], object]
) -> Iterator[list[Client]]:
    """Connect `count` clients and call `begin` for each. Close them after the block."""

    def open_client(_number: int) -> Client:
        client = Client(target.url)
        begin(client)
        return client

    with contextlib.ExitStack() as stack:
        with ThreadPoolExecutor(OPENING_THREADS) as threads:
            clients = list(threads.map(open_client, range(count)))
        for client in clients:
            stack.callback(client.close)
        yield clients


def wait_until_idle(target: Target, seconds: float = 30.0) -> None:
    """Wait until the server uses almost no CPU."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        meter = Meter(target.pid)
        time.sleep(0.5)
        if meter.read().cpu <= 0.02:
            return


def raise_file_limit(count: int) -> None:
    """Let this process and its children open at least `count` files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))
