"""The Django integration: Django's login decides, and hooks may use the database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection, transaction
from django.test import override_settings

from demo.seaweedfs import SeaweedFS
from tests.frameworks import django_project as project
from tests.harness.stores import S3Sandbox, admin, recorded, sandbox
from tus_wsgi import SettingsError
from tus_wsgi.frameworks import django as tus
from tus_wsgi.testing import UploadClient

__all__ = ["admin", "recorded", "sandbox"]

TUS = {"Tus-Resumable": "1.0.0"}
HOOKS = "tests.frameworks.django_project."
LOGIN = {"AUTHORIZE": "tus_wsgi.frameworks.django.require_login"}


@pytest.fixture(autouse=True)
def _project() -> None:
    project.set_up()
    project.finished.clear()
    connection.close()


def client_of(user: str = "", **entries: Any) -> UploadClient:
    client = UploadClient(project.application(**entries))
    if user:
        assert client.post("/login", data={"name": user}).text == user
    return client


@pytest.mark.usefixtures("tus_store")
def test_the_login_of_django_decides() -> None:
    client = client_of(**LOGIN, ON_FINISH=HOOKS + "on_finish")
    refused = client.upload(b"data").response
    assert (refused.status_code, refused.text) == (401, "Log in first.\n")
    client.post("/login", data={"name": "ada"})
    url = client.upload(b"data", filename="a.txt").url
    assert project.finished == [("a.txt", "ada")]
    assert client.get(url).data == b"data"
    # Pages of other origins can send this request with the cookies of the user.
    assert client.post("/files", data=b"x", content_type="text/plain").status_code == 412
    client.post("/login", data={"name": "eve"})
    assert client.get(url).status_code == 404


@pytest.mark.usefixtures("tus_store")
def test_a_view_can_terminate_uploads_and_a_hook_learns_of_it() -> None:
    gone: list[tuple[str, str]] = []
    client = client_of(ON_TERMINATE=lambda upload: gone.append((upload.id, upload.reason)))
    id = client.upload(b"data").url.rpartition("/")[2]
    tus.middleware().terminate_upload(id)
    assert gone == [(id, "app")]


@pytest.mark.usefixtures("tus_store")
def test_a_hook_does_not_end_the_transaction_of_the_view() -> None:
    client = client_of(ON_TERMINATE=project.count_users)
    url = client.upload(b"data").url
    with transaction.atomic():
        project.count_users(None)
        tus.middleware().terminate_upload(url.rpartition("/")[2])
        project.count_users(None)


@pytest.mark.usefixtures("tus_store")
def test_a_user_that_was_disabled_is_logged_out() -> None:
    client = client_of("eve", **LOGIN)
    users = get_user_model().objects.filter(username="eve")
    users.update(is_active=False)
    assert client.upload(b"data").response.status_code == 401
    users.update(is_active=True)
    assert client.upload(b"data").response.status_code == 204


@pytest.mark.usefixtures("tus_store")
def test_an_upload_after_a_change_of_the_secret_key_does_not_log_out() -> None:
    """Django then gives the session a new key, which a response for an upload cannot set."""
    client = client_of("ada", **LOGIN)
    with override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=["not secret"]):
        for _ in range(2):
            assert client.upload(b"data").response.status_code == 204


@pytest.mark.usefixtures("tus_store")
def test_a_hook_leaves_no_database_connection_open() -> None:
    client = client_of(AUTHORIZE=project.count_users)
    assert client.upload(b"data").response.status_code == 204
    assert connection.connection is None


@pytest.mark.usefixtures("tus_store")
def test_a_hook_gets_no_unusable_database_connection() -> None:
    """A connection that the database has closed meanwhile would fail forever."""
    client = client_of(AUTHORIZE=project.count_users)
    connection.ensure_connection()
    connection.connection.close()
    connection.errors_occurred = True
    assert client.upload(b"data").response.status_code == 204


@pytest.mark.usefixtures("tus_store")
def test_permission_denied_refuses_and_other_errors_are_503() -> None:
    refused = client_of(AUTHORIZE=project.staff_only).upload(b"data").response
    assert (refused.status_code, refused.text) == (403, "Staff only.\n")
    failed = client_of(AUTHORIZE=project.fail).upload(b"data").response
    assert failed.status_code == 503
    assert "secret" not in failed.text


def test_settings_and_hooks_are_checked_at_the_start() -> None:
    with pytest.raises(SettingsError, match="TUS_ON_FINSH"):
        project.application(S3_BUCKET="b", ON_FINSH=HOOKS + "on_finish")
    with pytest.raises(ImportError):
        project.application(S3_BUCKET="b", ON_FINISH=HOOKS + "missing")


def test_the_command_sweeps_with_the_hooks_of_the_project(
    s3: SeaweedFS,
    sandbox: S3Sandbox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """D-06: the sweep finishes an upload whose hook had raised."""
    for name, value in s3.environ(s3.admin).items():
        monkeypatch.setenv(name, value)
    entries = {"S3_OBJECT_PREFIX": sandbox.prefix, "LOCK_DIR": tmp_path / "locks", **LOGIN}
    client = client_of("ada", **entries, ON_FINISH=project.fail)
    assert client.upload(b"data", filename="a.txt").response.status_code == 503
    with override_settings(TUS={**entries, "ON_FINISH": HOOKS + "on_finish"}):
        call_command("tus_sweep", dry_run=True)
        assert project.finished == []
        call_command("tus_sweep", read_all=True)
    assert project.finished == [("a.txt", "ada")]
    assert "1 examined, 1 finished" in capsys.readouterr().out
