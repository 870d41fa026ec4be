"""The ring bites: each rule of the store is reverted, and the case that needs it fails.

| rule                                                   | what happens without it                |
|--------------------------------------------------------|----------------------------------------|
| part k always means the same bytes                     | a late part overwrites other bytes     |
| only the run of parts without a gap counts             | a hole in the file                     |
| a tail counts only where it begins                     | bytes that are elsewhere count twice   |
| a tail goes only when its bytes are in a part          | acknowledged bytes are lost            |
| a tail goes only at the end                            | a late DELETE takes the next tail      |
| a tail is written on condition                         | a late PUT takes the next tail         |
| only an answer that says so means absent               | an outage makes the offset decrease    |
| a 200 that says nothing is a failure                   | an outage makes the offset decrease    |
| nothing is confirmed that a part's failure has cost    | a 204 for bytes that S3 has not        |
| after a failed part no other one begins                | S3 is sent what counts for nothing     |
| nothing is written once the lock is lost               | two writers at once                    |
| a memo counts while nobody else had the lock           | bytes are written where others are     |
| a lost Complete is recognised by its object            | a finished upload is gone              |
| Complete is believed only with its object              | an upload without a file is "complete" |
| the record says that an object may be there first      | acknowledged bytes are lost            |
| the record says finished only after the object is made | a finished upload without a file       |
| the record says finished only after on_finish          | the application is never told          |
| a creation that fails aborts its multipart upload      | parts that nobody can name             |
| a termination removes the record last                  | parts that nobody can name             |
| a record whose write was met by silence is repeated    | the record names what was aborted      |
| a 5xx is no refusal of a record                        | the record names what was aborted      |
| the first record is written on condition               | a late one undoes all later ones       |
| later records are written on condition                 | a late one undoes all later ones       |
| the lost answer to a record's write is read back       | a second upload beside the first       |
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import secrets
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.faults.application import Application, Process, Setup
from tests.faults.case_runner import Case, run_case
from tests.faults.faulty_s3 import Lane
from tests.faults.scenarios import SCENARIOS
from tests.harness.bodies import ScriptedBody
from tests.harness.clients.transport import in_process
from tests.harness.clients.uploader import TusClient, Way
from tests.harness.proxies.faults import Call, Fault
from tus_wsgi.domain.errors import LockLost, StoreUnavailable, UploadGone
from tus_wsgi.domain.hooks import OnFinish
from tus_wsgi.domain.interfaces import Body, Upload
from tus_wsgi.domain.model import State, UploadId
from tus_wsgi.domain.parts import Part, PartPlan
from tus_wsgi.service import finish as finishing
from tus_wsgi.service.cache import UploadCache
from tus_wsgi.spool.part import SpooledPart
from tus_wsgi.spool.payload import Payload
from tus_wsgi.stores.s3 import bucket, info, tails, transfers, upload
from tus_wsgi.stores.s3.bucket import Condition
from tus_wsgi.stores.s3.context import no_lock_needed
from tus_wsgi.stores.s3.errors import NotFound
from tus_wsgi.stores.s3.info import InfoObject, NotWritten
from tus_wsgi.stores.s3.record import UploadRecord
from tus_wsgi.stores.s3.upload import S3Upload

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

Patch = pytest.MonkeyPatch

ROUNDS = 5
"""Tries of which one has to show that a rule is missing: parts that are sent beside each other come
in any order, so the fault may hit the one that does no harm."""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What is broken on purpose is logged as it should be, and nobody has to read it."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


# -- what reverts a rule ---------------------------------------------------------------------------


def parts_are_cut_anew(patch: Patch) -> None:
    """Into halves, from the second request on that brings bytes of an upload."""
    receive, expected_size = S3Upload._receive_parts, PartPlan.expected_size
    begun: set[str] = set()

    def receive_anew(self: S3Upload, *more: Any) -> Any:
        is_first, half = self.info.id not in begun, self._plan.part_size // 2
        begun.add(self.info.id)
        patch.setattr(PartPlan, "expected_size", expected_size if is_first else lambda *_: half)
        return receive(self, *more)

    def contiguous(_plan: object, _length: object, listed: Iterable[Part]) -> list[Part]:
        by_number = {part.number: part for part in listed}
        present = itertools.takewhile(by_number.__contains__, itertools.count(1))
        return [by_number[number] for number in present]

    patch.setattr(S3Upload, "_receive_parts", receive_anew)
    patch.setattr(upload, "contiguous", contiguous)


def every_part_counts(patch: Patch) -> None:
    def contiguous(_plan: object, _length: object, listed: Iterable[Part]) -> list[Part]:
        return sorted({part.number: part for part in listed}.values(), key=lambda one: one.number)

    patch.setattr(upload, "contiguous", contiguous)


def every_tail_counts(patch: Patch) -> None:
    def size_at(self: tails.TailObject, _base: int, *, default_start: int) -> int:
        return 0 if self._tail is None else self._tail.size

    patch.setattr(tails.TailObject, "size_at", size_at)


def the_tail_goes_first(patch: Patch) -> None:
    begin = S3Upload._new_part

    def begin_part(self: S3Upload, number: int, body: Body, **more: Any) -> SpooledPart:
        part = begin(self, number, body, **more)
        if part.size:
            self._tail.delete()
        return part

    patch.setattr(S3Upload, "_new_part", begin_part)


def the_tail_goes_at_once(patch: Patch) -> None:
    settle = S3Upload._write_tail

    def settle_tail(self: S3Upload, number: int, part: SpooledPart, held: Any) -> None:
        if part.size == 0 and self._tail.exists and self._parts:
            self._tail.delete()
        settle(self, number, part, held)

    patch.setattr(S3Upload, "_write_tail", settle_tail)


def tails_are_written_blindly(patch: Patch) -> None:
    put = bucket.Bucket.put

    def blind_put(self: bucket.Bucket, key: str, payload: Payload, **more: Any) -> str:
        if key.endswith(".part"):
            del more["condition"]
        return put(self, key, payload, **more)

    patch.setattr(bucket.Bucket, "put", blind_put)


def the_first_record_is_written_blindly(patch: Patch) -> None:
    put = bucket.Bucket.put

    def blind_put(self: bucket.Bucket, key: str, payload: Payload, **more: Any) -> str:
        if key.endswith(".info") and more.get("condition") == Condition(None):
            del more["condition"]
        return put(self, key, payload, **more)

    patch.setattr(bucket.Bucket, "put", blind_put)


def later_records_are_written_blindly(patch: Patch) -> None:
    put = bucket.Bucket.put

    def blind_put(self: bucket.Bucket, key: str, payload: Payload, **more: Any) -> str:
        if key.endswith(".info") and more.get("condition") != Condition(None):
            del more["condition"]
        return put(self, key, payload, **more)

    patch.setattr(bucket.Bucket, "put", blind_put)


def every_error_means_absent(patch: Patch) -> None:
    patch.setattr(bucket, "translate_error", lambda _operation, _error, _key: NotFound())


def an_empty_answer_is_one(patch: Patch) -> None:
    patch.setattr(bucket, "_require_field", lambda _answer, _field: None)


def locks_are_never_lost(patch: Patch) -> None:
    append = S3Upload.append

    def careless(self: S3Upload, body: Body, _held: Any, *more: Any) -> None:
        append(self, body, lambda: None, *more)

    patch.setattr(S3Upload, "append", careless)


def every_cached_upload_is_current(patch: Patch) -> None:
    take = UploadCache.take

    def take_any(self: UploadCache, id: UploadId, _previous_holder: object) -> Any:
        entry = self._entries.get(id)
        return take(self, id, entry and entry.holder)

    patch.setattr(UploadCache, "take", take_any)


def failed_parts_are_overlooked(patch: Patch) -> None:
    def collect(self: transfers.PartPipeline, finished: set[Future[Part]]) -> None:
        self._running -= finished
        self._done += [one.result() for one in finished if one.exception() is None]

    def wait(self: transfers.PartPipeline) -> list[Part]:
        futures.wait(self._running)
        self._collect(set(self._running))
        return self._done

    patch.setattr(transfers.PartPipeline, "_collect", collect)
    patch.setattr(transfers.PartPipeline, "wait", wait)


def parts_go_on_after_a_failure(patch: Patch) -> None:
    def run(self: transfers.PartPipeline, number: int, part: SpooledPart) -> Part:
        with part:
            return self._upload(number, part)

    def collect(self: transfers.PartPipeline, finished: set[Future[Part]]) -> None:
        self._running -= finished
        self._done += [one.result() for one in finished if one.exception() is None]

    patch.setattr(transfers.PartPipeline, "_upload_and_close", run)
    patch.setattr(transfers.PartPipeline, "_collect", collect)


def no_object_is_looked_for(patch: Patch) -> None:
    patch.setattr(S3Upload, "_verify_object", lambda _self: False)


def every_object_is_believed_in(patch: Patch) -> None:
    patch.setattr(S3Upload, "_verify_object", lambda _self: True)


def nobody_is_told_of_an_object(patch: Patch) -> None:
    write = S3Upload._write_record

    def write_others(self: S3Upload, record: UploadRecord, *more: Any) -> None:
        if record.info.state is not State.FINISHING:
            write(self, record, *more)

    patch.setattr(S3Upload, "_write_record", write_others)
    patch.setattr(UploadRecord, "with_expected_state", lambda self: self)


def finished_is_said_before_the_hook(patch: Patch) -> None:
    call = finishing._call

    def call_late(on_finish: OnFinish, upload: Upload) -> None:
        upload.finish(no_lock_needed, may_defer=False)
        call(on_finish, upload)

    patch.setattr(finishing, "_call", call_late)


def finished_is_said_too_early(patch: Patch) -> None:
    assemble = S3Upload.assemble

    def early(self: S3Upload, held: Any) -> bool:
        self._write_record(self._record.with_state(State.FINISHED), held)
        return assemble(self, held)

    patch.setattr(S3Upload, "assemble", early)


def nothing_is_aborted(patch: Patch) -> None:
    patch.setattr(bucket.Bucket, "abort", lambda *_: None)


def the_record_goes_first(patch: Patch) -> None:
    terminate = S3Upload.terminate

    def backwards(self: S3Upload, held: Any) -> None:
        self._info_object.delete()
        terminate(self, held)

    patch.setattr(S3Upload, "terminate", backwards)


def silence_means_no(patch: Patch) -> None:
    def give_up(_self: InfoObject, _content: bytes, failure: StoreUnavailable, _held: Any) -> str:
        raise NotWritten("PutObject") from failure

    patch.setattr(info.InfoObject, "_retry_put", give_up)


def every_answer_is_a_refusal(patch: Patch) -> None:
    patch.setattr(info, "_is_refusal", lambda failure: isinstance(failure.__cause__, ClientError))


def lost_answers_are_not_looked_for(patch: Patch) -> None:
    def look_away(_self: InfoObject, _content: bytes, failure: StoreUnavailable) -> str:
        raise NotWritten("PutObject") from failure

    patch.setattr(info.InfoObject, "_etag_if_written", look_away)


# -- what needs the rule ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Needs:
    """A case of the ring: a fault at each call of an operation, in turn.

    Attributes:
        scenario: its name.
        fault: what happens; None if nothing has to.
        operation: at which calls.
        suffix: of which objects.
        times: to how many calls in a row it happens.
        process: what a request finds of the one before.
    """

    scenario: str
    fault: Fault | None = None
    operation: str = ""
    suffix: str = ""
    times: int = 1
    process: Process = Process.FORGETS

    def __call__(self, lane: Lane) -> list[str]:
        """What is wrong in any of the cases."""
        clean = Case(self.scenario, process=self.process)
        if self.fault is None:
            return list(run_case(lane, clean).problems)
        calls = _calls_of(lane, clean)
        numbers = [
            call.number
            for call in calls
            if call.operation == self.operation and call.key.endswith(self.suffix)
        ]
        assert numbers, f"{self.scenario} has no {self.operation}"
        # It is enough to see one: the proper ring sees all of them.
        for number in numbers:
            faults = tuple((number + more, self.fault) for more in range(self.times))
            verdict = run_case(lane, replace(clean, faults=faults))
            if verdict.problems:
                return list(verdict.problems)
        return []


def aborted_behind_our_back(lane: Lane) -> list[str]:
    """A bucket's lifecycle rule removes the parts: the upload is gone, and never complete."""
    with _begun(lane, "whole parts") as (app, client):
        client.way = Way(stops=[lane.part_size])
        client.upload(lane.part_size)
        s3 = lane.inspector
        prefix = app.keys.data(UploadId(client.id))
        [one] = s3.list_multipart_uploads(Bucket=lane.service.bucket, Prefix=prefix)["Uploads"]
        s3.abort_multipart_upload(Bucket=lane.service.bucket, Key=prefix, UploadId=one["UploadId"])
        answer = in_process(app)("HEAD", client.url or "", {"Tus-Resumable": "1.0.0"}, b"", 0)
    return [] if answer.status == 410 else [f"HEAD was answered with {answer.status}"]


