"""D-10: a concatenation removes its partial uploads without their locks, which harms no request.

A partial upload of a finished final upload is finished too, so no request writes to it any more. It
may be terminated at the same time, or a request that lost its lock long ago may wake up.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from tests.harness.bodies import ScriptedBody
from tests.harness.clients.service import ServiceClient
from tests.harness.stores import PART, Call, S3Sandbox
from tests.stores.s3.late_calls import ignoring_conditions
from tus_wsgi.domain.errors import LockLost, Unavailable, UploadGone, UploadNotFound
from tus_wsgi.domain.model import Partial, UploadId, UploadInfo

pytestmark = [pytest.mark.usefixtures("conditions"), pytest.mark.timeout(300)]


@pytest.fixture(params=["honoured", pytest.param("ignored", marks=pytest.mark.long)])
def conditions(request: pytest.FixtureRequest, sandbox: S3Sandbox) -> Iterator[None]:
    """Conditional writes, and a service that ignores the conditions."""
    if request.param == "honoured":
        yield
    else:
        with ignoring_conditions(sandbox.client):
            yield


def each_moment(
    sandbox: S3Sandbox, action: Callable[[], object], meanwhile: Callable[[], object]
) -> Iterator[None]:
    """Run `action` once for each of its calls. Each time, `meanwhile` runs before another call."""
    for number in itertools.count():
        if not run_with_interruption(sandbox, action, meanwhile, number):
            return
        yield


def run_with_interruption(
    sandbox: S3Sandbox, action: Callable[[], object], meanwhile: Callable[[], object], number: int
) -> bool:
    """Run `action`, and `meanwhile` before the call with this number (from 0) of `action`.

    Return False if `action` made fewer calls.
    """
    call_numbers = itertools.count()
    was_interrupted = False

    def interrupt(_: Call) -> None:
        nonlocal was_interrupted
        if next(call_numbers) == number:
            was_interrupted = True
            sandbox.calls.before = None
            meanwhile()

    sandbox.calls.before = interrupt
    action()
    sandbox.calls.before = None
    return was_interrupted


def assert_only_the_final_upload_is_left(
    sandbox: S3Sandbox, uploads: ServiceClient, final: UploadId, content: bytes
) -> None:
    assert uploads.content(final) == content
    sandbox.sweep_tombstones()
    assert sandbox.list_keys() == sorted([final, f"{final}.info"])
    assert sandbox.list_multiparts() == []
    uploads.terminate(final)
    sandbox.sweep_tombstones()
    assert sandbox.list_keys() == []


@pytest.mark.parametrize(
    "has_hook", [False, pytest.param(True, marks=pytest.mark.long)], ids=["no hook", "a hook"]
)
@pytest.mark.parametrize("is_first", [False, True], ids=["before it", "after it"])
def test_a_client_may_delete_a_partial_upload_while_it_is_removed(
    sandbox: S3Sandbox, *, is_first: bool, has_hook: bool
) -> None:
    """Each runs at each moment of the other; the DELETE ends with 204, 404 or a 5xx to retry."""
    on_terminate = (lambda _: None) if has_hook else None
    uploads = ServiceClient(sandbox.store(), on_terminate=on_terminate)
    current: list[UploadId] = []

    def terminate() -> None:
        for _ in range(2):
            with suppress(Unavailable, UploadGone, UploadNotFound):
                uploads.terminate(current[0])

    def discard() -> None:
        sandbox.store().discard(current)

    actions = (terminate, discard) if is_first else (discard, terminate)

    def begin() -> UploadId:
        current[:] = [uploads.create_partial(b"abc")]
        return uploads.concatenate(*current).id

    final = begin()
    for _ in each_moment(sandbox, *actions):
        with pytest.raises((UploadNotFound, UploadGone)):
            uploads.inspect(current[0])
        assert_only_the_final_upload_is_left(sandbox, uploads, final, b"abc")
        final = begin()


@pytest.mark.parametrize(
    "length", [6, pytest.param(PART + 10, marks=pytest.mark.long)], ids=["one part", "two parts"]
)
def test_a_request_that_wakes_up_after_the_removal_leaves_nothing(
    sandbox: S3Sandbox, length: int
) -> None:
    """The request sent the last bytes, and stopped before a call; another one sent them again.

    If conditions are ignored, its record may come back; the next sweep removes it (D-09).
    """
    uploads = ServiceClient(sandbox.store())
    content = bytes(length)
    is_lost: list[bool] = []
    finals: list[UploadId] = []
    current: list[UploadId] = []

    def begin() -> None:
        is_lost.clear()
        current[:] = [UploadId(secrets.token_urlsafe(16))]
        info = UploadInfo(current[0], length, concat=Partial())
        upload = sandbox.store().create(info, record_now=True)
        upload.append(ScriptedBody(content[:3]), lambda: None)

    def assert_held() -> None:
        if is_lost:
            raise LockLost("another request has the lock")

    def send_rest() -> None:
        with suppress(Unavailable, UploadGone, UploadNotFound):
            upload = sandbox.store().open(current[0])
            upload.load_offset(assert_held)
            upload.append(ScriptedBody(content[upload.info.offset :]), assert_held)
            upload.assemble(assert_held)
            upload.finish(assert_held, may_defer=False)

    def finish_and_discard() -> None:
        send_rest()
        is_lost.append(True)
        finals.append(uploads.concatenate(*current).id)
        sandbox.store().discard(current)

    begin()
    for _ in each_moment(sandbox, send_rest, finish_and_discard):
        sandbox.sweep_tombstones()
        with pytest.raises((UploadNotFound, UploadGone)):
            uploads.inspect(current[0])
        assert_only_the_final_upload_is_left(sandbox, uploads, finals.pop(), content)
        begin()


def test_an_upload_that_is_not_partial_is_not_removed(sandbox: S3Sandbox) -> None:
    """D-12: the record of the final upload only names ids."""
    uploads = ServiceClient(sandbox.store())
    other, partial = uploads.create(3, b"abc"), uploads.create_partial(b"def")
    sandbox.store().discard([other, partial, UploadId("unknown")])
    assert uploads.content(other) == b"abc"
    with pytest.raises(UploadNotFound):
        sandbox.store().open(partial)
