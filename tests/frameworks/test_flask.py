"""The Flask extension: the app's login decides, and hooks run in the app's context."""

from __future__ import annotations

import datetime as dt
from functools import partial
from pathlib import Path

import pytest
from flask import Flask, abort, current_app, g, has_request_context, request, session
from werkzeug.test import TestResponse

from demo.seaweedfs import SeaweedFS
from tests.harness.stores import S3Sandbox, admin, recorded, sandbox
from tus_wsgi import Access, FinishedUpload, NewUpload, SettingsError, UploadPlan
from tus_wsgi.domain.events import Event, RequestFailed
from tus_wsgi.frameworks.config import HOOKS
from tus_wsgi.frameworks.flask import Tus
from tus_wsgi.stores.memory import MemoryStore
from tus_wsgi.testing import UploadClient

in_memory = pytest.mark.usefixtures("tus_store")

__all__ = ["admin", "recorded", "sandbox"]

TUS = {"Tus-Resumable": "1.0.0"}


class ExampleApp(Flask):
    """An app with a login. `torn_down` counts the contexts that ended."""

    def __init__(self, **config: object) -> None:
        super().__init__(__name__)
        self.secret_key = "secret"
        self.config.update(config)
        self.torn_down = 0
        self.add_url_rule("/login/<user>", view_func=self.login, methods=["POST"])
        self.add_url_rule("/echo", view_func=lambda: request.data, methods=["POST"])
        self.teardown_request(self.count)

    def login(self, user: str) -> str:
        session["user"] = user
        return user

    def count(self, _error: BaseException | None) -> None:
        self.torn_down += 1


def client_of(app: Flask, user: str = "") -> UploadClient:
    client = UploadClient(app)
    if user:
        assert client.post(f"/login/{user}").text == user
    return client


def user(access: Access) -> str:
    assert request.method == access.request.method
    assert request.get_data() == b""
    name: str = session.get("user") or abort(401, "Log in first.")
    return name


@in_memory
def test_the_login_of_the_session_decides() -> None:
    app = ExampleApp()
    Tus(app).authorize(user)
    assert client_of(app).post("/echo", data=b"page").data == b"page"
    refused = client_of(app).upload(b"data").response
    assert (refused.status_code, refused.text) == (401, "Log in first.\n")
    assert refused.headers["Tus-Resumable"] == "1.0.0"
    ada, eve = client_of(app, "ada"), client_of(app, "eve")
    url = ada.upload(b"data").url
    assert ada.get(url).data == b"data"
    for method in ("GET", "HEAD", "DELETE"):
        assert eve.open(url, method=method, headers=TUS).status_code == 404


@in_memory
def test_every_hook_sees_the_app_and_its_context_is_torn_down() -> None:
    app = ExampleApp(TUS_MAX_SIZE=10, GREETING="hello")
    tus, calls = Tus(app), list[object]()

    @tus.on_create
    def new(upload: NewUpload) -> UploadPlan:
        g.owner = session["user"]
        calls.append((current_app.config["GREETING"], request.path, upload.filename, g.owner))
        return UploadPlan()

    @tus.on_finish
    def finished(upload: FinishedUpload) -> None:
        assert not hasattr(g, "owner"), "each hook has a context of its own"
        calls.append((current_app.config["GREETING"], upload.length, session["user"]))

    client = client_of(app, "ada")
    torn_down = app.torn_down
    assert client.upload(b"data", filename="a.txt").response.status_code == 204
    assert calls == [("hello", "/files", "a.txt", "ada"), ("hello", 4, "ada")]
    assert app.torn_down > torn_down
    assert client.upload(b"more than ten").response.status_code == 413


@in_memory
@pytest.mark.parametrize("hook", ["authorize", "on_create"])
def test_an_error_in_a_hook_is_503_without_details(hook: str) -> None:
    app, events = ExampleApp(), list[Event]()
    tus = Tus(app, observers=[events.append])

    @getattr(tus, hook)  # type: ignore[untyped-decorator]
    def fail(_: object) -> None:
        raise LookupError("the secret of the app")

    response = client_of(app).upload(b"data").response
    assert response.status_code == 503
    assert "secret" not in response.text
    assert any(isinstance(event, RequestFailed) for event in events)
    assert client_of(app).post("/echo", data=b"page").data == b"page"


@in_memory
def test_only_statuses_of_refusals_refuse() -> None:
    """A redirect to the login page is not one: clients of uploads could not follow it."""
    statuses = {400: 400, 403: 403, 429: 429, 500: 503, 503: 503}
    for status, expected in statuses.items():
        app = ExampleApp()
        Tus(app).authorize(partial(refuse, status))
        assert client_of(app).upload(b"").response.status_code == expected


def refuse(status: int, _access: Access) -> str:
    abort(status)


