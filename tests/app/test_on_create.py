"""The application decides about each new upload, under both protocols."""

from __future__ import annotations

import threading
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

import pytest

from tests.app.conftest import NewHookedApp
from tests.app.hooked_app import DATA, TUS, HookedApp, User, id_of, path_of
from tus_wsgi import Denied, NewUpload, ObjectOptions, UploadPlan
from tus_wsgi.domain.errors import HookFailed, InvalidPlan
from tus_wsgi.domain.events import RequestFailed
from tus_wsgi.domain.interfaces import Store
from tus_wsgi.domain.model import Metadata, UploadId
from tus_wsgi.domain.plan import Plan
from tus_wsgi.stores.memory import MemoryStore

TIMEOUT = 20.0


def described(app: HookedApp, filename: str, filetype: str) -> dict[str, str]:
    """Return the fields with which a client of the protocol describes its file."""
    if app.protocol.name == "ietf":
        return {
            "Content_Disposition": f'attachment; filename="{filename}"',
            "Content_Type": filetype,
        }
    pairs = {"filename": filename, "filetype": filetype}
    encoded = (f"{key} {b64encode(value.encode()).decode()}" for key, value in pairs.items())
    return {"Upload_Metadata": ",".join(encoded)}


def stored(store: Store) -> list[object]:
    assert isinstance(store, MemoryStore)
    return list(store._uploads)


def plan_of(app: HookedApp, path: str) -> Plan:
    return app.store.open(UploadId(id_of(path))).info.plan


class Recorder:
    """An `on_create` hook that records its arguments and returns `plan`."""

    def __init__(self, plan: UploadPlan | None = None) -> None:
        self.plan = plan
        self.uploads: list[NewUpload] = []

    def __call__(self, upload: NewUpload) -> UploadPlan | None:
        self.uploads.append(upload)
        return self.plan


# -- facts -----------------------------------------------------------------------------------------


def test_the_hook_gets_the_same_facts_in_every_protocol(hooked_app: NewHookedApp) -> None:
    """The application parses no header field."""
    hook = Recorder()
    app = hooked_app(authorize=User(), on_create=hook)
    path = app.create("ada", DATA[:4], **described(app, "evil.exe", "Text/Plain; charset=utf-8"))
    (upload,) = hook.uploads
    assert upload.id == id_of(path)
    assert (upload.length, upload.owner) == (len(DATA), "ada")
    assert (upload.filename, upload.content_type) == ("evil.exe", "text/plain")
    assert (upload.is_partial, upload.partials) == (False, ())
    assert (upload.request.method, upload.request.path) == ("POST", "/files")


@pytest.mark.parametrize(
    "name",
    ["evil.exe", "EVIL.EXE", "evil.exe.", "evil.exe . ", "evil\u202eexe.exe", "..\\evil.exe"],
)
def test_a_hook_that_checks_the_extension_sees_what_a_browser_would_save(
    hooked_app: NewHookedApp, name: str
) -> None:

    def refuse_programs(upload: NewUpload) -> None:
        if (upload.filename or "").lower().endswith(".exe"):
            raise Denied(415, "no programs")

    app = hooked_app(on_create=refuse_programs)
    fields = {"Upload_Metadata": f"filename {b64encode(name.encode()).decode()}"}
    response = app.post(data=DATA, **fields)
    assert (response.status_code, response.text) == (415, "no programs\n")
    assert stored(app.store) == []


def test_without_a_description_there_is_no_name_and_no_type(hooked_app: NewHookedApp) -> None:
    hook = Recorder()
    hooked_app(on_create=hook).create()
    assert (hook.uploads[0].filename, hook.uploads[0].content_type) == (None, None)


def test_the_hook_is_called_once_for_each_creation_and_after_authorize(
    hooked_app: NewHookedApp,
) -> None:
    calls: list[str] = []
    user = User(decide=lambda access: calls.append(access.action.value))
    app = hooked_app(authorize=user, on_create=lambda _upload: calls.append("on_create"))
    path = app.create("ada", DATA[:4])
    app.patch(path, 4, DATA[4:], "ada")
    app.head(path, "ada")
    assert calls == ["create", "on_create", "append", "inspect"]


