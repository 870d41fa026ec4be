"""The fault tests notice a missing rule: without each rule of the store, a case fails.

| rule                                               | id   | without it                           |
|----------------------------------------------------|------|--------------------------------------|
| part k always has the same bytes                   | D-01 | a late part overwrites other bytes   |
| only contiguous parts count                        | D-02 | the file has a hole                  |
| a tail counts only at its recorded start           | D-02 | bytes of a part count twice          |
| a segment counts where the last one ends           | D-02 | bytes of a part count twice          |
| a segment has the bytes of those that it replaces  | D-04 | acknowledged bytes are lost          |
| a tail is deleted after its bytes are in a part    | D-04 | acknowledged bytes are lost          |
| a tail is deleted only at the end                  | D-04 | a late DELETE removes the next tail  |
| a tail is written with a condition                 | D-11 | a late PUT overwrites the next tail  |
| only an error document means absent                | D-07 | an outage makes the offset decrease  |
| a 200 without content is a failure                 | D-07 | an outage makes the offset decrease  |
| a failed part is not confirmed                     | D-03 | a 204 for bytes that are not in S3   |
| no part starts after a failed part                 |      | S3 receives bytes that do not count  |
| nothing is written after the lock is lost          | D-10 | two writers at once                  |
| a cache is used only after its own holder          | D-03 | bytes are written where others are   |
| a lost Complete is recognized by its object        | D-05 | a finished upload is gone            |
| Complete is believed only with its object          | D-05 | a finished upload has no object      |
| the record announces the object before it exists   | D-13 | acknowledged bytes are lost          |
| the record says finished only after the object     | D-06 | a finished upload has no object      |
| the record says finished only after on_finish      | D-06 | the app never learns of the file     |
| a failed creation aborts its multipart upload      | D-13 | parts that no record names           |
| a termination replaces the record by a tombstone   | D-13 | parts that no record names           |
| a terminated upload leaves a tombstone             | D-09 | a late record brings it back         |
| the tail of a terminated upload leaves one too     | D-09 | the same, if conditions are ignored  |
| a write of a record without a response is repeated | D-09 | the record names an aborted upload   |
| a 5xx does not prove that a record was not written | D-09 | the record names an aborted upload   |
| the first record is written with a condition       | D-11 | a late one overwrites all later ones |
| later records are written with a condition         | D-11 | a late one overwrites all later ones |
| a record without a response is read back           | D-09 | a second upload beside the first     |
"""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest

from tests.faults import rule_mutations as mutations
from tests.faults.application import Application, AppOptions, ProcessMode
from tests.faults.case_runner import Case, run_case
from tests.faults.faulty_s3 import FaultyS3
from tests.faults.scenarios import SCENARIOS
from tests.harness.bodies import ScriptedBody
from tests.harness.clients.transport import in_process
from tests.harness.clients.uploader import TusUploader, UploadScript
from tests.harness.proxies.faults import Call, Fault, FaultStep
from tests.stores.s3.late_calls import ignoring_conditions, late, puts
from tus_wsgi.domain.errors import LockLost, UploadGone, UploadNotFound
from tus_wsgi.domain.model import UploadId, UploadInfo
from tus_wsgi.stores.s3 import S3Store
from tus_wsgi.stores.s3.context import no_lock_needed
from tus_wsgi.stores.s3.keys import Keys

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

MAX_ROUNDS = 5
"""How often a check runs at most, until it notices that a rule is missing. Parallel parts arrive in
any order, so a fault may hit a part whose failure does no harm."""


