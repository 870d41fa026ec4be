"""What leases need of a service: the same of a model in memory, of DynamoDB, and of S3."""

from __future__ import annotations

import functools
import http.server
import json
import secrets
import threading
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
from tests.harness.proxies.faults import FaultProxy
from tests.harness.records import MemoryRecords
from tests.harness.servers.s3_service import S3Service
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


def opened(spec: LockerSpec) -> LeaseRecords:
    if spec.kind == "memory":
        return MemoryRecords()
    if spec.kind == "dynamodb":
        return DynamoDBRecords(spec.location)
    return S3Records(spec.bucket, spec.location, endpoint=spec.endpoint)


@pytest.fixture
def records(spec: LockerSpec) -> LeaseRecords:
    return opened(spec)


@pytest.fixture
def name() -> str:
    return secrets.token_hex(8)


def claim(
    token: str, seen: LeaseRecord | None = None, *, waiter_id: str = "", expired: bool = False
) -> Claim:
    return Claim(token, waiter_id or f"seat of {token}", f"{token}.0", seen, expired)


def facts(record: LeaseRecord) -> tuple[str, str, str, float]:
    """All that does not depend on the service."""
    return record.holder, record.heartbeat_id, record.next_waiter, record.unchanged_for


every_kind = pytest.mark.parametrize("spec", KINDS, indirect=True)


@every_kind
def test_a_free_lock_is_taken_with_the_first_call(records: LeaseRecords, name: str) -> None:
    assert facts(records.try_acquire(name, claim("a"))) == ("a", "a.0", "", 0.0)


@every_kind
def test_a_held_lock_is_not_taken_but_seen(records: LeaseRecords, name: str) -> None:
    first = records.try_acquire(name, claim("a"))
    for seen in (None, first):
        assert facts(records.try_acquire(name, claim("b", seen))) == facts(first)


@every_kind
def test_a_repeated_take_finds_that_it_was_done(records: LeaseRecords, name: str) -> None:
    first = records.try_acquire(name, claim("a"))
    again = records.try_acquire(name, claim("a"))
    assert (again.holder, again.fence) == ("a", first.fence)


@every_kind
def test_a_beat_replaces_the_one_before(records: LeaseRecords, name: str) -> None:
    held = records.try_acquire(name, claim("a"))
    for number in range(3):
        held = records.renew(name, held, heartbeat_id=f"a.{number}")
        assert facts(held) == ("a", f"a.{number}", "", 0.0)


@every_kind
def test_a_beat_works_on_what_was_true_some_time_ago(records: LeaseRecords, name: str) -> None:
    """The answer to the beat before may have been lost."""
    held = records.try_acquire(name, claim("a"))
    records.renew(name, held, heartbeat_id="a.1")
    assert records.renew(name, held, heartbeat_id="a.2").heartbeat_id == "a.2"


@every_kind
def test_who_is_next_is_seen_with_the_next_beat(records: LeaseRecords, name: str) -> None:
    held = records.try_acquire(name, claim("a"))
    asked = records.request_release(name, held, waiter_id="b", unchanged_for=1.25)
    assert facts(asked) == ("a", "a.0", "b", 1.25)
    held = records.renew(name, held, heartbeat_id="a.1")
    assert facts(held) == ("a", "a.1", "b", 0.0)
    held = records.renew(name, held, heartbeat_id="a.2")
    assert held.next_waiter == "b"


@every_kind
def test_nobody_asks_for_what_has_changed(records: LeaseRecords, name: str) -> None:
    first = records.try_acquire(name, claim("a"))
    second = records.renew(name, first, heartbeat_id="a.1")
    assert facts(records.request_release(name, first, waiter_id="b", unchanged_for=9.0)) == facts(
        second
    )


@every_kind
def test_a_released_lock_is_for_who_had_asked(records: LeaseRecords, name: str) -> None:
    held = records.try_acquire(name, claim("a"))
    records.request_release(name, held, waiter_id="seat of b", unchanged_for=0.0)
    records.release(name, held, heartbeat_id="a.end")
    kept = records.try_acquire(name, claim("c"))
    assert facts(kept) == ("", "a.end", "seat of b", 0.0)
    assert records.try_acquire(name, claim("c", kept)).holder == ""
    assert facts(records.try_acquire(name, claim("b", kept))) == ("b", "b.0", "", 0.0)


@every_kind
def test_a_reserved_lock_is_anybodys_when_nobody_comes(records: LeaseRecords, name: str) -> None:
    held = records.try_acquire(name, claim("a"))
    records.request_release(name, held, waiter_id="b", unchanged_for=0.0)
    records.release(name, held, heartbeat_id="a.end")
    kept = records.try_acquire(name, claim("c"))
    assert records.try_acquire(name, claim("c", kept, expired=True)).holder == "c"


