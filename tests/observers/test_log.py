"""Events in the log: one line each, without ids."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from tus_wsgi.domain.errors import HookFailed, OnFinishFailed, StoreUnavailable
from tus_wsgi.domain.events import (
    BytesStored,
    Event,
    LeaseLost,
    LockAcquired,
    LockReleased,
    LockTakenOver,
    LockTimedOut,
    RequestFailed,
    S3Called,
    UploadCreated,
    UploadFinished,
    UploadTerminated,
)
from tus_wsgi.domain.hidden_ids import fingerprint
from tus_wsgi.domain.model import UploadId
from tus_wsgi.domain.request_id import REQUEST_ID
from tus_wsgi.observers.log import LOGGER, LogFormat, LogObserver, configure_logging

ID = UploadId("QTzW1Qy0m2mLw0b0nXq3fA")
TUSD_ID = UploadId("24e533e02ec3bc40c387f1a0e460e216+2~abc.DEF_-")

EVENTS: list[tuple[Event, str]] = [
    (UploadCreated(ID, 1024), "event=upload_created upload=# length=1024"),
    (UploadCreated(ID, None), "event=upload_created upload=# length=deferred"),
    (
        BytesStored(ID, offset=700, count=200, seconds=1.23456, cut_short=None),
        "event=bytes_stored upload=# count=200 offset=700 seconds=1.235",
    ),
    (
        BytesStored(ID, offset=9, count=0, seconds=0.0, cut_short="disconnected"),
        "event=bytes_stored upload=# count=0 offset=9 seconds=0.0 cut_short=disconnected",
    ),
    (UploadFinished(ID, 7), "event=upload_finished upload=# length=7"),
    (UploadTerminated(ID), "event=upload_terminated upload=#"),
    (RequestFailed(ID, KeyError("x")), "event=request_failed upload=# error=KeyError"),
    (RequestFailed(None, KeyError("x")), "event=request_failed error=KeyError"),
    (LockAcquired(ID, 0.0123456), "event=lock_acquired upload=# seconds=0.012"),
    (LockReleased(ID, 3.0), "event=lock_released upload=# seconds=3.0"),
    (LockTimedOut(ID, 5.0001), "event=lock_timed_out upload=# seconds=5.0"),
    (LockTakenOver(ID, 7), "event=lock_taken_over upload=# fence=7"),
    (
        LeaseLost(ID, "the heartbeat was late"),
        "event=lease_lost upload=# reason='the heartbeat was late'",
    ),
    (
        S3Called("UploadPart", 0.25, "throttled", is_failure=True),
        "event=s3_called operation=UploadPart seconds=0.25 outcome=throttled",
    ),
]

LEVELS: dict[type[Event], int] = {
    RequestFailed: logging.ERROR,
    LockTakenOver: logging.WARNING,
    LeaseLost: logging.WARNING,
    LockAcquired: logging.DEBUG,
    LockReleased: logging.DEBUG,
    S3Called: logging.DEBUG,
}


@pytest.fixture(autouse=True)
def logger() -> Iterator[logging.Logger]:
    """The logger of the package, restored after the test. No request is running."""
    REQUEST_ID.set("")
    logger = logging.getLogger(LOGGER)
    handlers, level, propagate = logger.handlers[:], logger.level, logger.propagate
    logger.handlers, logger.propagate = [], True
    logger.setLevel(logging.DEBUG)
    yield logger
    logger.handlers, logger.propagate = handlers, propagate
    logger.setLevel(level)


def failed(id: UploadId | None, key: str) -> RequestFailed:
    """A failed request whose cause contains the key, like errors of botocore."""
    error = StoreUnavailable("GetObject")
    error.__cause__ = OSError(f'Could not connect to: "http://s3/bucket/{key}.info"')
    return RequestFailed(id, error)


@pytest.mark.parametrize(("event", "line"), EVENTS)
def test_an_event_is_logged_as_a_line_of_fields(
    event: Event, line: str, caplog: pytest.LogCaptureFixture
) -> None:
    LogObserver()(event)
    (record,) = caplog.records
    assert record.getMessage() == line.replace("#", fingerprint(ID))
    assert record.name == "tus_wsgi"


def test_the_lines_of_a_request_have_its_id(caplog: pytest.LogCaptureFixture) -> None:
    REQUEST_ID.set("7f3a")
    LogObserver()(UploadTerminated(ID))
    assert caplog.messages == [f"event=upload_terminated upload={fingerprint(ID)} request=7f3a"]


@pytest.mark.parametrize(("event", "_line"), EVENTS)
def test_only_failed_requests_are_errors(
    event: Event, _line: str, caplog: pytest.LogCaptureFixture
) -> None:
    LogObserver()(event)
    (record,) = caplog.records
    assert record.levelno == LEVELS.get(type(event), logging.INFO)
    assert bool(record.exc_info) == isinstance(event, RequestFailed)


def test_events_below_the_level_are_not_logged(
    logger: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    logger.setLevel(logging.ERROR)
    LogObserver()(UploadTerminated(ID))
    assert not caplog.records


@pytest.mark.parametrize("format", LogFormat)
@pytest.mark.parametrize(
    ("id", "key"),
    [(ID, ID), (TUSD_ID, TUSD_ID.partition("+")[0]), (TUSD_ID, TUSD_ID.replace("+", "%2B"))],
    ids=["plain", "key-of-tusd", "quoted-tusd"],
)
def test_tracebacks_contain_no_id_of_the_upload(
    format: LogFormat, id: UploadId, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(format)
    LogObserver()(UploadCreated(id, 1))
    LogObserver()(failed(id, key))
    output = capsys.readouterr().err
    assert "Could not connect" in output
    assert fingerprint(id) in output
    for secret in (id, key, *id.split("+")):
        assert secret not in output


def explain(error: BaseException) -> str | None:
    """Return the sentence for a known failure; None for another error."""
    return f"it's http://s3/{ID}" if isinstance(error, StoreUnavailable) else None


def test_a_known_failure_is_one_line_without_a_traceback(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong key of S3 had 54 lines for each request."""
    configure_logging(LogFormat.TEXT)
    observer = LogObserver(explain=explain)
    observer(failed(ID, ID))
    (line,) = capsys.readouterr().err.splitlines()
    sentence = f"it's http://s3/{fingerprint(ID)}"
    expected = (
        f'event=request_failed upload={fingerprint(ID)} error=StoreUnavailable reason="{sentence}"'
    )
    assert line.endswith(f"ERROR {expected}")
    observer(RequestFailed(ID, KeyError("x")))
    assert "KeyError" in capsys.readouterr().err.splitlines()[-1]
    logger.setLevel(logging.DEBUG)
    observer(failed(ID, ID))
    output = capsys.readouterr().err
    assert "StoreUnavailable: the store failed" in output
    assert sentence in output
    assert ID not in output


