"""Log events, and configure the log.

**An upload's id is a capability**, so no line contains an id or a URL, only a fingerprint
(`tus_wsgi.domain.hidden_ids`). File names are never logged, because they may be personal data.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Any, assert_never, get_args

from tus_wsgi.domain.errors import HookFailed, StoreUnavailable
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
    S3Called,
    UploadCreated,
    UploadEvent,
    UploadFinished,
    UploadRejected,
    UploadTerminated,
)
from tus_wsgi.domain.hidden_ids import fingerprint, hide, hide_id
from tus_wsgi.domain.request_id import REQUEST_ID

LOGGER = "tus_wsgi"
"""The logger of this package. All lines go to it or to its children."""

FieldValue = str | int | float

LoggedEvent = UploadEvent | RequestFailed | LockEvent | S3Called


class LogFormat(StrEnum):
    """The format of log lines."""

    TEXT = "text"
    """`2026-01-31T12:00:00+0000 INFO event=upload_created upload=1f0a5b3c length=1024`"""
    JSON = "json"
    """The same fields as a JSON object on each line."""


_LEVELS = {
    RequestFailed: logging.ERROR,
    LockTakenOver: logging.WARNING,
    LeaseLost: logging.WARNING,
    LockAcquired: logging.DEBUG,
    LockReleased: logging.DEBUG,
    S3Called: logging.DEBUG,
}


class LogObserver:
    """Logs each event: its name as `event=`, and its data as fields, in bytes and seconds.

    Args:
        logger: where the lines go.
        explain: returns one sentence for a known failure, which is logged instead of the traceback;
            None for other failures.
    """

    def __init__(
        self,
        logger: logging.Logger | None = None,
        *,
        explain: Callable[[BaseException], str | None] = lambda _error: None,
    ) -> None:
        self._logger = logger or logging.getLogger(LOGGER)
        self._explain = explain
        # Calls of S3 are measured only if the log contains them when the observer is created.
        self.handles = frozenset(get_args(LoggedEvent))
        if not self._logger.isEnabledFor(logging.DEBUG):
            self.handles -= {S3Called}

    def __call__(self, event: Event, /) -> None:
        """Log an event.

        | event                                              | level   |
        |----------------------------------------------------|---------|
        | a failed request                                   | ERROR   |
        | a lock that was taken over or lost                 | WARNING |
        | a lock that was acquired or released, a call of S3 | DEBUG   |
        | any other event                                    | INFO    |

        The line of a failed request has a traceback, or a sentence if the failure is known. If the
        logger's level is DEBUG, it has both.
        """
        level = _LEVELS.get(type(event), logging.INFO)
        if not self._logger.isEnabledFor(level) or not isinstance(event, LoggedEvent):
            return
        name, fields = _fields(event)
        if not isinstance(event, S3Called) and event.id is not None:
            fields = {"upload": fingerprint(event.id), **fields}
        self._log(level, name, fields, event if isinstance(event, RequestFailed) else None)

    def _log(
        self,
        level: int,
        name: str,
        fields: dict[str, FieldValue],
        failed: RequestFailed | None = None,
    ) -> None:
        logger = self._logger
        fields = {"event": name, **fields}
        if request := REQUEST_ID.get():
            fields["request"] = request
        error = failed.error if failed else None
        if failed and (reason := self._explain(failed.error)):
            fields["reason"] = repr(_hide_ids(reason, failed))
            if not logger.isEnabledFor(logging.DEBUG):
                error = None
        message = " ".join(f"{key}={value}" for key, value in fields.items())
        exc_info = (type(error), error, error.__traceback__) if error else None
        record = logger.makeRecord(
            logger.name, level, __file__, 0, message, (), exc_info, name, dict(fields)
        )
        if failed and error:
            # Formatters use this text instead of formatting the traceback.
            text = "".join(traceback.format_exception(error)).rstrip()
            record.exc_text = _hide_ids(text, failed)
        logger.handle(record)


def configure_logging(format: LogFormat, *, level: int = logging.INFO) -> None:
    """Send the lines of this package to standard error. A second call replaces the handler.

    Only `create_app` calls it. An application that contains the middleware configures the log
    itself.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(json_formatter() if format is LogFormat.JSON else _text_formatter())
    handler.set_name(LOGGER)
    logger = logging.getLogger(LOGGER)
    for previous in [other for other in logger.handlers if other.get_name() == LOGGER]:
        logger.removeHandler(previous)
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False


def _fields(event: LoggedEvent) -> tuple[str, dict[str, FieldValue]]:
    match event:
        case UploadCreated(length=length):
            return "upload_created", {"length": "deferred" if length is None else length}
        case BytesStored(offset=offset, count=count, seconds=seconds, cut_short=reason):
            fields: dict[str, FieldValue] = {"count": count, "offset": offset}
            fields["seconds"] = round(seconds, 3)
            return "bytes_stored", fields if reason is None else fields | {"cut_short": reason}
        case UploadFinished() | UploadRejected() | UploadTerminated():
            return _end_fields(event)
        case RequestFailed(error=error):
            return "request_failed", {"error": type(error).__name__}
        case S3Called(operation=operation, seconds=seconds, outcome=outcome):
            fields = {"operation": operation, "seconds": round(seconds, 3)}
            return "s3_called", fields | {"outcome": outcome}
        case _:
            return _lock_fields(event)


def _end_fields(
    event: UploadFinished | UploadRejected | UploadTerminated,
) -> tuple[str, dict[str, FieldValue]]:
    match event:
        case UploadFinished(length=length):
            return "upload_finished", {"length": length}
        case UploadRejected(status=status):
            return "upload_rejected", {"status": status}
        case UploadTerminated():
            return "upload_terminated", {}
        case _:
            assert_never(event)


def _lock_fields(event: LockEvent) -> tuple[str, dict[str, FieldValue]]:
    match event:
        case LockAcquired(seconds=seconds):
            return "lock_acquired", {"seconds": round(seconds, 3)}
        case LockReleased(seconds=seconds):
            return "lock_released", {"seconds": round(seconds, 3)}
        case LockTimedOut(seconds=seconds):
            return "lock_timed_out", {"seconds": round(seconds, 3)}
        case LockTakenOver(fence=fence):
            return "lock_taken_over", {"fence": fence}
        case LeaseLost(reason=reason):
            # Quoted, because it contains spaces.
            return "lease_lost", {"reason": repr(reason)}
        case _:
            assert_never(event)


def _hide_ids(text: str, failed: RequestFailed) -> str:
    """Replace the keys and ids that messages of boto3 and of hooks may contain."""
    for error in _chain_of(failed.error):
        if isinstance(error, StoreUnavailable) and error.key:
            text = hide(text, error.key, "<key>")
        if isinstance(error, HookFailed) and error.id:
            text = hide_id(text, error.id)
    return text if failed.id is None else hide_id(text, failed.id)


def _chain_of(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and its causes."""
    seen: set[int] = set()
    pending = [error]
    while pending:
        current = pending.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        pending += [current.__cause__, current.__context__]
        yield current


def _text_formatter() -> logging.Formatter:
    return logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S%z")


def json_formatter() -> logging.Formatter:
    """Return a formatter of JSON objects with the fields of a record."""
    # Imported here, so that only JSON logs need the memory and the time.
    from pythonjsonlogger.core import LogData  # noqa: PLC0415
    from pythonjsonlogger.json import JsonFormatter  # noqa: PLC0415

    class EventFormatter(JsonFormatter):
        """Omits the message of an event, which only repeats the fields, and keeps ids secret."""

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
