"""What a sweep accepts as proof: of absence (D-07, D-08), of ownership (D-12), and of validity."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from demo.seaweedfs import SeaweedFS
from tests.harness.stores import PART, S3Sandbox
from tests.operations.answers import (
    HTML,
    UNPROVEN,
    Answer,
    answering,
    answering_reads,
    error_document,
)
from tests.operations.sweeper import FUTURE, LATER, LENGTH, PAST, RecordingLocker, Sweeper, held
from tus_wsgi.cli import main
from tus_wsgi.domain.dispatch import EventDispatcher
from tus_wsgi.operations.sweep import ActionKind
from tus_wsgi.service.finish import Finisher
from tus_wsgi.stores.s3.diagnostics import BucketAddress, diagnose
from tus_wsgi.stores.s3.keys import Keys
from tus_wsgi.stores.s3.upload import S3Upload

DAY = 86_400.0

NO_HOOK = Finisher(None, EventDispatcher(()))


def is_data(key: str) -> bool:
    return not key.endswith((".info", ".part"))


def is_tail(key: str) -> bool:
    return key.endswith(".part")


def is_info(key: str) -> bool:
    return key.endswith(".info")


def create_stored(sweeper: Sweeper, size: int) -> S3Upload:
    """Create an expired upload whose bytes are all stored, but not recorded as finished."""
    upload = sweeper.create(size, stored=size, expires=PAST)
    if size > PART:
        upload.assemble(held)
    upload.finish(held, may_defer=True)
    return upload


# -- absence --------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", UNPROVEN.values(), ids=UNPROVEN)
@pytest.mark.parametrize("size", [10, PART])
def test_an_unreadable_object_of_one_part_is_not_absent(
    sweeper: Sweeper, size: int, answer: Answer
) -> None:
    """D-07, D-08: reading a data object fails, and the upload has expired."""
    upload = create_stored(sweeper, size)
    before = sweeper.snapshot()
    with answering_reads(sweeper.sandbox.client, answer, applies_to=is_data):
        kinds = sweeper.kinds(finisher=NO_HOOK, reads_all=True)
        assert set(kinds.values()) == {ActionKind.FAILED}
    assert sweeper.snapshot() == before
    assert sweeper.kinds(finisher=NO_HOOK) == {}
    assert sweeper.sandbox.data(upload.info.id) == bytes(size)


@pytest.mark.parametrize("answer", UNPROVEN.values(), ids=UNPROVEN)
def test_an_unreadable_object_of_a_completed_multipart_upload_is_not_absent(
    sweeper: Sweeper, answer: Answer
) -> None:
    """D-07, D-08: the last write of the record was lost, and reading the object fails."""
    upload = sweeper.create(LENGTH, stored=LENGTH, expires=PAST)
    upload.assemble(held)
    before = sweeper.snapshot()
    with answering_reads(sweeper.sandbox.client, answer, applies_to=is_data):
        assert set(sweeper.kinds().values()) == {ActionKind.FAILED}
    assert sweeper.snapshot() == before
    assert sweeper.kinds(finisher=NO_HOOK) == {}
    assert sweeper.reload(upload).is_finished


@pytest.mark.parametrize("answer", UNPROVEN.values(), ids=UNPROVEN)
def test_parts_that_cannot_be_listed_are_not_absent(sweeper: Sweeper, answer: Answer) -> None:
    """D-07, D-08: a full upload never expires, and ListParts does not say what is stored."""
    upload = sweeper.create(LENGTH, stored=LENGTH, expires=PAST)
    before = sweeper.snapshot()
    with answering(sweeper.sandbox.client, "ListParts", answer):
        assert set(sweeper.kinds().values()) == {ActionKind.FAILED}
    assert sweeper.snapshot() == before
    assert sweeper.kinds() == {upload.info.id: ActionKind.FINISHED}
    assert sweeper.sandbox.data(upload.info.id) == bytes(LENGTH)


def test_parts_are_not_absent_while_their_multipart_upload_is_listed(sweeper: Sweeper) -> None:
    """D-08: one wrong NoSuchUpload does not outweigh the listing."""
    sweeper.create(LENGTH, stored=LENGTH, expires=PAST)
    before = sweeper.snapshot()
    answer = Answer(404, error_document("NoSuchUpload"))
    with answering(sweeper.sandbox.client, "ListParts", answer):
        assert set(sweeper.kinds().values()) == {ActionKind.FAILED}
    assert sweeper.snapshot() == before


@pytest.mark.parametrize("answer", UNPROVEN.values(), ids=UNPROVEN)
def test_an_unreadable_tail_is_not_absent(sweeper: Sweeper, answer: Answer) -> None:
    """D-07, D-08: without its tail, a full upload would look unfinished and expire."""
    upload = sweeper.create(None, stored=PART + 5, expires=PAST)
    upload.declare_length(PART + 5, held)
    before = sweeper.snapshot()
    with answering_reads(sweeper.sandbox.client, answer, applies_to=is_tail):
        assert set(sweeper.kinds(min_age=DAY).values()) == {ActionKind.FAILED}
    assert sweeper.snapshot() == before
    assert sweeper.kinds() == {upload.info.id: ActionKind.FINISHED}
    assert sweeper.sandbox.data(upload.info.id) == bytes(PART + 5)


@pytest.mark.parametrize("answer", UNPROVEN.values(), ids=UNPROVEN)
def test_an_unreadable_record_is_not_absent(sweeper: Sweeper, answer: Answer) -> None:
    """D-07, D-08: neither the multipart upload nor the tail that it names is orphaned."""
    sweeper.create(2 * LENGTH, stored=PART + 5)
    before = sweeper.snapshot()
    with answering(sweeper.sandbox.client, "GetObject", answer, applies_to=is_info):
        kinds = sweeper.kinds(abort_unknown=True)
    assert set(kinds.values()) == {ActionKind.FAILED}
    assert sweeper.snapshot() == before


def test_a_record_that_is_listed_is_not_absent(sweeper: Sweeper) -> None:
    """D-08: one wrong NoSuchKey does not outweigh the listing."""
    sweeper.create(2 * LENGTH, stored=PART + 5)
    before = sweeper.snapshot()
    answer = Answer(404, error_document("NoSuchKey"))
    with answering(sweeper.sandbox.client, "GetObject", answer, applies_to=is_info):
        sweeper.kinds(abort_unknown=True)
    assert sweeper.snapshot() == before


@pytest.mark.parametrize("is_dry", [True, False])
def test_one_failure_under_the_lock_leaves_the_upload_alone(sweeper: Sweeper, is_dry: bool) -> None:
    """D-08: the second examination decides. A dry run reports what it would find."""
    sweeper.create(2 * LENGTH, stored=5, expires=PAST)
    before = sweeper.snapshot()
    with ExitStack() as stack:

        def fail() -> None:
            stack.enter_context(answering(sweeper.sandbox.client, "ListParts", Answer(404, HTML)))

        if is_dry:
            fail()
        sweeper.locker.before_lock = fail
        assert set(sweeper.kinds(is_dry=is_dry).values()) == {ActionKind.FAILED}
    assert sweeper.snapshot() == before


@pytest.mark.parametrize(("length", "stored"), [(2 * LENGTH, PART + 5), (5, 3), (None, 3)])
def test_an_expired_upload_with_an_object_at_its_key_stays(
    sweeper: Sweeper, length: int | None, stored: int
) -> None:
    """D-08: a service may list only some parts after a completion, so the object may be a file."""
    upload = sweeper.create(length, stored=stored, expires=PAST)
    sweeper.sandbox.put(sweeper.sandbox.keys.data(upload.info.id), b"the only copy")
    before = sweeper.snapshot()
    kinds = sweeper.kinds(min_age=DAY)
    assert set(kinds.values()) == {ActionKind.FAILED}
    assert sweeper.snapshot() == before


def test_the_tail_and_the_parts_are_gone_before_the_tombstone_is(sweeper: Sweeper) -> None:
    """D-13: a removal that was answered with a foreign 404 is not done, so the tombstone stays."""
    upload = sweeper.create(2 * LENGTH, stored=PART + 5, expires=PAST)
    for operation in ("AbortMultipartUpload", "DeleteObject"):
        with answering(sweeper.sandbox.client, operation, Answer(404, HTML)):
            assert set(sweeper.kinds(now=LATER).values()) == {ActionKind.FAILED}
        assert f"{upload.info.id}.info" in sweeper.sandbox.list_keys()
    assert sweeper.kinds(now=LATER) == {}
    assert sweeper.sandbox.list_keys() == sweeper.sandbox.list_multiparts() == []


def test_an_upload_whose_parts_are_gone_stays_for_min_age_after_its_expiry(
    sweeper: Sweeper,
) -> None:
    """D-08: a completion under way answers NoSuchUpload too, minutes before its object exists."""
    now = datetime.now(UTC)
    upload = sweeper.create(LENGTH, stored=PART, expires=now - timedelta(hours=1))
    (multipart,) = sweeper.sandbox.list_multiparts()
    sweeper.sandbox.admin.abort_multipart_upload(
        Bucket=sweeper.sandbox.bucket,
        Key=sweeper.sandbox.keys.data(upload.info.id),
        UploadId=multipart,
    )
    assert sweeper.kinds(min_age=DAY, completion_timeout=0) == {}
    later = sweeper.sweep(min_age=DAY, now=now + timedelta(days=2), completion_timeout=0)
    assert [result.kind for result in later] == [ActionKind.EXPIRED]


# -- ownership ------------------------------------------------------------------------------------


def with_metadata_prefix(sandbox: S3Sandbox, prefix: str) -> Sweeper:
    """Return a deployment with the sandbox's object prefix and another metadata prefix."""
    other = S3Sandbox.__new__(S3Sandbox)
    other.__dict__.update(sandbox.__dict__)
    other.keys = Keys(sandbox.prefix, prefix)
    return Sweeper(other, RecordingLocker())


