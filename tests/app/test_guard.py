"""The guard in docs/deployment.md rejects unauthenticated clients and records the user."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client
from werkzeug.wrappers import Response

from tus_wsgi import FinishedUpload, TusMiddleware
from tus_wsgi.lockers.memory import MemoryLocker
from tus_wsgi.settings import Settings
from tus_wsgi.stores.memory import MemoryStore

TEXT = (Path(__file__).parents[2] / "docs" / "deployment.md").read_text(encoding="utf-8")
CODE = TEXT.partition("```python\n")[2].partition("```")[0]

TUS = {"Tus-Resumable": "1.0.0", "Content-Type": "application/offset+octet-stream"}


@pytest.fixture
def finished() -> list[FinishedUpload]:
    return []


@pytest.fixture
def client(finished: list[FinishedUpload], monkeypatch: pytest.MonkeyPatch) -> Client:
    def from_env(app: Any) -> TusMiddleware:
        settings = Settings(s3_bucket="uploads", base_path="/files")
        store, locker = MemoryStore(), MemoryLocker(timeout=1)
        return TusMiddleware(
            app, settings=settings, on_finish=finished.append, store=store, locker=locker
        )

    monkeypatch.setattr(TusMiddleware, "from_env", from_env)
    names: dict[str, Any] = {
        "application": Response("the application"),
        "user_of": lambda environ: environ.get("HTTP_X_USER"),
    }
    exec(CODE, names)  # the example of the documentation
    return Client(names["application"])


def test_unauthenticated_clients_cannot_upload(client: Client) -> None:
    assert client.post("/files", headers={**TUS, "Upload-Length": "3"}).status_code == 401
    assert client.patch("/files/x", headers={**TUS, "Upload-Offset": "0"}).status_code == 401
    assert client.options("/files").status_code == 204
    override = {**TUS, "X-HTTP-Method-Override": "POST", "Upload-Length": "3"}
    options = client.options("/files", headers=override)
    assert (options.status_code, options.headers.get("Location")) == (204, None)
    assert client.get("/other").text == "the application"
    assert client.get("/filesystem").text == "the application"


RUFH = {"Upload-Draft-Interop-Version": "6", "Upload-Complete": "?1", "X-User": "bob"}


@pytest.mark.parametrize("metadata", ["", "filename YQ==", "filename YQ==,user ZXZl, user"])
def test_an_upload_of_the_ietf_draft_records_the_user(
    client: Client, finished: list[FinishedUpload], metadata: str
) -> None:
    fields = {**RUFH, "Upload-Metadata": metadata} if metadata else RUFH
    assert client.post("/files", headers=fields, data=b"abc").status_code == 201
    assert finished[0].metadata.text("user") == "bob"


@pytest.mark.parametrize("metadata", ["x @", "a,a", "a%20b"])
@pytest.mark.parametrize("dialect", [{**TUS, "X-User": "bob", "Upload-Length": "3"}, RUFH])
def test_malformed_metadata_does_not_replace_the_user(
    client: Client, finished: list[FinishedUpload], metadata: str, dialect: dict[str, str]
) -> None:
    fields = {**dialect, "Upload-Metadata": metadata}
    response = client.post("/files", headers=fields, data=b"abc")
    assert (response.status_code == 400) == (not finished)
    assert all(upload.metadata.text("user") == "bob" for upload in finished)


@pytest.mark.parametrize(
    "metadata", ["", "filename YQ==", "filename YQ==,user ZXZl, user,,user  ZXZl"]
)
def test_an_upload_of_tus_records_the_user(
    client: Client, finished: list[FinishedUpload], metadata: str
) -> None:
    fields = {**TUS, "X-User": "bob", "Upload-Length": "3"}
    fields |= {"Upload-Metadata": metadata} if metadata else {}
    assert client.post("/files", headers=fields, data=b"abc").status_code == 201
    (upload,) = finished
    assert upload.metadata.text("user") == "bob"
    assert [key for key, _ in upload.metadata.pairs].count("user") == 1
    if metadata:
        assert upload.metadata.text("filename") == "a"
