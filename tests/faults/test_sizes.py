"""File sizes and file names at every limit, from the request to the object in the bucket."""

from __future__ import annotations

import base64
import math
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from tests.faults.faulty_s3 import CALL_TIMEOUT, FaultyS3, limits_for
from tests.faults.wrapped_app import not_found
from tests.harness.clients.http import Response
from tests.harness.clients.transport import in_process
from tests.harness.clients.uploader import TusUploader, UploadScript
from tus_wsgi.app import TusMiddleware
from tus_wsgi.domain.hooks import FinishedUpload
from tus_wsgi.domain.parts import PartLimits
from tus_wsgi.lockers.memory import MemoryLocker
from tus_wsgi.settings.settings import Settings
from tus_wsgi.stores.s3 import S3Store
from tus_wsgi.stores.s3.keys import Keys

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

PART_SIZE = 10

RESUMABLE = {"Tus-Resumable": "1.0.0"}
OFFSET_OCTET_STREAM = {**RESUMABLE, "Content-Type": "application/offset+octet-stream"}


class LimitedApp:
    """An app with the given part limits, and a prefix of its own.

    Attributes:
        finished: what `on_finish` was called with.
        send: a transport to the app. Each request has a new process.
    """

    def __init__(self, faulty_s3: FaultyS3, limits: PartLimits) -> None:
        faulty_s3.proxy.start()
        self.faulty_s3 = faulty_s3
        self.keys = Keys(secrets.token_hex(6))
        self.finished: list[FinishedUpload] = []
        self._limits = limits
        self.send = in_process(self._new_process)

    def _new_process(self) -> TusMiddleware:
        store = S3Store(
            self.faulty_s3.client(timeout=CALL_TIMEOUT, retries=False),
            self.faulty_s3.service.bucket,
            keys=self.keys,
            limits=self._limits,
            parallel_parts=4,
        )
        settings = Settings(s3_bucket=self.faulty_s3.service.bucket, base_path="/files")
        return TusMiddleware(
            not_found,
            settings=settings,
            store=store,
            locker=MemoryLocker(timeout=5),
            on_finish=self.finished.append,
        )

    def upload(self, file: bytes, script: UploadScript) -> TusUploader:
        """Upload a file into the empty prefix; check that only it and its record are stored."""
        uploader = TusUploader(send=self.send, file=file, script=script)
        uploader.upload()
        stored = self.faulty_s3.admin.get_object(
            Bucket=self.faulty_s3.service.bucket, Key=f"{self.keys.object_prefix}/{uploader.id}"
        )
        assert stored["Body"].read() == file
        assert [upload.length for upload in self.finished] == [len(file)]
        assert self.list_keys() == {uploader.id, f"{uploader.id}.info"}
        return uploader

    def list_keys(self) -> set[str]:
        """Return the keys of all objects, without the prefix."""
        listing = self.faulty_s3.admin.list_objects_v2(
            Bucket=self.faulty_s3.service.bucket, Prefix=self.keys.object_prefix
        )
        return {item["Key"].rpartition("/")[2] for item in listing.get("Contents", [])}

    @property
    def part_numbers(self) -> set[int]:
        """The numbers of the parts that were sent."""
        return {call.part for call in self.faulty_s3.proxy.calls if call.part is not None}

    def post(self, body: bytes = b"", content_length: int | None = None, **fields: str) -> Response:
        """Send a creation; in field names, underscores stand for hyphens."""
        named = {name.replace("_", "-"): text for name, text in fields.items()}
        head = {**(OFFSET_OCTET_STREAM if body else RESUMABLE), **named}
        return self.send("POST", "/files", head, body, content_length)

    def offset(self, url: str) -> int | None:
        """Return the offset that HEAD states."""
        return self.send("HEAD", url, RESUMABLE).offset


NewApp = Callable[..., LimitedApp]


@pytest.fixture
def new_app(faulty_s3: FaultyS3) -> NewApp:
    """A function that creates an app. Its arguments replace fields of `PartLimits`."""

    def new_app(**limits: int) -> LimitedApp:
        return LimitedApp(faulty_s3, replace(limits_for(PART_SIZE), **limits))

    return new_app