@pytest.mark.parametrize("abort_unknown", [False, True])
@pytest.mark.parametrize("prefix", ["", "a/"])
def test_the_uploads_of_another_deployment_stay(
    sweeper: Sweeper, prefix: str, abort_unknown: bool
) -> None:
    """D-12: same object prefix, another metadata prefix; or the sweep has none at all."""
    root = sweeper.sandbox.prefix
    server = with_metadata_prefix(sweeper.sandbox, f"{root}b/")
    swept = with_metadata_prefix(sweeper.sandbox, root + prefix if prefix else "")
    upload = server.create(2 * LENGTH, stored=PART + 5, expires=PAST)
    key = server.sandbox.keys.data(upload.info.id)
    before = sweeper.snapshot()
    kinds = swept.kinds(abort_unknown=abort_unknown, min_age=DAY if abort_unknown else 0.0)
    assert kinds == ({} if abort_unknown else {key: ActionKind.UNKNOWN})
    assert sweeper.snapshot() == before
    assert server.reload(upload).offset == PART + 5


def test_an_unknown_multipart_upload_is_reported_and_stays(sweeper: Sweeper) -> None:
    """D-12: another program's key may have the form of an upload's key."""
    key, _ = sweeper.create_orphan()
    before = sweeper.snapshot()
    (result,) = sweeper.sweep()
    assert (result.kind, result.name) == (ActionKind.UNKNOWN, key)
    assert "not touched" in result.detail
    assert sweeper.snapshot() == before
    assert sweeper.locker.locked_ids == []


