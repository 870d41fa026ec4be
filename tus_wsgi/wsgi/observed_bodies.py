"""Measure the bodies that are being received."""

from __future__ import annotations

from collections.abc import Callable

from tus_wsgi.domain.events import BodyClosed, BodyOpened
from tus_wsgi.wsgi.draining import BodyRegistry, RequestBody


class ObservedBodies:
    """A `BodyRegistry` that reports each body.

    Args:
        bodies: the registry that does the work.
        on_event: called when a body is registered and unregistered.
    """

    def __init__(
        self, bodies: BodyRegistry, on_event: Callable[[BodyOpened | BodyClosed], None]
    ) -> None:
        self._bodies = bodies
        self._on_event = on_event

    @property
    def is_draining(self) -> bool:
        """Whether the process is about to stop."""
        return self._bodies.is_draining

    def add(self, body: RequestBody) -> None:
        """Register a body."""
        self._bodies.add(body)
        self._on_event(BodyOpened())

    def remove(self, body: RequestBody) -> None:
        """Unregister a body that has ended."""
        self._bodies.remove(body)
        end = body.cut_short
        self._on_event(BodyClosed(None if end is None else end.name.lower()))