@pytest.fixture(autouse=True)
def no_logging() -> Iterator[None]:
    """Mutated stores log many errors, as they should."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@dataclass(frozen=True, slots=True)
class Check:
    """Run cases that pass while the store keeps a rule: a fault at each call of an operation.

    Attributes:
        scenario: its name.
        fault: what happens to a call; None for one case without faults.
        operation: S3's name of the operation of the calls.
        suffix: how the keys of these calls end.
        times: how many calls in a row fail, beginning with each of these calls.
        mode: what the processes remember of earlier requests.
    """

    scenario: str
    fault: Fault | None = None
    operation: str = ""
    suffix: str = ""
    times: int = 1
    mode: ProcessMode = ProcessMode.UNCACHED

    def __call__(self, faulty_s3: FaultyS3) -> list[str]:
        """Return the problems of the first case that fails; an empty list if all cases pass."""
        fault_free = Case(self.scenario, mode=self.mode)
        result = run_case(faulty_s3, fault_free)
        if self.fault is None:
            return list(result.problems)
        assert not result.problems, str(result)
        step = FaultStep(self.fault, operation=self.operation, suffix=self.suffix)
        count = sum(map(step.matches, faulty_s3.proxy.calls))
        assert count, f"{self.scenario} has no {self.operation}"
        repeated = [FaultStep(self.fault)] * (self.times - 1)
        for index in range(count):
            faults = (replace(step, skip=index), *repeated)
            result = run_case(faulty_s3, replace(fault_free, faults=faults))
            if result.problems:
                return list(result.problems)
        return []


def check_abort_by_lifecycle_rule(faulty_s3: FaultyS3) -> list[str]:
    """Abort the multipart upload as a lifecycle rule does: the upload is not finished (D-09)."""
    with _application(faulty_s3, "no hook") as (app, uploader):
        uploader.script = UploadScript(patch_ends=[faulty_s3.part_size])
        uploader.upload(faulty_s3.part_size)
        s3, bucket = faulty_s3.admin, faulty_s3.service.bucket
        key = app.keys.data(UploadId(uploader.id))
        [multipart] = s3.list_multipart_uploads(Bucket=bucket, Prefix=key)["Uploads"]
        s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=multipart["UploadId"])
        response = in_process(app)("HEAD", uploader.url or "", {"Tus-Resumable": "1.0.0"})
    return [] if response.status == 423 else [f"HEAD was answered with {response.status}"]


def check_parts_after_a_failed_part(faulty_s3: FaultyS3) -> list[str]:
    """Let the first of thirty parts fail: most of the others must not be sent."""
    with _application(faulty_s3, "five parts") as (_, uploader):
        uploader.file = bytes(30 * faulty_s3.part_size)
        faulty_s3.proxy.start(_fail_first_part)
        assert uploader.create([]) == 0
        uploader.append(0, len(uploader.file), [])
    sent = sum(call.operation == "UploadPart" for call in faulty_s3.proxy.calls)
    return [] if sent < 10 else [f"{sent} parts were sent"]


def _fail_first_part(call: Call) -> Fault | None:
    is_first = call.operation == "UploadPart" and call.part == 1
    return Fault.INTERNAL_ERROR if is_first else None


def check_writes_without_a_lock(faulty_s3: FaultyS3) -> list[str]:
    """Lose the lock before the first byte: the store must not call any write.

    S3 would not refuse it: a part or an object is written without a condition.
    """
    problems: list[str] = []
    for scenario in ("five parts", "one part", "three appends"):
        with _application(faulty_s3, scenario) as (app, uploader):
            assert uploader.create([]) == 0
            upload = app.open(uploader.id)
            upload.load_offset()
            faulty_s3.proxy.start()
            with contextlib.suppress(LockLost):
                upload.append(ScriptedBody(uploader.file), _raise_lock_lost)
            problems += [str(call) for call in faulty_s3.proxy.calls if call.operation in WRITES]
    return problems


def check_late_record_without_conditions(faulty_s3: FaultyS3) -> list[str]:
    """Let a service that ignores conditions write the record late: the upload must stay gone."""
    faulty_s3.proxy.start()
    client = faulty_s3.client(timeout=30, retries=False)
    keys, id = Keys(f"{secrets.token_hex(6)}/"), UploadId(secrets.token_urlsafe(16))
    store = S3Store(client, faulty_s3.service.bucket, keys=keys)
    with ignoring_conditions(client):
        with late(client, puts(".info")) as calls:
            store.create(UploadInfo(id, 10), record_now=True)
        store.terminate(id, no_lock_needed)
        calls.arrive()
    try:
        store.open(id).load_offset()
    except (UploadNotFound, UploadGone):
        return []
    return ["the upload came back"]


WRITES = {"CreateMultipartUpload", "PutObject", "UploadPart", "DeleteObject"}


def _raise_lock_lost() -> None:
    raise LockLost("another holder has the lock")


@contextlib.contextmanager
def _application(faulty_s3: FaultyS3, scenario: str) -> Iterator[tuple[Application, TusUploader]]:
    """Yield the app of a scenario without faults, and a client with the scenario's file."""
    faulty_s3.proxy.start()
    options = AppOptions(SCENARIOS[scenario], ProcessMode.UNCACHED, retries=False, timeout=30)
    with Application(faulty_s3, f"{secrets.token_hex(6)}/", options) as app:
        file = SCENARIOS[scenario].file(faulty_s3.part_size)
        yield app, TusUploader(send=in_process(app), file=file, script=UploadScript())


