"""An S3 store and all that can happen to one upload in it, as a machine with rules.

Beside it stands the model: the file, and how much of it was promised to be stored.
"""

from __future__ import annotations

import secrets
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.faults.proxy import Fault
from tests.faults.ring import PATIENCE, Lane, limits_for
from tests.harness.bodies import ScriptedBody
from tus_wsgi.commands import Append, Create, Inspect, Terminate
from tus_wsgi.errors import BodyCutShort, OffsetMismatch, Unavailable, UploadGone, UploadNotFound
from tus_wsgi.hooks import FinishedUpload
from tus_wsgi.lockers.memory import MemoryLocker
from tus_wsgi.model import Metadata, UploadId, UploadInfo
from tus_wsgi.ports import BodyEnd, Upload
from tus_wsgi.service import UploadService
from tus_wsgi.stores.s3 import S3Store
from tus_wsgi.stores.s3.keys import Keys

PART = 100
"""Bytes of a part: a few dozen bytes are a tail, a few hundred several parts."""

FILE = bytearray(secrets.token_bytes(15 * PART))

LENGTHS = st.one_of(
    st.integers(0, len(FILE)),
    st.sampled_from([0, 1, PART - 1, PART, PART + 1, 2 * PART, 3 * PART]),
)

SIZES = st.one_of(st.integers(0, 4 * PART), st.sampled_from([1, PART, 2 * PART]))

FAULTS = st.sampled_from(
    [Fault.ERROR, Fault.CUT_BEFORE, Fault.CUT_AFTER, Fault.CUT_AFTER, Fault.CUT_WITHIN]
)

TRIES = 8
"""Requests in a row that may fail once nothing is broken any more: a lock may have been lost."""


