"""Many calls of one kind for one request: several at once, and their results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, wait
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD = 8
"""Calls of one request that may be under way, so that others get their turn in between."""


@contextmanager
def ahead(
    executor: Executor, function: Callable[[Item], Result], items: Iterable[Item]
) -> Iterator[Iterator[Result]]:
    """What `function` makes of each item, in the order of the items.

    Calls run ahead of whoever takes the results, at most `AHEAD` of them. Leaving the context
    waits for those that have begun; nothing begins after a failure has been seen.
    """
    running: deque[Future[Result]] = deque()

    def results() -> Iterator[Result]:
        for item in items:
            if len(running) == AHEAD:
                yield running.popleft().result()
            running.append(executor.submit(function, item))
        while running:
            yield running.popleft().result()

    try:
        yield results()
    finally:
        for future in running:
            future.cancel()
        wait(running)
