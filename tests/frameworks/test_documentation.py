"""The examples in docs/frameworks.md run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, session

from tus_wsgi.testing import UploadClient

TEXT = (Path(__file__).parents[2] / "docs" / "frameworks.md").read_text(encoding="utf-8")


def example(heading: str) -> str:
    """Return the first block of Python below a heading."""
    section = TEXT.partition(f"\n## {heading}\n")[2]
    match = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert match is not None
    return match[1]


def flask_app() -> Flask:
    names: dict[str, Any] = {"__name__": __name__}
    exec(example("Flask"), names)
    app: Flask = names["app"]

    @app.post("/login")
    def login() -> str:
        from flask import request

        session["user"] = request.form["name"]
        return "hello"

    return app


@pytest.mark.usefixtures("tus_store")
def test_the_flask_app_accepts_uploads_of_users_that_are_logged_in() -> None:
    client = UploadClient(flask_app())
    assert client.upload(b"data").response.status_code == 401
    client.post("/login", data={"name": "ada"})
    assert client.get(client.upload(b"data").url).data == b"data"


def test_the_test_of_an_app_passes() -> None:
    names: dict[str, Any] = {"create_app": flask_app}
    exec(example("Test your app"), names)
    names["test_each_user_sees_only_their_own_files"]()