def waste_after_a_failed_part(lane: Lane) -> list[str]:
    """Thirty parts, and the first one fails: most of the others must not be sent."""
    with _begun(lane, "five parts") as (_, client):
        client.file = bytes(30 * lane.part_size)
        lane.proxy.begin(_first_part_fails)
        assert client.create([]) == 0
        client._patch(0, len(client.file), [])
    sent = sum(call.operation == "UploadPart" for call in lane.proxy.calls)
    return [] if sent < 10 else [f"{sent} parts were sent"]


def _first_part_fails(call: Call) -> Fault | None:
    is_first = call.operation == "UploadPart" and call.part == 1
    return Fault.ERROR if is_first else None


def written_without_a_lock(lane: Lane) -> list[str]:
    """The lock has passed on before the first byte: nothing is written, be it on condition or not.

    A part or an object has no condition that would hold a late writer up.
    """
    problems: list[str] = []
    for scenario in ("five parts", "one part", "pieces"):
        with _begun(lane, scenario) as (app, client):
            assert client.create([]) == 0
            upload = app.open(client.id)
            upload.load_offset()
            lane.proxy.begin(lambda _call: None)
            with contextlib.suppress(LockLost):
                upload.append(ScriptedBody(client.file), _lost)
            problems += [str(call) for call in lane.proxy.calls if call.operation in WRITES]
    return problems


