"""D-11: a write of a tail that S3 carries out late never makes the offset smaller.

Also on a service that ignores conditional writes, which these tests imitate by sending none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse

from tests.harness.bodies import ScriptedBody
from tests.harness.late_tails import LateTails
from tests.harness.stores import PART, S3Sandbox
from tests.stores.s3.test_unknown_outcome import held, response
from tests.stores.s3.upload_client import UploadClient
from tus_wsgi.domain.errors import LockLost, StoreUnavailable, Unavailable
from tus_wsgi.domain.model import UploadId, UploadInfo
from tus_wsgi.stores.s3.conditions import RETEST_INTERVAL, Conditions

FILE = bytes(range(256)) * 400
LENGTH = 90_000


@pytest.fixture(autouse=True)
def _no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let boto3 retry at once."""
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda _seconds: None))


@contextmanager
def handling(sandbox: S3Sandbox, event: str, handler: Callable[..., Any]) -> Iterator[None]:
    events: Any = sandbox.client.meta.events  # its stubs do not know handlers that answer
    events.register(event, handler)
    try:
        yield
    finally:
        events.unregister(event, handler)


@pytest.fixture
def ignoring(sandbox: S3Sandbox) -> Iterator[S3Sandbox]:
    """A sandbox on a service that ignores conditional writes, as JuiceFS does."""

    def strip(params: dict[str, Any], **_: Any) -> None:
        params.pop("IfMatch", None)
        params.pop("IfNoneMatch", None)

    with handling(sandbox, "provide-client-params.s3.PutObject", strip):
        yield sandbox


@pytest.fixture
def refusing(sandbox: S3Sandbox) -> Iterator[S3Sandbox]:
    """A sandbox on a service that answers 501 to `If-Match`, as Swift does."""

    def refuse(request: AWSPreparedRequest, **_: Any) -> AWSResponse | None:
        has_condition = request.method == "PUT" and "If-Match" in request.headers
        return response(request, 501, "NotImplemented") if has_condition else None

    with handling(sandbox, "before-send.s3", refuse):
        yield sandbox


def new_client(sandbox: S3Sandbox) -> UploadClient:
    """Return a client of a new process, which has not tested the service yet."""
    return UploadClient(sandbox, store=sandbox.store(has_tested=False))


def append(client: UploadClient, id: UploadId, start: int, stop: int) -> None:
    assert client.append(id, FILE[start:stop], offset=start).offset == stop


def assert_tail_counts(sandbox: S3Sandbox, id: UploadId, offset: int) -> None:
    """Check the offset in a new process, and that the file can be finished from there."""
    client = new_client(sandbox)
    assert client.inspect(id).offset == offset
    client.append(id, FILE[offset:LENGTH], offset=offset)
    assert client.inspect(id).is_finished
    assert sandbox.data(id) == FILE[:LENGTH]
    assert [key for key in sandbox.list_keys() if key.startswith(f"{id}.part")] == []


@pytest.mark.parametrize("service", ["ignoring", "refusing"])
@pytest.mark.parametrize("is_new_process", [False, True])
@pytest.mark.parametrize("attempts", [1, 2, 3])
def test_a_late_tail_does_not_make_the_offset_smaller(
    request: pytest.FixtureRequest, service: str, attempts: int, *, is_new_process: bool
) -> None:
    """The service ignores conditional writes. Each attempt of boto3 may be late."""
    sandbox: S3Sandbox = request.getfixturevalue(service)
    client = new_client(sandbox)
    id = client.create(LENGTH).id
    append(client, id, 0, 10_000)
    late = LateTails(attempts)
    with late.delayed(sandbox.client), suppress(Unavailable):
        append(client, id, 10_000, 20_000)
    if is_new_process:
        client = new_client(sandbox)
    offset = client.inspect(id).offset
    append(client, id, offset, 60_000)
    late.arrive()
    assert_tail_counts(sandbox, id, 60_000)


def test_two_late_tails_do_not_make_the_offset_smaller(ignoring: S3Sandbox) -> None:
    """Two requests in a row have unknown outcomes, in different processes."""
    client = new_client(ignoring)
    id = client.create(LENGTH).id
    append(client, id, 0, 10_000)
    delayed = []
    for stop in (20_000, 30_000):
        client = new_client(ignoring)
        late = LateTails(3)
        with late.delayed(ignoring.client), pytest.raises(StoreUnavailable):
            append(client, id, 10_000, stop)
        delayed.append(late)
    append(new_client(ignoring), id, 10_000, 60_000)
    for late in delayed:
        late.arrive()
    assert_tail_counts(ignoring, id, 60_000)


def test_a_holder_that_lost_its_lock_does_not_make_the_offset_smaller(ignoring: S3Sandbox) -> None:
    """The holder was paused in the middle of its write, and wakes after its successor."""
    first = ignoring.store(has_tested=False)
    upload = first.create(UploadInfo(UploadId("a"), LENGTH), record_now=True)
    upload.append(ScriptedBody(FILE[:10_000]), held)
    append(new_client(ignoring), UploadId("a"), 10_000, 60_000)
    upload.append(ScriptedBody(FILE[10_000:20_000]), held)
    assert_tail_counts(ignoring, UploadId("a"), 60_000)


def test_a_holder_without_its_lock_does_not_replace_numbered_tails(ignoring: S3Sandbox) -> None:
    """The holder was paused before its first tail, and its successor has numbered the tails."""
    id = UploadId("a")
    upload = ignoring.store(has_tested=False).create(UploadInfo(id, LENGTH), record_now=True)
    append(new_client(ignoring), id, 0, 60_000)
    with pytest.raises(LockLost):
        upload.append(ScriptedBody(FILE[:20_000]), held)
    assert_tail_counts(ignoring, id, 60_000)