def test_partial_and_final_uploads_are_told_apart(hooked_app: NewHookedApp) -> None:
    hook = Recorder()
    app = hooked_app(on_create=hook)
    fields = {**TUS, "Content-Type": "application/offset+octet-stream"}
    creation = {**fields, "Upload-Length": "10", "Upload-Concat": "partial"}
    partial = path_of(app.request("POST", "/files", creation, DATA))
    app.request("POST", "/files", {**TUS, "Upload-Concat": f"final;{partial}"})
    first, final = hook.uploads
    assert (first.is_partial, first.partials, first.length) == (True, (), 10)
    assert (final.is_partial, final.partials, final.length) == (False, (id_of(partial),), None)


# -- decisions -------------------------------------------------------------------------------------


def test_a_denied_creation_stores_nothing_and_is_explained(hooked_app: NewHookedApp) -> None:
    def deny(_upload: NewUpload) -> None:
        raise Denied(403, "your quota is used up", fields={"X-Quota": "0"})

    app = hooked_app(on_create=deny)
    for data in (b"", DATA[:4], DATA):
        response = app.post(data=data, Origin="https://a.example")
        assert (response.status_code, response.text) == (403, "your quota is used up\n")
        assert response.headers["X-Quota"] == "0"
        assert "X-Quota" in response.headers["Access-Control-Expose-Headers"]
    assert stored(app.store) == app.events == []


def test_the_fields_of_the_plan_are_in_the_response_to_the_creation(
    hooked_app: NewHookedApp,
) -> None:
    app = hooked_app(on_create=Recorder(UploadPlan(fields={"X-Ticket": "7"})))
    for data in (b"", DATA):
        response = app.post(data=data, Origin="https://a.example")
        assert response.headers["X-Ticket"] == "7"
        assert "X-Ticket" in response.headers["Access-Control-Expose-Headers"]
        assert "X-Ticket" not in app.head(path_of(response)).headers


@pytest.mark.parametrize(
    "metadata", [{"filename": "Menü.txt"}, Metadata((("filename", "Menü.txt".encode()),), "x eA==")]
)
def test_the_metadata_of_the_plan_replaces_that_of_the_client(
    hooked_app: NewHookedApp, metadata: Metadata | Mapping[str, str]
) -> None:
    app = hooked_app(on_create=Recorder(UploadPlan(metadata=metadata)))
    path = app.create(data=DATA, **described(app, "evil.exe", "text/html"))
    info = app.store.open(UploadId(id_of(path))).info
    assert info.metadata.pairs == (("filename", "Menü.txt".encode()),)
    head = app.request("HEAD", path, TUS)
    assert head.headers["Upload-Metadata"] == f"filename {b64encode('Menü.txt'.encode()).decode()}"
    assert "Men%C3%BC.txt" in app.get(path).headers["Content-Disposition"]


def test_private_values_are_stored_and_never_sent(hooked_app_on_any_store: NewHookedApp) -> None:
    app = hooked_app_on_any_store(on_create=Recorder(UploadPlan(private={"order": "secret-7"})))
    response = app.post(data=DATA[:4])
    path = path_of(response)
    assert plan_of(app, path).private == {"order": "secret-7"}
    answers = [
        response,
        app.head(path),
        app.patch(path, 4, DATA[4:]),
        app.head(path),
        app.get(path),
    ]
    assert all("secret-7" not in str(answer.headers) + answer.text for answer in answers)
    assert plan_of(app, path).private == {"order": "secret-7"}


def test_the_plan_of_an_upload_of_one_request_is_stored_with_it(
    hooked_app_on_any_store: NewHookedApp,
) -> None:
    plan = UploadPlan(
        private={"a": "b"}, max_size=20, object=ObjectOptions(cache_control="no-store")
    )
    app = hooked_app_on_any_store(on_create=Recorder(plan))
    found = plan_of(app, app.create(data=DATA))
    assert (found.private, found.max_size, found.object) == ({"a": "b"}, 20, plan.object)


@pytest.mark.parametrize("data", [b"", DATA[:4], DATA])
def test_a_longer_file_than_the_plan_allows_is_refused(
    hooked_app: NewHookedApp, data: bytes
) -> None:
    app = hooked_app(on_create=Recorder(UploadPlan(max_size=9)))
    assert app.post(data=data).status_code == 413
    assert stored(app.store) == []
    app = hooked_app(on_create=Recorder(UploadPlan(max_size=10)))
    assert app.post(data=data).status_code == 201


