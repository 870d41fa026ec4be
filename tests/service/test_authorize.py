"""The order of authorization, the lock and the body."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.harness.bodies import ScriptedBody
from tests.service.service_fixtures import TIMEOUT, BackgroundRequest, Call, FailingServiceClient
from tus_wsgi.domain.commands import (
    Append,
    Command,
    Concatenate,
    Create,
    Discover,
    Discovered,
    Download,
    Inspect,
    Terminate,
)
from tus_wsgi.domain.errors import (
    ClientDisconnected,
    Denied,
    StoreUnavailable,
    TusError,
    UploadNotFound,
)
from tus_wsgi.domain.hooks import Access, Action, Request
from tus_wsgi.domain.model import Final, Metadata, UploadId
from tus_wsgi.service.authorize import Authorizer

DATA = b"0123456789"


def request_of(user: str) -> Request:
    return Request("PATCH", "/files/x", {"x-user": user}, "192.0.2.7", {})


ADA, EVE = request_of("ada"), request_of("eve")


def user_of(access: Access) -> str:
    return access.request.fields["x-user"]


def new_uploads(**options: Any) -> FailingServiceClient:
    given: dict[str, Any] = {"authorize": user_of, "lock_timeout": TIMEOUT, **options}
    return FailingServiceClient(has_hook=False, **given)


def create(uploads: FailingServiceClient) -> UploadId:
    command = Create(len(DATA), Metadata(), has_data=False)
    outcome = uploads.service.execute(command, ScriptedBody(), request=ADA)
    return outcome.info.id  # type: ignore[union-attr]


def test_the_hook_is_not_asked_about_further_partial_uploads_if_the_client_is_gone() -> None:
    """A request may name thousands of them, and each may cost a call of S3 and of the hook."""
    actions: list[Action] = []

    def authorize(access: Access) -> str:
        actions.append(access.action)
        return user_of(access)

    uploads = new_uploads(authorize=authorize)
    final = Final(tuple(create(uploads) for _ in range(5)))
    actions.clear()
    with pytest.raises(ClientDisconnected):
        uploads.service.execute(
            Concatenate(final, Metadata()),
            ScriptedBody(),
            request=ADA,
            client_is_gone=lambda: Action.JOIN in actions,
        )
    assert actions == [Action.CREATE, Action.JOIN]


COMMANDS: dict[str, Callable[[UploadId], Command]] = {
    "HEAD": Inspect,
    "PATCH": partial(Append, offset=0),
    "DELETE": Terminate,
    "GET": partial(Download, or_inspect=True),
}

every_command = pytest.mark.parametrize("method", COMMANDS)


@every_command
def test_a_stranger_does_not_interrupt_the_owner(method: str) -> None:
    """The lock is not requested for a client that has no access."""
    uploads = new_uploads()
    id = create(uploads)
    may_end = threading.Event()
    waiting = threading.Event()

    def on_read() -> None:
        waiting.set()
        assert may_end.wait(TIMEOUT)

    body = ScriptedBody(DATA, on_read=on_read)
    append = BackgroundRequest(lambda: uploads.service.execute(Append(id, 0), body, request=ADA))
    assert waiting.wait(TIMEOUT)
    with pytest.raises(UploadNotFound):
        uploads.service.execute(COMMANDS[method](id), ScriptedBody(DATA), request=EVE)
    may_end.set()
    assert append.wait() is None
    assert uploads.stored_bytes(id) == DATA


@every_command
@pytest.mark.parametrize("error", [Denied(401), ValueError("a bug")], ids=["denied", "raised"])
def test_a_refused_command_takes_no_lock_and_reads_no_body(method: str, error: Exception) -> None:
    errors: list[Exception] = []

    def authorize(access: Access) -> str:
        if errors:
            raise errors[0]
        return user_of(access)

    uploads = new_uploads(authorize=authorize)
    id = create(uploads)
    errors.append(error)
    uploads.store.calls.clear()
    body = ScriptedBody(DATA)
    locked = uploads.service._locker.lock(id, on_release_request=lambda: pytest.fail("asked"))
    with locked, pytest.raises(TusError):
        uploads.service.execute(COMMANDS[method](id), body, request=ADA)
    assert uploads.store.calls == []
    assert body.received == 0


def test_a_refused_creation_makes_no_call() -> None:
    def refuse(_access: Access) -> str:
        raise Denied

    uploads = new_uploads(authorize=refuse)
    body = ScriptedBody(DATA)
    with pytest.raises(Denied):
        uploads.service.execute(Create(len(DATA), Metadata(), has_data=True), body, request=ADA)
    assert uploads.store.calls == []
    assert (body.received, uploads.events) == (0, [])


@every_command
def test_an_owner_that_cannot_be_read_is_not_an_upload_without_owner(method: str) -> None:
    """D-07."""
    uploads = new_uploads()
    id = create(uploads)
    asked: list[Access] = []
    authorizer = Authorizer(asked.append, uploads.store, owner_only=True)
    uploads.store.fail(Call.OPEN)
    with pytest.raises(StoreUnavailable):
        authorizer.identify(COMMANDS[method](id), EVE)
    assert asked == []


def test_the_capabilities_need_no_authorization() -> None:
    uploads = new_uploads()
    assert isinstance(uploads.service.execute(Discover(), ScriptedBody()), Discovered)


def test_a_command_without_its_request_is_never_carried_out() -> None:
    uploads = new_uploads()
    id = create(uploads)
    with pytest.raises(AssertionError, match="request"):
        uploads.service.execute(Terminate(id), ScriptedBody())
    assert uploads.stored_ids() == [id]