RULES: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], Callable[[FaultyS3], list[str]]]] = {
    "part k always has the same bytes": (
        mutations.change_part_size_on_resume,
        Check("tail filled exactly", Fault.LATE_AFTER_9, "UploadPart"),
    ),
    "only contiguous parts count": (
        mutations.count_parts_after_a_gap,
        Check("five parts", Fault.INTERNAL_ERROR, "UploadPart"),
    ),
    "a tail counts only at its recorded start": (
        mutations.ignore_start_of_tail,
        Check("tail filled exactly"),
    ),
    "a segment counts where the last one ends": (
        mutations.count_stale_segments,
        Check("expiry extended"),
    ),
    "a segment has the bytes of those that it replaces": (
        mutations.drop_merged_segments,
        Check("three appends"),
    ),
    "a tail is deleted after its bytes are in a part": (
        mutations.delete_tail_before_part,
        Check("three appends", Fault.CUT_BEFORE, "UploadPart"),
    ),
    "a tail is deleted only at the end": (
        mutations.delete_tail_early,
        Check("tail filled exactly", Fault.GATEWAY_LATE_AFTER_7, "DeleteObject", ".part"),
    ),
    "a tail is written with a condition": (
        mutations.write_tails_unconditionally,
        Check("cut twice", Fault.GATEWAY_LATE_AFTER_9, "PutObject", ".part"),
    ),
    "only an error document means absent": (
        mutations.treat_errors_as_absence,
        Check("three appends", Fault.INTERNAL_ERROR, "GetObject", ".part"),
    ),
    "a 200 without content is a failure": (
        mutations.accept_empty_responses,
        Check("six appends", Fault.EMPTY_200, "ListParts"),
    ),
    "a failed part is not confirmed": (
        mutations.ignore_failed_parts,
        Check("created with first part", Fault.CUT_BEFORE, "UploadPart"),
    ),
    "no part starts after a failed part": (
        mutations.send_parts_after_a_failure,
        check_parts_after_a_failed_part,
    ),
    "nothing is written after the lock is lost": (
        mutations.ignore_lost_locks,
        check_writes_without_a_lock,
    ),
    "a cache is used only after its own holder": (
        mutations.use_stale_caches,
        Check("three appends", mode=ProcessMode.ALTERNATING),
    ),
    "a lost Complete is recognized by its object": (
        mutations.never_find_object,
        Check("five parts", Fault.CUT_AFTER, "CompleteMultipartUpload"),
    ),
    "Complete is believed only with its object": (
        mutations.assume_object_exists,
        check_abort_by_lifecycle_rule,
    ),
    "the record announces the object before it exists": (
        mutations.skip_finishing_state,
        Check("one part, three appends", Fault.INTERNAL_ERROR, "PutObject", ".info", times=2),
    ),
    "the record says finished only after the object": (
        mutations.record_finished_before_object,
        Check("five parts", Fault.INTERNAL_ERROR, "CompleteMultipartUpload"),
    ),
    "the record says finished only after on_finish": (
        mutations.record_finished_before_hook,
        Check("hook fails once"),
    ),
    "a failed creation aborts its multipart upload": (
        mutations.never_abort,
        Check("five parts", Fault.INVALID_REQUEST, "PutObject", ".info"),
    ),
    "a termination replaces the record by a tombstone": (
        mutations.delete_record_first,
        Check("terminated midway", Fault.INTERNAL_ERROR, "AbortMultipartUpload"),
    ),
    "a terminated upload leaves a tombstone": (
        mutations.delete_records_of_terminated_uploads,
        Check("terminated, one part midway", Fault.LATE_AFTER_9, "PutObject", ".info"),
    ),
    "the tail of a terminated upload leaves one too": (
        mutations.delete_tails_of_terminated_uploads,
        check_late_record_without_conditions,
    ),
    "a write of a record without a response is repeated": (
        mutations.treat_timeout_as_not_written,
        Check("deferred, long", Fault.LATE_AFTER_2, "PutObject", ".info"),
    ),
    "a 5xx does not prove that a record was not written": (
        mutations.treat_5xx_as_refusal,
        Check("deferred, long", Fault.GATEWAY_LATE_AFTER_2, "PutObject", ".info"),
    ),
    "the first record is written with a condition": (
        mutations.write_first_record_unconditionally,
        Check("deferred, created with data", Fault.GATEWAY_LATE_AFTER_9, "PutObject", ".info"),
    ),
    "later records are written with a condition": (
        mutations.write_later_records_unconditionally,
        Check("expiry extended, deferred", Fault.GATEWAY_LATE_AFTER_7, "PutObject", ".info"),
    ),
    "a record without a response is read back": (
        mutations.never_read_record_back,
        Check("deferred, long", Fault.CUT_AFTER, "PutObject", ".info"),
    ),
}


@pytest.mark.parametrize("rule", RULES)
def test_a_case_fails_without_the_rule(
    rule: str, faulty_s3: FaultyS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table at the top of this file names the durability rule (D-nn)."""
    mutate, check = RULES[rule]
    assert check(faulty_s3) == []
    mutate(monkeypatch)
    assert any(_problems(check, faulty_s3) for _ in range(MAX_ROUNDS))


def _problems(check: Callable[[FaultyS3], list[str]], faulty_s3: FaultyS3) -> list[str]:
    """Return the problems of a check. An exception of the mutated store is one of them."""
    try:
        return check(faulty_s3)
    except (AssertionError, UploadGone, LockLost) as error:
        return [str(error)]


def test_the_table_above_lists_every_rule() -> None:
    assert __doc__ is not None
    listed = [line.split("|")[1].strip() for line in __doc__.splitlines() if line.startswith("| ")]
    assert listed[1:] == list(RULES)
