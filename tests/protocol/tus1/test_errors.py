"""Replies of tus 1.0.0 to errors."""

from __future__ import annotations

import inspect

import pytest

from tests.protocol.heads import ID, patch, plain, post, tus, tus1, value_of
from tus_wsgi.domain import errors
from tus_wsgi.domain.errors import TusError
from tus_wsgi.protocol.http import RequestHead

SECRET = "s3://internal-bucket/key"

SAMPLES: list[tuple[TusError, int]] = [
    (errors.TusError(SECRET), 503),
    (errors.RequestError("bad"), 400),
    (errors.MalformedField("Upload-Offset", "it is missing"), 400),
    (errors.UnsupportedVersion("0.2.2"), 412),
    (errors.UnsupportedMediaType("application/offset+octet-stream", None), 415),
    (errors.MethodNotAllowed("PUT", ("OPTIONS", "POST")), 405),
    (errors.OverrideRefused("GET", "DELETE", ("OPTIONS", "POST")), 405),
    (errors.CreationDisabled("POST", ("OPTIONS",)), 403),
    (errors.UploadNotFound(), 404),
    (errors.UploadGone("the upload was removed"), 410),
    (errors.LengthRequired(), 411),
    (errors.UploadIncomplete(), 409),
    (errors.OffsetMismatch(3, 7), 409),
    (errors.LengthMismatch("at least 5", 3), 400),
    (errors.UploadTooLarge(1000, None), 413),
    (errors.LengthExceeded(1000, 1001), 413),
    (errors.UploadComplete(1000, 1001), 413),
    (errors.ChecksumMismatch("sha1"), 460),
    (errors.UploadFinal(), 403),
    (errors.InvalidPartial("the partial upload x is not there"), 400),
    (errors.Denied(401, "log in, please"), 401),
    (errors.UploadRejected(422, "no virus, please"), 422),
    (errors.UploadLocked(retry_after=3), 423),
    (errors.LockerUnavailable("UpdateItem"), 503),
    (errors.BodyIncomplete(5), 503),
    (errors.ClientDisconnected(5), 503),
    (errors.BodyTimedOut(5), 503),
    (errors.BodyInterrupted(5), 423),
    (errors.BodyDraining(5), 503),
    (errors.BodyMalformed(5), 400),
    (errors.Unavailable(SECRET), 503),
    (errors.StoreUnavailable(SECRET), 503),
    (errors.LockLost(SECRET), 503),
    (errors.HookFailed("authorize"), 503),
    (errors.InvalidPlan(["key: expected another"]), 503),
    (errors.OnFinishFailed("its-id", 5), 503),
]

every_error = pytest.mark.parametrize(
    ("error", "status"), SAMPLES, ids=[type(error).__name__ for error, _ in SAMPLES]
)

HEADS = [
    *(tus("POST"), tus("HEAD", ID), tus("PATCH", ID), tus("DELETE", ID), plain("GET", ID)),
    *(plain("OPTIONS"), plain("\ud800", "../x"), plain("")),
]


def test_every_error_has_a_sample() -> None:
    known = {kind for _, kind in inspect.getmembers(errors, inspect.isclass)}
    assert {type(error) for error, _ in SAMPLES} == {k for k in known if issubclass(k, TusError)}


@every_error
def test_errors_have_their_statuses(error: TusError, status: int) -> None:
    assert tus1().render_error(patch(), error).status == status


@every_error
@pytest.mark.parametrize("head", HEADS, ids=lambda head: ascii(head.method))
def test_errors_have_a_valid_reply_without_internal_details(
    head: RequestHead, error: TusError, status: int
) -> None:
    """C-01."""
    reply = tus1().render_error(head, error)
    assert value_of(reply, "Tus-Resumable") == "1.0.0"
    assert value_of(reply, "X-Content-Type-Options") == "nosniff"
    assert value_of(reply, "Cache-Control") == "no-store"
    assert SECRET not in reply.body.decode() + repr(reply.fields)
    assert reply.content is None
    if head.method != "HEAD":
        assert value_of(reply, "Content-Length") == str(len(reply.body))
        assert value_of(reply, "Content-Type") == "text/plain; charset=utf-8"
        assert 10 < len(reply.body) <= 300 or status == 400
        assert reply.body.endswith(b"\n")


@every_error
def test_request_errors_are_4xx(error: TusError, status: int) -> None:
    """1.12."""
    if isinstance(error, errors.RequestError):
        assert 400 <= status < 500


@every_error
def test_server_faults_are_423_for_head(error: TusError, status: int) -> None:
    """After a 5xx to HEAD, clients start a new upload from the first byte."""
    reply = tus1().render_error(tus("HEAD", ID), error)
    assert reply.status == (423 if status >= 500 else status)
    assert (reply.body, value_of(reply, "Content-Length")) == (b"", None)


@every_error
def test_temporary_errors_have_retry_after(error: TusError, status: int) -> None:
    for head in (patch(), tus("HEAD", ID)):
        seconds = value_of(tus1().render_error(head, error), "Retry-After")
        assert (seconds is not None) == (status == 423 or status >= 500)
        assert seconds in (None, "3" if isinstance(error, errors.UploadLocked) else "1")


def test_a_full_store_is_507() -> None:
    full = errors.StoreUnavailable("UploadPart", full=True)
    reply = tus1().render_error(patch(), full)
    assert reply.status == 507
    assert value_of(reply, "Retry-After") == "1"
    assert tus1().render_error(tus("HEAD", ID), full).status == 423


@pytest.mark.parametrize("provided", ["0.2.2", None])
def test_an_unsupported_version_is_told_the_supported_version(provided: str | None) -> None:
    """C-02."""
    reply = tus1().render_error(post(), errors.UnsupportedVersion(provided))
    assert value_of(reply, "Tus-Version") == "1.0.0"
    assert b"1.0.0" in reply.body


def test_a_wrong_method_is_told_the_allowed_methods() -> None:
    """C-46."""
    error = errors.MethodNotAllowed("PUT", ("OPTIONS", "POST"))
    assert value_of(tus1().render_error(tus("PUT"), error), "Allow") == "OPTIONS, POST"


def test_a_wrong_offset_is_told_the_expected_offset() -> None:
    """C-33."""
    reply = tus1().render_error(patch(), errors.OffsetMismatch(3, 7))
    assert value_of(reply, "Upload-Offset") == "3"


def test_an_incomplete_body_is_told_the_offset() -> None:
    """C-41."""
    reply = tus1().render_error(patch(), errors.BodyTimedOut(5))
    assert value_of(reply, "Upload-Offset") == "5"


@pytest.mark.parametrize("error", [errors.UploadNotFound(), errors.UploadGone("removed")])
def test_a_missing_upload_has_no_offset(error: TusError) -> None:
    """C-24."""
    assert value_of(tus1().render_error(tus("HEAD", ID), error), "Upload-Offset") is None


def test_a_new_kind_of_error_has_the_status_of_its_parent() -> None:
    class UploadExpired(errors.UploadGone):
        """An upload that expired."""

    reply = tus1().render_error(patch(), UploadExpired("it has expired"))
    assert (reply.status, reply.body) == (410, b"it has expired\n")


def test_the_reply_names_the_malformed_field() -> None:
    with pytest.raises(errors.MalformedField) as caught:
        tus1().parse(patch({"Upload-Offset": "+5"}))
    reply = tus1().render_error(patch(), caught.value)
    expected = "Upload-Offset: expected a whole number from 0 to 9223372036854775807, got '+5'\n"
    assert reply.body.decode() == expected
