"""The example in docs/hooks.md: a login of Flask protects the uploads."""

from __future__ import annotations

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
CODE = TEXT.partition("```python\n")[2].partition("```")[0]


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Flask:
    def from_env(app: Any, **hooks: Any) -> TusMiddleware:
        settings = Settings(s3_bucket="uploads", base_path="/uploads")
        store, locker = MemoryStore(), MemoryLocker(timeout=1)
        return TusMiddleware(app, settings=settings, store=store, locker=locker, **hooks)

    monkeypatch.setattr(TusMiddleware, "from_env", from_env)
    names: dict[str, Any] = {"__name__": __name__}
    exec(CODE, names)  # the example of the documentation
    app: Flask = names["app"]

    @app.route("/login/<user>", methods=["POST"])
    def login(user: str) -> str:
        session["user"] = user
        return f"hello {user}"

    return app


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
def test_each_user_sees_the_own_uploads_only(app: Flask, protocol: Protocol) -> None:
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
