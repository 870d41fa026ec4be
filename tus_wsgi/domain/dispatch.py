"""Dispatch events to observers."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from tus_wsgi.domain.errors import OnFinishFailed, UploadRejected
from tus_wsgi.domain.events import Event, UploadCreated
from tus_wsgi.domain.interfaces import Observer
from tus_wsgi.domain.model import UploadId

log = logging.getLogger(__name__)


class EventDispatcher:
    """Calls every observer with every event.

    Args:
        observers: called in this order.
    """

    def __init__(self, observers: Iterable[Observer]) -> None:
        self._observers = tuple(observers)

    def dispatch(self, event: Event) -> None:
        """Call every observer. An exception that an observer raises is logged, not propagated."""
        for observer in self._observers:
            try:
                observer(event)
            except Exception:
                log.exception("an observer raised at %s", type(event).__name__)

    @contextmanager
    def created_if_hook_fails(self, id: UploadId) -> Iterator[None]:
        """Dispatch `UploadCreated` if `on_finish` fails for a new upload, or rejects it.

        The upload exists in both cases, although its creation has failed.
        """
        try:
            yield
        except (OnFinishFailed, UploadRejected) as error:
            self.dispatch(UploadCreated(id, error.length))
            raise
