"""Sessions of boto3 share the description of S3."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from botocore.utils import parse_timestamp

from tus_wsgi.stores.s3 import aws_session
from tus_wsgi.stores.s3.aws_descriptions import CompactFileLoader
from tus_wsgi.stores.s3.aws_session import load_description, new_session
from tus_wsgi.stores.s3.client import make_client


@pytest.fixture(autouse=True)
def _environ(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)
    for name in ("AWS_PROFILE", "AWS_DATA_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    aws_session._loader.cache_clear()


def loader_of(session: Any) -> Any:
    return session._session.get_component("data_loader")


def test_clients_read_no_file_after_the_description_is_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A worker shares the memory of its master, which has loaded the description."""
    load_description()
    read: list[str] = []
    load_file = CompactFileLoader.load_file

    def note(loader: CompactFileLoader, path: str) -> Any:
        loaded = load_file(loader, path)
        if loaded is not None:
            read.append(path)
        return loaded

    monkeypatch.setattr(CompactFileLoader, "load_file", note)
    for _ in range(2):
        make_client(endpoint="http://127.0.0.1:9", parallel_parts=1)
        make_client(endpoint=None, parallel_parts=1)
    assert read == []


def test_sessions_do_not_share_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for name in ("first", "second"):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", name)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        credentials = new_session().get_credentials()
        assert credentials is not None
        found.append(credentials.access_key)
    assert found == ["first", "second"]


def test_the_search_path_does_not_grow() -> None:
    first, second = (list(loader_of(new_session()).search_paths) for _ in range(2))
    assert first == second


def test_further_descriptions_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS_DATA_PATH."""
    new_session()
    (tmp_path / "own.json").write_text(json.dumps({"own": 1}))
    monkeypatch.setenv("AWS_DATA_PATH", str(tmp_path))
    assert loader_of(new_session()).load_data("own") == {"own": 1}


def test_an_invalid_configuration_is_reported_by_the_first_session(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "missing")
    load_description()
    with pytest.raises(Exception, match="missing"):
        make_client(endpoint=None, parallel_parts=1)


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-29T04:00:00Z",
        "2026-11-29T04:00:00.123Z",
        "2026-11-29T04:00:00.123456789Z",
        "2026-11-29T04:00:00+01:00",
        "2026-11-29T04:00:00",
        "2026-11-29",
        "20261129",
        "Sun, 29 Nov 2026 04:00:00 GMT",
        "1795924800",
        1795924800.5,
    ],
)
def test_times_are_those_of_botocore(text: str) -> None:
    time, expected = parser_of(new_session())(text), parse_timestamp(text)
    assert (time, time.utcoffset()) == (expected, expected.utcoffset())


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01T00:00:00Z"])
def test_a_text_that_is_no_time_is_a_value_error(text: str) -> None:
    """D-07: botocore reports the response as one that it cannot read."""
    with pytest.raises(ValueError, match="timestamp"):
        parser_of(new_session())(text)


def parser_of(session: Any) -> Any:
    factory = session._session.get_component("response_parser_factory")
    return factory.create_parser("rest-xml")._timestamp_parser
