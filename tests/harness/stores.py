"""S3 stores on the real server, with the least privilege, and a record of every call they make."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from demo.seaweedfs import SeaweedFS
from tus_wsgi.domain.model import GIB, MIB, UploadId
from tus_wsgi.domain.parts import PartLimits
from tus_wsgi.spool.spool import Spool
from tus_wsgi.stores.s3 import S3Store
from tus_wsgi.stores.s3.client import make_client
from tus_wsgi.stores.s3.keys import Keys

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PART = 5 * MIB
"""Bytes of a part. SeaweedFS, like AWS, completes no upload whose parts are smaller."""

LIMITS = PartLimits(part_size=PART, min_part_size=PART, max_object_size=GIB)

TINY = PartLimits(part_size=10, min_part_size=10, max_object_size=10_000)
"""For uploads of several parts that no test finishes."""

ALLOWED = frozenset(
    (
        "AbortMultipartUpload",
        "CompleteMultipartUpload",
        "CreateMultipartUpload",
        "DeleteObject",
        "GetObject",
        "HeadObject",
        "ListParts",
        "PutObject",
        "UploadPart",
        "UploadPartCopy",
    )
)
"""Every operation that a store may use: what the five permissions of its identity are for."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of S3. `number` is a part's, else 0."""

    operation: str
    key: str
    number: int

    def __str__(self) -> str:
        suffix = {"info": "info", "part": "tail"}.get(self.key.rpartition(".")[2], "data")
        return f"{self.operation} {self.number or suffix}"


@dataclass(slots=True)
class Calls:
    """What a client asks of S3, and in which order it is answered.

    Attributes:
        log: `("begin", call)`, and `("end", call)` once S3 has answered, be it with an error.
        before: called before each call; what it raises is what happens to the call.
    """

    log: list[tuple[str, Call]] = field(default_factory=list)
    before: Callable[[Call], None] | None = None

    @property
    def begun(self) -> list[str]:
        """The calls in the order in which they began."""
        return [str(call) for what, call in self.log if what == "begin"]

    def clear(self) -> None:
        self.log.clear()

    def when(self, what: str, call: str) -> int:
        """The place in the log of the only call of this name."""
        (sandbox,) = (
            i for i, (kind, one) in enumerate(self.log) if (kind, str(one)) == (what, call)
        )
        return sandbox

    @contextmanager
    def failing(self, error: Exception, *names: str) -> Iterator[None]:
        """Let the calls of these names fail before they reach S3."""

        def fail(call: Call) -> None:
            if str(call) in names or call.operation in names:
                raise error

        self.before = fail
        try:
            yield
        finally:
            self.before = None


class RecordedClient:
    """A client of the least privilege whose every call is noted."""

    def __init__(self, server: SeaweedFS) -> None:
        self.calls = Calls()
        self.operations: set[str] = set()
        with pytest.MonkeyPatch.context() as patch:
            for name, value in server.environ().items():
                if name.startswith("AWS_"):
                    patch.setenv(name, value)
            self.client: S3Client = make_client(endpoint=server.endpoint, parallel_parts=4)
        events = self.client.meta.events
        events.register("provide-client-params.s3", self._note)
        events.register("before-call.s3", self._begin)
        events.register("after-call.s3", self._finish)
        events.register("after-call-error.s3", self._finish)

    def _note(self, params: dict[str, Any], model: Any, context: dict[str, Any], **_: Any) -> None:
        number = params.get("PartNumber", 0)
        context["call"] = Call(model.name, params.get("Key", ""), number)

    def _begin(self, context: dict[str, Any], **_: Any) -> None:
        call: Call = context["call"]
        self.operations.add(call.operation)
        self.calls.log.append(("begin", call))
        if self.calls.before is not None:
            self.calls.before(call)

    def _finish(self, context: dict[str, Any], **_: Any) -> None:
        self.calls.log.append(("end", context["call"]))


class S3Sandbox:
    """A prefix of the bucket, stores in it, and somebody who may look at everything."""

    def __init__(self, server: SeaweedFS, recorded: RecordedClient, admin: S3Client) -> None:
        self.bucket = server.bucket
        self.prefix = f"{secrets.token_hex(6)}/"
        self.keys = Keys(self.prefix)
        self.client = recorded.client
        self.calls = recorded.calls
        self.admin = admin

    def store(self, *, limits: PartLimits = LIMITS, spool: Spool | None = None) -> S3Store:
        """A store that remembers nothing, like one in another process."""
        return S3Store(
            self.client,
            self.bucket,
            keys=self.keys,
            limits=limits,
            spool=spool,
            parallel_parts=4,
        )

    def list_keys(self) -> list[str]:
        """The keys below the prefix, without it."""
        listed = self.admin.list_objects_v2(Bucket=self.bucket, Prefix=self.prefix)
        return sorted(one["Key"].removeprefix(self.prefix) for one in listed.get("Contents", []))

    def list_multiparts(self) -> list[str]:
        """The UploadIds of the multipart uploads below the prefix."""
        listed = self.admin.list_multipart_uploads(Bucket=self.bucket, Prefix=self.prefix)
        return [one["UploadId"] for one in listed.get("Uploads", [])]

    def get(self, key: str) -> bytes:
        """The bytes of an object, by its whole key."""
        return self.admin.get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def put(self, key: str, content: bytes, **more: Any) -> None:
        """Write an object behind the store's back."""
        self.admin.put_object(Bucket=self.bucket, Key=key, Body=content, **more)

    def delete(self, key: str) -> None:
        """Remove an object behind the store's back."""
        self.admin.delete_object(Bucket=self.bucket, Key=key)

    def data(self, id: UploadId) -> bytes:
        """The object of a finished upload."""
        return self.get(self.keys.data(id))


@pytest.fixture(scope="session")
def recorded(s3: SeaweedFS) -> Iterator[RecordedClient]:
    """The client of all stores. No test may make it do what the least privilege does not cover."""
    client = RecordedClient(s3)
    yield client
    assert client.operations <= ALLOWED


@pytest.fixture(scope="session")
def admin(s3: SeaweedFS) -> S3Client:
    """Somebody who may do everything."""
    return s3.client()


@pytest.fixture
def sandbox(s3: SeaweedFS, recorded: RecordedClient, admin: S3Client) -> Iterator[S3Sandbox]:
    """A prefix of this test's own."""
    recorded.calls.clear()
    recorded.calls.before = None
    yield S3Sandbox(s3, recorded, admin)
    recorded.calls.before = None
