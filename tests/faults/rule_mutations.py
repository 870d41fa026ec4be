"""Mutations of the S3 store: each function takes one rule out of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from concurrent import futures
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tus_wsgi.domain.errors import StoreUnavailable
from tus_wsgi.domain.hooks import FinishedUpload, Request
from tus_wsgi.domain.interfaces import Body, Upload
from tus_wsgi.domain.model import State, UploadId
from tus_wsgi.domain.parts import Part, PartPlan
from tus_wsgi.service.cache import UploadCache
from tus_wsgi.service.finish import Finisher
from tus_wsgi.spool.part import SpooledPart
from tus_wsgi.spool.payload import Payload
from tus_wsgi.stores.s3 import bucket, info, tail_chain, tails, transfers, upload_state
from tus_wsgi.stores.s3.appender import Appender
from tus_wsgi.stores.s3.bucket import Condition
from tus_wsgi.stores.s3.context import no_lock_needed
from tus_wsgi.stores.s3.errors import NotFound
from tus_wsgi.stores.s3.info import InfoObject, NotWritten
from tus_wsgi.stores.s3.record import UploadRecord
from tus_wsgi.stores.s3.tail_chain import TailChain, TailLayout
from tus_wsgi.stores.s3.upload import S3Upload
from tus_wsgi.stores.s3.upload_state import UploadState

Patch = pytest.MonkeyPatch


def change_part_size_on_resume(patch: Patch) -> None:
    """Halve the part size in all requests that append to an upload, except the first one."""
    receive, expected_size = Appender._receive_parts, PartPlan.expected_size
    resumed: set[str] = set()

    def receive_with_half_parts(self: Appender, *more: Any) -> Any:
        is_first, half = self._state.info.id not in resumed, self._state.plan.part_size // 2
        resumed.add(self._state.info.id)
        patch.setattr(PartPlan, "expected_size", expected_size if is_first else lambda *_: half)
        return receive(self, *more)

    def contiguous(
        _plan: object, _length: object, listed: Iterable[Part], *, first: int = 1
    ) -> list[Part]:
        by_number = {part.number: part for part in listed}
        present = itertools.takewhile(by_number.__contains__, itertools.count(first))
        return [by_number[number] for number in present]

    patch.setattr(Appender, "_receive_parts", receive_with_half_parts)
    patch.setattr(upload_state, "contiguous", contiguous)


def count_parts_after_a_gap(patch: Patch) -> None:
    """Count all parts that S3 lists."""

    def contiguous(
        _plan: object, _length: object, listed: Iterable[Part], **_: object
    ) -> list[Part]:
        return sorted({part.number: part for part in listed}.values(), key=lambda part: part.number)

    patch.setattr(upload_state, "contiguous", contiguous)


def ignore_start_of_tail(patch: Patch) -> None:
    """Count the tail wherever it starts."""

    def size_at(self: tails.TailObject, _base: int, *, default_start: int) -> int:
        return 0 if self._tail is None else self._tail.size

    patch.setattr(tails.TailObject, "size_at", size_at)


def count_stale_segments(patch: Patch) -> None:
    """Count every segment of a tail, although one may not start where the previous one ends."""

    def load_rest(self: TailChain, layout: TailLayout) -> None:
        start = layout.start
        self._begin_at(start)
        if self._slots and self._slots[0].size_at(start, default_start=start):
            self._find_all()
            self._count = len(self._slots)
            self._end += sum(slot.size for slot in self._slots)

    patch.setattr(TailChain, "load_rest", load_rest)


def drop_merged_segments(patch: Patch) -> None:
    """Write only the new bytes to a segment, although it replaces other segments."""

    @contextmanager
    def content(
        self: TailChain, number: int, stored: int, part: SpooledPart
    ) -> Iterator[SpooledPart]:
        del self, number
        part.drop_front(max(0, stored))
        yield part

    patch.setattr(tail_chain, "MAX_SEGMENTS", 1)
    patch.setattr(TailChain, "_content", content)


def delete_tail_before_part(patch: Patch) -> None:
    """Delete the tail when the part that replaces it begins."""
    create_buffer = Appender._new_buffer

    def new_buffer(self: Appender, number: int, body: Body, **more: Any) -> Any:
        buffer = create_buffer(self, number, body, **more)
        if buffer.part.size:
            self._state.tail.delete()
        return buffer

    patch.setattr(Appender, "_new_buffer", new_buffer)


def delete_tail_early(patch: Patch) -> None:
    """Delete the tail as soon as the parts cover its bytes."""
    write = Appender._write_tail

    def write_tail(self: Appender, rest: Any, held: Any) -> None:
        is_in_parts = rest.part.size == 0 and self._state.parts.count
        if is_in_parts and self._state.tail.exists:
            self._state.tail.delete()
        write(self, rest, held)

    patch.setattr(Appender, "_write_tail", write_tail)


def write_tails_unconditionally(patch: Patch) -> None:
    """Write tails without If-Match and If-None-Match."""
    put = bucket.Bucket.put

    def put_unconditionally(self: bucket.Bucket, key: str, payload: Payload, **more: Any) -> str:
        if ".part" in key:
            more.pop("condition", None)
        return put(self, key, payload, **more)

    patch.setattr(bucket.Bucket, "put", put_unconditionally)


def write_first_record_unconditionally(patch: Patch) -> None:
    """Write the first record without If-None-Match."""
    put = bucket.Bucket.put

    def put_unconditionally(self: bucket.Bucket, key: str, payload: Payload, **more: Any) -> str:
        if key.endswith(".info") and more.get("condition") == Condition(None):
            del more["condition"]
        return put(self, key, payload, **more)

    patch.setattr(bucket.Bucket, "put", put_unconditionally)


def write_later_records_unconditionally(patch: Patch) -> None:
    """Write later records without If-Match."""
    put = bucket.Bucket.put

    def put_unconditionally(self: bucket.Bucket, key: str, payload: Payload, **more: Any) -> str:
        if key.endswith(".info") and more.get("condition") != Condition(None):
            del more["condition"]
        return put(self, key, payload, **more)

    patch.setattr(bucket.Bucket, "put", put_unconditionally)


def treat_errors_as_absence(patch: Patch) -> None:
    """Treat every error of S3 as NoSuchKey."""
    patch.setattr(bucket, "translate_error", lambda _operation, _error, _key: NotFound())


def accept_empty_responses(patch: Patch) -> None:
    """Accept a 200 without the field that it must have."""
    patch.setattr(bucket, "_require_field", lambda _answer, _field: None)


def ignore_lost_locks(patch: Patch) -> None:
    """Append without asking whether the lock is still held."""
    append = S3Upload.append

    def append_without_check(self: S3Upload, body: Body, _held: Any, *more: Any) -> None:
        append(self, body, lambda: None, *more)

    patch.setattr(S3Upload, "append", append_without_check)


def use_stale_caches(patch: Patch) -> None:
    """Use a cached upload, no matter which holder had the lock last."""
    take = UploadCache.take

    def take_stale(self: UploadCache, id: UploadId, _previous_holder: object) -> Any:
        entry = self._entries.get(id)
        return take(self, id, None if entry is None else entry.holder)

    patch.setattr(UploadCache, "take", take_stale)


def ignore_failed_parts(patch: Patch) -> None:
    """Confirm an append although one of its parts failed."""

    def collect(self: transfers.PartPipeline, finished: set[Future[Part]]) -> None:
        self._running -= finished
        self._done += [future.result() for future in finished if future.exception() is None]

    def wait(self: transfers.PartPipeline) -> list[Part]:
        futures.wait(self._running)
        self._collect(set(self._running))
        return self._done

    patch.setattr(transfers.PartPipeline, "_collect", collect)
    patch.setattr(transfers.PartPipeline, "wait", wait)


def send_parts_after_a_failure(patch: Patch) -> None:
    """Continue to send parts after one of them has failed."""

    def run(self: transfers.PartPipeline, number: int, part: SpooledPart) -> Part:
        with part:
            return self._upload(number, part)

    def collect(self: transfers.PartPipeline, finished: set[Future[Part]]) -> None:
        self._running -= finished
        self._done += [future.result() for future in finished if future.exception() is None]

    patch.setattr(transfers.PartPipeline, "_upload_and_close", run)
    patch.setattr(transfers.PartPipeline, "_collect", collect)


def never_find_object(patch: Patch) -> None:
    """Never look for the object when a Complete has failed."""
    patch.setattr(UploadState, "verify_object", lambda _self, **_: False)


def assume_object_exists(patch: Patch) -> None:
    """Believe that the object exists whenever the multipart upload does not."""
    patch.setattr(UploadState, "verify_object", lambda _self, **_: True)


def skip_finishing_state(patch: Patch) -> None:
    """Do not record that the object is about to exist."""
    write = UploadState.write_record

    def write_other_states(self: UploadState, record: UploadRecord, *more: Any) -> None:
        if record.info.state is not State.FINISHING:
            write(self, record, *more)

    patch.setattr(UploadState, "write_record", write_other_states)
    patch.setattr(UploadRecord, "with_expected_state", lambda self: self)


def record_finished_before_hook(patch: Patch) -> None:
    """Record the upload as finished before `on_finish` has returned."""
    describe = Finisher._describe

    def finish_and_describe(
        self: Finisher, upload: Upload, request: Request | None
    ) -> FinishedUpload:
        upload.finish(no_lock_needed, may_defer=False)
        return describe(self, upload, request)

    patch.setattr(Finisher, "_describe", finish_and_describe)


def record_finished_before_object(patch: Patch) -> None:
    """Record the upload as finished before its object exists."""
    assemble = S3Upload.assemble

    def record_and_assemble(self: S3Upload, held: Any) -> bool:
        self._state.write_record(self._state.record.with_state(State.FINISHED), held)
        return assemble(self, held)

    patch.setattr(S3Upload, "assemble", record_and_assemble)


def never_abort(patch: Patch) -> None:
    """Leave multipart uploads behind."""
    patch.setattr(bucket.Bucket, "abort", lambda *_: None)


def delete_record_first(patch: Patch) -> None:
    """Delete the record before the data that it names."""
    terminate = S3Upload.terminate

    def delete_record_and_terminate(self: S3Upload, held: Any) -> None:
        self._context.bucket.delete(self._context.keys.info(self.info.id))
        terminate(self, held)

    patch.setattr(S3Upload, "terminate", delete_record_and_terminate)


def delete_records_of_terminated_uploads(patch: Patch) -> None:
    """Delete the record of a terminated upload instead of replacing it by a tombstone."""
    write = InfoObject.write

    def write_or_delete(self: InfoObject, record: UploadRecord, held: Any) -> None:
        if record.is_terminated:
            self._bucket.delete(self._key)
        else:
            write(self, record, held)

    patch.setattr(InfoObject, "write", write_or_delete)


def delete_tails_of_terminated_uploads(patch: Patch) -> None:
    """Delete the tail of a terminated upload instead of replacing it by a tombstone."""
    patch.setattr(tails.TailObject, "write_tombstone", tails.TailObject.delete)


def treat_timeout_as_not_written(patch: Patch) -> None:
    """Treat a write without a response as a write that S3 did not execute."""

    def report_not_written(
        _self: InfoObject, _content: bytes, failure: StoreUnavailable, _held: Any
    ) -> str:
        raise NotWritten("PutObject") from failure

    patch.setattr(info.InfoObject, "_retry_put", report_not_written)


def treat_5xx_as_refusal(patch: Patch) -> None:
    """Treat a write with a 5xx response as a write that S3 did not execute."""
    patch.setattr(info, "is_refusal", lambda failure: isinstance(failure.__cause__, ClientError))


def never_read_record_back(patch: Patch) -> None:
    """Do not read back whether S3 has written a record, if the write had no response."""

    def report_not_written(_self: InfoObject, _content: bytes, failure: StoreUnavailable) -> str:
        raise NotWritten("PutObject") from failure

    patch.setattr(info.InfoObject, "_etag_if_written", report_not_written)