WRITES = {"CreateMultipartUpload", "PutObject", "UploadPart", "DeleteObject"}


def _lost() -> None:
    raise LockLost("somebody else has it")


@contextlib.contextmanager
def _begun(lane: Lane, scenario: str) -> Iterator[tuple[Application, TusClient]]:
    lane.proxy.begin(lambda _call: None)
    one = SCENARIOS[scenario]
    setup = Setup(one, Process.FORGETS, retries=False, timeout=30)
    with Application(lane, f"{secrets.token_hex(6)}/", setup) as app:
        yield app, TusClient(send=in_process(app), file=one.file(lane.part_size), way=Way())


def _calls_of(lane: Lane, case: Case) -> list[Call]:
    verdict = run_case(lane, case)
    assert not verdict.problems, str(verdict)
    return lane.proxy.calls


RULES: dict[str, tuple[Callable[[Patch], None], Callable[[Lane], list[str]]]] = {
    "part k always means the same bytes": (
        parts_are_cut_anew,
        Needs("tail filled exactly", Fault.LATEST, "UploadPart"),
    ),
    "only the run of parts without a gap counts": (
        every_part_counts,
        Needs("five parts", Fault.ERROR, "UploadPart"),
    ),
    "a tail counts only where it begins": (every_tail_counts, Needs("tail filled exactly")),
    "a tail goes only when its bytes are in a part": (
        the_tail_goes_first,
        Needs("pieces", Fault.CUT_BEFORE, "UploadPart"),
    ),
    "a tail goes only at the end": (
        the_tail_goes_at_once,
        Needs("tail filled exactly", Fault.LATER, "DeleteObject", ".part"),
    ),
    "a tail is written on condition": (
        tails_are_written_blindly,
        Needs("RUFH, appended", Fault.LATEST, "PutObject", ".part"),
    ),
    "only an answer that says so means absent": (
        every_error_means_absent,
        Needs("pieces", Fault.ERROR, "HeadObject", ".part"),
    ),
    "a 200 that says nothing is a failure": (
        an_empty_answer_is_one,
        Needs("small pieces", Fault.EMPTY, "ListParts"),
    ),
    "nothing is confirmed that a part's failure has cost": (
        failed_parts_are_overlooked,
        Needs("created with a beginning", Fault.CUT_BEFORE, "UploadPart"),
    ),
    "after a failed part no other one begins": (
        parts_go_on_after_a_failure,
        waste_after_a_failed_part,
    ),
    "nothing is written once the lock is lost": (locks_are_never_lost, written_without_a_lock),
    "a memo counts while nobody else had the lock": (
        every_cached_upload_is_current,
        Needs("pieces", process=Process.TAKES_TURNS),
    ),
    "a lost Complete is recognised by its object": (
        no_object_is_looked_for,
        Needs("five parts", Fault.CUT_AFTER, "CompleteMultipartUpload"),
    ),
    "Complete is believed only with its object": (
        every_object_is_believed_in,
        aborted_behind_our_back,
    ),
    "the record says that an object may be there first": (
        nobody_is_told_of_an_object,
        Needs("one part in pieces", Fault.ERROR, "PutObject", ".info", times=2),
    ),
    "the record says finished only after the object is made": (
        finished_is_said_too_early,
        Needs("five parts", Fault.ERROR, "CompleteMultipartUpload"),
    ),
    "the record says finished only after on_finish": (
        finished_is_said_before_the_hook,
        Needs("hook refuses once"),
    ),
    "a creation that fails aborts its multipart upload": (
        nothing_is_aborted,
        Needs("five parts", Fault.REFUSAL, "PutObject", ".info"),
    ),
    "a termination removes the record last": (
        the_record_goes_first,
        Needs("terminated midway", Fault.ERROR, "AbortMultipartUpload"),
    ),
    "a record whose write was met by silence is repeated": (
        silence_means_no,
        Needs("deferred, long", Fault.LATE, "PutObject", ".info"),
    ),
    "a 5xx is no refusal of a record": (
        every_answer_is_a_refusal,
        Needs("deferred, long", Fault.GATEWAY_LATE, "PutObject", ".info"),
    ),
    "the first record is written on condition": (
        the_first_record_is_written_blindly,
        Needs("deferred, long", Fault.LATEST, "PutObject", ".info"),
    ),
    "later records are written on condition": (
        later_records_are_written_blindly,
        Needs("kept alive, deferred", Fault.LATER, "PutObject", ".info"),
    ),
    "the lost answer to a record's write is read back": (
        lost_answers_are_not_looked_for,
        Needs("deferred, long", Fault.CUT_AFTER, "PutObject", ".info"),
    ),
}


@pytest.mark.parametrize("rule", RULES)
def test_without_this_rule_a_case_fails(
    rule: str, lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    revert, check = RULES[rule]
    assert check(lane) == []
    revert(monkeypatch)
    assert any(_problems(check, lane) for _ in range(ROUNDS))


def _problems(check: Callable[[Lane], list[str]], lane: Lane) -> list[str]:
    try:
        return check(lane)
    except (AssertionError, UploadGone, LockLost) as broken:
        return [str(broken)]


def test_the_list_above_has_every_rule() -> None:
    assert __doc__ is not None
    listed = [line.split("|")[1].strip() for line in __doc__.splitlines() if line.startswith("| ")]
    assert listed[1:] == list(RULES)
