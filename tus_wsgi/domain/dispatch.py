"""Telling observers: all of them, whatever one of them does."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from tus_wsgi.domain.errors import OnFinishFailed
from tus_wsgi.domain.events import Event, UploadCreated
from tus_wsgi.domain.interfaces import Observer
from tus_wsgi.domain.model import UploadId

log = logging.getLogger(__name__)


class EventDispatcher:
    """Some observers, told as one."""

    def __init__(self, observers: Iterable[Observer]) -> None:
        self._observers = tuple(observers)

    def dispatch(self, event: Event) -> None:
        """Tell everybody, also when somebody raises, which is logged."""
        for observer in self._observers:
            try:
                observer(event)
            except Exception:
                log.exception("an observer failed")

    @contextmanager
    def record_if_hook_fails(self, id: UploadId) -> Iterator[None]:
        """Tell of a new upload that the application refuses to finish: it is there, and stays."""
        try:
            yield
        except OnFinishFailed as error:
            self.dispatch(UploadCreated(id, error.length))
            raise