@every_kind
def test_a_lock_that_nobody_wants_is_free_for_all(records: LeaseRecords, name: str) -> None:
    held = records.try_acquire(name, claim("a"))
    records.release(name, held, heartbeat_id="a.end")
    assert records.try_acquire(name, claim("b")).holder == "b"


@every_kind
def test_a_silent_holder_is_replaced_and_the_fence_rises(records: LeaseRecords, name: str) -> None:
    first = records.try_acquire(name, claim("a"))
    second = records.try_acquire(name, claim("b", first, expired=True))
    assert second.holder == "b"
    assert second.fence == first.fence + 1


@every_kind
def test_a_holder_that_spoke_meanwhile_is_not_replaced(records: LeaseRecords, name: str) -> None:
    first = records.try_acquire(name, claim("a"))
    records.renew(name, first, heartbeat_id="a.1")
    assert records.try_acquire(name, claim("b", first, expired=True)).holder == "a"


@every_kind
def test_what_a_former_holder_does_changes_nothing(records: LeaseRecords, name: str) -> None:
    first = records.try_acquire(name, claim("a"))
    second = records.try_acquire(name, claim("b", first, expired=True))
    assert facts(records.renew(name, first, heartbeat_id="a.1")) == facts(second)
    records.release(name, first, heartbeat_id="a.end")
    assert records.renew(name, second, heartbeat_id="b.1").holder == "b"
    records.release(name, second, heartbeat_id="b.end")
    assert records.renew(name, second, heartbeat_id="b.2").holder == ""
    records.release(name, second, heartbeat_id="b.end")


@every_kind
def test_what_may_be_ours_is_released_by_its_token_alone(records: LeaseRecords, name: str) -> None:
    held = records.try_acquire(name, claim("a"))
    records.release(name, LeaseRecord(holder="another"), heartbeat_id="x")
    assert records.try_acquire(name, claim("b")).holder == "a"
    records.release(name, LeaseRecord(holder=held.holder), heartbeat_id="a.end")
    assert records.try_acquire(name, claim("b")).holder == "b"


@pytest.mark.parametrize("spec", ["dynamodb", "s3"], indirect=True)
@pytest.mark.parametrize("silent", [False, True], ids=["free", "silent"])
def test_of_many_at_once_one_wins(spec: LockerSpec, name: str, silent: bool) -> None:
    records = opened(spec)
    for round in range(5):
        lock = f"{name}{round}"
        seen = records.try_acquire(lock, claim("silent")) if silent else None
        found = race(records, lock, seen, expired=silent)
        assert len({one.holder for one in found if one.holder}) == 1, found