def test_the_limit_of_the_plan_holds_for_lengths_that_are_declared_later(
    hooked_app: NewHookedApp,
) -> None:
    app = hooked_app(on_create=Recorder(UploadPlan(max_size=9)))
    if app.protocol.name == "ietf":
        fields = {**app.protocol.version, "Upload-Complete": "?0"}
        response = app.request("POST", "/files", fields, DATA[:4])
        assert response.headers["Upload-Limit"].startswith("max-size=9,")
    else:
        response = app.request("POST", "/files", {**TUS, "Upload-Defer-Length": "1"})
    path = path_of(response)
    offset = app.offset(path)
    declared = {**app.protocol.append(offset, is_last=False), "Upload-Length": "10"}
    assert app.request("PATCH", path, declared, DATA[offset:7]).status_code == 413
    assert app.offset(path) == offset
    too_many = app.protocol.append(offset, is_last=False)
    response = app.request("PATCH", path, too_many, DATA[offset:])
    assert response.status_code == 413
    limit = "max-size=9" if app.protocol.name == "ietf" else None
    assert response.headers.get("Upload-Limit") == limit
    assert app.offset(path) == offset
    declared["Upload-Length"] = "9"
    assert app.request("PATCH", path, declared, DATA[offset:9]).status_code in (201, 204)
    assert app.offset(path) == 9


def test_the_limit_of_the_plan_holds_for_final_uploads(hooked_app: NewHookedApp) -> None:
    app = hooked_app(
        on_create=lambda upload: None if upload.is_partial else UploadPlan(max_size=19)
    )
    fields = {**TUS, "Content-Type": "application/offset+octet-stream"}
    creation = {**fields, "Upload-Length": "10", "Upload-Concat": "partial"}
    partial = path_of(app.request("POST", "/files", creation, DATA))
    for references, status in ((f"{partial} {partial}", 413), (partial, 201)):
        final = {**TUS, "Upload-Concat": f"final;{references}"}
        assert app.request("POST", "/files", final).status_code == status


@pytest.mark.parametrize(("lifetime", "has_expiry"), [(None, True), (0, False), (60.5, True)])
def test_the_plan_sets_the_lifetime(
    hooked_app: NewHookedApp, lifetime: float | None, *, has_expiry: bool
) -> None:
    app = hooked_app({"TUS_EXPIRES": "1h"}, on_create=Recorder(UploadPlan(lifetime=lifetime)))
    path = app.create(data=DATA[:4])
    info = app.store.open(UploadId(id_of(path))).info
    assert (info.expires is not None) is has_expiry
    assert info.created is not None
    if info.expires is not None:
        expected = 3600 if lifetime is None else lifetime
        assert expected <= (info.expires - info.created).total_seconds() <= expected + 1


# -- failures --------------------------------------------------------------------------------------

WRONG_PLANS: dict[str, tuple[Any, str]] = {
    "a dictionary": ({"max_size": 5}, "UploadPlan or None, got a dict"),
    "a size in text": (UploadPlan(max_size="5"), "max_size"),  # type: ignore[arg-type]
    "a negative size": (UploadPlan(max_size=-1), "max_size"),
    "a negative lifetime": (UploadPlan(lifetime=-1), "lifetime"),
    "an endless lifetime": (UploadPlan(lifetime=float("inf")), "lifetime"),
    "numbers as private values": (UploadPlan(private={"a": 5}), "private"),  # type: ignore[dict-item]
    "too many private values": (UploadPlan(private={"a": "x" * 20_000}), "private"),
    "a key that is no text": (UploadPlan(key=5), "key"),  # type: ignore[arg-type]
    "metadata that is no mapping": (UploadPlan(metadata="a.txt"), "metadata"),  # type: ignore[arg-type]
    "metadata with a space": (UploadPlan(metadata={"a b": "c"}), "metadata"),
    "too much metadata": (UploadPlan(metadata={"a": "x" * 10_000}), "metadata"),
    "a field with a line break": (UploadPlan(fields={"X-A": "1\r\nX-B: 2"}), "fields"),
    "a field of the server": (UploadPlan(fields={"Content-Length": "5"}), "fields"),
    "a field of the protocol": (UploadPlan(fields={"upload-offset": "5"}), "fields"),
    "the location": (UploadPlan(fields={"Location": "/"}), "fields"),
    "an option with a line break": (
        UploadPlan(object=ObjectOptions(cache_control="a\r\nb")),
        "object.cache_control",
    ),
    "eleven tags": (
        UploadPlan(object=ObjectOptions(tags={str(number): "" for number in range(11)})),
        "object.tags",
    ),
    "user metadata that is too long": (
        UploadPlan(object=ObjectOptions(user_metadata={f"k{n}": "x" * 1000 for n in range(3)})),
        "object.user_metadata",
    ),
    "options that are none": (UploadPlan(object=None), "object"),  # type: ignore[arg-type]
}


