"""An S3 store and all that can happen to uploads in it, as a machine with rules.

Beside it stands the model: the file, and how much of it was promised to be stored.
"""

from __future__ import annotations

import contextlib
import itertools
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.faults.faulty_s3 import Lane, limits_for
from tests.harness.bodies import ScriptedBody
from tests.harness.proxies.faults import Call, Fault
from tests.stores.s3.upload_client import UncachedLocker
from tus_wsgi.domain.commands import Append, Create, Inspect, Terminate
from tus_wsgi.domain.errors import (
    BodyIncomplete,
    OffsetMismatch,
    Unavailable,
    UploadGone,
    UploadNotFound,
)
from tus_wsgi.domain.hooks import FinishedUpload
from tus_wsgi.domain.interfaces import BodyEnd, Locker, Upload
from tus_wsgi.domain.model import Metadata, UploadId
from tus_wsgi.lockers.file.locker import FileLocker
from tus_wsgi.service.uploads import UploadService
from tus_wsgi.stores.s3 import S3Store
from tus_wsgi.stores.s3.keys import Keys

PART = 100
"""Bytes of a part: a few dozen bytes are a tail, a few hundred several parts."""

FILE = secrets.token_bytes(15 * PART)

TRIES = 8
"""Requests in a row that may fail: a lock may have been lost, and `on_finish` may have refused."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """A call that fails: the first, second, ... of an operation, or of all."""

    fault: Fault
    operation: str | None
    count: int


LENGTHS = st.one_of(
    st.integers(5 * PART, len(FILE)),
    st.integers(0, len(FILE)),
    st.sampled_from([0, 1, PART - 1, PART, PART + 1, 2 * PART, 3 * PART]),
)

SIZES = st.one_of(
    st.integers(1, PART - 1), st.integers(0, 5 * PART), st.sampled_from([1, PART, 2 * PART])
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
    *(Fault.ERROR, Fault.REFUSAL, Fault.EMPTY, Fault.EMPTIED),
    *(Fault.CUT_BEFORE, Fault.CUT_AFTER, Fault.CUT_AFTER, Fault.CUT_WITHIN),
    *(Fault.GATEWAY_LATE, Fault.GATEWAY_LATER, Fault.LATE),
]

IMPATIENCE = 1.0
"""Seconds of silence that make a call a failure."""

TROUBLES = st.none() | st.builds(
    Trouble,
    st.sampled_from(FAULTS),
    st.none() | st.sampled_from(OPERATIONS),
    st.integers(1, 4),
)


class UploadMachine(RuleBasedStateMachine):
    """One upload after the other, by one client.

    Rules have no preconditions: calls that run beside each other come in any order, so what a
    fault hits is not the same in every run, and Hypothesis wants the choice of rules to be.

    Attributes:
        lane: where the store is; set before the machine runs.
        processes: how many serve. The next request meets the one of this `turn`.
    """

    lane: ClassVar[Lane]
    processes: ClassVar[int] = 1

    def __init__(self) -> None:
        super().__init__()
        self.keys = Keys(secrets.token_hex(6))
        self.finished: set[str] = set()
        self.is_early = False
        self.refuses = False
        self.turn = 0
        self.lane.proxy.settle()
        self.lane.proxy.begin(lambda _call: None)
        self.forget()
        self.restart()

    def new_locker(self) -> Locker:
        """The locker of a process. Its holders find no memo, so they ask S3 for everything."""
        return UncachedLocker()

    @property
    def service(self) -> UploadService:
        """What the next request meets."""
        return self.services[self.turn]

    def forget(self) -> None:
        self.id = UploadId("")
        self.length = 0
        self.is_declared = False
        self.is_done = False
        self.promised = 0
        self.old_writer: Upload | None = None
        self.may_have_late_tail = False

    # -- what can happen -------------------------------------------------------------------------

    @initialize(
        length=LENGTHS, is_deferred=st.booleans(), first=st.none() | SIZES, trouble=TROUBLES
    )
    def create(
        self, length: int, *, is_deferred: bool, first: int | None, trouble: Trouble | None
    ) -> None:
        """Begin the upload; a client repeats what failed."""
        self.length = length
        self.is_declared = not is_deferred
        body = FILE[: min(first or 0, length)]
        command = Create(None if is_deferred else length, Metadata(), has_data=first is not None)
        with self.troubled(trouble):
            for _ in range(TRIES):
                try:
                    created = self.service.create(command, ScriptedBody(body))
                except Unavailable:
                    continue
                self.id = created.info.id
                self.hear(created.info.offset)
                self.is_done = created.info.is_full
                return
        raise AssertionError("the upload cannot be created")

    @rule(length=LENGTHS, is_deferred=st.booleans(), first=st.none() | SIZES, trouble=TROUBLES)
    def create_another(
        self, length: int, *, is_deferred: bool, first: int | None, trouble: Trouble | None
    ) -> None:
        """The same client has another file, once it is done with this one."""
        if self.is_done:
            self.judge()
            self.forget()
            self.create(length, is_deferred=is_deferred, first=first, trouble=trouble)

    @rule()
    def restart(self) -> None:
        """The process dies, and another one takes over: all that was in memory is gone."""
        self.services = [self.new_process() for _ in range(self.processes)]

    def new_process(self) -> UploadService:
        return UploadService(
            self.new_store(),
            self.new_locker(),
            new_id=lambda: UploadId(secrets.token_hex(8)),
            on_finish=self.on_finish,
        )

    def new_store(self) -> S3Store:
        return S3Store(
            self.lane.client(timeout=IMPATIENCE, retries=False),
            self.lane.service.bucket,
            keys=self.keys,
            limits=limits_for(PART),
            parallel_parts=4,
        )

    @rule()
    def take_turns(self) -> None:
        """The next request meets another process, if there is one."""
        self.turn = (self.turn + 1) % self.processes

    @rule()
    def refuse(self) -> None:
        """The application will not take the file the next time it is asked to."""
        self.refuses = True

    @rule(
        size=SIZES, cut=st.none() | st.integers(0, 4 * PART), says=st.booleans(), trouble=TROUBLES
    )
    def append(self, size: int, cut: int | None, *, says: bool, trouble: Trouble | None) -> None:
        """Send the next bytes from where the client believes that it is, unless it is done."""
        if self.is_done:
            return
        start = self.promised
        stop = min(start + size, self.length)
        end = stop if cut is None else min(start + cut, stop)
        body = ScriptedBody(
            FILE[start:end],
            content_length=stop - start,
            ending=BodyEnd.COMPLETE if end == stop else BodyEnd.DISCONNECTED,
        )
        length = self.length if says and not self.is_declared else None
        with self.troubled(trouble):
            try:
                appended = self.service.append(Append(self.id, start, length), body)
            except OffsetMismatch as error:
                self.hear(error.expected)
            except BodyIncomplete as error:
                self.hear(error.offset)
            except Unavailable:
                self.inspect(None)
            else:
                assert appended.info.offset == stop
                self.hear(stop)
                self.is_declared = self.is_declared or length is not None
                self.is_done = appended.info.is_full

    @rule(trouble=TROUBLES)
    def inspect(self, trouble: Trouble | None) -> None:
        """Ask how far it is."""
        with self.troubled(trouble):
            try:
                info = self.service.inspect(Inspect(self.id)).info
            except Unavailable:
                return
        self.hear(info.offset)
        assert info.length in {None, self.length}
        self.is_declared = info.length is not None
        if info.is_full:
            self.is_done = True
            self.judge_object()

    @rule()
    def begin_old_writer(self) -> None:
        """Somebody looks at the upload, and is held up."""
        if self.is_done:
            return
        with contextlib.suppress(Unavailable):
            upload = self.new_store().open(self.id)
            upload.load_offset()
            self.old_writer = upload
            self.may_have_late_tail = True

    @rule(size=SIZES)
    def write_late(self, size: int) -> None:
        """He goes on where he was, although his lock has long passed on."""
        upload, self.old_writer = self.old_writer, None
        if upload is None:
            return
        start = upload.info.offset
        with contextlib.suppress(Unavailable, UploadGone):
            upload.append(ScriptedBody(FILE[start : min(start + size, self.length)]), held)
            if upload.info.is_full:
                upload.assemble(held)

    @rule(size=SIZES, old_size=SIZES)
    def overtake(self, size: int, old_size: int) -> None:
        """All that in a row: he looks, somebody else writes, and he goes on."""
        self.begin_old_writer()
        self.append(size, None, says=False, trouble=None)
        self.write_late(old_size)
        self.inspect(None)

    @rule(trouble=TROUBLES)
    def terminate(self, trouble: Trouble | None) -> None:
        """The client does not want it any more, and begins another one."""
        # What comes late comes before the end: nobody would look for it afterwards.
        self.lane.proxy.settle()
        if trouble is not None and trouble.fault.is_late:
            trouble = None
        with self.troubled(trouble):
            self.end()
        length = self.length
        self.forget()
        self.create(length, is_deferred=False, first=None, trouble=None)

    # -- what must hold --------------------------------------------------------------------------

    def teardown(self) -> None:
        """Send what is missing, and look at what there is; then end it, and look again."""
        if not self.id:
            return
        self.refuses = False
        self.lane.proxy.settle()
        for _ in range(TRIES):
            self.inspect(None)
            if self.is_done:
                break
            self.append(self.length, None, says=True, trouble=None)
        self.judge()
        self.end()

    def end(self) -> None:
        """Terminate it until it is gone, and see that nothing is left."""
        for _ in range(TRIES):
            try:
                self.service.terminate(Terminate(self.id))
            except Unavailable:
                continue
            except UploadNotFound:
                break
        assert self.left() <= self.spare_tail()
        for _ in range(TRIES):
            try:
                self.service.inspect(Inspect(self.id))
            except Unavailable:
                continue
            except UploadNotFound:
                return
            raise AssertionError("it is still there")
        raise AssertionError("nobody can say whether it is there")

    def judge(self) -> None:
        """The upload is finished: one object, one info, and nothing else."""
        assert self.promised == self.length
        assert self.id in self.finished
        assert not self.is_early, "on_finish ran before the object was whole"
        wanted = {self.keys.data(self.id), self.keys.info(self.id)}
        assert wanted <= self.left() <= wanted | self.spare_tail()
        self.judge_object()

    def judge_object(self) -> None:
        """Full means whole, and equal."""
        assert self.stored(self.id) == FILE[: self.length]

    def spare_tail(self) -> set[str]:
        """What a writer that came late may have left: it counts for nothing."""
        return {self.keys.tail(self.id)} if self.may_have_late_tail else set()

    def left(self) -> set[str]:
        """The keys of the upload's objects."""
        answer = self.lane.inspector.list_objects_v2(
            Bucket=self.lane.service.bucket, Prefix=self.keys.data(self.id)
        )
        return {one["Key"] for one in answer.get("Contents", [])}

    def stored(self, id: UploadId) -> bytes:
        """The bytes of the object."""
        answer = self.lane.inspector.get_object(
            Bucket=self.lane.service.bucket, Key=self.keys.data(id)
        )
        return answer["Body"].read()

    def hear(self, offset: int) -> None:
        """The offset is one of what the client has sent, and never less than before."""
        assert self.promised <= offset <= self.length
        self.promised = offset

    def on_finish(self, upload: FinishedUpload) -> None:
        """The application."""
        if self.refuses:
            self.refuses = False
            raise RuntimeError("not now")
        self.is_early = self.is_early or self.stored(upload.id) != FILE[: self.length]
        self.finished.add(upload.id)

    @contextlib.contextmanager
    def troubled(self, trouble: Trouble | None) -> Iterator[None]:
        """Let a call fail, if one is to."""
        left = itertools.count(0 if trouble is None else trouble.count - 1, -1)

        def plan(call: Call) -> Fault | None:
            if trouble is None or trouble.operation not in {None, call.operation}:
                return None
            return trouble.fault if next(left) == 0 else None

        if trouble is not None:
            self.may_have_late_tail = self.may_have_late_tail or trouble.fault.is_late
            self.lane.proxy.go_on(plan)
        yield
        if trouble is not None:
            self.lane.proxy.go_on(lambda _call: None)


class SharedMachine(UploadMachine):
    """The same with two processes that take turns, and go on from memos while they may.

    Attributes:
        directory: of their locks; set before the machine runs.
    """

    processes = 2
    directory: ClassVar[Path]

    def new_locker(self) -> Locker:
        """The locker of a process, as on one host."""
        return FileLocker(self.directory, timeout=30)


def held() -> None:
    """What a lock says that has passed on unnoticed."""