def test_a_multipart_upload_that_only_its_upload_can_have_created_is_aborted(
    sweeper: Sweeper,
) -> None:
    """D-12: the record of the upload with this key exists, and names no multipart upload."""
    upload = sweeper.create(None, stored=5)
    key, _ = sweeper.create_orphan(upload.info.id)
    assert sweeper.kinds(min_age=DAY) == {}
    assert sweeper.kinds() == {key: ActionKind.ABORTED}
    assert sweeper.reload(upload).offset == 5


def test_an_expired_upload_takes_all_its_multipart_uploads_along(sweeper: Sweeper) -> None:
    """D-12, D-13: without the record, nothing would tell whose they are."""
    upload = sweeper.create(2 * LENGTH, stored=PART + 5, expires=PAST)
    sweeper.create_orphan(upload.info.id)
    other, unknown = sweeper.create_orphan(upload.info.id + "x")
    assert sweeper.kinds() == {upload.info.id: ActionKind.EXPIRED}
    assert sweeper.sandbox.list_multiparts() == [unknown]
    assert other.endswith("x")


@pytest.mark.parametrize("key", ["private/ledger.csv", "../ledger.csv", "ledger.csv"])
def test_a_record_that_names_a_key_outside_the_object_prefix_is_broken(
    sweeper: Sweeper, key: str
) -> None:
    """D-12: the object at this key is no upload's."""
    upload = sweeper.create(LENGTH, expires=PAST)
    edit_record(sweeper, upload, Storage={"Key": key, "Type": "s3store"})
    before = sweeper.snapshot()
    assert sweeper.kinds(min_age=DAY) == {upload.info.id: ActionKind.FAILED}
    assert sweeper.snapshot() == before


