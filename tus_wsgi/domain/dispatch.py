"""Dispatch events to observers."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import get_args

from tus_wsgi.domain.events import Event, Measurement
from tus_wsgi.domain.hidden_ids import log_exception
from tus_wsgi.domain.interfaces import Observer

log = logging.getLogger(__name__)


_EVENTS = frozenset(get_args(Event))
_MEASUREMENTS = frozenset(get_args(Measurement))


class EventDispatcher:
    """Calls observers with the events that they handle.

    Args:
        observers: called in this order.
    """

    def __init__(self, observers: Iterable[Observer]) -> None:
        self._observers: dict[type, list[Observer]] = {kind: [] for kind in _EVENTS}
        for observer in observers:
            handled = getattr(observer, "handles", _EVENTS - _MEASUREMENTS)
            for kind in _EVENTS.intersection(handled):
                self._observers[kind].append(observer)

    def wants(self, kind: type[Event]) -> bool:
        """Return whether an observer handles events of this class. If not, do not make them."""
        return bool(self._observers[kind])

    def dispatch(self, event: Event) -> None:
        """Call each observer that handles the event.

        An exception that an observer raises is logged, not propagated.
        """
        for observer in self._observers[type(event)]:
            try:
                observer(event)
            except Exception as error:  # noqa: BLE001 - a bug of the observer
                id = getattr(event, "id", None)
                log_exception(log, f"an observer raised at {type(event).__name__}", error, id)
