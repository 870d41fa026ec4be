"""The events that observers receive."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.harness.clients.service import ServiceClient
from tests.service.service_fixtures import TIMEOUT, FailingServiceClient
from tus_wsgi.domain.errors import OnFinishFailed
from tus_wsgi.domain.events import (
    BytesStored,
    Event,
    UploadCreated,
    UploadFinished,
    UploadTerminated,
)
from tus_wsgi.domain.model import UploadId
from tus_wsgi.stores.memory import MemoryStore

DATA = b"0123456789"


def created_events(uploads: ServiceClient) -> list[Event]:
    return [event for event in uploads.events if isinstance(event, UploadCreated)]


def test_observers_receive_the_events_in_order(uploads: FailingServiceClient) -> None:
    id = uploads.create(10)
    uploads.append(id, 0, b"01234")
    uploads.append(id, 5, b"56789")
    uploads.terminate(id)
    created, first, second, finished, terminated = uploads.events
    assert created == UploadCreated(id, 10)
    assert isinstance(first, BytesStored)
    assert (first.id, first.offset, first.count, first.cut_short) == (id, 5, 5, None)
    assert 0 <= first.seconds < TIMEOUT
    assert isinstance(second, BytesStored)
    assert (second.offset, second.count) == (10, 5)
    assert (finished, terminated) == (UploadFinished(id, 10), UploadTerminated(id))


def test_an_observer_that_raises_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def broken_observer(event: Event) -> None:
        raise RuntimeError(f"a bug in the observer: {event}")

    uploads = FailingServiceClient(has_hook=False, observers=[broken_observer])
    id = uploads.create(10)
    assert uploads.append(id, 0, DATA).is_finished
    assert uploads.content(id) == DATA
    assert [type(event) for event in uploads.events] == [UploadCreated, BytesStored, UploadFinished]
    assert caplog.text.count("a bug in the observer") >= 3
    assert id not in caplog.text


def create_with_data(uploads: ServiceClient, _partial: UploadId) -> None:
    uploads.create(len(DATA), DATA)


def create_empty(uploads: ServiceClient, _partial: UploadId) -> None:
    uploads.create(0)


def create_final(uploads: ServiceClient, partial: UploadId) -> None:
    uploads.concatenate(partial, partial)


@pytest.mark.parametrize(
    ("create", "length"),
    [(create_with_data, 10), (create_empty, 0), (create_final, 20)],
    ids=["with data", "empty", "final"],
)
def test_a_creation_whose_hook_raises_dispatches_the_event_once(
    create: Callable[[ServiceClient, UploadId], None], length: int
) -> None:
    """The upload exists, and the error response contains its URL."""
    uploads = ServiceClient(MemoryStore())
    partial = uploads.create_partial(DATA)
    uploads.events.clear()
    uploads.finish_errors = [ValueError("rejected")]
    with pytest.raises(OnFinishFailed) as caught:
        create(uploads, partial)
    id = UploadId(caught.value.id)
    assert id != partial
    assert caught.value.length == length
    assert created_events(uploads) == [UploadCreated(id, length)]
    uploads.inspect(id)
    assert created_events(uploads) == [UploadCreated(id, length)]


def test_a_successful_creation_dispatches_the_event_once() -> None:
    uploads = ServiceClient(MemoryStore())
    id = uploads.create(len(DATA), DATA)
    assert created_events(uploads) == [UploadCreated(id, 10)]
