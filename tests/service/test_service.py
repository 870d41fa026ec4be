"""The rules of uploads, in their order, over a store and a locker in memory."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.bodies import PATIENCE, ScriptedBody, sliced
from tests.harness.clients.service import ServiceClient
from tus_wsgi.domain.commands import (
    Append,
    Appended,
    Create,
    Created,
    Discover,
    Discovered,
    Download,
    Downloadable,
    Inspect,
    Inspected,
    Terminate,
    Terminated,
)
from tus_wsgi.domain.errors import (
    BodyDraining,
    BodyIncomplete,
    BodyInterrupted,
    BodyMalformed,
    BodyTimedOut,
    ClientDisconnected,
    LengthExceeded,
    LengthMismatch,
    LockLost,
    OffsetMismatch,
    OnFinishFailed,
    RequestError,
    StoreUnavailable,
    TusError,
    UploadIncomplete,
    UploadLocked,
    UploadNotFound,
    UploadTooLarge,
)
from tus_wsgi.domain.events import (
    BytesStored,
    Event,
    UploadCreated,
    UploadFinished,
    UploadTerminated,
)
from tus_wsgi.domain.hooks import FinishedUpload
from tus_wsgi.domain.interfaces import AssertHeld, Body, BodyEnd, Store, Upload
from tus_wsgi.domain.model import Extension, Metadata, State, UploadId, UploadInfo
from tus_wsgi.lockers.memory import MemoryLocker
from tus_wsgi.service.uploads import UploadService
from tus_wsgi.stores.memory import MemoryStore, MemoryUpload

MAX = 100
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
METADATA = Metadata((("filename", b"a.txt"),), "filename YS50eHQ=")
UNKNOWN = UploadId("unknown")


class Fragile(MemoryStore):
    """A store in memory that fails at a step as often as it is told to.

    Attributes:
        failures: steps, and the errors that they raise next; each is raised once.
        calls: the steps that were taken, in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.failures: dict[str, list[TusError]] = {}
        self.calls: list[str] = []

    def fail(self, step: str, *errors: TusError) -> None:
        self.failures[step] = list(errors or [StoreUnavailable(step)])

    def step(self, name: str) -> None:
        self.calls.append(name)
        if self.failures.get(name):
            raise self.failures[name].pop(0)

    def create(self, info: UploadInfo, *, record_now: bool) -> FragileUpload:
        self.step("create at once" if record_now else "create")
        super().create(info, record_now=record_now)
        return FragileUpload(self, info.id)

    def open(self, id: UploadId) -> FragileUpload:
        self.step("open")
        super().open(id)
        return FragileUpload(self, id)


class FragileUpload(MemoryUpload):
    """An upload of such a store."""

    def __init__(self, store: Fragile, id: UploadId) -> None:
        super().__init__(store._uploads, store._uploads[id])
        self._store = store

    def load_offset(self) -> None:
        self._store.step("load_offset")

    def declare_length(
        self, length: int, assert_held: AssertHeld, *, is_open: bool = False
    ) -> None:
        self._store.step("declare")
        super().declare_length(length, assert_held, is_open=is_open)

    def append(
        self,
        body: Body,
        assert_held: Callable[[], None],
        on_stored: Callable[[int], None] | None = None,
    ) -> None:
        self._store.step("append")
        super().append(body, assert_held, on_stored)
        self._store.step("appended")

    def assemble(self, assert_held: Callable[[], None]) -> bool:
        self._store.step("assemble")
        return super().assemble(assert_held)

    def finish(self, assert_held: AssertHeld, *, may_defer: bool) -> None:
        self._store.step("finish lazily" if may_defer else "finish")
        super().finish(assert_held, may_defer=may_defer)

    def terminate(self, assert_held: AssertHeld) -> None:
        self._store.step("terminate")
        super().terminate(assert_held)


