"""The contract of lease records: a model in memory, DynamoDB and S3."""

from __future__ import annotations

import functools
import http.server
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from demo.seaweedfs import SeaweedFS
from tests.harness.lockers import LockerSpec, new_locker_spec
from tests.harness.proxies.fault_proxy import FaultProxy
from tests.harness.proxies.faults import Fault, no_fault
from tests.harness.records import MemoryRecords
from tests.harness.servers.dynamodb import DynamoDB
from tests.harness.servers.s3_service import S3Service
from tests.operations.answers import responding, weaken_etags
from tus_wsgi.domain.errors import LockerUnavailable
from tus_wsgi.domain.model import UploadId
from tus_wsgi.lockers.lease.dynamodb import DynamoDBRecords
from tus_wsgi.lockers.lease.locker import LeaseLocker
from tus_wsgi.lockers.lease.records import (
    Claim,
    LeaseRecord,
    LeaseRecords,
    LockerUnsupported,
    OutcomeUnknown,
)
from tus_wsgi.lockers.lease.s3 import S3Records

ROOT = Path(__file__).parents[3]

KINDS = ("memory", "dynamodb", "s3")


@pytest.fixture
def spec(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> LockerSpec:
    spec = new_locker_spec(request.param, request, tmp_path)
    for name, value in spec.environ.items():
        monkeypatch.setenv(name, value)
    return spec


def open_records(spec: LockerSpec) -> LeaseRecords:
    if spec.kind == "memory":
        return MemoryRecords()
    if spec.kind == "dynamodb":
        return DynamoDBRecords(spec.location)
    return S3Records(spec.bucket, spec.location, endpoint=spec.endpoint)


@pytest.fixture
def records(spec: LockerSpec) -> LeaseRecords:
    return open_records(spec)


@pytest.fixture
def name() -> str:
    return secrets.token_hex(8)


def claim(
    token: str, seen: LeaseRecord | None = None, *, waiter_id: str = "", expired: bool = False
) -> Claim:
    return Claim(token, waiter_id or f"waiter {token}", f"{token}.0", seen, expired)


def common_fields(record: LeaseRecord) -> tuple[str, str, str, float]:
    """Return the fields that do not depend on the service."""
    return record.holder, record.heartbeat_id, record.next_waiter, record.unchanged_for


every_kind = pytest.mark.parametrize("spec", KINDS, indirect=True)


@every_kind
def test_a_free_lock_is_acquired_with_the_first_call(records: LeaseRecords, name: str) -> None:
    assert common_fields(records.try_acquire(name, claim("a"))) == ("a", "a.0", "", 0.0)


@every_kind
def test_a_held_lock_is_returned_but_not_acquired(records: LeaseRecords, name: str) -> None:
    first = records.try_acquire(name, claim("a"))
    for seen in (None, first):
        found = records.try_acquire(name, claim("b", seen))
        assert common_fields(found) == common_fields(first)


@every_kind
def test_a_repeated_acquisition_finds_the_first_one(records: LeaseRecords, name: str) -> None:
    first = records.try_acquire(name, claim("a"))
    again = records.try_acquire(name, claim("a"))
    assert (again.holder, again.fence) == ("a", first.fence)


@every_kind
def test_a_heartbeat_replaces_the_previous_one(records: LeaseRecords, name: str) -> None:
    held = records.try_acquire(name, claim("a"))
    for number in range(3):
        held = records.renew(name, held, heartbeat_id=f"a.{number}")
        assert common_fields(held) == ("a", f"a.{number}", "", 0.0)


@every_kind
def test_a_heartbeat_does_not_need_the_latest_record(records: LeaseRecords, name: str) -> None:
    """The response to the previous heartbeat may have been lost."""
    held = records.try_acquire(name, claim("a"))
    records.renew(name, held, heartbeat_id="a.1")
    assert records.renew(name, held, heartbeat_id="a.2").heartbeat_id == "a.2"


@every_kind
def test_a_heartbeat_returns_the_next_waiter(records: LeaseRecords, name: str) -> None:
    held = records.try_acquire(name, claim("a"))
    requested = records.request_release(name, held, waiter_id="b", unchanged_for=1.25)
    assert common_fields(requested) == ("a", "a.0", "b", 1.25)
    held = records.renew(name, held, heartbeat_id="a.1")
    assert common_fields(held) == ("a", "a.1", "b", 0.0)
    held = records.renew(name, held, heartbeat_id="a.2")
    assert held.next_waiter == "b"


@every_kind
def test_a_release_request_fails_if_the_record_has_changed(
    records: LeaseRecords, name: str
) -> None:
    first = records.try_acquire(name, claim("a"))
    second = records.renew(name, first, heartbeat_id="a.1")
    found = records.request_release(name, first, waiter_id="b", unchanged_for=9.0)
    assert common_fields(found) == common_fields(second)


@every_kind
def test_a_released_lock_is_reserved_for_the_next_waiter(records: LeaseRecords, name: str) -> None:
    held = records.try_acquire(name, claim("a"))
    records.request_release(name, held, waiter_id="waiter b", unchanged_for=0.0)
    records.release(name, held, heartbeat_id="a.end")
    reserved = records.try_acquire(name, claim("c"))
    assert common_fields(reserved) == ("", "a.end", "waiter b", 0.0)
    assert records.try_acquire(name, claim("c", reserved)).holder == ""
    found = records.try_acquire(name, claim("b", reserved))
    assert common_fields(found) == ("b", "b.0", "", 0.0)


@every_kind
def test_an_expired_reservation_is_ignored(records: LeaseRecords, name: str) -> None:
    held = records.try_acquire(name, claim("a"))
    records.request_release(name, held, waiter_id="b", unchanged_for=0.0)
    records.release(name, held, heartbeat_id="a.end")
    reserved = records.try_acquire(name, claim("c"))
    assert records.try_acquire(name, claim("c", reserved, expired=True)).holder == "c"


@every_kind
def test_a_lock_released_without_waiters_is_free(records: LeaseRecords, name: str) -> None:
    held = records.try_acquire(name, claim("a"))
    records.release(name, held, heartbeat_id="a.end")
    assert records.try_acquire(name, claim("b")).holder == "b"


@every_kind
def test_an_expired_lease_is_taken_over_with_the_next_fence(
    records: LeaseRecords, name: str
) -> None:
    first = records.try_acquire(name, claim("a"))
    second = records.try_acquire(name, claim("b", first, expired=True))
    assert second.holder == "b"
    assert second.fence == first.fence + 1


@every_kind
def test_a_lease_that_was_renewed_meanwhile_is_not_taken_over(
    records: LeaseRecords, name: str
) -> None:
    first = records.try_acquire(name, claim("a"))
    records.renew(name, first, heartbeat_id="a.1")
    assert records.try_acquire(name, claim("b", first, expired=True)).holder == "a"


@every_kind
def test_late_writes_of_a_previous_holder_change_nothing(records: LeaseRecords, name: str) -> None:
    first = records.try_acquire(name, claim("a"))
    second = records.try_acquire(name, claim("b", first, expired=True))
    late = records.renew(name, first, heartbeat_id="a.1")
    assert common_fields(late) == common_fields(second)
    records.release(name, first, heartbeat_id="a.end")
    assert records.renew(name, second, heartbeat_id="b.1").holder == "b"
    records.release(name, second, heartbeat_id="b.end")
    assert records.renew(name, second, heartbeat_id="b.2").holder == ""
    records.release(name, second, heartbeat_id="b.end")


@every_kind
def test_a_release_needs_only_the_token(records: LeaseRecords, name: str) -> None:
    """A request whose acquisition has an unknown outcome releases its lock like this."""
    held = records.try_acquire(name, claim("a"))
    records.release(name, LeaseRecord(holder="another"), heartbeat_id="x")
    assert records.try_acquire(name, claim("b")).holder == "a"
    records.release(name, LeaseRecord(holder=held.holder), heartbeat_id="a.end")
    assert records.try_acquire(name, claim("b")).holder == "b"


@pytest.mark.parametrize("spec", ["dynamodb", "s3"], indirect=True)
@pytest.mark.parametrize("expired", [False, True], ids=["free", "expired"])
def test_one_of_many_concurrent_claims_wins(spec: LockerSpec, name: str, expired: bool) -> None:
    records = open_records(spec)
    for round in range(5):
        lock = f"{name}{round}"
        seen = records.try_acquire(lock, claim("dead")) if expired else None
        found = claim_concurrently(records, lock, seen, expired=expired)
        assert len({record.holder for record in found if record.holder}) == 1, found


def claim_concurrently(
    records: LeaseRecords, lock: str, seen: LeaseRecord | None, *, expired: bool
) -> list[LeaseRecord]:
    """Return the records that eight threads find when they claim the lock at the same time."""
    barrier = threading.Barrier(8)
    found: list[LeaseRecord] = []

    def run(token: str) -> None:
        barrier.wait()
        with suppress(OutcomeUnknown):
            found.append(records.try_acquire(lock, claim(token, seen, expired=expired)))

    threads = [threading.Thread(target=run, args=(f"t{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


# -- the stored format ---------------------------------------------------------------------------


def held_with_waiter(records: LeaseRecords, name: str) -> None:
    """Write a record in which every field has a value."""
    held = records.try_acquire(name, claim("a"))
    records.request_release(name, held, waiter_id="waiter b", unchanged_for=1.25)


@pytest.mark.parametrize("spec", ["dynamodb"], indirect=True)
def test_dynamodb_items_have_these_attributes(
    spec: LockerSpec, name: str, dynamodb: DynamoDB
) -> None:
    held_with_waiter(open_records(spec), name)
    (item,) = dynamodb.items(spec.location)
    expires = item.pop("expires")
    assert 6 * 86400 < int(expires["N"]) - time.time() < 8 * 86400
    assert item == {
        "id": {"S": name},
        "holder": {"S": "a"},
        "fence": {"N": "1"},
        "beat": {"S": "a.0"},
        "wanted": {"S": "waiter b"},
        "stood": {"N": "1.25"},
    }


@pytest.mark.parametrize("spec", ["s3"], indirect=True)
def test_s3_objects_have_this_content_and_metadata(
    spec: LockerSpec, name: str, s3: SeaweedFS
) -> None:
    held_with_waiter(open_records(spec), name)
    stored = s3.client().get_object(Bucket=spec.bucket, Key=spec.location + name)
    text = '{"holder":"a","fence":1,"beat":"a.0","wanted":"waiter b","stood":1.25}'
    assert stored["Body"].read().decode() == text
    assert {key.lower(): value for key, value in stored["Metadata"].items()} == {"lock": text}


# -- permissions and rejected services -----------------------------------------------------------


def recorded_operations(client: Any) -> set[str]:
    """Return a set to which all later operations of the client are added."""
    operations: set[str] = set()

    def record(model: Any, **_: Any) -> None:
        operations.add(model.name)

    client.meta.events.register("before-call.*.*", record)
    return operations


def use_all_methods(records: LeaseRecords, name: str) -> None:
    """Make every kind of call that leases make."""
    records.check()
    held = records.try_acquire(name, claim("a"))
    records.try_acquire(name, claim("b", held))
    records.request_release(name, held, waiter_id="waiter b", unchanged_for=1.0)
    held = records.renew(name, held, heartbeat_id="a.1")
    records.release(name, held, heartbeat_id="a.end")
    held = records.try_acquire(name, claim("b", held))
    held = records.try_acquire(name, claim("c", held, expired=True))
    records.release(name, held, heartbeat_id="c.end")
    held = records.try_acquire(f"{name}-unused", claim("a"))
    records.release(f"{name}-unused", held, heartbeat_id="a.end", is_needed=False)


def allowed_actions(service: str) -> set[str]:
    """Return the actions of a service that `deploy/aws/iam-policy.json` allows."""
    policy = json.loads((ROOT / "deploy" / "aws" / "iam-policy.json").read_text(encoding="utf-8"))
    actions = {action for statement in policy["Statement"] for action in statement["Action"]}
    return {action.partition(":")[2] for action in actions if action.startswith(f"{service}:")}


@pytest.mark.parametrize("spec", ["dynamodb"], indirect=True)
def test_dynamodb_needs_exactly_the_action_of_its_policy(spec: LockerSpec, name: str) -> None:
    records = DynamoDBRecords(spec.location)
    operations = recorded_operations(records.client)
    use_all_methods(records, name)
    assert operations == allowed_actions("dynamodb") == {"DeleteItem", "UpdateItem"}


@every_kind
def test_a_record_that_is_not_needed_is_removed(records: LeaseRecords, name: str) -> None:
    held = records.try_acquire(name, claim("a"))
    records.request_release(name, held, waiter_id="waiter b", unchanged_for=0.0)
    records.release(name, replace(held, holder="x"), heartbeat_id="x.end", is_needed=False)
    assert records.try_acquire(name, claim("b", held)).holder == "a"
    records.release(name, held, heartbeat_id="a.end", is_needed=False)
    records.release(name, held, heartbeat_id="a.end", is_needed=False)
    again = records.try_acquire(name, claim("b"))
    assert (again.holder, again.fence) == ("b", 1)


@pytest.mark.parametrize("spec", ["dynamodb"], indirect=True)
def test_a_record_expires_if_the_policy_does_not_allow_to_delete_it(
    spec: LockerSpec, name: str, dynamodb: DynamoDB
) -> None:
    """Policies of earlier versions allow only UpdateItem."""
    records = DynamoDBRecords(spec.location)

    def refuse(**_: Any) -> None:
        response: Any = {"Error": {"Code": "AccessDeniedException", "Message": "refused"}}
        raise ClientError(response, "DeleteItem")

    records.client.meta.events.register("before-call.dynamodb.DeleteItem", refuse)
    held = records.try_acquire(name, claim("a"))
    records.release(name, held, heartbeat_id="a.end", is_needed=False)
    (item,) = dynamodb.items(spec.location)
    assert "holder" not in item
    assert int(item["expires"]["N"]) <= time.time()


@pytest.mark.parametrize("spec", ["s3"], indirect=True)
def test_s3_needs_no_action_beyond_those_of_the_store(spec: LockerSpec, name: str) -> None:
    """The credentials are those of least privilege, which the server enforces."""
    records = S3Records(spec.bucket, spec.location, endpoint=spec.endpoint)
    operations = recorded_operations(records.client)
    use_all_methods(records, name)
    assert operations == {"PutObject", "HeadObject", "DeleteObject"}
    assert allowed_actions("s3") >= {"PutObject", "GetObject", "DeleteObject"}


@pytest.mark.parametrize("spec", ["s3"], indirect=True)
def test_s3_may_answer_403_for_an_absent_object(spec: LockerSpec, name: str, s3: SeaweedFS) -> None:
    """AWS does that for credentials that must not list the bucket."""
    with FaultProxy(urlsplit(s3.endpoint).port or 0) as proxy:
        proxy.masks_absence = True
        records = S3Records(spec.bucket, spec.location, endpoint=proxy.endpoint)
        records.check()
        held = records.try_acquire(name, claim("a"))
        records.release(name, held, heartbeat_id="a.end")
        assert records.try_acquire(name, claim("b", held)).holder == "b"


@pytest.mark.parametrize("spec", ["s3"], indirect=True)
def test_s3_may_mark_etags_as_weak(spec: LockerSpec, name: str) -> None:
    """A proxy does that, and `If-Match` is never satisfied by a weak ETag."""
    records = S3Records(spec.bucket, spec.location, endpoint=spec.endpoint)
    with responding(records.client, weaken_etags):
        records.check()
        held = records.try_acquire(name, claim("a"))
        held = records.renew(name, held, heartbeat_id="a.2")
        records.release(name, held, heartbeat_id="a.end")
        assert records.try_acquire(name, claim("b")).fence == 1


@pytest.mark.parametrize("spec", ["s3"], indirect=True)
def test_a_free_lock_has_no_object(spec: LockerSpec, name: str, s3: SeaweedFS) -> None:
    use_all_methods(S3Records(spec.bucket, spec.location, endpoint=spec.endpoint), name)
    listed = s3.client().list_objects_v2(Bucket=spec.bucket, Prefix=spec.location)
    assert listed["KeyCount"] == 0


@pytest.mark.parametrize("spec", ["dynamodb"], indirect=True)
def test_a_missing_table_is_rejected_at_the_start(spec: LockerSpec) -> None:
    with pytest.raises(
        LockerUnsupported, match="there is no table 'nowhere'; `tus-wsgi create-lock"
    ):
        LeaseLocker(functools.partial(DynamoDBRecords, "nowhere"), timeout=1.0)


@pytest.mark.parametrize("spec", ["dynamodb"], indirect=True)
def test_an_error_response_of_which_a_part_arrives_is_of_unknown_outcome(
    spec: LockerSpec, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D-09: DynamoDB answers 400 to a condition that fails; only the document says so."""
    endpoint = urlsplit(spec.environ["AWS_ENDPOINT_URL_DYNAMODB"])
    with FaultProxy(endpoint.port or 0) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", proxy.endpoint)
        records = DynamoDBRecords(spec.location)
        held = records.try_acquire(name, claim("a"))
        proxy.set_plan(lambda _: Fault.CUT_WITHIN)
        with pytest.raises(OutcomeUnknown):
            records.try_acquire(name, claim("b"))
        # The worker starts nevertheless, and checks the table again at the first request.
        LeaseLocker(functools.partial(DynamoDBRecords, spec.location), timeout=1.0)
        proxy.set_plan(no_fault)
        assert records.renew(name, held, heartbeat_id="a.2").holder == "a"


@pytest.mark.parametrize("spec", ["s3"], indirect=True)
def test_an_answer_of_a_router_is_of_unknown_outcome(spec: LockerSpec, name: str) -> None:
    """D-07, D-09: a 404 without S3's document says nothing about a lock."""
    with FaultProxy(urlsplit(spec.endpoint or "").port or 0) as proxy:
        records = S3Records(spec.bucket, spec.location, endpoint=proxy.endpoint)
        proxy.set_plan(lambda _: Fault.HTML_404)
        with pytest.raises(OutcomeUnknown):
            records.try_acquire(name, claim("a"))
        proxy.set_plan(no_fault)
        assert records.try_acquire(name, claim("a")).holder == "a"


@pytest.mark.parametrize("fault", [Fault.EMPTY_200, Fault.LOST_BODY], ids=str)
@pytest.mark.parametrize("spec", ["s3"], indirect=True)
def test_a_200_without_an_etag_is_of_unknown_outcome(
    spec: LockerSpec, name: str, fault: Fault
) -> None:
    """D-09: without the ETag, the holder could not renew its lock."""
    with FaultProxy(urlsplit(spec.endpoint or "").port or 0) as proxy:
        records = S3Records(spec.bucket, spec.location, endpoint=proxy.endpoint)
        proxy.set_plan(lambda _: fault)
        with pytest.raises(OutcomeUnknown):
            records.try_acquire(name, claim("a"))
        proxy.set_plan(no_fault)
        assert records.try_acquire(name, claim("a")).holder == "a"


@pytest.mark.parametrize("spec", ["s3"], indirect=True)
def test_a_501_after_the_check_is_a_failure_of_the_service(spec: LockerSpec, name: str) -> None:
    """A fault on our side is a 503, not a 500: a proxy may answer 501 for a moment."""
    with FaultProxy(urlsplit(spec.endpoint or "").port or 0) as proxy:
        records = S3Records(spec.bucket, spec.location, endpoint=proxy.endpoint)
        records.check()
        held = records.try_acquire(name, claim("a"))
        proxy.set_plan(lambda _: Fault.NOT_IMPLEMENTED)
        with pytest.raises(LockerUnavailable):
            records.renew(name, held, heartbeat_id="a.2")
        with pytest.raises(LockerUnavailable):
            records.release(name, held, heartbeat_id="a.end")
        proxy.set_plan(no_fault)
        records.release(name, held, heartbeat_id="a.end")
        assert records.try_acquire(name, claim("b")).holder == "b"


@pytest.mark.parametrize("spec", ["s3"], indirect=True)
def test_a_412_to_a_write_of_the_check_does_not_keep_a_worker_from_starting(
    spec: LockerSpec,
) -> None:
    """D-09: no other process writes to the object of the check, so a proxy has answered."""
    with FaultProxy(urlsplit(spec.endpoint or "").port or 0) as proxy:
        proxy.set_plan(lambda _: Fault.CONDITION_FAILED)
        open_records = functools.partial(
            S3Records, spec.bucket, spec.location, endpoint=proxy.endpoint
        )
        LeaseLocker(open_records, timeout=1.0)


@pytest.mark.parametrize("spec", ["dynamodb"], indirect=True)
def test_a_missing_region_is_rejected_at_the_start(
    spec: LockerSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(LockerUnsupported, match="AWS_DEFAULT_REGION"):
        LeaseLocker(functools.partial(DynamoDBRecords, spec.location), timeout=1.0)


@pytest.mark.parametrize("spec", ["s3"], indirect=True)
def test_an_unusable_bucket_is_rejected_at_the_start(spec: LockerSpec) -> None:
    open_missing_bucket = functools.partial(S3Records, "nowhere", "locks/", endpoint=spec.endpoint)
    with pytest.raises(LockerUnsupported, match="the bucket 'nowhere' cannot be used"):
        LeaseLocker(open_missing_bucket, timeout=1.0)


@pytest.mark.parametrize("service", ["juicefs", "swift"], indirect=True)
def test_a_service_without_conditional_writes_is_rejected_at_the_start(
    service: S3Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in service.environ().items():
        if variable.startswith("AWS_"):
            monkeypatch.setenv(variable, value)
    prefix = f"locks-{secrets.token_hex(4)}/"
    open_s3_records = functools.partial(
        S3Records, service.bucket, prefix, endpoint=service.endpoint
    )
    with pytest.raises(LockerUnsupported, match="TUS_LOCKER: s3 cannot be used here"):
        LeaseLocker(open_s3_records, timeout=1.0)
    listed = service.client().list_objects_v2(Bucket=service.bucket, Prefix=prefix)
    assert listed["KeyCount"] == 0


# -- faults --------------------------------------------------------------------------------------


@contextmanager
def stub_service(status: int, body: bytes) -> Iterator[str]:
    """Run a service that sends the same response to every request, and yield its URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def respond(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_PUT = do_HEAD = do_DELETE = respond  # noqa: N815 - http.server's names

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def dynamodb_error(code: str) -> bytes:
    return json.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{code}"}).encode()


def s3_error(code: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()


DYNAMODB_FAULTS = [
    (400, "ProvisionedThroughputExceededException", OutcomeUnknown),
    (400, "ThrottlingException", OutcomeUnknown),
    (400, "RequestLimitExceeded", OutcomeUnknown),
    (500, "InternalServerError", OutcomeUnknown),
    (503, "SomethingElse", OutcomeUnknown),
    (400, "AccessDeniedException", LockerUnavailable),
    (400, "ValidationException", LockerUnavailable),
]


@pytest.mark.parametrize("spec", ["dynamodb"], indirect=True)
@pytest.mark.parametrize(("status", "code", "kind"), DYNAMODB_FAULTS)
def test_errors_of_dynamodb_are_classified(
    spec: LockerSpec, monkeypatch: pytest.MonkeyPatch, status: int, code: str, kind: type[Exception]
) -> None:
    with stub_service(status, dynamodb_error(code)) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", endpoint)
        records = DynamoDBRecords(spec.location)
        with pytest.raises(kind) as caught:
            records.try_acquire("a", claim("a"))
    assert isinstance(caught.value.__cause__, ClientError)


S3_FAULTS = [
    (409, "ConditionalRequestConflict", OutcomeUnknown),
    (409, "OperationAborted", OutcomeUnknown),
    (503, "SlowDown", OutcomeUnknown),
    (500, "InternalError", OutcomeUnknown),
    (403, "AccessDenied", LockerUnavailable),
    (404, "NoSuchBucket", LockerUnavailable),
]


@pytest.mark.parametrize("spec", ["s3"], indirect=True)
@pytest.mark.parametrize(("status", "code", "kind"), S3_FAULTS)
def test_errors_of_s3_are_classified(
    spec: LockerSpec, status: int, code: str, kind: type[Exception], name: str
) -> None:
    with stub_service(status, s3_error(code)) as endpoint:
        records = S3Records(spec.bucket, spec.location, endpoint=endpoint)
        for call in (
            lambda: records.try_acquire(name, claim("a")),
            lambda: records.release(
                name, LeaseRecord(holder="a", etag='"1"'), heartbeat_id="a.end"
            ),
        ):
            with pytest.raises(kind) as caught:
                call()
            assert isinstance(caught.value.__cause__, ClientError)


@pytest.mark.parametrize("spec", ["dynamodb", "s3"], indirect=True)
def test_a_worker_starts_although_the_service_is_unavailable(
    spec: LockerSpec, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The worker logs a warning, and requests fail until the service answers."""
    unavailable = "http://127.0.0.1:9"
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", unavailable)
    locker = replace(spec, endpoint=unavailable).locker(1.0)
    assert "the lock service did not answer the check" in caplog.text
    lock = locker.lock(UploadId("a"), on_release_request=lambda: None)
    with pytest.raises(LockerUnavailable):
        lock.__enter__()


@pytest.mark.parametrize("spec", ["s3"], indirect=True)
def test_an_object_that_is_not_a_lock_is_rejected(
    spec: LockerSpec, name: str, s3: SeaweedFS
) -> None:
    s3.client().put_object(Bucket=spec.bucket, Key=spec.location + name, Body=b"something else")
    records = S3Records(spec.bucket, spec.location, endpoint=spec.endpoint)
    with pytest.raises(LockerUnavailable):
        records.try_acquire(name, claim("a"))
