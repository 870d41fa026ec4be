"""The Pyramid integration: the security policy of the app decides."""

from __future__ import annotations

import importlib.metadata
import warnings
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from demo.seaweedfs import SeaweedFS
from tests.harness.stores import S3Sandbox, admin, recorded, sandbox
from tus_wsgi import Access, FinishedUpload, SettingsError
from tus_wsgi.testing import UploadClient

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # pkg_resources and cgi are deprecated
    from pyramid.authentication import SessionAuthenticationHelper
    from pyramid.config import Configurator
    from pyramid.httpexceptions import HTTPForbidden
    from pyramid.request import Request
    from pyramid.response import Response
    from pyramid.router import default_execution_policy
    from pyramid.security import remember
    from pyramid.session import SignedCookieSessionFactory
    from pyramid.threadlocal import get_current_request

    from tus_wsgi.frameworks.pyramid import filter_app
    from tus_wsgi.frameworks.pyramid_sweep import main as sweep

__all__ = ["admin", "recorded", "sandbox"]

HOOK = "tests.frameworks.test_pyramid."

events: list[object] = []


class SessionPolicy:
    """A security policy: the user that is logged in may do everything."""

    def __init__(self) -> None:
        self._session = SessionAuthenticationHelper()

    def identity(self, request: Request) -> str | None:
        name: str | None = self._session.authenticated_userid(request)
        return name

    authenticated_userid = identity

    def permits(self, request: Request, _context: object, _permission: str) -> bool:
        return self.identity(request) is not None

    def remember(self, request: Request, name: str, **_: object) -> Any:
        return self._session.remember(request, name)


def delete(request: Request) -> Response:
    request.registry["tus"].middleware.terminate_upload(request.POST["id"])
    return Response("deleted")


def log_in(request: Request) -> Response:
    response = Response("hello")
    response.headerlist.extend(remember(request, request.POST["name"]))
    return response


def authorize(_access: Access) -> str:
    request = get_current_request()
    request.add_finished_callback(lambda request: events.append(request.method))
    if not request.has_permission("upload"):
        raise HTTPForbidden("Log in first.")
    name: str = request.authenticated_userid
    return name


def on_finish(upload: FinishedUpload) -> None:
    events.append((upload.owner, get_current_request().greeting))


def fail(_upload: object) -> None:
    raise LookupError("the secret of the app")


def configured(**settings: str) -> Configurator:
    with Configurator(settings=settings) as config:
        config.set_session_factory(SignedCookieSessionFactory("secret"))
        config.set_security_policy(SessionPolicy())
        config.add_request_method(lambda _: "hello", "greeting", reify=True)
        config.add_route("login", "/login")
        config.add_view(log_in, route_name="login")
        config.add_route("delete", "/delete")
        config.add_view(delete, route_name="delete")
    return config


def client_of(user: str = "", **settings: str) -> UploadClient:
    config = configured(**{f"tus.{name}": value for name, value in settings.items()})
    with config:
        config.include("tus_wsgi.frameworks.pyramid")
    client = UploadClient(config.make_wsgi_app())
    if user:
        assert client.post("/login", data={"name": user}).status_code == 200
    return client


@pytest.mark.usefixtures("tus_store")
def test_the_policy_of_pyramid_decides() -> None:
    hooks = {"authorize": HOOK + "authorize", "on_finish": HOOK + "on_finish"}
    client = client_of(**hooks, max_size="10")
    refused = client.upload(b"data").response
    assert (refused.status_code, refused.text) == (403, "Log in first.\n")
    client.post("/login", data={"name": "ada"})
    events.clear()
    url = client.upload(b"data").url
    # The finished callbacks of Pyramid run after each hook.
    assert events == ["POST", "PATCH", ("ada", "hello")]
    assert client.get(url).data == b"data"
    assert client.upload(b"more than ten").response.status_code == 413
    client.post("/login", data={"name": "eve"})
    assert client.get(url).status_code == 404


@pytest.mark.usefixtures("tus_store")
@pytest.mark.parametrize(("owner_only", "expected"), [("false", 200), ("true", 404)])
def test_the_hook_may_decide_alone(owner_only: str, expected: int) -> None:
    client = client_of("ada", authorize=HOOK + "authorize", owner_only=owner_only)
    url = client.upload(b"data").url
    client.post("/login", data={"name": "eve"})
    assert client.get(url).status_code == expected


@pytest.mark.usefixtures("tus_store")
def test_a_view_can_terminate_uploads() -> None:
    client = client_of()
    url = client.upload(b"data").url
    assert client.post("/delete", data={"id": url.rpartition("/")[2]}).status_code == 200
    assert client.get(url).status_code in (404, 410)