@in_memory
def test_one_extension_serves_several_apps(tus_store: MemoryStore) -> None:
    tus = Tus()
    owners: list[str | None] = []
    tus.authorize(user)
    apps = [ExampleApp(TUS_BASE_PATH=path) for path in ("/a", "/b")]
    for app in apps:
        tus.init_app(app)
    tus.on_finish(lambda upload: owners.append(upload.owner))
    for app, path in zip(apps, ("/a", "/b"), strict=True):
        assert client_of(app, path[1:]).upload(b"x", path=path).response.status_code == 204
        with app.app_context():
            assert tus.middleware is app.extensions["tus"].middleware
    assert owners == ["a", "b"]


def test_every_hook_has_a_decorator() -> None:
    assert {"authorize", "on_finish"} < set(HOOKS)
    assert all(callable(getattr(Tus, name)) for name in HOOKS)


@in_memory
def test_hooks_that_would_be_ignored_are_refused() -> None:
    app = ExampleApp()
    tus = Tus(app)
    tus.authorize(user)
    with pytest.raises(RuntimeError, match="already registered"):
        tus.authorize(user)
    client_of(app).upload(b"")
    with pytest.raises(RuntimeError, match="before the first request"):
        tus.on_finish(print)


@in_memory
def test_settings_of_the_app_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUS_MAX_SIZE", "1")
    monkeypatch.setenv("TUS_DISABLE_TERMINATION", "true")
    monkeypatch.setenv("TUS_BASE_PATH", "/env")
    app = ExampleApp(
        TUS_MAX_SIZE=None, TUS_DISABLE_TERMINATION=False, TUS_EXPIRES=dt.timedelta(hours=1)
    )
    Tus(app)
    client = client_of(app)
    created = create(client)
    assert created.status_code == 201
    assert "Upload-Expires" in created.headers
    assert client.delete(created.headers["Location"], headers=TUS).status_code == 204


def create(client: UploadClient) -> TestResponse:
    return client.post("/env", headers={**TUS, "Upload-Length": "5"})


@in_memory
def test_settings_that_are_set_before_the_first_request_count() -> None:
    app = ExampleApp()
    Tus(app)
    app.config["TUS_MAX_SIZE"] = "10"
    assert client_of(app).upload(b"more than ten").response.status_code == 413


@in_memory
def test_mistakes_in_the_config_stop_the_start() -> None:
    with pytest.raises(SettingsError) as caught:
        Tus(ExampleApp(TUS_MAX_SIZE="much", TUS_S3_BUCKETT="b"))
    assert [mistake.partition(":")[0] for mistake in caught.value.mistakes] == [
        *("TUS_S3_BUCKETT", "TUS_MAX_SIZE")
    ]


@in_memory
@pytest.mark.parametrize("value", [["https://example.com"], ("a",), {"a"}, {"a": "b"}, b"a"])
def test_a_value_that_is_no_text_is_not_taken_for_one(value: object) -> None:
    """`str(["https://example.com"])` is a valid regular expression for origins."""
    for name in ("TUS_CORS_ALLOW_ORIGIN", "TUS_S3_OBJECT_PREFIX"):
        with pytest.raises(SettingsError, match=f"{name}: expected text") as caught:
            Tus(ExampleApp(**{name: value}))
        assert repr(value) not in str(caught.value)


@in_memory
@pytest.mark.parametrize(
    ("config", "arguments", "reason"),
    [
        ({}, ["--min-age", "x"], "expected a duration"),
        ({"TUS_LOCKER": "memory"}, [], "memory is for one process"),
    ],
)
def test_a_sweep_that_cannot_start_says_why(
    config: dict[str, str], arguments: list[str], reason: str
) -> None:
    app = ExampleApp(**config)
    Tus(app)
    run = app.test_cli_runner().invoke(args=["tus-sweep", *arguments])
    assert (run.exit_code, reason in run.output) == (2, True)


def test_the_command_sweeps_with_the_hooks_of_the_app(
    s3: SeaweedFS, sandbox: S3Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D-06: the sweep finishes an upload whose hook had raised."""
    for name, value in s3.environ(s3.admin).items():
        monkeypatch.setenv(name, value)
    app = ExampleApp(TUS_S3_OBJECT_PREFIX=sandbox.prefix, TUS_LOCK_DIR=tmp_path / "locks")
    calls: list[tuple[str, str | None, bool]] = []

    def finished(upload: FinishedUpload) -> None:
        calls.append((current_app.name, upload.filename, has_request_context()))
        if len(calls) == 1:
            raise LookupError

    Tus(app).on_finish(finished)
    assert client_of(app).upload(b"data", filename="a.txt").response.status_code == 503
    run = app.test_cli_runner().invoke(args=["tus-sweep"])
    assert "1 examined, 1 finished" in run.stdout
    assert calls == [(app.name, "a.txt", True), (app.name, "a.txt", False)]
    run = app.test_cli_runner().invoke(args=["tus-sweep", "--read-all"])
    assert "1 examined, nothing to do" in run.stdout