class UploadMachine(RuleBasedStateMachine):
    """One upload.

    Attributes:
        lane: where the store is; set before the machine runs.
    """

    lane: ClassVar[Lane]

    def __init__(self) -> None:
        super().__init__()
        self.keys = Keys(secrets.token_hex(6))
        self.id = UploadId("")
        self.length = 0
        self.is_declared = False
        self.promised = 0
        self.believed = 0
        self.old_writer: Upload | None = None
        self.had_old_writer = False
        self.refuses = False
        self.finished: set[str] = set()
        self.lane.proxy.begin(lambda _call: None)
        self.restart()

    @initialize(
        length=LENGTHS, is_deferred=st.booleans(), first=st.none() | SIZES, fault=st.none() | FAULTS
    )
    def create(
        self, length: int, *, is_deferred: bool, first: int | None, fault: Fault | None
    ) -> None:
        """Begin the upload; a client repeats what failed."""
        self.length = length
        self.is_declared = not is_deferred
        body = FILE[: min(first or 0, length)]
        command = Create(None if is_deferred else length, Metadata(), has_data=first is not None)
        if fault is not None:
            self.fail(fault, 1)
        for _ in range(TRIES):
            try:
                created = self.service.create(command, ScriptedBody(bytes(body)))
            except Unavailable:
                continue
            self.id = created.info.id
            self.hear(created.info.offset)
            return
        raise AssertionError("the upload cannot be created")

    @rule()
    def restart(self) -> None:
        """The process dies, and another one takes over: all that was in memory is gone."""
        self.store = S3Store(
            self.lane.client(timeout=PATIENCE, retries=False),
            self.lane.service.bucket,
            keys=self.keys,
            limits=limits_for(PART),
            parallel_parts=4,
        )
        self.service = UploadService(
            self.store,
            MemoryLocker(timeout=30),
            new_id=lambda: UploadId(secrets.token_hex(8)),
            on_finish=self.on_finish,
        )

    @rule(fault=FAULTS, calls=st.integers(1, 6))
    def fail(self, fault: Fault, calls: int) -> None:
        """One of the next calls fails."""
        self.lane.proxy.begin(lambda call: fault if call.number == calls else None)

    @rule()
    def refuse(self) -> None:
        """The application will not take the file the next time it is asked to."""
        self.refuses = True

    @rule(size=SIZES, cut=st.none() | st.integers(0, 4 * PART), declares=st.booleans())
    def append(self, size: int, cut: int | None, *, declares: bool) -> None:
        """Send the next bytes from where the client believes that it is."""
        start = self.believed
        stop = min(start + size, self.length)
        end = stop if cut is None else min(start + cut, stop)
        body = ScriptedBody(
            bytes(FILE[start:end]),
            announced=stop - start,
            ending=BodyEnd.COMPLETE if end == stop else BodyEnd.DISCONNECTED,
        )
        length = self.length if declares and not self.is_declared else None
        try:
            appended = self.service.append(Append(self.id, start, length), body)
        except OffsetMismatch as error:
            self.hear(error.expected)
        except BodyCutShort as error:
            self.hear(error.offset)
        except Unavailable:
            self.inspect()
        else:
            assert appended.info.offset == stop
            self.hear(stop)
            self.is_declared = self.is_declared or length is not None

    @rule()
    def inspect(self) -> None:
        """Ask how far it is."""
        try:
            info = self.service.inspect(Inspect(self.id)).info
        except Unavailable:
            return
        self.hear(info.offset)
        assert info.length in {None, self.length}
        self.is_declared = self.is_declared or info.length is not None
        if info.is_full:
            self.judge_finished(info)

    @rule()
    def begin_old_writer(self) -> None:
        """Somebody looks at the upload, and is held up."""
        try:
            upload = self.store.open(self.id)
            upload.measure()
        except Unavailable:
            return
        self.old_writer = upload
        self.had_old_writer = True

    @precondition(lambda self: self.old_writer is not None)
    @rule(size=SIZES)
    def write_late(self, size: int) -> None:
        """He goes on where he was, although his lock has long passed on."""
        upload, self.old_writer = self.old_writer, None
        assert upload is not None
        start = upload.info.offset
        try:
            upload.append(ScriptedBody(bytes(FILE[start : min(start + size, self.length)])), held)
            if upload.info.is_full:
                upload.assemble(held)
        except (Unavailable, UploadGone):
            pass

    @invariant()
    def nobody_is_told_too_early(self) -> None:
        """`on_finish` has judged for itself whether there was an object."""
        assert "too early" not in self.finished

    def teardown(self) -> None:
        """Finish it, and look at what there is; or end it, and look for what is left."""
        if not self.id:
            return
        self.lane.proxy.begin(lambda _call: None)
        self.refuses = False
        for _ in range(TRIES):
            self.inspect()
            self.append(self.length, None, declares=True)
        self.inspect()
        assert self.promised == self.length
        assert self.id in self.finished
        self.judge_bucket()
        self.judge_end()

    def judge_end(self) -> None:
        """A terminated upload leaves nothing, and nobody finds it."""
        self.service.terminate(Terminate(self.id))
        assert self.left() == set()
        try:
            self.service.inspect(Inspect(self.id))
        except UploadNotFound:
            return
        raise AssertionError("it is still there")

    def judge_bucket(self) -> None:
        """One object, one info, and nothing else."""
        data, info, tail = self.keys.data(self.id), self.keys.info(self.id), self.keys.tail(self.id)
        # The writer that came late may have left a tail that counts for nothing.
        left = self.left() - ({tail} if self.had_old_writer else set())
        assert left == {data, info}
        answer = self.lane.inspector.get_object(Bucket=self.lane.service.bucket, Key=data)
        assert answer["Body"].read() == FILE[: self.length]

    def judge_finished(self, info: UploadInfo) -> None:
        """Full means whole, and equal."""
        answer = self.lane.inspector.get_object(
            Bucket=self.lane.service.bucket, Key=self.keys.data(info.id)
        )
        assert answer["Body"].read() == FILE[: info.length]

    def left(self) -> set[str]:
        """The keys of the upload's objects."""
        answer = self.lane.inspector.list_objects_v2(
            Bucket=self.lane.service.bucket, Prefix=self.keys.data(self.id)
        )
        return {one["Key"] for one in answer.get("Contents", [])}

    def hear(self, offset: int) -> None:
        """The offset is one of what the client has sent, and never less than before."""
        assert self.promised <= offset <= self.length
        self.promised = self.believed = offset

    def on_finish(self, upload: FinishedUpload) -> None:
        """The application."""
        if self.refuses:
            self.refuses = False
            raise RuntimeError("not now")
        answer = self.lane.inspector.get_object(
            Bucket=self.lane.service.bucket, Key=self.keys.data(upload.id)
        )
        equal = answer["Body"].read() == FILE[: self.length]
        self.finished.add(upload.id if equal else "too early")


def held() -> None:
    """What a lock says that has passed on unnoticed."""
