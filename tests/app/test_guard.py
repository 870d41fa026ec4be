"""The middleware that docs/deployment.md shows keeps strangers out, and says who sent a file."""

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
        "application": Response("the app's own"),
        "user_of": lambda environ: environ.get("HTTP_X_USER"),
    }
    exec(CODE, names)  # what we tell people to write
    return Client(names["application"])


def test_strangers_do_not_upload(client: Client) -> None:
    assert client.post("/files", headers={**TUS, "Upload-Length": "3"}).status_code == 401
    assert client.patch("/files/x", headers={**TUS, "Upload-Offset": "0"}).status_code == 401
    assert client.options("/files").status_code == 204
    disguised = {**TUS, "X-HTTP-Method-Override": "POST", "Upload-Length": "3"}
    asked = client.options("/files", headers=disguised)
    assert (asked.status_code, asked.headers.get("Location")) == (204, None), (
        "it got past the guard"
    )
    assert client.get("/else").text == "the app's own"
    assert client.get("/filesystem").text == "the app's own"


RUFH = {"Upload-Draft-Interop-Version": "6", "Upload-Complete": "?1", "X-User": "bob"}


@pytest.mark.parametrize("metadata", ["", "filename YQ==", "filename YQ==,user ZXZl, user"])
def test_so_does_one_that_comes_in_the_ietf_s_words(
    client: Client, finished: list[FinishedUpload], metadata: str
) -> None:
    fields = {**RUFH, "Upload-Metadata": metadata} if metadata else RUFH
    assert client.post("/files", headers=fields, data=b"abc").status_code == 201
    assert finished[0].metadata.text("user") == "bob"


@pytest.mark.parametrize("metadata", ["x @", "a,a", "a%20b"])
@pytest.mark.parametrize("dialect", [{**TUS, "X-User": "bob", "Upload-Length": "3"}, RUFH])
def test_nobody_gets_past_it_with_metadata_that_cannot_be_read(
    client: Client, finished: list[FinishedUpload], metadata: str, dialect: dict[str, str]
) -> None:
    fields = {**dialect, "Upload-Metadata": metadata}
    answer = client.post("/files", headers=fields, data=b"abc")
    assert (answer.status_code == 400) == (not finished)
    assert all(upload.metadata.text("user") == "bob" for upload in finished)


@pytest.mark.parametrize(
    "metadata", ["", "filename YQ==", "filename YQ==,user ZXZl, user,,user  ZXZl"]
)
def test_a_file_says_who_sent_it(
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
