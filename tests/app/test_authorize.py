"""The application decides which client may do what, under both protocols."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
from werkzeug.test import create_environ, run_wsgi_app

from tests.app.conftest import NewHookedApp
from tests.app.hooked_app import DATA, TUS, HookedApp, Protocol, User, id_of, path_of
from tests.harness.stores import S3Sandbox
from tests.stores.s3.tusd_upload import TusdUpload
from tus_wsgi import Access, Denied, FinishedUpload, UploadFacts
from tus_wsgi.domain.errors import UploadNotFound
from tus_wsgi.domain.events import RequestFailed
from tus_wsgi.domain.interfaces import Store
from tus_wsgi.domain.model import Metadata, UploadId
from tus_wsgi.protocol.rufh.drafts import DRAFTS
from tus_wsgi.stores.memory import MemoryStore

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment


UNKNOWN = "/files/AAAAAAAAAAAAAAAAAAAAAA"


def encoded(text: str) -> str:
    return b64encode(text.encode()).decode()


def send_all(app: HookedApp, path: str, user: str) -> dict[str, int]:
    """Send each request for an upload that has four of its ten bytes; return the statuses."""
    return {
        "HEAD": app.head(path, user).status_code,
        "PATCH": app.patch(path, 4, DATA[4:6], user).status_code,
        "GET": app.get(path, user).status_code,
        "DELETE": app.delete(path, user).status_code,
    }


# -- what is asked ---------------------------------------------------------------------------------


def test_the_hook_is_asked_about_every_action(hooked_app_on_any_store: NewHookedApp) -> None:
    user = User()
    app = hooked_app_on_any_store(authorize=user)
    path = app.create("ada", DATA[:4])
    app.head(path, "ada")
    app.patch(path, 4, DATA[4:], "ada")
    assert app.get(path, "ada").data == DATA
    app.delete(path, "ada")
    assert user.actions == ["create", "inspect", "append", "download", "terminate"]
    assert [access.request.method for access in user.accesses] == [
        *("POST", "HEAD", "PATCH", "GET", "DELETE")
    ]
    assert user.accesses[0].upload is None
    for access in user.accesses[1:]:
        assert access.request.path == path
        assert access.upload is not None
        assert (access.upload.id, access.upload.owner) == (id_of(path), "ada")
        assert access.upload.length == len(DATA)
        assert access.upload.created is not None


def test_a_preflight_is_not_asked_about(hooked_app: NewHookedApp) -> None:
    user = User()
    app = hooked_app(authorize=user)
    assert app.request("OPTIONS", "/files", app.protocol.version).status_code == 204
    override = {"X-HTTP-Method-Override": "POST", **app.protocol.creation(10, b"")}
    assert app.request("OPTIONS", "/files", override).status_code == 405
    assert user.accesses == []


def test_every_draft_asks_about_its_progress_in_get() -> None:
    user = User()
    for draft in DRAFTS:
        fields = {"Upload-Draft-Interop-Version": str(draft.interop)}
        app = HookedApp(Protocol("ietf", fields), MemoryStore(), {"authorize": user})
        path = path_of(app.request("POST", "/files", {**TUS, "Upload-Length": "10"}, user="ada"))
        user.accesses.clear()
        assert app.get(path, "eve").status_code == 404
        assert user.actions == ["download"]


def test_the_hook_sees_the_method_that_takes_effect(hooked_app: NewHookedApp) -> None:
    user = User()
    app = hooked_app(authorize=user)
    path = app.create("ada", DATA[:4])
    fields = {**app.protocol.version, "X-HTTP-Method-Override": "DELETE"}
    assert app.request("POST", path, fields, user="eve").status_code == 404
    assert user.actions[-1] == "terminate"
    assert user.accesses[-1].request.method == "DELETE"
    assert app.offset(path, "ada") == 4


def test_the_metadata_of_both_protocols_has_the_same_form(hooked_app: NewHookedApp) -> None:
    """No application has to parse a header field."""
    user = User()
    app = hooked_app(authorize=user)
    sent = {"Content_Disposition": 'attachment; filename="evil.exe"'}
    if app.protocol.name == "tus":
        sent = {"Upload_Metadata": f"filename {encoded('evil.exe')}"}
    app.head(app.create("ada", DATA[:4], **sent), "ada")
    upload = user.accesses[-1].upload
    assert upload is not None
    assert upload.metadata.text("filename") == "evil.exe"


def test_an_upload_that_does_not_exist_is_asked_about_too(
    hooked_app_on_any_store: NewHookedApp,
) -> None:
    user = User()
    app = hooked_app_on_any_store(authorize=user)
    assert set(send_all(app, UNKNOWN, "ada").values()) == {404}
    assert user.actions == ["inspect", "append", "download", "terminate"]
    facts = UploadFacts(UploadId(id_of(UNKNOWN)), None, Metadata(), None, None)
    assert all(access.upload == facts for access in user.accesses)


def test_a_refused_client_does_not_learn_whether_an_upload_exists(
    hooked_app: NewHookedApp,
) -> None:
    path = hooked_app(authorize=User()).create("ada", DATA[:4])
    app = hooked_app(authorize=User(decide=refuse))
    for method in ("HEAD", "GET", "DELETE"):
        existing = app.request(method, path, app.protocol.version)
        unknown = app.request(method, UNKNOWN, app.protocol.version)
        assert existing.status_code == unknown.status_code == 401
        assert dict(existing.headers) == dict(unknown.headers)


def test_the_application_need_not_know_the_base_path(hooked_app: NewHookedApp) -> None:
    """An application must not repeat the routing of the middleware."""

    def refuse(_access: Access) -> str:
        raise Denied(401)

    app = hooked_app({"TUS_BASE_PATH": "/uploads"}, authorize=refuse)
    fields = app.protocol.creation(10, b"")
    assert app.request("POST", "/uploads", fields).status_code == 401
    assert app.request("POST", "/uploads/", fields).status_code == 401


# -- owners ----------------------------------------------------------------------------------------


def test_another_identity_finds_no_upload_and_changes_nothing(
    hooked_app_on_any_store: NewHookedApp,
) -> None:
    app = hooked_app_on_any_store(authorize=User())
    path = app.create("ada", DATA[:4])
    for stranger in ("eve", ""):
        assert set(send_all(app, path, stranger).values()) == {404}
    unknown = app.patch(UNKNOWN, 4, DATA[4:6], "eve")
    hidden = app.patch(path, 4, DATA[4:6], "eve")
    assert (hidden.data, dict(hidden.headers)) == (unknown.data, dict(unknown.headers))
    assert app.offset(path, "ada") == 4
    assert app.patch(path, 4, DATA[4:], "ada").status_code in (201, 204)
    assert app.get(path, "eve").status_code == 404
    assert app.get(path, "ada").data == DATA


def test_the_owner_is_known_to_a_process_that_has_not_created_the_upload(
    hooked_app_on_any_store: NewHookedApp,
) -> None:
    path = hooked_app_on_any_store(authorize=User()).create("ada", DATA[:4])
    other = hooked_app_on_any_store(authorize=User())
    assert other.head(path, "eve").status_code == 404
    assert other.offset(path, "ada") == 4
    assert other.patch(path, 4, DATA[4:], "ada").status_code in (201, 204)
    third = hooked_app_on_any_store(authorize=User())
    assert third.get(path, "eve").status_code == 404
    assert third.get(path, "ada").data == DATA


def test_the_hook_decides_alone_without_owner_only(hooked_app: NewHookedApp) -> None:
    user = User()
    app = hooked_app(authorize=user, owner_only=False)
    path = app.create("ada", DATA[:4])
    assert app.offset(path, "eve") == 4
    assert app.patch(path, 4, DATA[4:], "").status_code in (201, 204)
    facts = user.accesses[-1].upload
    assert facts is not None
    assert facts.owner == "ada"


def test_an_upload_without_owner_is_open_to_each_client_that_the_hook_lets_in(
    hooked_app_on_any_store: NewHookedApp,
) -> None:
    path = hooked_app_on_any_store().create("", DATA[:4])
    app = hooked_app_on_any_store(authorize=User())
    assert app.offset(path, "ada") == app.offset(path, "eve") == app.offset(path, "") == 4
    anonymous = app.create("", DATA[:4])
    assert app.offset(anonymous, "ada") == 4


def test_the_owner_is_passed_to_on_finish_and_is_no_metadata(hooked_app: NewHookedApp) -> None:
    """A client cannot forge the owner, whatever metadata it sends."""
    finished: list[FinishedUpload] = []
    app = hooked_app(authorize=User(), on_finish=finished.append)
    forged = f"User {encoded('admin')},owner {encoded('admin')}"
    app.create("ada", DATA, Upload_Metadata=forged)
    (upload,) = finished
    assert upload.owner == "ada"
    assert upload.metadata.text("User") == "admin"
    assert {key for key, _ in upload.metadata.pairs} <= {"User", "owner", "filetype"}


def test_the_owner_is_neither_in_the_objects_metadata_nor_in_a_response(
    sandbox: S3Sandbox, protocol: Protocol
) -> None:
    app = HookedApp(protocol, sandbox.store(), {"authorize": User()})
    created = app.post("owner-ada", DATA, Upload_Metadata=f"User {encoded('admin')}")
    path = path_of(created)
    key = sandbox.keys.data(UploadId(id_of(path)))
    sent = sandbox.admin.head_object(Bucket=sandbox.bucket, Key=key)
    assert sent["Metadata"].get("user") == "admin"
    for response in (created, app.head(path, "owner-ada"), app.get(path, "owner-ada")):
        assert "owner-ada" not in str(response.headers)
    assert "owner-ada" not in str(sent)


@pytest.mark.parametrize("metadata", ["x @", "a,a", "a%20b", "", "user ZXZl, user", "user,, a"])
def test_no_metadata_changes_the_owner(hooked_app: NewHookedApp, metadata: str) -> None:
    finished: list[FinishedUpload] = []
    app = hooked_app(authorize=User(), on_finish=finished.append)
    response = app.post("ada", DATA, Upload_Metadata=metadata)
    assert (response.status_code == 400) == (not finished)
    assert all(upload.owner == "ada" for upload in finished)


@pytest.mark.parametrize("identity", ["a" * 256, "\xe4" * 128, "\U0001f600", "a b\tc\n", "None"])
def test_an_identity_may_be_any_text(hooked_app: NewHookedApp, identity: str) -> None:
    current = [identity]
    app = hooked_app(authorize=lambda _access: current[0])
    path = app.create(data=DATA[:4])
    fresh = hooked_app(authorize=lambda _access: current[0])
    assert app.offset(path) == fresh.offset(path) == 4
    current[0] = identity[:-1] or "x"
    assert app.head(path).status_code == fresh.head(path).status_code == 404


# -- refusals and failures -------------------------------------------------------------------------


def refuse(_access: Access) -> None:
    challenge = {"WWW-Authenticate": "Bearer", "X-Reason": "expired"}
    raise Denied(401, "log in first", fields=challenge)


def test_a_refusal_reaches_the_client_and_changes_nothing(hooked_app: NewHookedApp) -> None:
    user = User()
    app = hooked_app(authorize=user)
    path = app.create("ada", DATA[:4])
    user.decide = refuse
    for response in (
        app.post("ada", DATA),
        app.head(path, "ada"),
        app.patch(path, 4, DATA[4:], "ada"),
        app.get(path, "ada"),
        app.delete(path, "ada"),
    ):
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"] == "Bearer"
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        ((name, version),) = app.protocol.version.items()
        assert response.headers[name] == version
        is_head = response.request.method == "HEAD"
        assert response.text == ("" if is_head else "log in first\n")
    assert app.events == [event for event in app.events if not isinstance(event, RequestFailed)]
    user.decide = lambda _access: None
    assert app.offset(path, "ada") == 4


def test_pages_of_other_origins_can_read_the_fields_of_a_refusal(
    hooked_app: NewHookedApp,
) -> None:
    settings = {
        "TUS_CORS_ALLOW_ORIGIN": "https://app.example",
        "TUS_CORS_EXPOSE_HEADERS": "X-Trace",
    }
    app = hooked_app(settings, authorize=User(decide=refuse))
    response = app.post("ada", Origin="https://app.example")
    exposed = response.headers["Access-Control-Expose-Headers"].split(", ")
    assert exposed[-3:] == ["X-Trace", "WWW-Authenticate", "X-Reason"]
    assert response.headers["Access-Control-Allow-Origin"] == "https://app.example"
    other = app.post("ada", Origin="https://evil.example")
    assert other.status_code == 401
    assert "Access-Control-Expose-Headers" not in other.headers


def test_a_refusal_may_bring_its_own_body(hooked_app: NewHookedApp) -> None:
    def refuse_in_json(_access: Access) -> str:
        raise Denied(429, '{"wait": 5}', fields={"content-type": "application/json"})

    response = hooked_app(authorize=refuse_in_json).post("ada", DATA)
    assert response.status_code == 429
    assert response.headers.getlist("Content-Type") == ["application/json"]
    assert response.json == {"wait": 5}


@pytest.mark.parametrize("error", [ValueError("s3cret"), KeyError("s3cret"), Exception("s3cret")])
def test_a_hook_that_raises_is_a_fault_of_the_server(
    hooked_app: NewHookedApp, error: Exception
) -> None:
    def fail(_access: Access) -> None:
        raise error

    user = User()
    app = hooked_app(authorize=user)
    path = app.create("ada", DATA[:4])
    user.decide = fail
    app.events.clear()
    head = app.head(path, "ada")
    assert (head.status_code, head.headers["Retry-After"]) == (423, "1")
    for response in (
        app.post("ada", DATA),
        app.patch(path, 4, DATA[4:], "ada"),
        app.get(path, "ada"),
        app.delete(path, "ada"),
    ):
        assert response.status_code == 503
        assert response.headers["Retry-After"] == "1"
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert b"s3cret" not in response.data
    failed = [event for event in app.events if isinstance(event, RequestFailed)]
    assert len(failed) == 5
    assert all(event.error.__cause__ is error for event in failed)
    user.decide = lambda _access: None
    assert app.offset(path, "ada") == 4


@pytest.mark.parametrize("identity", ["", 7, b"ada", True, "a" * 257, "\xe4" * 129, "\ud800"])
def test_an_invalid_identity_is_a_fault_of_the_server(
    hooked_app: NewHookedApp, identity: Any
) -> None:
    app = hooked_app(authorize=lambda _access: identity)
    assert app.post().status_code == 503
    path = hooked_app().create(data=DATA[:4])
    assert app.head(path).status_code == 423
    assert app.delete(path).status_code == 503
    assert hooked_app().offset(path) == 4


def test_a_refusal_that_cannot_be_sent_is_a_fault_of_the_server(hooked_app: NewHookedApp) -> None:
    def refuse_badly(_access: Access) -> str:
        raise Denied(fields={"X-A": "1\r\nX-B: 2"})

    response = hooked_app(authorize=refuse_badly).post()
    assert response.status_code == 503
    assert "X-B" not in response.headers


def test_an_error_of_this_library_in_a_hook_is_a_fault_of_the_server(
    hooked_app: NewHookedApp,
) -> None:
    """A hook may call this library itself. An error of that call says nothing about the request."""
    app = hooked_app()
    path = app.create(data=DATA[:4])

    def look_up(_access: Access) -> str:
        raise UploadNotFound

    assert hooked_app(authorize=look_up).delete(path).status_code == 503
    assert app.offset(path) == 4


# -- before anything happens -----------------------------------------------------------------------


class UnreadInput(BytesIO):
    """A body whose reads are counted."""

    reads = 0

    def read(self, *args: Any) -> bytes:
        self.reads += 1
        return super().read(*args)


def test_the_hook_is_asked_before_the_body_is_read_and_without_the_lock(
    hooked_app_on_any_store: NewHookedApp,
) -> None:
    """A hook that hangs holds neither the lock nor memory for the body."""
    body = UnreadInput(DATA[4:])
    seen: list[tuple[int, int]] = []

    def hang(_access: Access) -> None:
        user.decide = lambda _access: None
        seen.append((body.reads, app.offset(path, "ada")))

    user = User()
    app = hooked_app_on_any_store(authorize=user)
    path = app.create("ada", DATA[:4])
    user.decide = hang
    environ: WSGIEnvironment = create_environ(
        path,
        method="PATCH",
        headers={**app.protocol.append(4, is_last=True), "X-User": "ada"},
        input_stream=body,
        environ_overrides={"CONTENT_LENGTH": "6"},
    )
    _, status, _ = run_wsgi_app(app.middleware, environ)
    assert seen == [(0, 4)]
    assert status[:3] in ("201", "204")
    assert body.reads


def test_the_body_of_a_refused_request_is_not_stored(hooked_app: NewHookedApp) -> None:
    user = User(decide=refuse)
    app = hooked_app(authorize=user)
    assert app.post("ada", DATA).status_code == 401
    if isinstance(app.store, MemoryStore):
        assert app.store._uploads == {}


# -- concatenation ---------------------------------------------------------------------------------


@pytest.fixture
def tus_app(store: Store) -> Any:
    def tus_app(**hooks: Any) -> HookedApp:
        return HookedApp(Protocol("tus", TUS), store, hooks)

    return tus_app


def join(app: HookedApp, paths: list[str], user: str) -> Any:
    fields = {**TUS, "Upload-Concat": "final;" + " ".join(paths)}
    return app.request("POST", "/files", fields, user=user)


def test_each_partial_upload_of_a_final_upload_is_asked_about_once(tus_app: NewHookedApp) -> None:
    user = User()
    app = tus_app(authorize=user)
    first, second = (app.create("ada", DATA, Upload_Concat="partial") for _ in range(2))
    user.accesses.clear()
    response = join(app, [first, second, first], "ada")
    assert response.status_code == 201
    assert user.actions == ["create", "join", "join"]
    joined = [access.upload.id for access in user.accesses[1:] if access.upload]
    assert joined == [id_of(first), id_of(second)]
    path = path_of(response)
    assert app.get(path, "eve").status_code == 404
    assert app.get(path, "ada").data == DATA * 3


def test_a_partial_upload_of_another_owner_looks_absent(tus_app: NewHookedApp) -> None:
    """Otherwise a client could join the bytes of another client to its own and read them."""
    app = tus_app(authorize=User())
    mine = app.create("eve", DATA, Upload_Concat="partial")
    hers = app.create("ada", DATA, Upload_Concat="partial")
    hidden, missing = join(app, [mine, hers], "eve"), join(app, [mine, UNKNOWN], "eve")
    assert hidden.status_code == missing.status_code == 400
    assert hidden.text.replace(id_of(hers), "") == missing.text.replace(id_of(UNKNOWN), "")
    assert join(tus_app(), [mine, UNKNOWN], "").text == missing.text
    assert join(tus_app(authorize=User()), [mine, hers], "eve").status_code == 400
    assert join(tus_app(authorize=User(), owner_only=False), [mine, hers], "eve").status_code == 201


def test_the_hook_may_refuse_to_join_a_partial_upload(tus_app: NewHookedApp) -> None:
    user = User()
    app = tus_app(authorize=user)
    part = app.create("ada", DATA, Upload_Concat="partial")

    def refuse_to_join(access: Access) -> None:
        if access.action == "join":
            raise Denied(403, "not this one")

    user.decide = refuse_to_join
    response = join(app, [part], "ada")
    assert (response.status_code, response.text) == (403, "not this one\n")


# -- calls to S3 -----------------------------------------------------------------------------------


REQUESTS: list[Callable[[HookedApp, str], object]] = [
    lambda app, path: app.head(path, "ada"),
    lambda app, path: app.patch(path, 4, DATA[4:], "ada"),
    lambda app, path: app.get(path, "ada"),
    lambda app, path: app.delete(path, "ada"),
]


def calls_of(sandbox: S3Sandbox, send: Callable[[], object]) -> list[str]:
    """Return the calls of a request, sorted: some of them are concurrent."""
    sandbox.calls.clear()
    send()
    return sorted(sandbox.calls.begun)


def test_a_new_upload_costs_no_call_for_its_owner(sandbox: S3Sandbox, protocol: Protocol) -> None:
    plain = HookedApp(protocol, sandbox.store())
    hooked = HookedApp(protocol, sandbox.store(), {"authorize": User()})
    plain_calls = calls_of(sandbox, lambda: plain.create("ada", DATA[:4]))
    assert calls_of(sandbox, lambda: hooked.create("ada", DATA[:4])) == plain_calls
    for send in REQUESTS:
        plain_path, hooked_path = plain.create("ada", DATA[:4]), hooked.create("ada", DATA[:4])
        plain_calls = calls_of(sandbox, partial(send, plain, plain_path))
        assert calls_of(sandbox, partial(send, hooked, hooked_path)) == plain_calls


def test_a_process_reads_the_owner_of_an_upload_once(
    sandbox: S3Sandbox, protocol: Protocol
) -> None:
    path = HookedApp(protocol, sandbox.store(), {"authorize": User()}).create("ada", DATA[:4])
    app = HookedApp(protocol, sandbox.store(), {"authorize": User()})
    assert calls_of(sandbox, lambda: app.head(path, "eve")) == ["GetObject info"]
    assert calls_of(sandbox, lambda: app.head(path, "eve")) == []
    plain = HookedApp(protocol, sandbox.store())
    before = calls_of(sandbox, lambda: plain.head(path))
    assert calls_of(sandbox, lambda: app.head(path, "ada")) == before


def test_an_upload_of_tusd_is_open_to_each_client_that_the_hook_lets_in(
    sandbox: S3Sandbox, protocol: Protocol
) -> None:
    path = "/files/" + TusdUpload(sandbox, len(DATA), {}, DATA[:4]).id
    user = User()
    app = HookedApp(protocol, sandbox.store(), {"authorize": user})
    assert app.offset(path, "ada") == app.offset(path, "eve") == 4
    assert [access.upload.owner for access in user.accesses if access.upload] == [None, None]
