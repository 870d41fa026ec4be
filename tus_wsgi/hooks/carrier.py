"""The interface of carriers, which deliver the documents of hooks to another program."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tus_wsgi.domain.events import HookCalled
from tus_wsgi.domain.hooks import Request
from tus_wsgi.domain.model import UploadId
from tus_wsgi.hooks.tusd_json import HookEvent, HookResponse, InvalidHookResponse

log = logging.getLogger(__name__)

MAX_RESPONSE_SIZE = 5 * 1024
"""Bytes of a response unless the settings name another size, as in tusd."""


class HookCallFailed(Exception):
    """A document could not be delivered, or the response cannot be used.

    The message contains neither the document nor the response, which may contain ids.
    """


@dataclass(frozen=True, slots=True)
class HookCall:
    """A document to deliver.

    Attributes:
        event: the event.
        upload: the upload; None for a request to create one.
        id: identifies the event in all attempts to deliver it, see `webhook_id`.
        document: the JSON document.
        request: the request of the client; None if there is none.
    """

    event: HookEvent
    upload: UploadId | None
    id: str
    document: bytes
    request: Request | None


class Carrier(Protocol):
    """Delivers documents."""

    def ask(self, call: HookCall) -> HookResponse:
        """Deliver a document and return the response.

        Raises:
            HookCallFailed: there is no response, or it is not a success with a JSON object.
            InvalidHookResponse: a value in the response has the wrong type.
        """

    def tell(self, call: HookCall) -> None:
        """Deliver a document. The body of the response does not matter.

        Raises:
            HookCallFailed: there is no response, or it is not a success.
        """

    def post(
        self, call: HookCall, on_response: Callable[[HookResponse], None] | None = None
    ) -> None:
        """Deliver a document if possible, now or later. A failure is logged.

        Args:
            call: the document. A document about the progress of an upload may replace an older one
                that is not delivered yet.
            on_response: called with the response, from any thread, if the response can be used.
        """


OnEvent = Callable[[HookCalled], None]


def ignore_event(_event: HookCalled) -> None:
    """Do nothing with an event."""


def try_to_deliver(call: HookCall, deliver: Callable[[], None], on_event: OnEvent) -> None:
    """Deliver a document that nothing depends on: log a failure, and report the outcome.

    Args:
        call: the document.
        deliver: delivers it.
        on_event: receives the outcome.
    """
    started = time.monotonic()
    failed: str | None = None
    try:
        deliver()
    except (HookCallFailed, InvalidHookResponse) as error:
        failed = type(error).__name__
        log.warning("the hook %s failed: %s", call.event, error)
    except Exception as error:  # noqa: BLE001 - nothing may depend on it
        # Without the message, which may contain an id.
        failed = type(error).__name__
        log.warning("the hook %s failed: %s", call.event, failed)
    on_event(HookCalled(call.event.value, time.monotonic() - started, failed))


def is_json(content_type: str) -> bool:
    """Return whether a Content-Type is that of JSON."""
    return content_type.partition(";")[0].strip().lower() == "application/json"
