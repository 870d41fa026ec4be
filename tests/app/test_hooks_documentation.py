"""The examples in docs/hooks.md that use a login of Flask."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, session
from werkzeug.test import Client

from tests.app.hooked_app import DATA, PROTOCOLS, Protocol
from tus_wsgi import TusMiddleware
from tus_wsgi.lockers.memory import MemoryLocker
from tus_wsgi.settings import Settings
from tus_wsgi.stores.memory import MemoryStore

TEXT = (Path(__file__).parents[2] / "docs" / "hooks.md").read_text(encoding="utf-8")
EXAMPLES = [block.partition("```")[0] for block in TEXT.split("```python\n")[1:]]
AUTHORIZE = EXAMPLES[0]
CREATE_UPLOAD = next(code for code in EXAMPLES if "create_upload" in code)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, store: MemoryStore) -> Callable[[str], Flask]:
    """A function that runs an example and returns its app, with a store in memory and a login."""

    def from_env(app: Any, **hooks: Any) -> TusMiddleware:
        settings = Settings(s3_bucket="uploads", base_path="/uploads")
        locker = MemoryLocker(timeout=1)
        return TusMiddleware(app, settings=settings, store=store, locker=locker, **hooks)

    def run(code: str) -> Flask:
        names: dict[str, Any] = {"__name__": __name__}
        exec(code, names)  # the example of the documentation
        app: Flask = names["app"]

        @app.route("/login/<user>", methods=["POST"])
        def login(user: str) -> str:
            session["user"] = user
            return f"hello {user}"

        return app

    monkeypatch.setattr(TusMiddleware, "from_env", from_env)
    return run


@pytest.fixture
def app(run: Callable[[str], Flask]) -> Flask:
    return run(AUTHORIZE)


def client_of(app: Flask, user: str | None = None) -> Client:
    client = Client(app)
    if user is not None:
        assert client.post(f"/login/{user}").text == f"hello {user}"
    return client


every_protocol = pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda each: each.name)


@every_protocol
def test_clients_without_login_cannot_upload(app: Flask, protocol: Protocol) -> None:
    client = client_of(app)
    for path in ("/uploads", "/uploads/"):
        refused = client.post(path, headers=protocol.creation(len(DATA), DATA), data=DATA)
        assert (refused.status_code, refused.text) == (401, "Log in first.\n")
    options = client.options("/uploads", headers=protocol.version)
    assert (options.status_code, options.headers.get("Location")) == (204, None)
    assert client.get("/uploadsystem").status_code == 404
    assert client.post("/login/ada").status_code == 200


@every_protocol
def test_users_see_only_their_own_uploads(app: Flask, protocol: Protocol) -> None:
    ada, eve, stranger = client_of(app, "ada"), client_of(app, "eve"), client_of(app)
    created = ada.post("/uploads", headers=protocol.creation(len(DATA), DATA), data=DATA)
    assert created.status_code == 201
    url = created.headers["Location"]
    statuses = {}
    for name, client in (("ada", ada), ("eve", eve), ("stranger", stranger)):
        statuses[name] = client.get(url, headers=protocol.version).status_code
    assert statuses == {"ada": 200, "eve": 404, "stranger": 401}
    assert eve.delete(url, headers=protocol.version).status_code == 404
    assert ada.delete(url, headers=protocol.version).status_code == 204


def test_a_route_of_the_application_is_the_endpoint_of_a_client(
    run: Callable[[str], Flask], store: MemoryStore
) -> None:
    app = run(CREATE_UPLOAD)
    create = {"Tus-Resumable": "1.0.0", "Upload-Length": str(len(DATA))}
    assert client_of(app).post("/projects/7/files", headers=create).status_code == 401
    assert store._uploads == {}
    ada = client_of(app, "ada")
    created = ada.post("/projects/7/files", headers=create)
    assert created.status_code == 201
    url = created.headers["Location"]
    assert url.startswith("http://localhost/uploads/")
    append = PROTOCOLS[0].append(0, is_last=True)
    assert client_of(app).patch(url, headers=append, data=DATA).status_code == 204
    (stored,) = store._uploads.values()
    assert (stored.info.owner, bytes(stored.content)) == ("ada", DATA)
