"""The observer that writes a line for each event, and how the log is set up.

**An upload's id is a capability**: whoever knows it may write to the upload, or read it. So no line
holds an id or a URL, only a fingerprint: the first eight hex digits of the id's BLAKE2b hash. That
is enough to follow an upload through the log; `printf %s ID | b2sum` finds those of a known id.
Names of files are never logged, because they may be personal.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterator
from enum import StrEnum
from hashlib import blake2b
from typing import Any, assert_never
from urllib.parse import quote

from tus_wsgi.domain.errors import StoreUnavailable
from tus_wsgi.domain.events import (
    BytesStored,
    Event,
    LeaseLost,
    LockAcquired,
    LockEvent,
    LockReleased,
    LockTakenOver,
    LockTimedOut,
    RequestFailed,
    UploadCreated,
    UploadFinished,
    UploadTerminated,
)
from tus_wsgi.domain.model import UploadId

LOGGER = "tus_wsgi"
"""The logger that every line of this package goes to, or to one below it."""

SHORTEST_SECRET = 16
"""Characters from which on an id is hidden in a traceback. Nothing shorter is secret, and whoever
asks for an upload called `e` is not to scramble the log."""

Field = str | int | float


class LogFormat(StrEnum):
    """The form of a line."""

    TEXT = "text"
    """`2026-01-31T12:00:00+0000 INFO event=upload_created upload=1f0a5b3c length=1024`"""
    JSON = "json"
    """The same as one JSON object a line."""


def fingerprint(id: UploadId) -> str:
    """What the log calls the upload. It leads nobody to the id."""
    return blake2b(id.encode()).hexdigest()[:8]


_LEVELS = {
    RequestFailed: logging.ERROR,
    LockTakenOver: logging.WARNING,
    LeaseLost: logging.WARNING,
    LockAcquired: logging.DEBUG,
    LockReleased: logging.DEBUG,
}


class LogObserver:
    """Logs each event: its name in `event=`, and its facts as fields. Bytes and seconds."""

    def __init__(self, logger: logging.Logger | None = None) -> None:
        self._logger = logger or logging.getLogger(LOGGER)

    def __call__(self, event: Event, /) -> None:
        """Write the line. A fault on our side is an error with its traceback, most else is info.

        Locks come and go with each request (debug); that one was lost is unusual (warning).
        """
        level = _LEVELS.get(type(event), logging.INFO)
        if not self._logger.isEnabledFor(level):
            return
        name, fields = _facts(event)
        if event.id is not None:
            fields = {"upload": fingerprint(event.id), **fields}
        self._log(level, name, fields, event if isinstance(event, RequestFailed) else None)

    def _log(
        self, level: int, name: str, fields: dict[str, Field], failed: RequestFailed | None = None
    ) -> None:
        logger = self._logger
        fields = {"event": name, **fields}
        message = " ".join(f"{key}={value}" for key, value in fields.items())
        error = failed.error if failed else None
        exc_info = (type(error), error, error.__traceback__) if error else None
        record = logger.makeRecord(
            logger.name, level, __file__, 0, message, (), exc_info, name, dict(fields)
        )
        if failed:
            # A formatter takes this text where it finds it, instead of making its own.
            record.exc_text = _without_ids(failed)
        logger.handle(record)


def configure_logging(format: LogFormat, *, level: int = logging.INFO) -> None:
    """Send this package's lines to standard error. A second call replaces the first one's handler.

    For programs of our own only; a library leaves the log to the application it works in.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_json_formatter() if format is LogFormat.JSON else _text_formatter())
    handler.set_name(LOGGER)
    logger = logging.getLogger(LOGGER)
    for old in [other for other in logger.handlers if other.get_name() == LOGGER]:
        logger.removeHandler(old)
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False


def _facts(event: Event) -> tuple[str, dict[str, Field]]:
    match event:
        case UploadCreated(length=length):
            return "upload_created", {"length": "deferred" if length is None else length}
        case BytesStored(offset=offset, count=count, seconds=seconds, cut_short=why):
            facts: dict[str, Field] = {"count": count, "offset": offset}
            facts["seconds"] = round(seconds, 3)
            return "bytes_stored", facts if why is None else facts | {"cut_short": why}
        case UploadFinished(length=length):
            return "upload_finished", {"length": length}
        case UploadTerminated():
            return "upload_terminated", {}
        case RequestFailed(error=error):
            return "request_failed", {"error": type(error).__name__}
        case _:
            return _facts_of_lock(event)


def _facts_of_lock(event: LockEvent) -> tuple[str, dict[str, Field]]:
    match event:
        case LockAcquired(seconds=seconds):
            return "lock_acquired", {"seconds": round(seconds, 3)}
        case LockReleased(seconds=seconds):
            return "lock_released", {"seconds": round(seconds, 3)}
        case LockTimedOut(seconds=seconds):
            return "lock_refused", {"seconds": round(seconds, 3)}
        case LockTakenOver(fence=fence):
            return "lock_taken_over", {"fence": fence}
        case LeaseLost(reason=reason):
            # In quotes, because it is a sentence.
            return "lock_was_lost", {"reason": repr(reason)}
        case _:
            assert_never(event)


def _without_ids(failed: RequestFailed) -> str:
    """The traceback, in which boto3's messages may have named objects, by their URLs."""
    text = "".join(traceback.format_exception(failed.error)).rstrip()
    for key in _keys_in(failed.error):
        text = _hidden(text, key, "<key>")
    if failed.id is not None:
        # tusd's ids are `objectId+UploadId`, and its keys hold only the first half.
        for secret in (failed.id, *failed.id.split("+")):
            if len(secret) >= SHORTEST_SECRET:
                text = _hidden(text, secret, fingerprint(failed.id))
    return text


def _keys_in(error: BaseException | None) -> Iterator[str]:
    """The objects that an error and what it came from are about."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        waiting += [one.__cause__, one.__context__]
        if isinstance(one, StoreUnavailable) and one.key:
            yield one.key


def _hidden(text: str, secret: str, called: str) -> str:
    """The text without the secret, which URLs hold as it is or quoted."""
    for form in (secret, quote(secret), quote(secret, safe="")):
        text = text.replace(form, called)
    return text


def _text_formatter() -> logging.Formatter:
    return logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S%z")


def _json_formatter() -> logging.Formatter:
    # Imported where it is used: nobody else pays for it.
    from pythonjsonlogger.core import LogData  # noqa: PLC0415
    from pythonjsonlogger.json import JsonFormatter  # noqa: PLC0415

    class EventFormatter(JsonFormatter):
        """Drops the text of an event, whose fields stand beside it, and keeps ids secret."""

        def add_fields(
            self, log_data: LogData, record: logging.LogRecord, message_dict: dict[str, Any]
        ) -> None:
            super().add_fields(log_data, record, message_dict)
            if "event" in log_data:
                del log_data["message"]
            if record.exc_text:
                log_data["exc_info"] = record.exc_text

    return EventFormatter(
        "{asctime}{levelname}{message}",
        datefmt="%Y-%m-%dT%H:%M:%S%z",
        style="{",
        rename_fields={"asctime": "time", "levelname": "level"},
    )