@pytest.mark.parametrize("format", LogFormat)
@pytest.mark.parametrize("key", [ID, f"2026/ä {ID}.info"])
def test_tracebacks_contain_no_key_of_another_upload(
    format: LogFormat, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The event of a failed creation has no id, and a concatenation reads other uploads."""
    configure_logging(format)
    error = RuntimeError("failure")
    error.__context__ = StoreUnavailable("PutObject", key=key)
    error.__context__.__cause__ = OSError(f'Could not connect to: "http://s3/b/{quote(key)}"')
    LogObserver()(RequestFailed(None, error))
    output = capsys.readouterr().err
    assert "Could not connect" in output
    assert ID not in output


@pytest.mark.parametrize("error", [OnFinishFailed(ID, 1), HookFailed("authorize", ID)])
def test_tracebacks_contain_no_id_that_a_hook_got(
    error: HookFailed, capsys: pytest.CaptureFixture[str]
) -> None:
    """The requests that create and concatenate uploads have no id."""
    configure_logging(LogFormat.TEXT)
    error.__cause__ = LookupError(f"no row for {ID}")
    LogObserver()(RequestFailed(None, error))
    output = capsys.readouterr().err
    assert f"no row for {fingerprint(ID)}" in output
    assert ID not in output


def test_a_short_id_is_not_replaced_in_a_traceback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging(LogFormat.TEXT)
    LogObserver()(failed(UploadId("e"), "e"))
    assert 'Could not connect to: "http://s3/bucket/e.info"' in capsys.readouterr().err


def test_json_format_writes_an_object_on_each_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogFormat.JSON)
    LogObserver()(BytesStored(ID, offset=700, count=200, seconds=0.5, cut_short=None))
    LogObserver()(failed(ID, ID))
    logging.getLogger("tus_wsgi.elsewhere").warning("plain %s", "text")
    stored, fault, plain = map(json.loads, capsys.readouterr().err.splitlines())
    assert stored.pop("time")
    assert stored == {
        "level": "INFO",
        "event": "bytes_stored",
        "upload": fingerprint(ID),
        "count": 200,
        "offset": 700,
        "seconds": 0.5,
    }
    assert (fault["event"], fault["error"]) == ("request_failed", "StoreUnavailable")
    assert "Could not connect" in fault["exc_info"]
    assert (plain["level"], plain["message"]) == ("WARNING", "plain text")


def test_text_format_begins_with_the_time_and_the_level(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogFormat.TEXT)
    LogObserver()(UploadTerminated(ID))
    time, level, rest = capsys.readouterr().err.rstrip().split(" ", 2)
    assert time[:2] == "20"
    assert (level, rest) == ("INFO", f"event=upload_terminated upload={fingerprint(ID)}")


def test_a_second_configuration_replaces_the_handler(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogFormat.JSON)
    configure_logging(LogFormat.TEXT)
    LogObserver()(UploadTerminated(ID))
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_fingerprint_is_the_beginning_of_the_output_of_b2sum() -> None:
    assert fingerprint(UploadId("abc")) == "ba80a53f"
