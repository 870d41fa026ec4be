"""S3 stores on a real server with the least privilege, and a log of their calls."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from demo.seaweedfs import SeaweedFS
from tests.harness.tombstones import sweep_tombstones
from tus_wsgi.domain.model import GIB, MIB, UploadId
from tus_wsgi.domain.parts import PartLimits
from tus_wsgi.spool.spool import Spool
from tus_wsgi.stores.s3 import S3Store
from tus_wsgi.stores.s3.client import make_client
from tus_wsgi.stores.s3.completion import COMPLETION_TIMEOUT
from tus_wsgi.stores.s3.direct import direct_calls
from tus_wsgi.stores.s3.direct.calls import OPERATIONS
from tus_wsgi.stores.s3.keys import Keys

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PART = 5 * MIB
"""Bytes of a part. SeaweedFS and AWS refuse to complete uploads with smaller parts."""

LIMITS = PartLimits(part_size=PART, min_part_size=PART, max_object_size=GIB)

TINY = PartLimits(part_size=10, min_part_size=10, max_object_size=10_000)
"""For uploads of several parts that are not completed."""

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
"""Every operation that a store may use: those that its identity's five permissions cover."""


@dataclass(frozen=True, slots=True)
class Call:
    """An S3 call. `number` is the number of the part, or 0 if the call has none."""

    operation: str
    key: str
    number: int

    def __str__(self) -> str:
        suffix = {"info": "info", "part": "tail"}.get(self.key.rpartition(".")[2], "data")
        if ".part.segment." in self.key:
            suffix = f"segment {self.key.rpartition('.')[2]}"
        return f"{self.operation} {self.number or suffix}"


@dataclass(slots=True)
class Calls:
    """The calls of a client, and the order of the responses.

    Attributes:
        log: `("begin", call)` before each call; `("end", call)` after its response or its failure.
        before: called before each call. If it raises an exception, the call fails with that.
    """

    log: list[tuple[str, Call]] = field(default_factory=list)
    before: Callable[[Call], None] | None = None

    @property
    def begun(self) -> list[str]:
        """The calls in the order in which they began."""
        return [str(call) for event, call in self.log if event == "begin"]

    def clear(self) -> None:
        self.log.clear()

    def when(self, event: str, name: str) -> int:
        """Return the index in the log of an event of the only call with this name."""
        entries = [(event, str(call)) for event, call in self.log]
        assert entries.count((event, name)) == 1, entries
        return entries.index((event, name))

    @contextmanager
    def failing(self, error: Exception, *names: str) -> Iterator[None]:
        """Let some calls fail before they reach S3, until the block ends.

        Args:
            error: what the calls raise.
            names: their operations (`PutObject`), or calls as `begun` writes them (`PutObject
                info`).
        """

        def fail(call: Call) -> None:
            if str(call) in names or call.operation in names:
                raise error

        self.before = fail
        try:
            yield
        finally:
            self.before = None


class RecordedClient:
    """A client with the least privilege that logs its calls."""

    def __init__(self, server: SeaweedFS) -> None:
        self.calls = Calls()
        self.operations: set[str] = set()
        with pytest.MonkeyPatch.context() as patch:
            for name, value in server.environ().items():
                if name.startswith("AWS_"):
                    patch.setenv(name, value)
            self.client: S3Client = make_client(endpoint=server.endpoint, parallel_parts=4)
        # `Bucket` sends the frequent calls past most of boto3's events.
        direct: Any = direct_calls(self.client)
        self._call_without_log = direct.call
        direct.call = self._call_directly
        events = self.client.meta.events
        for operation in set(self.client.meta.service_model.operation_names) - set(OPERATIONS):
            events.register(f"provide-client-params.s3.{operation}", self._note)
            events.register(f"before-call.s3.{operation}", self._begin)
            events.register(f"after-call.s3.{operation}", self._finish)
            events.register(f"after-call-error.s3.{operation}", self._finish)

    def _call_directly(self, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        call = Call(operation, parameters["Key"], parameters.get("PartNumber", 0))
        self._begin({"call": call})
        try:
            response: dict[str, Any] = self._call_without_log(operation, parameters)
        finally:
            self._finish({"call": call})
        return response

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
    """A prefix of the bucket, stores in it, and a client with all permissions."""

    def __init__(self, server: SeaweedFS, recorded: RecordedClient, admin: S3Client) -> None:
        self.bucket = server.bucket
        self.prefix = f"{secrets.token_hex(6)}/"
        self.keys = Keys(self.prefix)
        self.client = recorded.client
        self.calls = recorded.calls
        self.admin = admin

    def store(
        self,
        *,
        limits: PartLimits = LIMITS,
        spool: Spool | None = None,
        completion_timeout: float = COMPLETION_TIMEOUT,
        has_tested: bool = True,
    ) -> S3Store:
        """Create a store without caches, like a store in a new process.

        With `has_tested`, the process already knows that the service honours conditional writes.
        """
        store = S3Store(
            self.client,
            self.bucket,
            keys=self.keys,
            limits=limits,
            spool=spool,
            parallel_parts=4,
            completion_timeout=completion_timeout,
        )
        if has_tested:
            store._context.bucket.conditions.note_test(honoured=True)
        return store

    def list_keys(self) -> list[str]:
        """Return the keys below the prefix, without the prefix."""
        listed = self.admin.list_objects_v2(Bucket=self.bucket, Prefix=self.prefix)
        return sorted(item["Key"].removeprefix(self.prefix) for item in listed.get("Contents", []))

    def sweep_tombstones(self) -> None:
        """Sweep as if every termination was long ago: no tombstone may be left."""
        sweep_tombstones(self.store(), self.admin, self.bucket, self.keys)

    def list_multiparts(self) -> list[str]:
        """Return the UploadIds of the multipart uploads below the prefix."""
        listed = self.admin.list_multipart_uploads(Bucket=self.bucket, Prefix=self.prefix)
        return [item["UploadId"] for item in listed.get("Uploads", [])]

    def get(self, key: str) -> bytes:
        """Return the bytes of an object, by its whole key."""
        return self.admin.get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def put(self, key: str, content: bytes, **more: Any) -> None:
        """Write an object without the store."""
        self.admin.put_object(Bucket=self.bucket, Key=key, Body=content, **more)

    def delete(self, key: str) -> None:
        """Delete an object without the store."""
        self.admin.delete_object(Bucket=self.bucket, Key=key)

    def data(self, id: UploadId) -> bytes:
        """Return the object of a finished upload."""
        return self.get(self.keys.data(id))


@pytest.fixture(scope="session")
def recorded(s3: SeaweedFS) -> Iterator[RecordedClient]:
    """The client of all stores. It must not call operations that its permissions do not cover."""
    client = RecordedClient(s3)
    yield client
    assert client.operations <= ALLOWED


@pytest.fixture(scope="session")
def admin(s3: SeaweedFS) -> S3Client:
    """A client with all permissions."""
    return s3.client()


@pytest.fixture
def sandbox(s3: SeaweedFS, recorded: RecordedClient, admin: S3Client) -> Iterator[S3Sandbox]:
    """A new prefix for the test."""
    recorded.calls.clear()
    recorded.calls.before = None
    yield S3Sandbox(s3, recorded, admin)
    recorded.calls.before = None