def failures(app: HookedApp) -> list[BaseException]:
    return [event.error for event in app.events if isinstance(event, RequestFailed)]


@pytest.mark.parametrize(("plan", "problem"), WRONG_PLANS.values(), ids=WRONG_PLANS)
def test_a_wrong_plan_is_a_fault_of_the_application_and_explained_in_the_log(
    hooked_app: NewHookedApp, plan: Any, problem: str
) -> None:
    app = hooked_app(on_create=lambda _upload: plan)
    response = app.post(data=DATA)
    assert response.status_code == 503
    assert problem not in response.text
    (error,) = failures(app)
    assert isinstance(error, InvalidPlan)
    assert problem in str(error)
    assert stored(app.store) == []


@pytest.mark.parametrize("data", [b"", DATA])
def test_a_hook_that_raises_fails_the_creation_without_details(
    hooked_app: NewHookedApp, data: bytes
) -> None:
    def fail(_upload: NewUpload) -> None:
        raise KeyError("the password of the database")

    app = hooked_app(on_create=fail)
    response = app.post(data=data)
    assert response.status_code == 503
    assert "password" not in response.text
    (error,) = failures(app)
    assert isinstance(error, HookFailed)
    assert isinstance(error.__cause__, KeyError)
    assert stored(app.store) == []


def test_a_process_that_is_killed_in_the_hook_leaves_nothing(hooked_app: NewHookedApp) -> None:
    def die(_upload: NewUpload) -> None:
        raise SystemExit

    app = hooked_app(on_create=die)
    with pytest.raises(SystemExit):
        app.post(data=DATA)
    assert stored(app.store) == []


def test_a_slow_hook_delays_only_its_own_request(hooked_app: NewHookedApp) -> None:
    has_begun, may_end = threading.Event(), threading.Event()

    def hang(upload: NewUpload) -> None:
        if upload.owner == "slow":
            has_begun.set()
            assert may_end.wait(TIMEOUT)

    app = hooked_app(authorize=User(), on_create=hang)
    statuses: list[int] = []
    slow = threading.Thread(target=lambda: statuses.append(app.post("slow", DATA).status_code))
    slow.start()
    assert has_begun.wait(TIMEOUT)
    path = app.create("ada", DATA[:4])
    assert app.offset(path, "ada") == 4
    may_end.set()
    slow.join(TIMEOUT)
    assert statuses == [201]


@pytest.mark.parametrize("key", ["report.pdf", "{id}.info", "../{id}"])
def test_a_key_that_the_store_cannot_use_is_a_fault_of_the_application(
    hooked_app_on_s3: NewHookedApp, key: str
) -> None:
    app = hooked_app_on_s3(on_create=lambda upload: UploadPlan(key=key.format(id=upload.id)))
    for data in (b"", DATA[:4], DATA):
        assert app.post(data=data).status_code == 503
    assert all(
        str(error).startswith("on_create returned an invalid plan: key: ")
        for error in failures(app)
    )


def test_the_application_chooses_the_key(hooked_app_on_s3: NewHookedApp) -> None:
    app = hooked_app_on_s3(
        on_create=lambda upload: UploadPlan(key=f"ada/{upload.id}/{upload.filename}")
    )
    path = app.create(data=DATA, **described(app, "a.txt", "text/plain"))
    upload = app.store.open(UploadId(id_of(path)))
    assert upload.storage["Key"].endswith(f"/ada/{id_of(path)}/a.txt")
    assert app.get(path).data == DATA
    assert app.delete(path).status_code == 204
    assert app.head(path).status_code in (404, 410)
