"""The examples for Flask and Pyramid: quota, types by content, keys and rows."""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path
from typing import Any

import pytest

from tus_wsgi.domain.model import MIB
from tus_wsgi.testing import UploadClient
from tus_wsgi.testing.plugin import tus_store

__all__ = ["tus_store"]

PDF = b"%PDF-1.7\n"


@pytest.fixture(params=["flask", "pyramid"])
def example(request: pytest.FixtureRequest) -> Any:
    """The package of an example, from the examples that use SQLAlchemy."""
    pytest.importorskip("sqlalchemy")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the modules that Pyramid imports
        return importlib.import_module(f"examples.{request.param}")


@pytest.fixture
def app(example: Any, tus_store: Any, tmp_path: Path) -> Any:
    yield example.create_app(str(tmp_path), str(tmp_path))
    from examples import models

    models.new_session.kw["bind"].dispose()


def client_of(app: Any, name: str) -> UploadClient:
    client = UploadClient(app)
    assert client.post("/login", data={"name": name, "password": name}).status_code == 302
    return client


def test_users_see_and_delete_only_their_own_files(app: Any) -> None:
    anonymous, ada, eve = UploadClient(app), client_of(app, "ada"), client_of(app, "eve")
    assert anonymous.upload(PDF).response.text == "Log in first.\n"
    uploaded = ada.upload(PDF, filename="a <b>.pdf")
    assert uploaded.response.status_code == 204
    id = uploaded.url.rpartition("/")[2]
    assert f'<a href="/files/{id}" download>a &lt;b&gt;.pdf</a>' in ada.get("/").text
    assert id not in eve.get("/").text
    assert [eve.get(uploaded.url).status_code, eve.post(f"/delete/{id}").status_code] == [404, 404]
    assert ada.get(uploaded.url).data == PDF
    assert ada.post(f"/delete/{id}").status_code == 302
    assert id not in ada.get("/").text
    assert ada.get(uploaded.url).status_code in (404, 410)
    other = ada.upload(PDF, filename="b.pdf").url
    assert "b.pdf" in ada.get("/").text
    assert ada.delete(other, headers={"Tus-Resumable": "1.0.0"}).status_code == 204
    assert "b.pdf" not in ada.get("/").text


def test_the_first_bytes_decide_not_the_name(app: Any) -> None:
    ada = client_of(app, "ada")
    rejected = ada.upload(b"MZ\x90\x00", filename="letter.pdf")
    assert rejected.response.status_code == 415
    assert rejected.response.text == "Only PDF, PNG and JPEG files are accepted.\n"
    assert ada.get(rejected.url).status_code == 410
    assert "letter.pdf" not in ada.get("/").text


def test_the_quota_counts_all_files_of_a_user(
    example: Any, app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.import_module(f"{example.__name__}.uploads"), "QUOTA", MIB)
    ada = client_of(app, "ada")
    assert ada.upload(PDF.ljust(MIB - 10)).response.status_code == 204
    refused = ada.upload(PDF.ljust(11)).response
    assert (refused.status_code, refused.text) == (413, "Your quota has 10 bytes left.\n")
    assert client_of(app, "eve").upload(PDF.ljust(11)).response.status_code == 204
    assert ada.upload(PDF).response.status_code == 204