# -- broken records -------------------------------------------------------------------------------


def edit_record(sweeper: Sweeper, upload: S3Upload, **changes: object) -> None:
    """Change fields of the record, as a faulty program would."""
    key = sweeper.sandbox.keys.info(upload.info.id)
    fields: dict[str, Any] = json.loads(sweeper.sandbox.get(key))
    sweeper.sandbox.put(key, json.dumps(fields | changes).encode())


NO_RECORDS = {
    "HTML": HTML,
    "nothing": b"",
    "a list": b"[]",
    "100,000 levels": b'{"ID":' + b"[" * 100_000,
    "100,000 closed levels": b"[" * 100_000 + b"]" * 100_000,
    "40 MiB": b'{"ID":"' + b"x" * (40 << 20) + b'"}',
    "a number of 5,000 digits": b'{"ID":"x","Size":' + b"9" * 5_000 + b"}",
    "octets that are not UTF-8": b'{"ID":"\xff\xfe\xfa"}',
}


@pytest.mark.parametrize("content", NO_RECORDS.values(), ids=NO_RECORDS)
def test_an_info_object_without_a_record_is_reported_and_passed_over(
    sweeper: Sweeper, content: bytes
) -> None:
    """A broken record is one upload's failure, and its multipart upload stays."""
    broken = sweeper.create(2 * LENGTH, stored=PART + 5)
    expired = sweeper.create(5, stored=3, expires=PAST)
    sweeper.sandbox.put(sweeper.sandbox.keys.info(broken.info.id), content)
    keys = sweeper.sandbox.keys
    kinds = sweeper.kinds(abort_unknown=True)
    assert kinds.pop(expired.info.id) is ActionKind.EXPIRED
    assert kinds.pop(keys.info(broken.info.id)) is ActionKind.FAILED
    assert set(kinds.values()) <= {ActionKind.FAILED}
    sweeper.sweep(now=LATER)
    assert sweeper.sandbox.list_keys() == [f"{broken.info.id}.info", f"{broken.info.id}.part"]
    assert len(sweeper.sandbox.list_multiparts()) == 1


BROKEN_VALUES: dict[str, dict[str, object]] = {
    "an expiry without a zone": {"Expires": "2020-01-01T00:00:00"},
    "an expiry that is a number": {"Expires": 5},
    "a creation without a zone": {"Created": "2020-01-01T00:00:00"},
    "an infinite size": {"Size": float("inf")},
    "a size that is no number": {"Size": float("nan")},
    "a fractional size": {"Size": 1.5},
    "a negative size": {"Size": -1},
    "a size as text": {"Size": "5"},
    "a size as a list": {"Size": [5]},
    "a size beyond 64 bits": {"Size": 1 << 63},
    "a negative offset": {"Offset": -1},
    "an unknown state": {"State": "done"},
    "a state as a list": {"State": []},
    "storage as text": {"Storage": "s3store"},
    "a key as a number": {"Storage": {"Key": 5}},
    "a multipart upload as a list": {"Storage": {"MultipartUpload": ["x"]}},
    "a plan of no bytes": {"PartPlan": [0, 0, 0, 0, 0]},
    "a plan of negative bytes": {"PartPlan": [-5, 0, 0, 0, 0]},
    "a plan of six": {"PartPlan": [5, 0, 0, 0, 0, 0]},
    "a plan as text": {"PartPlan": "5"},
    "metadata as a list": {"RawMetadata": None, "MetaData": [1]},
    "metadata that is not Base64": {"RawMetadata": "name YQ"},
}


@pytest.mark.parametrize("changes", BROKEN_VALUES.values(), ids=BROKEN_VALUES)
def test_a_record_with_a_value_that_cannot_be_right_is_reported_and_passed_over(
    sweeper: Sweeper, changes: dict[str, object]
) -> None:
    """A broken record is one upload's failure."""
    upload = sweeper.create(LENGTH, expires=PAST)
    edit_record(sweeper, upload, **changes)
    before = sweeper.snapshot()
    results = sweeper.sweep(min_age=DAY)
    assert [result.kind for result in results] == [ActionKind.FAILED]
    assert "record" in results[0].detail
    assert sweeper.snapshot() == before


