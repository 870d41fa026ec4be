"""What the service gives out of finished uploads, and what it says of those that are refused."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from tests.harness.bodies import ScriptedBody
from tus_wsgi.domain.commands import (
    Command,
    Concatenate,
    Content,
    Create,
    Created,
    Download,
    Downloadable,
    Inspect,
    Inspected,
    Outcome,
)
from tus_wsgi.domain.errors import OnFinishFailed, StoreUnavailable, UploadIncomplete
from tus_wsgi.domain.events import Event, UploadCreated
from tus_wsgi.domain.hooks import FinishedUpload
from tus_wsgi.domain.model import Final, Metadata, UploadId, UploadInfo
from tus_wsgi.lockers.memory import MemoryLocker
from tus_wsgi.service.uploads import UploadService
from tus_wsgi.stores.memory import MemoryStore

DATA = b"0123456789"


@dataclass
class House:
    """A service whose application refuses as often as it is told to."""

    has_hook: bool = True
    has_links: bool = False
    refusals: int = 0
    link_error: StoreUnavailable | None = None
    finished: list[UploadId] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        ids = (UploadId(f"id{number}") for number in itertools.count())
        self.service = UploadService(
            MemoryStore(),
            MemoryLocker(timeout=0.2),
            new_id=lambda: next(ids),
            on_finish=self._on_finish if self.has_hook else None,
            presign_url=self._presign_url,
            observers=[self.events.append],
        )

    def _on_finish(self, upload: FinishedUpload) -> None:
        self.finished.append(upload.id)
        if self.refusals:
            self.refusals -= 1
            raise ValueError("no disk")

    def _presign_url(self, info: UploadInfo, content: Content) -> str | None:
        if self.link_error is not None:
            raise self.link_error
        return f"https://s3/{info.id}?{content.length}" if self.has_links else None

    def ask(self, command: Command, body: bytes = b"") -> Outcome:
        return self.service.execute(command, ScriptedBody(body))

    def create(
        self, body: bytes, length: int | None = len(DATA), *, is_partial: bool = False
    ) -> UploadId:
        command = Create(length, Metadata(), has_data=True, is_partial=is_partial)
        created = self.ask(command, body)
        assert isinstance(created, Created)
        return created.info.id

    def refused(self) -> UploadId:
        """A full upload whose hook has run and failed."""
        self.refusals = 1
        with pytest.raises(OnFinishFailed) as caught:
            self.create(DATA)
        return UploadId(caught.value.id)

    def dispatched(self) -> list[Event]:
        return [event for event in self.events if isinstance(event, UploadCreated)]


def content_of(outcome: Outcome) -> bytes:
    assert isinstance(outcome, Downloadable)
    return b"".join(outcome.content.read(0, outcome.content.length))


# -- a file, or how far it is ----------------------------------------------------------------------


@pytest.mark.parametrize("has_hook", [True, False])
def test_who_asks_for_either_gets_the_file_once_it_is_there(*, has_hook: bool) -> None:
    house = House(has_hook=has_hook)
    id = house.create(DATA)
    assert content_of(house.ask(Download(id, or_inspect=True))) == DATA


@pytest.mark.parametrize("has_hook", [True, False])
def test_and_before_that_how_far_it_is(*, has_hook: bool) -> None:
    """R-30: as HEAD does, in the newest version of the IETF's draft."""
    house = House(has_hook=has_hook)
    id = house.create(DATA[:4])
    outcome = house.ask(Download(id, or_inspect=True))
    assert outcome == house.ask(Inspect(id))
    assert isinstance(outcome, Inspected)
    assert outcome.info.offset == 4
    with pytest.raises(UploadIncomplete):
        house.ask(Download(id))


def test_one_that_is_full_is_finished_and_given_out_at_once() -> None:
    """There was an answer without content: the upload was finished by it, and it did not say so."""
    house = House()
    id = house.refused()
    with pytest.raises(UploadIncomplete):
        house.ask(Download(id))
    assert content_of(house.ask(Download(id, or_inspect=True))) == DATA
    assert house.finished == [id, id]


def test_one_that_the_application_refuses_is_given_to_nobody() -> None:
    house = House()
    id = house.refused()
    house.refusals = 1
    with pytest.raises(OnFinishFailed):
        house.ask(Download(id, or_inspect=True))


# -- links -----------------------------------------------------------------------------------------


def test_a_finished_file_comes_with_its_link() -> None:
    house = House(has_links=True)
    outcome = house.ask(Download(house.create(DATA)))
    assert isinstance(outcome, Downloadable)
    assert outcome.presigned_url == "https://s3/id0?10"


def test_without_links_there_is_none() -> None:
    house = House()
    outcome = house.ask(Download(house.create(DATA)))
    assert isinstance(outcome, Downloadable)
    assert outcome.presigned_url is None


def test_who_asks_how_far_it_is_is_led_nowhere() -> None:
    """R-30, R-32: that is answered with 2xx, here."""
    house = House(has_links=True)
    outcome = house.ask(Download(house.create(DATA), or_inspect=True))
    assert isinstance(outcome, Downloadable)
    assert outcome.presigned_url is None


def test_a_link_that_cannot_be_made_is_a_fault_of_the_store() -> None:
    house = House(link_error=StoreUnavailable("GetObject"))
    id = house.create(DATA)
    with pytest.raises(StoreUnavailable):
        house.ask(Download(id))


# -- creations that the application refuses --------------------------------------------------------


def whole(house: House) -> None:
    house.create(DATA)


def empty(house: House) -> None:
    house.ask(Create(0, Metadata(), has_data=False))


def joined(house: House) -> None:
    house.ask(Concatenate(Final((UploadId("id0"), UploadId("id0"))), Metadata()))


@pytest.mark.parametrize(
    ("create", "length"), [(whole, 10), (empty, 0), (joined, 20)], ids=["whole", "empty", "joined"]
)
def test_observers_are_told_of_an_upload_whose_creation_is_refused(
    create: Callable[[House], None], length: int
) -> None:
    """It exists, and its client is told where."""
    house = House()
    house.create(DATA, is_partial=True)
    house.events.clear()
    house.refusals = 1
    with pytest.raises(OnFinishFailed) as caught:
        create(house)
    assert (caught.value.id, caught.value.length) == ("id1", length)
    assert house.dispatched() == [UploadCreated(UploadId("id1"), length)]
    house.ask(Inspect(UploadId("id1")))
    assert len(house.dispatched()) == 1, "it is created only once"


def test_a_creation_that_is_not_refused_is_told_of_once() -> None:
    house = House()
    house.create(DATA)
    assert house.dispatched() == [UploadCreated(UploadId("id0"), 10)]
