"""Concurrent S3 calls of one request: part uploads, and calls whose results are used in order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import contextmanager
from types import TracebackType
from typing import Self, TypeVar

from tus_wsgi.domain.errors import StoreUnavailable
from tus_wsgi.domain.parts import Part
from tus_wsgi.spool.part import SpooledPart

Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_PARTS_IN_FLIGHT = 4
"""Parts of one request that may be on their way, the fair share of one upload. Receiving goes on
meanwhile; beyond this the client has to wait, which is all the back-pressure there is."""

MAX_CALLS_IN_FLIGHT = 8
"""Calls of one request that may be under way, so that others get their turn in between."""

UploadPart = Callable[[int, SpooledPart], Part]
"""Uploads a part and says what S3 made of it. It runs in the executor."""

OnParts = Callable[[list[Part]], None]
"""Told the parts that S3 has, at least one, from the first one on and without a gap. It runs in the
request."""


class PartPipeline:
    """Uploads parts in the background. Leaving the context waits for those that have begun.

    A slot of the executor is held only while S3 is being talked to, never while a client is waited
    for: ten stalled clients hold up nobody.

    Args:
        executor: shared by all uploads of the process.
        upload: what to do with each part.
        on_parts: told now and then how far S3 has the parts.
    """

    def __init__(self, executor: Executor, upload: UploadPart, on_parts: OnParts) -> None:
        self._executor = executor
        self._upload = upload
        self._on_parts = on_parts
        self._first: int | None = None
        self._failed = threading.Event()
        self._running: set[Future[Part]] = set()
        self._done: list[Part] = []

    def submit(self, number: int, part: SpooledPart) -> None:
        """Begin to upload `part`, and close it when that is done.

        Blocks while too many are on their way.

        Raises:
            StoreUnavailable, LockLost: an earlier part failed. This one is closed all the same.
        """
        self._first = number if self._first is None else self._first
        try:
            while len(self._running) >= MAX_PARTS_IN_FLIGHT:
                self._collect(wait(self._running, return_when=FIRST_COMPLETED).done)
            self._collect({one for one in self._running if one.done()})
        except BaseException:
            part.close()
            raise
        self._running.add(self._executor.submit(self._upload_and_close, number, part))

    def wait(self) -> list[Part]:
        """Every part that was uploaded, in the order of their numbers, once none is running.

        Raises:
            StoreUnavailable, LockLost: the first failure that there was.
        """
        self._collect(wait(self._running).done)
        return self._contiguous_done()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._failed.set()
        wait(self._running)

    def _upload_and_close(self, number: int, part: SpooledPart) -> Part:
        with part:
            if self._failed.is_set():
                raise StoreUnavailable("an earlier part")
            try:
                return self._upload(number, part)
            except BaseException:
                self._failed.set()
                raise

    def _collect(self, finished: set[Future[Part]]) -> None:
        self._running -= finished
        failures = [error for one in finished if (error := one.exception()) is not None]
        self._done += [one.result() for one in finished if one.exception() is None]
        # A part that was not begun because of an earlier one's failure is not the news.
        failures.sort(key=lambda error: error.args == ("the store failed at an earlier part",))
        if failures:
            self._failed.set()
            raise failures[0]
        # Without the first one there is no news: the tail that it swallows reaches further.
        if finished and (run := self._contiguous_done()):
            self._on_parts(run)

    def _contiguous_done(self) -> list[Part]:
        self._done.sort(key=lambda part: part.number)
        numbered = enumerate(self._done, self._first or 1)
        return [part for number, part in numbered if part.number == number]


@contextmanager
def map_concurrently(
    executor: Executor, function: Callable[[Item], Result], items: Iterable[Item]
) -> Iterator[Iterator[Result]]:
    """What `function` makes of each item, in the order of the items.

    Calls run ahead of the caller, at most `MAX_CALLS_IN_FLIGHT` of them. Leaving the context waits
    for the calls that have begun; no call begins after a failure has been seen.
    """
    running: deque[Future[Result]] = deque()

    def results() -> Iterator[Result]:
        for item in items:
            if len(running) == MAX_CALLS_IN_FLIGHT:
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