@pytest.mark.usefixtures("tus_store")
def test_an_error_in_a_hook_is_503_without_details() -> None:
    response = client_of(authorize=HOOK + "fail").upload(b"data").response
    assert response.status_code == 503
    assert "secret" not in response.text


def test_settings_and_hooks_are_checked_at_the_start() -> None:
    with pytest.raises(SettingsError, match="TUS_ON_FINSH"):
        client_of(s3_bucket="b", on_finsh=HOOK + "on_finish")
    with pytest.raises(ImportError):
        client_of(s3_bucket="b", on_finish=HOOK + "missing")


@pytest.mark.usefixtures("tus_store")
def test_settings_that_are_added_after_the_integration_count() -> None:
    config = configured()
    with config:
        config.include("tus_wsgi.frameworks.pyramid")
        config.add_settings({"tus.max_size": "3"})
    client = UploadClient(config.make_wsgi_app())
    assert client.upload(b"data").response.status_code == 413


@pytest.mark.usefixtures("tus_store")
def test_an_execution_policy_of_the_app_gets_all_other_requests() -> None:
    paths: list[str] = []

    def policy(environ: Any, router: Any) -> Any:
        paths.append(environ["PATH_INFO"])
        return default_execution_policy(environ, router)

    config = configured()
    with config:
        config.include("tus_wsgi.frameworks.pyramid")
        config.set_execution_policy(policy)
    client = UploadClient(config.make_wsgi_app())
    url = client.upload(b"data").url
    assert client.get(url).data == b"data"
    assert client.post("/login", data={"name": "ada"}).status_code == 200
    assert paths == ["/login"]


@pytest.mark.usefixtures("tus_store")
def test_a_paste_filter_serves_uploads_and_its_hooks_have_a_request() -> None:
    app = configured().make_wsgi_app()
    [factory] = importlib.metadata.entry_points(group="paste.filter_app_factory", name="main")
    assert factory.load() is filter_app
    client = UploadClient(filter_app(app, {}, authorize=HOOK + "authorize"))
    assert client.upload(b"data").response.status_code == 403
    client.post("/login", data={"name": "ada"})
    url = client.upload(b"data").url
    assert client.get(url).data == b"data"
    assert client.post("/delete", data={"id": url.rpartition("/")[2]}).status_code == 200


def fail_once(upload: FinishedUpload) -> None:
    request = get_current_request()
    events.append((upload.filename, request.greeting, upload.request is None))
    if upload.request is not None:
        raise LookupError


def make_app(_global_config: object, **settings: str) -> Any:
    config = configured(**settings)
    if "tus.s3_object_prefix" in settings:
        with config:
            config.include("tus_wsgi.frameworks.pyramid")
    return config.make_wsgi_app()


def run(ini: Path, *arguments: str) -> Result:
    return CliRunner().invoke(sweep, [str(ini), *arguments])


@pytest.mark.parametrize("is_filter", [False, True], ids=["included", "as a filter"])
def test_the_command_sweeps_with_the_hooks_of_the_app(
    s3: SeaweedFS,
    sandbox: S3Sandbox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_filter: bool,
) -> None:
    """D-06: the sweep finishes an upload whose hook had raised."""
    for name, value in s3.environ(s3.admin).items():
        monkeypatch.setenv(name, value)
    entries = {
        "s3_object_prefix": sandbox.prefix,
        "lock_dir": str(tmp_path / "locks"),
        "on_finish": HOOK + "fail_once",
    }
    ini = tmp_path / "production.ini"
    lines = [f"{'' if is_filter else 'tus.'}{name} = {value}" for name, value in entries.items()]
    start = ["[app:main]", "use = call:tests.frameworks.test_pyramid:make_app"]
    between = ["filter-with = tus", "[filter:tus]", "use = egg:tus-wsgi-s3"] if is_filter else []
    ini.write_text("\n".join([*start, *between, *lines]), encoding="utf-8")
    inner = make_app({})
    app = filter_app(inner, {}, **entries) if is_filter else client_of(**entries).application
    events.clear()
    assert UploadClient(app).upload(b"data", filename="a.txt").response.status_code == 503
    assert "1 examined, 1 finished (dry run)" in run(ini, "--dry-run").stdout
    assert "1 examined, 1 finished" in run(ini).stdout
    assert events == [("a.txt", "hello", False), ("a.txt", "hello", True)]


def test_the_command_refuses_an_app_without_uploads(tmp_path: Path) -> None:
    ini = tmp_path / "production.ini"
    ini.write_text(
        "[app:main]\nuse = call:tests.frameworks.test_pyramid:make_app\n", encoding="utf-8"
    )
    result = run(ini)
    assert (result.exit_code, "does not include" in result.output) == (1, True)
