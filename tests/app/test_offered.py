"""Settings that limit what clients may do, under every version of both protocols."""

from __future__ import annotations

import pytest

from tests.app.conftest import NewHookedApp
from tests.app.hooked_app import DATA, TUS, HookedApp, Protocol
from tus_wsgi import Settings, SettingsError
from tus_wsgi.protocol.rufh.dialect import CREATION_METHODS
from tus_wsgi.protocol.rufh.drafts import DRAFTS
from tus_wsgi.stores.memory import MemoryStore


def app_of(protocol: str, **environ: str) -> HookedApp:
    return HookedApp(
        Protocol(protocol, TUS if protocol == "tus" else {}), MemoryStore(), environ=environ
    )


def version(interop: int) -> dict[str, str]:
    return {"Upload-Draft-Interop-Version": str(interop)}


def completeness(interop: int, *, is_complete: bool) -> dict[str, str]:
    if interop == 3:
        return {"Upload-Incomplete": "?0" if is_complete else "?1"}
    return {"Upload-Complete": "?1" if is_complete else "?0"}


every_interop = pytest.mark.parametrize("interop", [draft.interop for draft in DRAFTS])


# -- creation --------------------------------------------------------------------------------------


def test_only_the_application_creates_uploads(hooked_app: NewHookedApp) -> None:
    app = hooked_app({"TUS_DISABLE_CREATION": "true"})
    response = app.post(data=DATA)
    assert response.status_code == 403
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert app.events == []
    assert "POST" not in response.headers["Allow"]
    created = app.middleware.create_upload(
        length=len(DATA), environ={"HTTP_HOST": "app.example", "wsgi.url_scheme": "https"}
    )
    path = f"/files/{created.id}"
    assert app.patch(path, 0, DATA).status_code in (201, 204)
    assert app.get(path).data == DATA


@every_interop
@pytest.mark.parametrize("method", CREATION_METHODS)
def test_no_draft_creates_an_upload(interop: int, method: str) -> None:
    app = app_of("ietf", TUS_DISABLE_CREATION="true")
    fields = {**version(interop), **completeness(interop, is_complete=True)}
    assert app.request(method, "/files", fields, DATA).status_code == 403
    assert app.events == []


def test_extensions_that_create_uploads_are_not_announced() -> None:
    app = app_of("tus", TUS_DISABLE_CREATION="true", TUS_EXPIRES="1h")
    options = app.request("OPTIONS", "/files", TUS)
    extensions = options.headers["Tus-Extension"].split(",")
    assert not [name for name in extensions if name.startswith(("creation", "concatenation"))]
    assert {"checksum", "expiration", "termination"} <= set(extensions)
    for more in ({"Upload-Concat": "partial"}, {"Upload-Concat": "final;/files/a"}):
        fields = {**TUS, "Upload-Length": "10", **more}
        assert app.request("POST", "/files", fields).status_code == 403


# -- deferred lengths ------------------------------------------------------------------------------


def test_tus_creates_no_upload_without_its_length() -> None:
    app = app_of("tus", TUS_DISABLE_DEFER_LENGTH="true")
    deferred = {**TUS, "Upload-Defer-Length": "1"}
    response = app.request("POST", "/files", deferred)
    assert (response.status_code, app.events) == (400, [])
    options = app.request("OPTIONS", "/files", TUS)
    assert "creation-defer-length" not in options.headers["Tus-Extension"].split(",")
    assert app.create(data=DATA)


@every_interop
def test_the_drafts_create_no_upload_without_its_length(interop: int) -> None:
    app = app_of("ietf", TUS_DISABLE_DEFER_LENGTH="true")
    incomplete = {**version(interop), **completeness(interop, is_complete=False)}
    refused = app.request("POST", "/files", incomplete, DATA[:4])
    assert (refused.status_code, app.events) == (400, [])
    assert "Upload-Length" in refused.text
    declared = {**incomplete, "Upload-Length": str(len(DATA))}
    assert app.request("POST", "/files", declared, DATA[:4]).status_code == 201
    complete = {**version(interop), **completeness(interop, is_complete=True)}
    assert app.request("POST", "/files", complete, DATA).status_code == 201


# -- protocols -------------------------------------------------------------------------------------


def test_a_server_of_tus_does_not_speak_the_drafts() -> None:
    app = app_of("tus", TUS_PROTOCOLS="tus")
    path = app.create(data=DATA[:4])
    for interop in (draft.interop for draft in DRAFTS):
        fields = {**version(interop), **completeness(interop, is_complete=True)}
        assert app.request("POST", "/files", fields, DATA).status_code == 412
        assert app.request("DELETE", path, version(interop)).status_code == 412
        assert app.request("HEAD", path, version(interop)).status_code == 200
    assert app.request("DELETE", path, {}).status_code == 412
    for fields in ({}, TUS):
        options = app.request("OPTIONS", "/files", fields)
        assert "Upload-Limit" not in options.headers
        assert options.headers["Tus-Version"] == "1.0.0"
    assert app.offset(path) == 4


def test_a_server_of_the_drafts_does_not_speak_tus() -> None:
    app = app_of("ietf", TUS_PROTOCOLS="ietf")
    create = {**TUS, "Upload-Length": "10", "Content-Type": "application/offset+octet-stream"}
    refused = app.request("POST", "/files", create, DATA)
    assert (refused.status_code, app.events) == (400, [])
    assert "Upload-Complete" in refused.text
    assert "Tus-Resumable" not in refused.headers
    fields = {**version(8), "Upload-Complete": "?0", "Upload-Length": "10"}
    path = "/files/" + app.request("POST", "/files", fields, DATA[:4]).headers["Location"][-22:]
    append = {**TUS, "Upload-Offset": "4", "Content-Type": "application/offset+octet-stream"}
    assert 400 <= app.request("PATCH", path, append, DATA[4:]).status_code < 500
    assert app.request("HEAD", path, version(8)).headers["Upload-Offset"] == "4"


def test_without_a_version_a_server_of_the_drafts_speaks_the_newest() -> None:
    app = app_of("ietf", TUS_PROTOCOLS="ietf")
    options = app.request("OPTIONS", "/files", {})
    assert options.headers["Upload-Limit"].startswith("max-size=")
    assert "Tus-Version" not in options.headers
    newest = version(DRAFTS[0].interop)
    fields = {**newest, "Upload-Complete": "?0", "Upload-Length": "10"}
    path = "/files/" + app.request("POST", "/files", fields, DATA[:4]).headers["Location"][-22:]
    assert app.request("HEAD", path, {}).status_code == 204


def test_the_protocols_are_named_by_a_setting() -> None:
    with pytest.raises(SettingsError, match="TUS_PROTOCOLS"):
        Settings.from_environ({"TUS_S3_BUCKET": "b", "TUS_PROTOCOLS": "http"})