def race(
    records: LeaseRecords, lock: str, seen: LeaseRecord | None, *, expired: bool
) -> list[LeaseRecord]:
    """What eight threads find who want the lock at the same moment."""
    start = threading.Barrier(8)
    found: list[LeaseRecord] = []

    def run(token: str) -> None:
        start.wait()
        with suppress(OutcomeUnknown):
            found.append(records.try_acquire(lock, claim(token, seen, expired=expired)))

    threads = [threading.Thread(target=run, args=(f"t{one}",)) for one in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


# -- what services are refused, and what they are asked for --------------------------------------


def calls_of(client: Any) -> set[str]:
    """The operations that a client uses from now on."""
    seen: set[str] = set()

    def note(model: Any, **_: Any) -> None:
        seen.add(model.name)

    client.meta.events.register("before-call.*.*", note)
    return seen


def use(records: LeaseRecords, name: str) -> None:
    """Everything that leases ever do."""
    records.check()
    held = records.try_acquire(name, claim("a"))
    records.try_acquire(name, claim("b", held))
    records.request_release(name, held, waiter_id="seat of b", unchanged_for=1.0)
    held = records.renew(name, held, heartbeat_id="a.1")
    records.release(name, held, heartbeat_id="a.end")
    held = records.try_acquire(name, claim("b", held))
    held = records.try_acquire(name, claim("c", held, expired=True))
    records.release(name, held, heartbeat_id="c.end")


def allowed(service: str) -> set[str]:
    """The actions that `deploy/iam-policy.json` allows."""
    policy = json.loads((ROOT / "deploy" / "iam-policy.json").read_text(encoding="utf-8"))
    actions = {action for one in policy["Statement"] for action in one["Action"]}
    return {action.partition(":")[2] for action in actions if action.startswith(f"{service}:")}


@pytest.mark.parametrize("spec", ["dynamodb"], indirect=True)
def test_dynamodb_is_asked_for_one_operation(spec: LockerSpec, name: str) -> None:
    records = DynamoDBRecords(spec.location)
    seen = calls_of(records.client)
    use(records, name)
    assert seen == allowed("dynamodb") == {"UpdateItem"}


@pytest.mark.parametrize("spec", ["s3"], indirect=True)
def test_s3_is_asked_for_no_permission_that_the_store_has_not(spec: LockerSpec, name: str) -> None:
    """The identity is that of the least privilege, and the server keeps to it."""
    records = S3Records(spec.bucket, spec.location, endpoint=spec.endpoint)
    seen = calls_of(records.client)
    use(records, name)
    assert seen == {"PutObject", "HeadObject", "DeleteObject"}
    assert allowed("s3") >= {"PutObject", "GetObject", "DeleteObject"}


@pytest.mark.parametrize("spec", ["s3"], indirect=True)
def test_s3_may_hide_absence_behind_a_403(spec: LockerSpec, name: str, s3: SeaweedFS) -> None:
    """AWS does, to whoever may not list the bucket."""
    with FaultProxy(urlsplit(s3.endpoint).port or 0) as proxy:
        proxy.hides_absence = True
        records = S3Records(spec.bucket, spec.location, endpoint=proxy.endpoint)
        records.check()
        held = records.try_acquire(name, claim("a"))
        records.release(name, held, heartbeat_id="a.end")
        assert records.try_acquire(name, claim("b", held)).holder == "b"


@pytest.mark.parametrize("spec", ["s3"], indirect=True)
def test_a_lock_that_nobody_holds_has_no_object(spec: LockerSpec, name: str, s3: SeaweedFS) -> None:
    use(S3Records(spec.bucket, spec.location, endpoint=spec.endpoint), name)
    listed = s3.client().list_objects_v2(Bucket=spec.bucket, Prefix=spec.location)
    assert listed["KeyCount"] == 0


@pytest.mark.parametrize("spec", ["dynamodb"], indirect=True)
def test_a_missing_table_is_refused_at_start(spec: LockerSpec) -> None:
    with pytest.raises(
        LockerUnsupported, match="there is no table 'nowhere'; `tus-wsgi create-lock"
    ):
        LeaseLocker(functools.partial(DynamoDBRecords, "nowhere"), timeout=1.0)


@pytest.mark.parametrize("spec", ["dynamodb"], indirect=True)
def test_a_missing_region_is_refused_at_start(
    spec: LockerSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(LockerUnsupported, match="AWS_DEFAULT_REGION"):
        LeaseLocker(functools.partial(DynamoDBRecords, spec.location), timeout=1.0)


@pytest.mark.parametrize("spec", ["s3"], indirect=True)
def test_a_bucket_that_cannot_be_used_is_refused_at_start(spec: LockerSpec) -> None:
    nowhere = functools.partial(S3Records, "nowhere", "locks/", endpoint=spec.endpoint)
    with pytest.raises(LockerUnsupported, match="the bucket 'nowhere' cannot be used"):
        LeaseLocker(nowhere, timeout=1.0)


@pytest.mark.parametrize("service", ["juicefs", "swift"], indirect=True)
def test_a_service_without_conditions_is_refused_at_start(
    service: S3Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in service.environ().items():
        if variable.startswith("AWS_"):
            monkeypatch.setenv(variable, value)
    prefix = f"locks-{secrets.token_hex(4)}/"
    open_records = functools.partial(S3Records, service.bucket, prefix, endpoint=service.endpoint)
    with pytest.raises(LockerUnsupported, match="TUS_LOCKER: s3 cannot be used here"):
        LeaseLocker(open_records, timeout=1.0)
    listed = service.client().list_objects_v2(Bucket=service.bucket, Prefix=prefix)
    assert listed["KeyCount"] == 0


# -- faults --------------------------------------------------------------------------------------


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """The address of a service that says the same to everybody."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_PUT = do_HEAD = do_DELETE = answer  # noqa: N815 - http.server's names

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
def test_what_may_pass_in_dynamodb_is_tried_again(
    spec: LockerSpec, monkeypatch: pytest.MonkeyPatch, status: int, code: str, kind: type[Exception]
) -> None:
    with answering(status, dynamodb_error(code)) as endpoint:
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
def test_what_may_pass_in_s3_is_tried_again(
    spec: LockerSpec, status: int, code: str, kind: type[Exception], name: str
) -> None:
    with answering(status, s3_error(code)) as endpoint:
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
def test_a_service_that_is_away_is_waited_for(
    spec: LockerSpec, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker starts without it, and says so; requests are told to try again."""
    nobody = "http://127.0.0.1:9"
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", nobody)
    locker = replace(spec, endpoint=nobody).locker(1.0)
    assert "the lock service did not answer the check" in caplog.text
    lock = locker.lock(UploadId("a"), on_release_request=lambda: None)
    with pytest.raises(LockerUnavailable):
        lock.__enter__()


@pytest.mark.parametrize("spec", ["s3"], indirect=True)
def test_what_is_no_lock_is_not_taken_for_one(spec: LockerSpec, name: str, s3: SeaweedFS) -> None:
    s3.client().put_object(Bucket=spec.bucket, Key=spec.location + name, Body=b"something else")
    records = S3Records(spec.bucket, spec.location, endpoint=spec.endpoint)
    with pytest.raises(LockerUnavailable):
        records.try_acquire(name, claim("a"))
