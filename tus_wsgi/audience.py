"""Telling observers: all of them, whatever one of them does."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from tus_wsgi.events import Event
from tus_wsgi.ports import Observer

log = logging.getLogger(__name__)


class Audience:
    """Some observers, told as one."""

    def __init__(self, observers: Iterable[Observer]) -> None:
        self._observers = tuple(observers)

    def tell(self, event: Event) -> None:
        """Tell everybody, also when somebody raises, which is logged."""
        for observer in self._observers:
            try:
                observer(event)
            except Exception:
                log.exception("an observer failed")
