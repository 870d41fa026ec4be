"""A Hypothesis state machine of an S3 store, and everything that can happen to uploads in it.

The model is the file, and the offset that the server has acknowledged.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.faults.faulty_s3 import FaultyS3, limits_for
from tests.harness.bodies import ScriptedBody
from tests.harness.proxies.faults import Fault, FaultScript, FaultStep, no_fault
from tests.harness.tombstones import sweep_tombstones
from tests.stores.s3.upload_client import UncachedLocker
from tus_wsgi.domain.commands import Append, Create, Inspect, Terminate
from tus_wsgi.domain.errors import (
    BodyIncomplete,
    OffsetMismatch,
    Unavailable,
    UploadGone,
    UploadNotFound,
)
from tus_wsgi.domain.hook_set import Hooks
from tus_wsgi.domain.hooks import FinishedUpload
from tus_wsgi.domain.interfaces import BodyEnd, Locker, Upload
from tus_wsgi.domain.model import Metadata, UploadId
from tus_wsgi.lockers.file.locker import FileLocker
from tus_wsgi.service.uploads import UploadService
from tus_wsgi.stores.s3 import S3Store
from tus_wsgi.stores.s3.keys import Keys, segment_key
from tus_wsgi.stores.s3.tail_chain import MAX_SEGMENTS

PART_SIZE = 100
"""Bytes. Small, so that requests of a few dozen or a few hundred bytes make tails and parts."""

FILE = secrets.token_bytes(15 * PART_SIZE)

MAX_ATTEMPTS = 8
"""How often the client repeats a request: a lock may be lost, and `on_finish` may fail."""

CALL_TIMEOUT = 1.0
"""Seconds of silence after which a call fails."""

LENGTHS = st.one_of(
    st.integers(5 * PART_SIZE, len(FILE)),
    st.integers(0, len(FILE)),
    st.sampled_from([0, 1, PART_SIZE - 1, PART_SIZE, PART_SIZE + 1, 2 * PART_SIZE, 3 * PART_SIZE]),
)

SIZES = st.one_of(
    st.integers(1, PART_SIZE - 1),
    st.integers(0, 5 * PART_SIZE),
    st.sampled_from([1, PART_SIZE, 2 * PART_SIZE]),
)

OPERATIONS = [
    "CompleteMultipartUpload",
    "CreateMultipartUpload",
    "DeleteObject",
    "GetObject",
    "HeadObject",
    "ListParts",
    "PutObject",
    "UploadPart",
]

FAULTS = [
    *(Fault.INTERNAL_ERROR, Fault.INVALID_REQUEST, Fault.EMPTY_200, Fault.LOST_BODY),
    *(Fault.CUT_BEFORE, Fault.CUT_AFTER, Fault.CUT_AFTER, Fault.CUT_WITHIN),
    *(Fault.GATEWAY_LATE_AFTER_2, Fault.GATEWAY_LATE_AFTER_7, Fault.LATE_AFTER_2),
]

STEPS = st.none() | st.builds(
    FaultStep,
    st.sampled_from(FAULTS),
    skip=st.integers(0, 3),
    operation=st.none() | st.sampled_from(OPERATIONS),
)
"""The fault of a request, or None: it hits the first to fourth call of an operation, or of all."""


class UploadMachine(RuleBasedStateMachine):
    """One upload after the other, by one client.

    The rules have no preconditions, because Hypothesis requires that the choice of rules is
    reproducible. The state is not: parallel calls arrive in any order, so a fault does not hit the
    same call in every run.

    Attributes:
        faulty_s3: where the store is; set before the machine runs.
        process_count: how many processes serve requests.
        current_process: the process that serves the next request.
        acknowledged: the offset that the client knows.
        stale_writer: an upload that a writer without the lock has opened earlier, or None.
        may_have_late_tail: whether a late write may leave a harmless tail.
    """

    faulty_s3: ClassVar[FaultyS3]
    process_count: ClassVar[int] = 1

    def __init__(self) -> None:
        super().__init__()
        self.keys = Keys(secrets.token_hex(6))
        self.finished: set[str] = set()
        self.finished_too_early = False
        self.next_finish_fails = False
        self.current_process = 0
        self.faulty_s3.proxy.deliver_delayed_calls()
        self.faulty_s3.proxy.start()
        self.reset_model()
        self.restart()

    def new_locker(self) -> Locker:
        """Create the locker of a process. With it, nothing is cached: each request asks S3."""
        return UncachedLocker()

    @property
    def service(self) -> UploadService:
        """The service that handles the next request."""
        return self.services[self.current_process]

    def reset_model(self) -> None:
        """Forget the upload."""
        self.id = UploadId("")
        self.length = 0
        self.is_declared = False
        self.is_complete = False
        self.acknowledged = 0
        self.stale_writer: Upload | None = None
        self.may_have_late_tail = False

    # -- what can happen -------------------------------------------------------------------------

    @initialize(length=LENGTHS, is_deferred=st.booleans(), first=st.none() | SIZES, step=STEPS)
    def create(
        self, length: int, *, is_deferred: bool, first: int | None, step: FaultStep | None
    ) -> None:
        """Create the upload; the client repeats a creation that failed."""
        self.length = length
        self.is_declared = not is_deferred
        body = FILE[: min(first or 0, length)]
        command = Create(None if is_deferred else length, Metadata(), has_data=first is not None)
        with self.fault(step):
            for _ in range(MAX_ATTEMPTS):
                try:
                    created = self.service.create(command, ScriptedBody(body))
                except Unavailable:
                    continue
                self.id = created.info.id
                self.acknowledge(created.info.offset)
                self.is_complete = created.info.is_full
                return
        raise AssertionError("the upload cannot be created")

    @rule(length=LENGTHS, is_deferred=st.booleans(), first=st.none() | SIZES, step=STEPS)
    def create_another(
        self, length: int, *, is_deferred: bool, first: int | None, step: FaultStep | None
    ) -> None:
        """Upload another file, once this one is complete."""
        if self.is_complete:
            self.check_finished()
            self.reset_model()
            self.create(length, is_deferred=is_deferred, first=first, step=step)

    @rule()
    def restart(self) -> None:
        """Replace the processes: everything in memory is lost."""
        self.services = [self.new_service() for _ in range(self.process_count)]

    def new_service(self) -> UploadService:
        return UploadService(
            self.new_store(),
            self.new_locker(),
            new_id=lambda: UploadId(secrets.token_hex(8)),
            hooks=Hooks(on_finish=self.on_finish),
        )

    def new_store(self) -> S3Store:
        return S3Store(
            self.faulty_s3.client(timeout=CALL_TIMEOUT, retries=False),
            self.faulty_s3.service.bucket,
            keys=self.keys,
            limits=limits_for(PART_SIZE),
            parallel_parts=4,
        )

    @rule()
    def switch_process(self) -> None:
        """Let the next process serve the next request, if there are several."""
        self.current_process = (self.current_process + 1) % self.process_count

    @rule()
    def fail_next_finish(self) -> None:
        """Let `on_finish` raise the next time that it is called."""
        self.next_finish_fails = True

    @rule(
        size=SIZES,
        cut=st.none() | st.integers(0, 4 * PART_SIZE),
        declares=st.booleans(),
        step=STEPS,
    )
    def append(self, size: int, cut: int | None, *, declares: bool, step: FaultStep | None) -> None:
        """Send the next bytes from the acknowledged offset, unless the upload is complete."""
        if self.is_complete:
            return
        start = self.acknowledged
        stop = min(start + size, self.length)
        end = stop if cut is None else min(start + cut, stop)
        body = ScriptedBody(
            FILE[start:end],
            content_length=stop - start,
            ending=BodyEnd.COMPLETE if end == stop else BodyEnd.DISCONNECTED,
        )
        length = self.length if declares and not self.is_declared else None
        with self.fault(step):
            try:
                appended = self.service.append(Append(self.id, start, length), body)
            except OffsetMismatch as error:
                self.acknowledge(error.expected)
            except BodyIncomplete as error:
                self.acknowledge(error.offset)
            except Unavailable:
                self.inspect(None)
            else:
                assert appended.info.offset == stop
                self.acknowledge(stop)
                self.is_declared = self.is_declared or length is not None
                self.is_complete = appended.info.is_full

    @rule(step=STEPS)
    def inspect(self, step: FaultStep | None) -> None:
        """Ask for the offset."""
        with self.fault(step):
            try:
                info = self.service.inspect(Inspect(self.id)).info
            except Unavailable:
                return
        self.acknowledge(info.offset)
        assert info.length in {None, self.length}
        self.is_declared = info.length is not None
        if info.is_full:
            self.is_complete = True
            self.check_object()

    @rule()
    def open_stale_writer(self) -> None:
        """Let a writer load the upload, and pause before it writes."""
        if self.is_complete:
            return
        with contextlib.suppress(Unavailable):
            upload = self.new_store().open(self.id)
            upload.load_offset()
            self.stale_writer = upload
            self.may_have_late_tail = True

    @rule(size=SIZES)
    def resume_stale_writer(self, size: int) -> None:
        """Let the stale writer write, although it does not hold the lock."""
        upload, self.stale_writer = self.stale_writer, None
        if upload is None:
            return
        start = upload.info.offset
        with contextlib.suppress(Unavailable, UploadGone):
            upload.append(ScriptedBody(FILE[start : min(start + size, self.length)]), assert_held)
            if upload.info.is_full:
                upload.assemble(assert_held)

    @rule(size=SIZES, stale_size=SIZES)
    def overtake_stale_writer(self, size: int, stale_size: int) -> None:
        """Append after a stale writer has loaded the upload, and before it writes."""
        self.open_stale_writer()
        self.append(size, None, declares=False, step=None)
        self.resume_stale_writer(stale_size)
        self.inspect(None)

    @rule(step=STEPS)
    def terminate(self, step: FaultStep | None) -> None:
        """Terminate the upload, and create another one."""
        # A call that arrives after the end would leave an object that no check looks for.
        self.faulty_s3.proxy.deliver_delayed_calls()
        if step is not None and step.fault.is_delayed:
            step = None
        with self.fault(step):
            self.terminate_and_check()
        length = self.length
        self.reset_model()
        self.create(length, is_deferred=False, first=None, step=None)

    # -- what must hold --------------------------------------------------------------------------

    def teardown(self) -> None:
        """Complete the upload and check it; then terminate it and check that it is gone."""
        if not self.id:
            return
        self.next_finish_fails = False
        self.faulty_s3.proxy.deliver_delayed_calls()
        for _ in range(MAX_ATTEMPTS):
            self.inspect(None)
            if self.is_complete:
                break
            self.append(self.length, None, declares=True, step=None)
        self.check_finished()
        self.terminate_and_check()

    def terminate_and_check(self) -> None:
        """Terminate until the upload is gone, and check that nothing is left."""
        for _ in range(MAX_ATTEMPTS):
            try:
                self.service.terminate(Terminate(self.id))
            except Unavailable:
                continue
            except UploadNotFound:
                break
        self.sweep_tombstones()
        assert self.list_keys() <= self.late_tail()
        for _ in range(MAX_ATTEMPTS):
            try:
                self.service.inspect(Inspect(self.id))
            except Unavailable:
                continue
            except UploadNotFound:
                return
            raise AssertionError("the upload still exists")
        raise AssertionError("every HEAD failed")

    def check_finished(self) -> None:
        """D-06: A finished upload is one object and one info, and `on_finish` has returned."""
        assert self.acknowledged == self.length
        assert self.id in self.finished
        assert not self.finished_too_early, "on_finish ran before the object was whole"
        expected = {self.keys.data(self.id), self.keys.info(self.id)}
        assert expected <= self.list_keys() <= expected | self.late_tail()
        self.check_object()

    def check_object(self) -> None:
        """Check that the object is the whole file."""
        assert self.read_object(self.id) == FILE[: self.length]

    def late_tail(self) -> set[str]:
        """Return the keys of tails that a late write may leave; the store ignores these tails."""
        if not self.may_have_late_tail:
            return set()
        tail = self.keys.tail(self.id)
        return {tail, *(segment_key(tail, number) for number in range(1, MAX_SEGMENTS))}

    def sweep_tombstones(self) -> None:
        """Sweep as if the termination was long ago."""
        bucket, admin = self.faulty_s3.service.bucket, self.faulty_s3.admin
        sweep_tombstones(S3Store(admin, bucket, keys=self.keys), admin, bucket, self.keys)

    def list_keys(self) -> set[str]:
        """Return the keys of the upload's objects."""
        listing = self.faulty_s3.admin.list_objects_v2(
            Bucket=self.faulty_s3.service.bucket, Prefix=self.keys.data(self.id)
        )
        return {item["Key"] for item in listing.get("Contents", [])}

    def read_object(self, id: UploadId) -> bytes:
        """Return the bytes of the object."""
        response = self.faulty_s3.admin.get_object(
            Bucket=self.faulty_s3.service.bucket, Key=self.keys.data(id)
        )
        return response["Body"].read()

    def acknowledge(self, offset: int) -> None:
        """D-03: The offset never decreases, and is not beyond what was sent."""
        assert self.acknowledged <= offset <= self.length
        self.acknowledged = offset

    def on_finish(self, upload: FinishedUpload) -> None:
        """Accept the file, unless `next_finish_fails`; note whether the object is whole."""
        if self.next_finish_fails:
            self.next_finish_fails = False
            raise RuntimeError("not now")
        if self.read_object(upload.id) != FILE[: self.length]:
            self.finished_too_early = True
        self.finished.add(upload.id)

    @contextlib.contextmanager
    def fault(self, step: FaultStep | None) -> Iterator[None]:
        """Let a call fail in the block, if there is a step."""
        if step is None:
            yield
            return
        self.may_have_late_tail = self.may_have_late_tail or step.fault.is_delayed
        self.faulty_s3.proxy.set_plan(FaultScript([step]))
        yield
        self.faulty_s3.proxy.set_plan(no_fault)


class SharedUploadMachine(UploadMachine):
    """Two processes that share their locks. Each uses its cache while it is valid.

    Attributes:
        lock_directory: the directory of the locks; set before the machine runs.
    """

    process_count = 2
    lock_directory: ClassVar[Path]

    def new_locker(self) -> Locker:
        """Create the locker of a process. All processes are on one host."""
        return FileLocker(self.lock_directory, timeout=30)


def assert_held() -> None:
    """Accept every write, like a holder that has not noticed the loss of its lock."""