@dataclass
class House:
    """A service, and everything around it that a test may look at."""

    max_size: int = MAX
    patience: float = 0.2
    has_hook: bool = False
    observers: list[Callable[[Event], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = Fragile()
        self.events: list[Event] = []
        self.finished: list[FinishedUpload] = []
        self.refusals: list[Exception] = []
        ids = (UploadId(f"id{number}") for number in itertools.count())
        self.service = UploadService(
            self.store,
            MemoryLocker(timeout=self.patience),
            new_id=lambda: next(ids),
            max_size=self.max_size,
            on_finish=self._on_finish if self.has_hook else None,
            observers=[*self.observers, self.events.append],
            now=lambda: NOW,
        )

    def _on_finish(self, upload: FinishedUpload) -> None:
        self.finished.append(upload)
        if self.refusals:
            raise self.refusals.pop(0)

    def create(self, length: int | None = 10) -> UploadId:
        """An upload without any data."""
        created = self.service.execute(Create(length, METADATA, has_data=False), ScriptedBody())
        assert isinstance(created, Created)
        return created.info.id

    def create_with(self, body: Body, length: int | None = 10) -> UploadInfo:
        created = self.service.execute(Create(length, METADATA, has_data=True), body)
        assert isinstance(created, Created)
        assert created.has_data
        return created.info

    def append(
        self, id: UploadId, body: Body | bytes, *, offset: int = 0, length: int | None = None
    ) -> UploadInfo:
        body = ScriptedBody(body) if isinstance(body, bytes) else body
        appended = self.service.execute(Append(id, offset, length), body)
        assert isinstance(appended, Appended)
        return appended.info

    def look(self, id: UploadId) -> UploadInfo:
        inspected = self.service.execute(Inspect(id), ScriptedBody())
        assert isinstance(inspected, Inspected)
        return inspected.info

    def download(self, id: UploadId) -> bytes:
        outcome = self.service.execute(Download(id), ScriptedBody())
        assert isinstance(outcome, Downloadable)
        return b"".join(outcome.content.read(0, outcome.content.length))

    def stored(self, id: UploadId) -> bytes:
        """What the store holds, finished or not."""
        return bytes(self.store._uploads[id].content)

    def dispatched(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
def hooked() -> House:
    return House(has_hook=True)


def assert_unchanged(house: House, id: UploadId, *, offset: int, length: int | None) -> None:
    info = house.look(id)
    assert (info.offset, info.length) == (offset, length)


# -- discovery -------------------------------------------------------------------------------------


def test_discovery_tells_what_can_be_done(house: House) -> None:
    assert house.service.execute(Discover(), ScriptedBody()) == Discovered(MAX, tuple(Extension))


@pytest.mark.parametrize(
    ("asked", "offered"), [(0, 1000), (1, 1), (999, 999), (1000, 1000), (1001, 1000)]
)
def test_the_maximum_is_the_smaller_of_setting_and_store(asked: int, offered: int) -> None:
    """C-09: nothing is promised that the store cannot hold."""
    store: Store = MemoryStore(max_size=1000)
    locker = MemoryLocker(timeout=0)
    service = UploadService(store, locker, new_id=lambda: UNKNOWN, max_size=asked)
    assert service.max_size == offered


# -- creation --------------------------------------------------------------------------------------


def test_a_new_upload_can_be_found_at_once(house: House) -> None:
    """CR-01, CR-02, CR-08."""
    id = house.create(10)
    assert house.look(id) == UploadInfo(id, 10, 0, METADATA, State.RECEIVING, NOW)
    assert house.store.calls[0] == "create at once"
    assert house.events == [UploadCreated(id, 10)]


def test_every_creation_is_another_upload(house: House) -> None:
    """CR-11."""
    assert house.create() != house.create()


@pytest.mark.parametrize("length", [MAX, MAX + 1])
def test_the_longest_upload_is_as_long_as_promised(house: House, length: int) -> None:
    """CR-06."""
    if length <= MAX:
        assert house.look(house.create(length)).length == length
    else:
        with pytest.raises(UploadTooLarge) as caught:
            house.create(length)
        assert (caught.value.limit, caught.value.provided) == (MAX, length)
        assert house.store.calls == []


def test_an_empty_upload_is_finished_at_once(hooked: House) -> None:
    """CR-07: and the hook runs exactly once."""
    id = hooked.create(0)
    assert hooked.look(id).is_finished
    assert hooked.look(id).is_finished
    assert hooked.append(id, b"").is_finished
    assert hooked.download(id) == b""
    assert [upload.id for upload in hooked.finished] == [id]
    assert hooked.dispatched(UploadFinished) == [UploadFinished(id, 0)]


def test_a_creation_that_fails_leaves_nothing_to_tell(house: House) -> None:
    house.store.fail("create at once")
    with pytest.raises(StoreUnavailable):
        house.create()
    assert house.events == []


@pytest.mark.parametrize("fails", [False, True])
def test_a_creation_whose_bytes_come_slowly_does_not_lapse_with_the_last_of_them(
    *, fails: bool
) -> None:
    """EX-06: they are as good as those of a PATCH, which moves the instant."""
    store = Fragile()
    uploads = ServiceClient(store, lifetime=100.0)
    if fails:
        store.fail("appended")
    slow = ScriptedBody(
        b"abc",
        content_length=9,
        ending=BodyEnd.DISCONNECTED,
        on_read=lambda: uploads.advance_clock(60),
    )
    id = uploads.create(9, slow)
    uploads.advance_clock(90)
    assert uploads.inspect(id).offset == 3


@pytest.mark.parametrize("length", [10, None])
def test_a_creation_may_bring_the_first_bytes(house: House, length: int | None) -> None:
    """CW-02, CW-09."""
    info = house.create_with(ScriptedBody(b"abc", b"d"), length)
    assert (info.offset, info.length, info.is_finished) == (4, length, False)
    assert house.look(info.id).offset == 4
    assert [type(event) for event in house.events] == [BytesStored, UploadCreated]


def test_a_creation_may_bring_everything(hooked: House) -> None:
    """CW-03."""
    info = hooked.create_with(ScriptedBody(b"0123456789"))
    assert info.is_finished
    assert info.offset == 10
    assert hooked.finished == [
        FinishedUpload(info.id, 10, METADATA, {"Type": "memory"}),
    ]
    assert hooked.download(info.id) == b"0123456789"


def test_a_creation_may_bring_an_empty_body(house: House) -> None:
    """CW-04."""
    assert house.create_with(ScriptedBody()).offset == 0


def test_finishing_is_lazy_only_where_nobody_has_to_be_told(house: House, hooked: House) -> None:
    """So a small upload costs two calls, and a hook never runs again without need."""
    house.create_with(ScriptedBody(b"0123456789"))
    assert house.store.calls[-1] == "finish lazily"
    hooked.create_with(ScriptedBody(b"0123456789"))
    assert hooked.store.calls[-1] == "finish"


@pytest.mark.parametrize("length", [3, None])
def test_a_creation_that_says_it_is_too_long_creates_nothing(
    house: House, length: int | None
) -> None:
    """CW-05."""
    body = ScriptedBody(b"x" * 4) if length else ScriptedBody(content_length=MAX + 1)
    with pytest.raises(UploadTooLarge):
        house.create_with(body, length)
    assert house.store.calls == []
    assert body.received == 0


@pytest.mark.parametrize("length", [3, None])
def test_a_creation_that_turns_out_too_long_leaves_nothing(
    house: House, length: int | None
) -> None:
    """CW-05, without a Content-Length."""
    body = ScriptedBody(b"x" * (MAX + 1), content_length=None)
    with pytest.raises(UploadTooLarge) as caught:
        house.create_with(body, length)
    assert (caught.value.limit, caught.value.provided) == (length or MAX, None)
    assert house.store._uploads == {}
    assert house.dispatched(UploadCreated) == []


@pytest.mark.parametrize(
    "end", [BodyEnd.DISCONNECTED, BodyEnd.STALLED, BodyEnd.INTERRUPTED, BodyEnd.DRAINING]
)
def test_a_creation_that_was_cut_short_says_what_is_stored(house: House, end: BodyEnd) -> None:
    """C-41: the upload exists, so its URL is worth more than an error."""
    info = house.create_with(ScriptedBody(b"abc", content_length=10, ending=end))
    assert (info.offset, info.is_finished) == (3, False)
    assert house.append(info.id, b"3456789", offset=3).is_finished
    assert house.download(info.id) == b"abc3456789"


def test_a_creation_with_broken_framing_leaves_nothing(house: House) -> None:
    body = ScriptedBody(b"abc", content_length=None, ending=BodyEnd.MALFORMED)
    with pytest.raises(BodyMalformed):
        house.create_with(body)
    assert house.store._uploads == {}


def test_a_fault_after_the_upload_exists_is_no_reason_to_deny_it(house: House) -> None:
    house.store.fail("appended")
    info = house.create_with(ScriptedBody(b"abc"))
    assert info.offset == 3
    assert house.look(info.id).offset == 3
    assert house.dispatched(UploadCreated) == [UploadCreated(info.id, 10)]


def test_a_fault_that_does_not_go_away_is_told(house: House) -> None:
    house.store.fail("append")
    house.store.fail("load_offset")
    with pytest.raises(StoreUnavailable, match="append"):
        house.create_with(ScriptedBody(b"abc"))


def test_a_creation_never_calls_an_upload_full_that_is_not_finished(house: House) -> None:
    """A client that reads its own length as the offset goes away, and nobody looks again."""
    house.store.fail("assemble", StoreUnavailable("assemble"), StoreUnavailable("assemble"))
    with pytest.raises(StoreUnavailable):
        house.create_with(ScriptedBody(b"0123456789"))
    assert house.look(UploadId("id0")).is_finished


def test_a_creation_that_could_not_be_finished_is_tried_again_at_once(house: House) -> None:
    house.store.fail("assemble")
    assert house.create_with(ScriptedBody(b"0123456789")).is_finished


# -- appending -------------------------------------------------------------------------------------


def test_bytes_are_put_at_the_end(house: House) -> None:
    """C-30, C-37."""
    id = house.create()
    assert house.append(id, b"01234").offset == 5
    assert house.append(id, b"", offset=5).offset == 5
    assert house.append(id, b"5", offset=5).offset == 6
    last = house.append(id, b"6789", offset=6)
    assert (last.offset, last.is_finished) == (10, True)
    assert house.download(id) == b"0123456789"


@pytest.mark.property
@given(
    data=st.binary(max_size=MAX),
    cuts=st.lists(st.integers(0, MAX), max_size=6),
    pieces=st.lists(st.integers(0, MAX), max_size=4),
    deferred=st.booleans(),
    announces=st.booleans(),
)
def test_any_slicing_gives_the_same_file(
    *, data: bytes, cuts: list[int], pieces: list[int], deferred: bool, announces: bool
) -> None:
    house = House(has_hook=True)
    id = house.create(None if deferred else len(data))
    offset = 0
    for request in sliced(data, cuts):
        content_length = len(request) if announces else None
        body = ScriptedBody(*sliced(request, pieces), content_length=content_length)
        offset = house.append(id, body, offset=offset).offset
    if deferred:
        house.append(id, b"", offset=offset, length=len(data))
    assert house.look(id).is_finished
    assert house.download(id) == data
    assert [upload.length for upload in house.finished] == [len(data)]


@pytest.mark.parametrize("offset", [0, 4, 6, 10, 2**63 - 1])
@pytest.mark.parametrize("data", [b"", b"abc"])
def test_the_wrong_offset_changes_nothing(house: House, offset: int, data: bytes) -> None:
    """C-33, also when the body is empty, and unread."""
    id = house.create()
    house.append(id, b"01234")
    body = ScriptedBody(data)
    with pytest.raises(OffsetMismatch) as caught:
        house.append(id, body, offset=offset)
    assert (caught.value.expected, caught.value.provided) == (5, offset)
    assert not body.has_ended
    assert_unchanged(house, id, offset=5, length=10)


def test_an_unknown_upload_is_not_found(house: House) -> None:
    """C-24, C-36, TE-03."""
    for command in (Inspect(UNKNOWN), Append(UNKNOWN, 0), Terminate(UNKNOWN), Download(UNKNOWN)):
        with pytest.raises(UploadNotFound):
            house.service.execute(command, ScriptedBody(b"abc"))


def test_a_body_that_says_it_is_too_long_changes_nothing(house: House) -> None:
    """C-38."""
    id = house.create()
    house.append(id, b"01234")
    body = ScriptedBody(b"567890")
    with pytest.raises(UploadTooLarge) as caught:
        house.append(id, body, offset=5)
    assert (caught.value.limit, caught.value.provided) == (10, 11)
    assert body.received == 0
    assert_unchanged(house, id, offset=5, length=10)


def test_a_body_that_turns_out_too_long_is_stored_up_to_the_length(house: House) -> None:
    """C-39: the offset never passes the length, and the next look finishes the upload."""
    id = house.create()
    with pytest.raises(UploadTooLarge) as caught:
        house.append(id, ScriptedBody(b"0123456", b"789ab", content_length=None))
    assert (caught.value.limit, caught.value.provided) == (10, None)
    assert house.stored(id) == b"0123456789"
    assert house.look(id).is_finished
    assert house.download(id) == b"0123456789"


@pytest.mark.parametrize(
    ("end", "error"),
    [
        (BodyEnd.DISCONNECTED, ClientDisconnected),
        (BodyEnd.STALLED, BodyTimedOut),
        (BodyEnd.INTERRUPTED, BodyInterrupted),
        (BodyEnd.DRAINING, BodyDraining),
        (BodyEnd.MALFORMED, BodyMalformed),
    ],
)
def test_what_came_of_a_body_that_was_cut_short_is_stored(
    house: House, end: BodyEnd, error: type[BodyIncomplete]
) -> None:
    """C-41, C-42."""
    id = house.create()
    with pytest.raises(error) as caught:
        house.append(id, ScriptedBody(b"01", b"2", content_length=10, ending=end))
    assert caught.value.offset == 3
    assert_unchanged(house, id, offset=3, length=10)
    dispatched = house.dispatched(BytesStored)
    assert [(one.count, one.offset, one.cut_short) for one in dispatched] == [  # type: ignore[union-attr]
        (3, 3, end.name.lower())
    ]
    assert house.append(id, b"3456789", offset=3).is_finished


def test_an_upload_is_finished_though_its_client_left_with_the_last_byte(house: House) -> None:
    id = house.create()
    body = ScriptedBody(b"0123456789", content_length=None, ending=BodyEnd.DISCONNECTED)
    with pytest.raises(ClientDisconnected):
        house.append(id, body)
    assert len(house.dispatched(UploadFinished)) == 1


def test_broken_framing_finishes_nothing(hooked: House) -> None:
    id = hooked.create()
    body = ScriptedBody(b"0123456789", content_length=None, ending=BodyEnd.MALFORMED)
    with pytest.raises(BodyMalformed):
        hooked.append(id, body)
    assert hooked.finished == []


def test_an_empty_append_to_a_finished_upload_is_nothing(hooked: House) -> None:
    """C-40: a client that lost the last 204 may ask again. The hook does not."""
    id = hooked.create()
    hooked.append(id, b"0123456789")
    again = hooked.append(id, b"", offset=10)
    assert (again.offset, again.is_finished) == (10, True)
    assert len(hooked.finished) == len(hooked.dispatched(UploadFinished)) == 1


@pytest.mark.parametrize("content_length", [1, None])
def test_data_for_a_finished_upload_is_too_much(house: House, content_length: int | None) -> None:
    """C-40."""
    id = house.create()
    house.append(id, b"0123456789")
    with pytest.raises(UploadTooLarge):
        house.append(id, ScriptedBody(b"x", content_length=content_length), offset=10)
    with pytest.raises(OffsetMismatch):
        house.append(id, ScriptedBody(b"0123456789"))
    assert house.download(id) == b"0123456789"


def test_what_a_fault_left_is_found_again(house: House) -> None:
    id = house.create()
    house.store.fail("appended")
    with pytest.raises(StoreUnavailable):
        house.append(id, b"01234")
    assert house.look(id).offset == 5


def test_an_upload_that_could_not_be_finished_is_finished_by_the_next_look(house: House) -> None:
    id = house.create()
    house.store.fail("assemble")
    with pytest.raises(StoreUnavailable):
        house.append(id, b"0123456789")
    assert house.dispatched(UploadFinished) == []
    assert house.look(id).is_finished
    assert house.dispatched(UploadFinished) == [UploadFinished(id, 10)]


def test_an_upload_that_could_not_be_finished_is_finished_by_the_next_append(house: House) -> None:
    id = house.create()
    house.store.fail("assemble")
    with pytest.raises(StoreUnavailable):
        house.append(id, b"0123456789")
    assert house.append(id, b"", offset=10).is_finished


# -- deferred length -------------------------------------------------------------------------------


def test_a_length_may_stay_unknown(house: House) -> None:
    """DL-01, DL-03."""
    id = house.create(None)
    house.append(id, b"012")
    assert_unchanged(house, id, offset=3, length=None)


@pytest.mark.parametrize("length", [3, 10])
def test_a_length_is_declared_with_an_append(house: House, length: int) -> None:
    """DL-04."""
    id = house.create(None)
    info = house.append(id, b"012", length=length)
    assert (info.length, info.is_finished) == (length, length == 3)
    assert_unchanged(house, id, offset=3, length=length)


def test_a_length_is_declared_once(house: House) -> None:
    """DL-05."""
    id = house.create(None)
    house.append(id, b"", length=10)
    with pytest.raises(LengthMismatch):
        house.append(id, b"", length=11)
    assert_unchanged(house, id, offset=0, length=10)
    assert house.append(id, b"0", length=10).offset == 1
    assert house.store.calls.count("declare") == 1


@pytest.mark.parametrize(
    ("length", "error"),
    [(4, LengthMismatch), (5, UploadTooLarge), (6, UploadTooLarge), (MAX + 1, UploadTooLarge)],
)
def test_a_length_that_cannot_be_is_not_recorded(
    house: House, length: int, error: type[RequestError]
) -> None:
    """DL-06: below what is stored, below what comes, above the maximum."""
    id = house.create(None)
    house.append(id, b"01234")
    with pytest.raises(error):
        house.append(id, b"56", offset=5, length=length)
    assert_unchanged(house, id, offset=5, length=None)


def test_an_empty_append_with_the_length_finishes(hooked: House) -> None:
    """DL-07."""
    id = hooked.create(None)
    hooked.append(id, b"01234")
    assert hooked.append(id, b"", offset=5, length=5).is_finished
    assert len(hooked.finished) == 1


def test_a_length_beside_a_wrong_offset_is_not_recorded(house: House) -> None:
    """DL-08: the offset is judged first."""
    id = house.create(None)
    house.append(id, b"01234")
    for length in (1, 10, MAX + 1):
        with pytest.raises(OffsetMismatch):
            house.append(id, b"", offset=4, length=length)
    assert_unchanged(house, id, offset=5, length=None)


@pytest.mark.parametrize("content_length", [MAX - 4, None])
def test_an_upload_without_a_length_ends_at_the_maximum(
    house: House, content_length: int | None
) -> None:
    """DL-09."""
    id = house.create(None)
    house.append(id, b"01234")
    body = ScriptedBody(b"x" * (MAX - 4), content_length=content_length)
    with pytest.raises(UploadTooLarge) as caught:
        house.append(id, body, offset=5)
    assert caught.value.limit == MAX
    assert house.look(id).offset == (5 if content_length else MAX)


@pytest.mark.parametrize(
    ("body", "length", "refusal", "is_end"),
    [
        (ScriptedBody(b"x" * 8), None, UploadTooLarge, True),
        (ScriptedBody(b"x" * 8, content_length=None), None, UploadTooLarge, True),
        (ScriptedBody(b"x" * 8), 10, LengthMismatch, True),
        (ScriptedBody(b"x" * 2), 10, LengthMismatch, False),
        (ScriptedBody(b"x" * 2, content_length=None), 10, LengthMismatch, False),
        (ScriptedBody(b"x" * 2, content_length=None), None, LengthMismatch, False),
    ],
)
def test_only_what_goes_beyond_the_length_makes_an_end_of_an_upload(
    house: House,
    body: ScriptedBody,
    length: int | None,
    refusal: type[Exception],
    *,
    is_end: bool,
) -> None:
    """R-40, and R-06 and R-07, which ask for a refusal alone."""
    id = house.create(9)
    house.append(id, b"01")
    command = Append(id, 2, length, completes=True, overrun_is_fatal=True)
    with pytest.raises(refusal):
        house.service.execute(command, body)
    if is_end:
        with pytest.raises(UploadNotFound):
            house.look(id)
    else:
        assert house.look(id).offset in (2, 4)


@pytest.mark.parametrize("content_length", [True, False])
def test_what_exceeds_the_server_s_limit_makes_no_end_of_an_upload(*, content_length: bool) -> None:
    """R-16, R-44: only a length of the upload's own is one to go beyond."""
    house = House(max_size=10)
    id = house.create(None)
    house.append(id, b"01")
    body = ScriptedBody(b"x" * 9) if content_length else ScriptedBody(b"x" * 9, content_length=None)
    command = Append(id, 2, ends_at_length=False, overrun_is_fatal=True)
    with pytest.raises(UploadTooLarge) as caught:
        house.service.execute(command, body)
    assert not isinstance(caught.value, LengthExceeded)
    assert house.look(id).offset == (2 if content_length else 10)


@pytest.mark.parametrize("stored", [b"0123456789ab", b"0123456789"])
def test_nothing_more_is_taken_where_the_limit_was_lowered(stored: bytes) -> None:
    """DL-09"""
    house = House(max_size=100)
    id = house.create(None)
    house.append(id, stored)
    house.service.max_size = 10
    with pytest.raises(UploadTooLarge):
        house.append(id, ScriptedBody(b"x" * 500, content_length=None), offset=len(stored))
    assert house.stored(id) == stored


def test_what_was_begun_in_the_ietf_s_words_may_be_completed_in_those_of_tus() -> None:
    """In tus an upload ends with its last byte, and nobody says so once more."""
    house = House(has_hook=True)
    create = Create(6, METADATA, has_data=True, is_open=True)
    created = house.service.execute(create, ScriptedBody(b"012"))
    assert isinstance(created, Created)
    id = created.info.id
    more = Append(id, 3, ends_at_length=False)
    house.service.execute(more, ScriptedBody(b"34"))
    assert not house.append(id, b"", offset=5).is_full
    assert house.append(id, b"5", offset=5).is_finished
    assert [upload.length for upload in house.finished] == [6]


def test_one_that_was_full_and_open_is_completed_by_an_append_of_nothing() -> None:
    house = House(has_hook=True)
    create = Create(3, METADATA, has_data=True, is_open=True)
    created = house.service.execute(create, ScriptedBody(b"012"))
    assert isinstance(created, Created)
    assert not house.finished
    assert house.append(created.info.id, b"", offset=3).is_finished
    assert len(house.finished) == 1


@pytest.mark.parametrize("content_length", [True, False])
def test_a_full_upload_ends_by_nothing_that_is_sent_behind_it(*, content_length: bool) -> None:
    """R-43: "the server MUST NOT modify the upload resource", also before it is called finished."""
    house = House(has_hook=True)
    house.refusals = [RuntimeError("not yet")]
    id = house.create(3)
    with pytest.raises(OnFinishFailed):
        house.append(id, b"abc")
    body = ScriptedBody(b"x") if content_length else ScriptedBody(b"x", content_length=None)
    command = Append(id, 3, None, completes=True, overrun_is_fatal=True)
    with pytest.raises(UploadTooLarge):
        house.service.execute(command, body)
    assert house.look(id).is_finished


def test_a_known_length_may_be_repeated_and_not_be_changed(house: House) -> None:
    """DL-11."""
    id = house.create(10)
    assert house.append(id, b"0", length=10).offset == 1
    with pytest.raises(LengthMismatch):
        house.append(id, b"1", offset=1, length=11)
    assert "declare" not in house.store.calls
    assert_unchanged(house, id, offset=1, length=10)


# -- finishing -------------------------------------------------------------------------------------


def test_the_hook_runs_before_the_upload_is_finished_and_the_client_told(hooked: House) -> None:
    id = hooked.create()
    hooked.store.calls.clear()
    hooked.append(id, b"0123456789")
    assert hooked.store.calls[-2:] == ["assemble", "finish"]
    assert hooked.finished == [FinishedUpload(id, 10, METADATA, {"Type": "memory"})]
    assert hooked.events[-1] == UploadFinished(id, 10)


def test_a_hook_that_raises_runs_again_at_the_next_look(hooked: House) -> None:
    hooked.refusals = [ValueError("no disk"), KeyError("again")]
    id = hooked.create()
    with pytest.raises(OnFinishFailed) as caught:
        hooked.append(id, b"0123456789")
    assert isinstance(caught.value.__cause__, ValueError)
    assert hooked.dispatched(UploadFinished) == []
    with pytest.raises(UploadIncomplete):
        hooked.download(id)
    with pytest.raises(OnFinishFailed):
        hooked.look(id)
    assert hooked.look(id).is_finished
    assert hooked.look(id).is_finished
    assert [upload.id for upload in hooked.finished] == [id] * 3
    assert hooked.dispatched(UploadFinished) == [UploadFinished(id, 10)]


def test_a_hook_runs_at_least_once(hooked: House) -> None:
    """It ran, but nobody could write that down: so it runs again."""
    id = hooked.create()
    hooked.store.fail("finish")
    with pytest.raises(StoreUnavailable):
        hooked.append(id, b"0123456789")
    assert hooked.look(id).is_finished
    assert len(hooked.finished) == 2


def test_a_lost_lock_finishes_nothing(hooked: House) -> None:
    id = hooked.create()
    hooked.store.fail("assemble", LockLost("the lease ran out"))
    with pytest.raises(LockLost):
        hooked.append(id, b"0123456789")
    assert hooked.finished == []


def test_who_finds_an_object_made_tells_nobody_unless_there_is_a_hook(house: House) -> None:
    id = house.create()
    house.store.fail("finish lazily")
    with pytest.raises(StoreUnavailable):
        house.append(id, b"0123456789")
    assert house.look(id).is_finished
    assert house.dispatched(UploadFinished) == []


# -- looking ---------------------------------------------------------------------------------------


def test_looking_twice_finds_the_same(house: House) -> None:
    """C-20, C-21, C-25."""
    id = house.create()
    house.append(id, b"01234")
    assert house.look(id) == house.look(id)


# -- the lock --------------------------------------------------------------------------------------


class Request:
    """A request of another client, in a thread of its own."""

    def __init__(self, act: Callable[[], object]) -> None:
        self.error: Exception | None = None
        self._act = act
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._act()
        except TusError as error:
            self.error = error

    def join(self) -> Exception | None:
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        return self.error


NEWCOMERS: dict[str, Callable[[House, UploadId], object]] = {
    "HEAD": lambda house, id: house.look(id),
    "PATCH": lambda house, id: house.append(id, b"3", offset=3),
    "DELETE": lambda house, id: house.service.execute(Terminate(id), ScriptedBody()),
}


@pytest.mark.parametrize("newcomer", NEWCOMERS)
def test_a_newcomer_ends_a_running_append_which_stores_what_it_has(newcomer: str) -> None:
    """C-26, C-43, TE-05."""
    house = House(patience=PATIENCE)
    id = house.create()
    body = ScriptedBody(b"012", content_length=10, stalls=True)
    running = Request(lambda: house.append(id, body))
    assert body.waiting.wait(PATIENCE)
    NEWCOMERS[newcomer](house, id)
    error = running.join()
    assert isinstance(error, BodyInterrupted)
    assert error.offset == 3
    if newcomer == "DELETE":
        assert house.store._uploads == {}
    else:
        assert house.stored(id) == (b"0123" if newcomer == "PATCH" else b"012")


def test_a_creation_holds_the_lock_while_its_data_comes() -> None:
    house = House(patience=PATIENCE)
    body = ScriptedBody(b"012", content_length=10, stalls=True)
    created: list[UploadInfo] = []
    running = Request(lambda: created.append(house.create_with(body)))
    assert body.waiting.wait(PATIENCE)
    assert house.look(UploadId("id0")).offset == 3
    assert running.join() is None
    assert created[0].offset == 3


def test_a_holder_that_does_not_let_go_keeps_its_lock() -> None:
    house = House(patience=0.05)
    id = house.create()
    go_on = threading.Event()
    there = threading.Event()

    def on_read() -> None:
        there.set()
        assert go_on.wait(PATIENCE)

    running = Request(lambda: house.append(id, ScriptedBody(b"0123456789", on_read=on_read)))
    assert there.wait(PATIENCE)
    with pytest.raises(UploadLocked):
        house.look(id)
    go_on.set()
    assert running.join() is None or isinstance(running.error, BodyInterrupted)
    assert house.stored(id) == b"0123456789"


def test_downloads_need_no_lock() -> None:
    house = House(patience=0)
    info = house.create_with(ScriptedBody(b"0123456789"))
    locker = house.service._locker
    with locker.lock(info.id, on_release_request=lambda: pytest.fail("asked to let go")):
        assert house.download(info.id) == b"0123456789"


@pytest.mark.parametrize("newcomer", NEWCOMERS)
def test_a_request_that_fails_gives_the_lock_back(house: House, newcomer: str) -> None:
    id = house.create()
    house.store.fail("open")
    with pytest.raises(StoreUnavailable):
        NEWCOMERS[newcomer](house, id)
    assert house.look(id).offset == 0


# -- termination -----------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"012", b"0123456789"])
def test_an_upload_is_removed_finished_or_not(house: House, data: bytes) -> None:
    """TE-01, TE-02, TE-04."""
    id = house.create()
    house.append(id, data)
    assert house.service.execute(Terminate(id), ScriptedBody()) == Terminated()
    assert house.store._uploads == {}
    assert house.events[-1] == UploadTerminated(id)
    for command in (Inspect(id), Append(id, len(data)), Terminate(id), Download(id)):
        with pytest.raises(UploadNotFound):
            house.service.execute(command, ScriptedBody())


def test_a_removal_that_failed_can_be_tried_again(house: House) -> None:
    id = house.create()
    house.store.fail("terminate")
    with pytest.raises(StoreUnavailable):
        house.service.execute(Terminate(id), ScriptedBody())
    assert house.dispatched(UploadTerminated) == []
    assert house.service.execute(Terminate(id), ScriptedBody()) == Terminated()


# -- download --------------------------------------------------------------------------------------


@pytest.mark.parametrize("has_hook", [False, True])
def test_an_unfinished_upload_cannot_be_downloaded(*, has_hook: bool) -> None:
    house = House(has_hook=has_hook)
    id = house.create()
    house.append(id, b"01234")
    with pytest.raises(UploadIncomplete):
        house.download(id)


def test_without_a_hook_a_whole_object_is_enough(house: House) -> None:
    id = house.create()
    house.store.fail("finish lazily")
    with pytest.raises(StoreUnavailable):
        house.append(id, b"0123456789")
    assert house.download(id) == b"0123456789"


def test_a_whole_object_is_withheld_until_the_hook_agreed(hooked: House) -> None:
    hooked.refusals = [ValueError("a virus")]
    id = hooked.create()
    with pytest.raises(OnFinishFailed):
        hooked.append(id, b"0123456789")
    with pytest.raises(UploadIncomplete):
        hooked.download(id)


# -- observers -------------------------------------------------------------------------------------


def test_observers_are_told_what_happened_in_order(house: House) -> None:
    id = house.create()
    house.append(id, b"01234")
    house.append(id, b"56789", offset=5)
    house.service.execute(Terminate(id), ScriptedBody())
    first, second, third, fourth, fifth = house.events
    assert first == UploadCreated(id, 10)
    assert isinstance(second, BytesStored)
    assert (second.id, second.offset, second.count, second.cut_short) == (id, 5, 5, None)
    assert 0 <= second.seconds < PATIENCE
    assert isinstance(third, BytesStored)
    assert (third.offset, third.count) == (10, 5)
    assert (fourth, fifth) == (UploadFinished(id, 10), UploadTerminated(id))


def test_an_observer_that_raises_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    def broken(event: Event) -> None:
        raise RuntimeError("a bug in the observer")

    house = House(observers=[broken])
    id = house.create()
    assert house.append(id, b"0123456789").is_finished
    assert house.download(id) == b"0123456789"
    assert [type(event) for event in house.events] == [UploadCreated, BytesStored, UploadFinished]
    assert caplog.text.count("a bug in the observer") >= 3


def test_the_store_in_memory_is_a_store() -> None:
    store: Store = MemoryStore()
    upload: Upload = store.create(UploadInfo(UNKNOWN, 1), record_now=True)
    assert upload.info.offset == 0
