"""Every odd size, and every odd file name, from the request to the object in the bucket."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.faults.faulty_s3 import PATIENCE, Lane, limits_for
from tests.harness.clients.transport import Answer, in_process
from tests.harness.clients.uploader import TusClient, Way
from tus_wsgi.app import TusMiddleware
from tus_wsgi.domain.hooks import FinishedUpload
from tus_wsgi.domain.parts import PartLimits
from tus_wsgi.lockers.memory import MemoryLocker
from tus_wsgi.settings import Settings
from tus_wsgi.stores.s3 import S3Store
from tus_wsgi.stores.s3.keys import Keys

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

PART = 10

RESUMABLE = {"Tus-Resumable": "1.0.0"}
BYTES = {**RESUMABLE, "Content-Type": "application/offset+octet-stream"}


class Shop:
    """An application with limits of its own, under a prefix of its own."""

    def __init__(self, lane: Lane, limits: PartLimits) -> None:
        lane.proxy.begin(lambda _call: None)
        self.lane = lane
        self.keys = Keys(secrets.token_hex(6))
        self.finished: list[FinishedUpload] = []
        self._limits = limits
        self.send = in_process(self.app)

    def app(self) -> TusMiddleware:
        """A process that was just started: each request meets one."""
        store = S3Store(
            self.lane.client(timeout=PATIENCE, retries=False),
            self.lane.service.bucket,
            keys=self.keys,
            limits=self._limits,
            parallel_parts=4,
        )
        settings = Settings(s3_bucket=self.lane.service.bucket, base_path="/files")
        return TusMiddleware(
            _nothing,
            settings=settings,
            store=store,
            locker=MemoryLocker(timeout=5),
            on_finish=self.finished.append,
        )

    def upload(self, file: bytes, way: Way) -> TusClient:
        """Send a file, and see that it is there, with its record and nothing else."""
        client = TusClient(send=self.send, file=file, way=way)
        client.upload()
        stored = self.lane.inspector.get_object(
            Bucket=self.lane.service.bucket, Key=f"{self.keys.object_prefix}/{client.id}"
        )
        assert stored["Body"].read() == file
        assert [one.length for one in self.finished] == [len(file)]
        assert self.left() == {client.id, f"{client.id}.info"}
        return client

    def left(self) -> set[str]:
        """All objects, without their prefix."""
        answer = self.lane.inspector.list_objects_v2(
            Bucket=self.lane.service.bucket, Prefix=self.keys.object_prefix
        )
        return {one["Key"].rpartition("/")[2] for one in answer.get("Contents", [])}

    @property
    def parts(self) -> set[int]:
        """The numbers of the parts that were sent."""
        return {call.part for call in self.lane.proxy.calls if call.part is not None}

    def post(self, body: bytes = b"", content_length: int | None = None, **fields: str) -> Answer:
        """A creation, with whatever fields; underscores stand for hyphens."""
        named = {name.replace("_", "-"): text for name, text in fields.items()}
        head = {**(BYTES if body else RESUMABLE), **named}
        return self.send("POST", "/files", head, body, content_length or len(body))


@pytest.fixture
def shop(lane: Lane) -> Callable[..., Shop]:
    def make(**limits: int) -> Shop:
        return Shop(lane, replace(limits_for(PART), **limits))

    return make


WAYS: dict[str, Callable[[int], Way]] = {
    "at once": lambda _length: Way(),
    "by creation": lambda length: Way(first=length),
    "in sevens": lambda length: Way(stops=[*range(7, length, 7), length]),
    "in parts": lambda length: Way(stops=[*range(PART, length, PART), length]),
    "length last": lambda length: Way(stops=[length // 2, length], deferred=True),
    "length alone": lambda length: Way(stops=[length], deferred=True, empty_last=True),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("length", [0, 1, 9, 10, 11, 19, 20, 21, 30, 95])
def test_a_file_of_any_length_arrives(shop: Callable[..., Shop], length: int, way: str) -> None:
    """0, 1, N - 1, N, N + 1, 2 N - 1, 2 N, 2 N + 1, 3 N, and more, however they come."""
    one = shop()
    one.upload(secrets.token_bytes(length), WAYS[way](length))
    # Whoever does not know the length does not know that what fills a part is the whole file.
    is_one_part = length < PART or (length == PART and not WAYS[way](length).empty_last)
    assert len(one.parts) == (0 if is_one_part else -(-length // PART))


@pytest.mark.parametrize("length", [51, 99, 100, 101, 1000])
def test_parts_grow_where_there_would_be_too_many(shop: Callable[..., Shop], length: int) -> None:
    one = shop(max_parts=5)
    one.upload(secrets.token_bytes(length), Way(stops=[length // 3, length]))
    assert max(one.parts) <= 5


def test_the_highest_part_number_is_used(shop: Callable[..., Shop]) -> None:
    one = shop(max_parts=5)
    one.upload(secrets.token_bytes(5 * PART), Way(stops=[23, 50]))
    assert one.parts == {1, 2, 3, 4, 5}


@pytest.mark.parametrize("length", [40, 150, 2000])
def test_an_unknown_length_fits_into_the_part_numbers(
    shop: Callable[..., Shop], length: int
) -> None:
    """The parts of a deferred upload grow as it goes on."""
    one = shop(max_parts=20, max_object_size=2000)
    way = Way(stops=[*range(33, length, 33), length], deferred=True)
    one.upload(secrets.token_bytes(length), way)
    assert max(one.parts) <= 20


@pytest.mark.parametrize(("length", "count"), [(3003, 1001), (3006, 752)])
def test_more_parts_than_a_page_lists(shop: Callable[..., Shop], length: int, count: int) -> None:
    """ListParts lists 1,000 at a time; part numbers end at the limit, here 1,001."""
    one = shop(part_size=3, min_part_size=3, max_parts=1001)
    one.upload(secrets.token_bytes(length), Way(stops=[length - 2, length]))
    assert one.parts == set(range(1, count + 1))


@pytest.mark.long
@pytest.mark.timeout(900)
def test_all_part_numbers_there_are(shop: Callable[..., Shop]) -> None:
    """10,000 parts: ListParts has ten full pages then."""
    one = shop(part_size=1, min_part_size=1, max_parts=10_000, max_object_size=10_000)
    one.upload(secrets.token_bytes(10_000), Way(stops=[9_999, 10_000]))
    assert one.parts == set(range(1, 10_001))


@pytest.mark.parametrize("length", [1, 9, 23])
def test_a_byte_at_a_time(shop: Callable[..., Shop], length: int) -> None:
    shop().upload(secrets.token_bytes(length), Way(stops=range(1, length + 1)))


def test_what_no_object_can_hold_is_refused_at_once(shop: Callable[..., Shop]) -> None:
    """A 413 before the first call to S3, and never midway."""
    one = shop(max_object_size=1000)
    assert one.post(Upload_Length="1001").status == 413
    assert one.post(b"x" * 5, Upload_Length="1001").status == 413
    assert one.post(b"x" * 5, content_length=1001, Upload_Defer_Length="1").status == 413
    assert one.lane.proxy.calls == []
    assert one.post(Upload_Length="1000").status == 201


def test_what_does_not_fit_into_a_deferred_upload_is_refused(shop: Callable[..., Shop]) -> None:
    """Other servers store it, although the announced bytes exceed the limit."""
    one = shop(max_object_size=100)
    url = one.post(b"x" * 60, Upload_Defer_Length="1").fields["location"]
    too_much = one.send("PATCH", url, {**BYTES, "Upload-Offset": "60"}, b"y" * 41, 41)
    assert too_much.status == 413
    too_long = {**BYTES, "Upload-Offset": "60", "Upload-Length": "101"}
    assert one.send("PATCH", url, too_long, b"", 0).status == 413
    assert one.send("HEAD", url, RESUMABLE, b"", 0).offset == 60
    rest = {**BYTES, "Upload-Offset": "60", "Upload-Length": "100"}
    assert one.send("PATCH", url, rest, b"y" * 40, 40).status == 204


NAMES: dict[str, Sequence[tuple[str, bytes]]] = {
    "TAB": [("filename", b"a\tb")],
    "CR LF": [("filename", b"a\r\nX-Amz-Meta-Evil: 1")],
    "DEL": [("filename", b"a\x7fb")],
    "NUL": [("filename", b"a\0b")],
    "emoji": [("filename", "\U0001f600 \u2028".encode())],
    "invalid UTF-8": [("filename", b"\xff\xfe\x80")],
    "3 KB": [("filename", b"n" * 3072)],
    "40 pairs": [(f"key{number}", b"v" * 100) for number in range(40)],
    "no token": [("file/name", b"a"), ("(", b"b")],
    "no value": [("is_confidential", b"")],
    "a type that is none": [("filetype", b"text/html\r\nX: y")],
    "blanks around": [("filename", b"  a  ")],
}


@pytest.mark.parametrize("length", [5, 25], ids=["one part", "parts"])
@pytest.mark.parametrize("name", NAMES)
def test_whatever_is_said_of_a_file_comes_back_as_it_was_said(
    shop: Callable[..., Shop], name: str, length: int
) -> None:
    one = shop()
    said = ",".join(
        f"{key} {base64.b64encode(value).decode()}".rstrip() for key, value in NAMES[name]
    )
    answer = one.post(b"x" * length, Upload_Length=str(length), Upload_Metadata=said)
    assert answer.status == 201
    url = answer.fields["location"]
    assert one.send("HEAD", url, RESUMABLE, b"", 0).fields["upload-metadata"] == said
    [finished] = one.finished
    assert list(finished.metadata.pairs) == list(NAMES[name])
    id = url.rpartition("/")[2]
    facts = one.lane.inspector.head_object(
        Bucket=one.lane.service.bucket, Key=f"{one.keys.object_prefix}/{id}"
    )
    assert "evil" not in facts["Metadata"]
    kept = [*facts["Metadata"].values(), facts["ContentType"]]
    assert all(0x20 <= ord(char) < 0x7F or char == "\t" for text in kept for char in text)


def _nothing(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    start_response("404 Not Found", [])
    return []