SCRIPTS: dict[str, Callable[[int], UploadScript]] = {
    "one append": lambda _length: UploadScript(),
    "in the creation": lambda length: UploadScript(first=length),
    "seven bytes each": lambda length: UploadScript(patch_ends=[*range(7, length, 7), length]),
    "a part each": lambda length: UploadScript(
        patch_ends=[*range(PART_SIZE, length, PART_SIZE), length]
    ),
    "deferred": lambda length: UploadScript(patch_ends=[length // 2, length], is_deferred=True),
    "empty last append": lambda length: UploadScript(
        patch_ends=[length], is_deferred=True, has_empty_last=True
    ),
}


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize(
    "length",
    [0, 1, 9, 10, 11, 30, *(pytest.param(n, marks=pytest.mark.long) for n in (19, 20, 21, 95))],
)
def test_a_file_of_any_length_is_stored(new_app: NewApp, length: int, script: str) -> None:
    """0, 1, N - 1, N, N + 1, 2 N - 1, 2 N, 2 N + 1, 3 N and more bytes, with parts of N bytes."""
    app = new_app()
    upload_script = SCRIPTS[script](length)
    app.upload(secrets.token_bytes(length), upload_script)
    # While the length is unknown, bytes that fill a part may not be the whole file.
    is_one_part = length < PART_SIZE or (length == PART_SIZE and not upload_script.has_empty_last)
    expected = 0 if is_one_part else math.ceil(length / PART_SIZE)
    assert len(app.part_numbers) == expected


@pytest.mark.parametrize("length", [51, 99, 100, 101, 1000])
def test_parts_are_larger_if_there_would_be_too_many(new_app: NewApp, length: int) -> None:
    app = new_app(max_parts=5)
    app.upload(secrets.token_bytes(length), UploadScript(patch_ends=[length // 3, length]))
    assert max(app.part_numbers) <= 5


def test_the_highest_part_number_is_used(new_app: NewApp) -> None:
    app = new_app(max_parts=5)
    app.upload(secrets.token_bytes(5 * PART_SIZE), UploadScript(patch_ends=[23, 50]))
    assert app.part_numbers == {1, 2, 3, 4, 5}


@pytest.mark.parametrize("length", [40, 150, 2000])
def test_parts_of_a_deferred_upload_grow_to_fit_the_part_numbers(
    new_app: NewApp, length: int
) -> None:
    app = new_app(max_parts=20, max_object_size=2000)
    script = UploadScript(patch_ends=[*range(33, length, 33), length], is_deferred=True)
    app.upload(secrets.token_bytes(length), script)
    assert max(app.part_numbers) <= 20


@pytest.mark.parametrize(("length", "count"), [(3003, 1001), (3006, 752)])
def test_parts_are_listed_beyond_the_first_page(new_app: NewApp, length: int, count: int) -> None:
    """D-02: ListParts lists 1,000 parts at a time; part numbers end at the limit, here 1,001."""
    app = new_app(part_size=3, min_part_size=3, max_parts=1001)
    app.upload(secrets.token_bytes(length), UploadScript(patch_ends=[length - 2, length]))
    assert app.part_numbers == set(range(1, count + 1))


@pytest.mark.long
@pytest.mark.timeout(900)
def test_an_upload_may_have_10_000_parts(new_app: NewApp) -> None:
    """D-02: ListParts then has ten full pages."""
    app = new_app(part_size=1, min_part_size=1, max_parts=10_000, max_object_size=10_000)
    app.upload(secrets.token_bytes(10_000), UploadScript(patch_ends=[9_999, 10_000]))
    assert app.part_numbers == set(range(1, 10_001))


@pytest.mark.parametrize("length", [1, 9, 23])
def test_appends_may_have_one_byte_each(new_app: NewApp, length: int) -> None:
    script = UploadScript(patch_ends=range(1, length + 1))
    new_app().upload(secrets.token_bytes(length), script)


def test_a_creation_beyond_the_maximum_object_size_is_refused(new_app: NewApp) -> None:
    """413 before the first call to S3, and never midway."""
    app = new_app(max_object_size=1000)
    assert app.post(Upload_Length="1001").status == 413
    assert app.post(b"x" * 5, Upload_Length="1001").status == 413
    assert app.post(b"x" * 5, content_length=1001, Upload_Defer_Length="1").status == 413
    assert app.faulty_s3.proxy.calls == []
    assert app.post(Upload_Length="1000").status == 201


def test_an_append_beyond_the_maximum_object_size_is_refused(new_app: NewApp) -> None:
    """Even if the length is unknown until then, the bytes are not stored."""
    app = new_app(max_object_size=100)
    url = app.post(b"x" * 60, Upload_Defer_Length="1")["Location"]
    at_60 = {**OFFSET_OCTET_STREAM, "Upload-Offset": "60"}
    assert app.send("PATCH", url, at_60, b"y" * 41).status == 413
    assert app.send("PATCH", url, {**at_60, "Upload-Length": "101"}).status == 413
    assert app.offset(url) == 60
    rest = {**at_60, "Upload-Length": "100"}
    assert app.send("PATCH", url, rest, b"y" * 40).status == 204


METADATA: dict[str, Sequence[tuple[str, bytes]]] = {
    "TAB": [("filename", b"a\tb")],
    "CR LF": [("filename", b"a\r\nX-Amz-Meta-Evil: 1")],
    "DEL": [("filename", b"a\x7fb")],
    "NUL": [("filename", b"a\0b")],
    "emoji": [("filename", "\U0001f600 \u2028".encode())],
    "invalid UTF-8": [("filename", b"\xff\xfe\x80")],
    "3 KB": [("filename", b"n" * 3072)],
    "40 pairs": [(f"key{number}", b"v" * 100) for number in range(40)],
    "keys that are no tokens": [("file/name", b"a"), ("(", b"b")],
    "no value": [("is_confidential", b"")],
    "invalid type": [("filetype", b"text/html\r\nX: y")],
    "spaces around": [("filename", b"  a  ")],
}


@pytest.mark.parametrize("length", [5, 25], ids=["one part", "parts"])
@pytest.mark.parametrize("name", METADATA)
def test_metadata_is_returned_unchanged_and_stored_in_printable_characters(
    new_app: NewApp, name: str, length: int
) -> None:
    app = new_app()
    encoded = ",".join(
        f"{key} {base64.b64encode(value).decode()}".rstrip() for key, value in METADATA[name]
    )
    response = app.post(b"x" * length, Upload_Length=str(length), Upload_Metadata=encoded)
    assert response.status == 201
    url = response["Location"]
    assert app.send("HEAD", url, RESUMABLE)["Upload-Metadata"] == encoded
    [finished] = app.finished
    assert list(finished.metadata.pairs) == list(METADATA[name])
    id = url.rpartition("/")[2]
    found = app.faulty_s3.admin.head_object(
        Bucket=app.faulty_s3.service.bucket, Key=f"{app.keys.object_prefix}/{id}"
    )
    assert "evil" not in found["Metadata"]
    stored = [*found["Metadata"].values(), found["ContentType"]]
    assert all(0x20 <= ord(char) < 0x7F or char == "\t" for text in stored for char in text)