def test_segments_are_part_of_a_numbered_tail(sandbox: S3Sandbox) -> None:
    """D-04: the service honoured conditions when the first tails were written."""
    data = FILE * 110
    client = new_client(sandbox)
    id = client.create(len(data)).id
    for start in (0, 300_000):
        client.append(id, data[start : start + 300_000], offset=start)

    def strip(params: dict[str, Any], **_: Any) -> None:
        params.pop("IfMatch", None)

    with handling(sandbox, "provide-client-params.s3.PutObject", strip):
        new_client(sandbox).append(id, data[600_000:600_009], offset=600_000)
        client = new_client(sandbox)
        assert client.inspect(id).offset == 600_009
        client.append(id, data[600_009:], offset=600_009)
    assert sandbox.data(id) == data
    assert sandbox.list_keys() == [id, f"{id}.info"]


def test_the_bytes_in_a_part_need_no_tail_any_more(ignoring: S3Sandbox) -> None:
    """D-04: the tails of a full part are deleted, and a late one does not count."""
    client = new_client(ignoring)
    data = FILE * 110
    id = client.create(len(data)).id
    client.append(id, data[:1000])
    late = LateTails(3)
    with late.delayed(ignoring.client), pytest.raises(StoreUnavailable):
        client.append(id, data[1000:2000], offset=1000)
    client.append(id, data[1000 : PART + 5], offset=1000)
    assert [key for key in ignoring.list_keys() if ".part.0." in key] == []
    late.arrive()
    client = new_client(ignoring)
    assert client.inspect(id).offset == PART + 5
    client.append(id, data[PART + 5 :], offset=PART + 5)
    assert ignoring.data(id) == data


def test_the_next_request_deletes_the_tails_of_the_last_part(ignoring: S3Sandbox) -> None:
    """A request stored the last part, and then failed to delete a tail."""
    client = new_client(ignoring)
    data = FILE * 110
    id = client.create(len(data)).id
    client.append(id, data[: 2 * PART + 5])
    with (
        ignoring.calls.failing(StoreUnavailable("DeleteObject"), "DeleteObject"),
        pytest.raises(StoreUnavailable),
    ):
        client.append(id, data[2 * PART + 5 :], offset=2 * PART + 5)
    assert new_client(ignoring).inspect(id).is_finished
    assert ignoring.list_keys() == [id, f"{id}.info"]


def test_a_process_that_knows_the_service_records_it_at_the_creation(ignoring: S3Sandbox) -> None:
    client = new_client(ignoring)
    append(client, client.create(LENGTH).id, 0, 10)
    ignoring.calls.clear()
    id = client.create(LENGTH).id
    append(client, id, 0, 10)
    append(client, id, 10, 20)
    # The marker, and two tails.
    assert ignoring.calls.begun == ["PutObject info", "PutObject data", *["PutObject data"] * 2]
    assert_tail_counts(ignoring, id, 20)


def test_the_test_of_the_service_takes_one_call_for_each_process(sandbox: S3Sandbox) -> None:
    client = new_client(sandbox)
    ids = [client.create(LENGTH).id for _ in range(2)]
    sandbox.calls.clear()
    append(client, ids[0], 0, 10)
    assert sandbox.calls.begun == ["PutObject info", "PutObject tail"]
    sandbox.calls.clear()
    append(client, ids[0], 10, 20)
    append(client, ids[1], 0, 10)
    assert sandbox.calls.begun == ["PutObject tail"] * 2
    assert_tail_counts(sandbox, ids[1], 10)


def test_a_501_to_one_write_does_not_end_the_protection_of_others(sandbox: S3Sandbox) -> None:
    """The service honours conditions, but the write of another upload got a 501 once."""
    client = new_client(sandbox)
    id, other = client.create(LENGTH).id, client.create(LENGTH).id
    append(client, id, 0, 10_000)
    is_first = True

    def refuse_once(request: AWSPreparedRequest, **_: Any) -> AWSResponse | None:
        nonlocal is_first
        if not is_first or request.method != "PUT" or ".part" not in request.url:
            return None
        is_first = False
        return response(request, 501, "NotImplemented")

    with handling(sandbox, "before-send.s3", refuse_once), pytest.raises(StoreUnavailable):
        append(client, other, 0, 10)
    late = LateTails(3)
    with late.delayed(sandbox.client), pytest.raises(StoreUnavailable):
        append(client, id, 10_000, 20_000)
    append(client, id, client.inspect(id).offset, 60_000)
    late.arrive()
    assert_tail_counts(sandbox, id, 60_000)


def test_a_terminated_upload_leaves_no_numbered_tail(ignoring: S3Sandbox) -> None:
    client = new_client(ignoring)
    id = client.create(LENGTH).id
    append(client, id, 0, 10)
    append(new_client(ignoring), id, 10, 20)
    client.terminate(id)
    assert ignoring.list_keys() == [f"{id}.info", f"{id}.part"]
    ignoring.sweep_tombstones()
    assert ignoring.list_keys() == []


def test_a_service_that_ignored_conditions_is_tested_again() -> None:
    time = 0.0
    conditions = Conditions(lambda: time)
    assert conditions.is_test_due
    conditions.note_test(honoured=False)
    assert conditions.are_ignored
    assert not conditions.is_test_due
    time += RETEST_INTERVAL
    assert conditions.is_test_due
    conditions.note_test(honoured=True)
    time += RETEST_INTERVAL
    assert not conditions.is_test_due
    assert not conditions.are_ignored
