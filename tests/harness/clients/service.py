"""A client of `UploadService` without HTTP, over any store, with a clock that tests advance."""

from __future__ import annotations

import dataclasses
import itertools
import secrets
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.harness.bodies import ScriptedBody
from tus_wsgi.domain.commands import (
    Append,
    Appended,
    Concatenate,
    Create,
    Created,
    Download,
    Downloadable,
    Inspect,
    Inspected,
    Terminate,
)
from tus_wsgi.domain.events import Event
from tus_wsgi.domain.hook_set import Hooks
from tus_wsgi.domain.hooks import FinishedUpload
from tus_wsgi.domain.interfaces import Body, Observer, Store
from tus_wsgi.domain.model import Final, Metadata, UploadId, UploadInfo
from tus_wsgi.lockers.memory import MemoryLocker
from tus_wsgi.service.uploads import UploadService

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
METADATA = Metadata((("filename", b"a.txt"),), "filename YS50eHQ=")


class ServiceClient:
    """A service over a store, and short calls of its commands.

    Args:
        store: where the uploads are.
        has_hook: whether the app has an `on_finish` hook.
        observers: called with every event before it is added to `events`.
        options: `lock_timeout` in seconds, hooks by the names of their fields in `Hooks`, and
            arguments of `UploadService`.

    Attributes:
        clock: the current time.
        finished: what `on_finish` was called with.
        finish_errors: the errors that `on_finish` raises next, each once.
        events: what observers received.
    """

    def __init__(
        self,
        store: Store,
        *,
        has_hook: bool = True,
        observers: Sequence[Observer] = (),
        **options: Any,
    ) -> None:
        self.store = store
        self.clock = NOW
        self.finished: list[FinishedUpload] = []
        self.finish_errors: list[Exception] = []
        self.events: list[Event] = []
        prefix = secrets.token_hex(8)
        ids = (UploadId(f"{prefix}-{number}") for number in itertools.count())
        hook_names = [hook.name for hook in dataclasses.fields(Hooks)]
        given = {name: options.pop(name) for name in hook_names if name in options}
        self.service = UploadService(
            store,
            MemoryLocker(timeout=options.pop("lock_timeout", 0.2)),
            new_id=lambda: next(ids),
            hooks=Hooks(on_finish=self._on_finish if has_hook else None, **given),
            observers=[*observers, self.events.append],
            now=lambda: self.clock,
            **options,
        )

    def _on_finish(self, upload: FinishedUpload) -> None:
        self.finished.append(upload)
        if self.finish_errors:
            raise self.finish_errors.pop(0)

    def advance_clock(self, seconds: float) -> None:
        """Let time pass for the service."""
        self.clock += timedelta(seconds=seconds)

    def create(self, length: int | None, data: Body | bytes | None = None, **more: Any) -> UploadId:
        return self.create_upload(length, data, **more).id

    def create_upload(
        self, length: int | None, data: Body | bytes | None = None, **more: Any
    ) -> UploadInfo:
        """Create an upload. Without `data`, the request has no body."""
        body = ScriptedBody(data or b"") if isinstance(data, bytes | None) else data
        command = Create(length, METADATA, has_data=data is not None, **more)
        outcome = self.service.execute(command, body)
        assert isinstance(outcome, Created)
        assert outcome.has_data == command.has_data
        return outcome.info

    def create_partial(self, data: bytes) -> UploadId:
        """Create a finished partial upload of these bytes."""
        return self.create(len(data), data, is_partial=True)

    def concatenate(self, *partials: UploadId, metadata: Metadata = METADATA) -> UploadInfo:
        """Create a final upload."""
        final = Final(partials, "final;" + " ".join(partials))
        outcome = self.service.execute(Concatenate(final, metadata), ScriptedBody())
        assert isinstance(outcome, Created)
        assert not outcome.has_data
        return outcome.info

    def append(self, id: UploadId, offset: int, data: Body | bytes, **more: Any) -> UploadInfo:
        body = ScriptedBody(data) if isinstance(data, bytes) else data
        outcome = self.service.execute(Append(id, offset, **more), body)
        assert isinstance(outcome, Appended)
        return outcome.info

    def inspect(self, id: UploadId) -> UploadInfo:
        outcome = self.service.execute(Inspect(id), ScriptedBody())
        assert isinstance(outcome, Inspected)
        return outcome.info

    def content(self, id: UploadId) -> bytes:
        outcome = self.service.execute(Download(id), ScriptedBody())
        assert isinstance(outcome, Downloadable)
        return b"".join(outcome.content.read(0, outcome.content.length))

    def terminate(self, id: UploadId) -> None:
        self.service.execute(Terminate(id), ScriptedBody())


def call_once(action: Callable[[], None]) -> Callable[[], None]:
    """Return a function that calls `action` the first time; concurrent calls wait for its end."""
    pending = [action]
    mutex = threading.Lock()

    def call() -> None:
        with mutex:
            if pending:
                pending.pop()()

    return call