def test_an_unexpected_error_is_one_entry_of_the_report(
    sweeper: Sweeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No upload ends the sweep of the others with a traceback."""
    upload = sweeper.create(5, stored=3, expires=PAST)
    terminate: Callable[..., None] = S3Upload.terminate

    def fail(self: S3Upload, assert_held: Callable[[], None]) -> None:
        monkeypatch.setattr(S3Upload, "terminate", terminate)
        raise ValueError("unforeseen")

    monkeypatch.setattr(S3Upload, "terminate", fail)
    (result,) = sweeper.sweep()
    assert result.kind is ActionKind.FAILED
    assert isinstance(result.error, ValueError)
    assert sweeper.kinds(now=FUTURE) == {upload.info.id: ActionKind.EXPIRED}


# -- the command ----------------------------------------------------------------------------------


@contextmanager
def may_list_but_not_read(s3: SeaweedFS, prefix: str) -> Iterator[None]:
    """Let the server's identity list the bucket, and read nothing below `prefix`."""
    identity = {"AWS": "arn:aws:iam::000000000000:user/tus"}
    bucket = f"arn:aws:s3:::{s3.bucket}"
    listing = ["s3:ListBucket", "s3:ListBucketMultipartUploads"]
    statements = [
        {"Effect": "Allow", "Principal": identity, "Action": listing, "Resource": bucket},
        {
            "Effect": "Deny",
            "Principal": identity,
            "Action": ["s3:GetObject"],
            "Resource": f"{bucket}/{prefix}*",
        },
    ]
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    admin = s3.client()
    admin.put_bucket_policy(Bucket=s3.bucket, Policy=policy)
    try:
        yield
    finally:
        admin.delete_bucket_policy(Bucket=s3.bucket)


def test_the_command_names_the_permission_without_which_files_look_absent(
    sweeper: Sweeper, s3: SeaweedFS, tmp_path: Path
) -> None:
    """D-07, D-08: the identity reads records only, and each of the files has expired."""
    root = sweeper.sandbox.prefix
    sweeper.sandbox.keys = Keys(f"{root}files/", f"{root}meta/")
    uploads = [create_stored(sweeper, size) for size in (10, 70_000, PART)]
    before = sweeper.snapshot()
    environ = {
        **s3.environ(),
        "TUS_S3_OBJECT_PREFIX": f"{root}files/",
        "TUS_S3_METADATA_OBJECT_PREFIX": f"{root}meta/",
        "TUS_LOCK_DIR": str(tmp_path / "locks"),
    }
    with may_list_but_not_read(s3, f"{root}files/"):
        ran = CliRunner().invoke(main, ["sweep", "--no-hook", "--read-all"], env=environ)
    assert ran.exit_code == 1
    assert ran.stdout.count("s3:GetObject is not allowed") == len(uploads)
    assert "3 examined, 3 failed" in ran.stdout
    assert sweeper.snapshot() == before


def test_the_command_explains_unknown_multipart_uploads(
    sweeper: Sweeper, s3: SeaweedFS, tmp_path: Path
) -> None:
    """D-12: they are no failure; the operator decides."""
    key, _ = sweeper.create_orphan()
    environ = {
        **s3.environ(s3.admin),
        "TUS_S3_OBJECT_PREFIX": sweeper.sandbox.prefix,
        "TUS_LOCK_DIR": str(tmp_path / "locks"),
    }
    arguments = ["sweep", "--no-hook", "--min-age", "0"]
    ran = CliRunner().invoke(main, arguments, env=environ)
    assert ran.exit_code == 0
    assert f"unknown   {key}: a multipart upload of" in ran.stdout
    assert "AbortIncompleteMultipartUpload" in ran.stdout
    ran = CliRunner().invoke(main, [*arguments, "--abort-unknown"], env=environ)
    assert f"aborted   {key}: a multipart upload of" in ran.stdout
    assert sweeper.sandbox.list_multiparts() == []


def test_an_unproven_absence_is_explained(sweeper: Sweeper) -> None:
    """D-07: the sentence names the call and the response."""
    sweeper.create(LENGTH, stored=LENGTH, expires=PAST)
    with answering(sweeper.sandbox.client, "ListParts", Answer(404, HTML)):
        (result,) = sweeper.sweep(min_age=DAY)
    assert result.error is not None
    sentence = diagnose(result.error, BucketAddress("uploads", "http://s3.example"))
    assert sentence == (
        "http://s3.example answered ListParts: HTTP status 404 without the error document of S3: "
        "check TUS_S3_ENDPOINT, and the proxies in front of the service"
    )
