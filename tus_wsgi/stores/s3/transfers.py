"""Concurrent S3 calls of one request: part uploads, and calls whose results are used in order."""

from __future__ import annotations

import threading
import time
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
"""Maximum concurrent part uploads of one request, so that other uploads get their share. The
request reads the body meanwhile. At the limit it stops reading, which slows the client down."""

QUICK_SHARE = 0.1
"""If receiving a part takes at most this share of the time of its upload, the request receives no
part ahead: the memory of a part would save less than this share of the time."""

MAX_CALLS_IN_FLIGHT = 8
"""Maximum concurrent calls of one request, so that other requests get their share."""

UploadPart = Callable[[int, SpooledPart], Part]
"""Uploads a part and returns its ETag and size. It runs in the executor."""

OnParts = Callable[[list[Part]], None]
"""Called with the confirmed parts of the request, from its first part up to the first gap; never
with an empty list. It runs in the thread of the request."""


class PartPipeline:
    """Upload the parts of one request concurrently. Leaving the context waits for running uploads.

    A thread of the executor is busy only during an S3 call, not while the request waits for its
    client, so stalled clients do not block other uploads.

    Args:
        executor: shared by all uploads of the process.
        upload: uploads one part.
        on_parts: called from time to time with the confirmed parts.
    """

    def __init__(self, executor: Executor, upload: UploadPart, on_parts: OnParts) -> None:
        self._executor = executor
        self._upload = upload
        self._on_parts = on_parts
        self._first: int | None = None
        self._failed = threading.Event()
        self._running: set[Future[Part]] = set()
        self._done: list[Part] = []
        self._upload_seconds = float("inf")  # of the newest uploaded part

    def submit(self, number: int, part: SpooledPart) -> None:
        """Upload `part` in the background, and close it afterwards.

        Block while `MAX_PARTS_IN_FLIGHT` uploads are running.

        Raises:
            StoreUnavailable, LockLost: an earlier part failed. `part` is closed.
            RuntimeError: a thread cannot be started. `part` is closed.
        """
        self._first = number if self._first is None else self._first
        try:
            self._wait_for_slot()
        except BaseException:
            part.close()
            raise
        upload: Future[Part] = Future()
        self._running.add(upload)
        try:
            self._executor.submit(self._run, upload, number, part)
        except BaseException:
            self._withdraw(upload, part)
            raise

    def before_part(self, seconds: float) -> None:
        """Block until it is useful to receive another part.

        If the client is quick, or no upload has ended yet, block while `MAX_PARTS_IN_FLIGHT`
        uploads are running. Otherwise return at once.

        Args:
            seconds: how long receiving the previous part took.

        Raises:
            StoreUnavailable, LockLost: an earlier part failed.
        """
        if seconds <= QUICK_SHARE * self._upload_seconds:
            self._wait_for_slot()

    def wait(self) -> list[Part]:
        """Wait for all uploads; return the parts in order, up to the first gap.

        D-03: raise if any part failed, so that no response confirms its bytes.

        Raises:
            StoreUnavailable, LockLost: the first failure.
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

    def _withdraw(self, upload: Future[Part], part: SpooledPart) -> None:
        """Close a part that the executor has refused.

        The executor may have queued the upload before it failed to start a thread, so another
        thread may be sending the part. Then its buffer must not be reused (D-01).
        """
        self._failed.set()
        if upload.cancel():
            self._running.discard(upload)
            part.close()
        else:
            wait([upload])

    def _run(self, upload: Future[Part], number: int, part: SpooledPart) -> None:
        """Upload a part, and set the result of `upload`. Do nothing if it is withdrawn."""
        if not upload.set_running_or_notify_cancel():
            return
        try:
            uploaded = self._upload_and_close(number, part)
        except BaseException as error:  # noqa: BLE001 - as the executor does
            upload.set_exception(error)
            del upload  # the error would refer to itself, by this frame
        else:
            upload.set_result(uploaded)

    def _upload_and_close(self, number: int, part: SpooledPart) -> Part:
        with part:
            if self._failed.is_set():
                raise StoreUnavailable("an earlier part")
            began = time.monotonic()
            try:
                uploaded = self._upload(number, part)
            except BaseException:
                self._failed.set()
                raise
            self._upload_seconds = time.monotonic() - began
            return uploaded

    def _wait_for_slot(self) -> None:
        while len(self._running) >= MAX_PARTS_IN_FLIGHT:
            self._collect(wait(self._running, return_when=FIRST_COMPLETED).done)
        self._collect({future for future in self._running if future.done()})

    def _collect(self, finished: set[Future[Part]]) -> None:
        self._running -= finished
        failures: list[BaseException] = []
        for future in finished:
            failure = future.exception()
            if failure is None:
                self._done.append(future.result())
            else:
                failures.append(failure)
        # Report the failure itself, not a part that was skipped because of it.
        failures.sort(key=lambda error: error.args == ("the store failed at an earlier part",))
        if failures:
            self._failed.set()
            raise failures[0]
        # Until the first part is confirmed, the offset counts the tail instead: no progress.
        parts = self._contiguous_done() if finished else []
        if parts:
            self._on_parts(parts)

    def _contiguous_done(self) -> list[Part]:
        self._done.sort(key=lambda part: part.number)
        numbered = enumerate(self._done, self._first or 1)
        return [part for number, part in numbered if part.number == number]


@contextmanager
def map_concurrently(
    executor: Executor, function: Callable[[Item], Result], items: Iterable[Item]
) -> Iterator[Iterator[Result]]:
    """Call `function` for each item in the executor, and iterate over the results in order.

    At most `MAX_CALLS_IN_FLIGHT` calls run ahead of the caller. Leaving the context cancels calls
    that have not begun and waits for the others, so no call begins later.
    """
    calls: deque[Future[Result]] = deque()

    def submit(item: Item) -> None:
        call: Future[Result] = Future()
        calls.append(call)
        # If the executor cannot start a thread, it may have queued the call nevertheless.
        executor.submit(_run_call, call, function, item)

    def next_result() -> Result:
        result = calls[0].result()
        calls.popleft()  # not before: if the wait is interrupted, the call may not have begun
        return result

    def results() -> Iterator[Result]:
        for item in items:
            if len(calls) == MAX_CALLS_IN_FLIGHT:
                yield next_result()
            submit(item)
        while calls:
            yield next_result()

    try:
        yield results()
    finally:
        wait([call for call in calls if not call.cancel()])
        calls.clear()  # a failure would refer to itself, by the frame of its traceback


def _run_call(call: Future[Result], function: Callable[[Item], Result], item: Item) -> None:
    """Call the function, and set the result of `call`. Do nothing if it is cancelled."""
    if not call.set_running_or_notify_cancel():
        return
    try:
        result = function(item)
    except BaseException as error:
        call.set_exception(error)
        # Otherwise the error refers to itself, by this frame and by the task of the executor.
        del call
        raise
    else:
        call.set_result(result)
