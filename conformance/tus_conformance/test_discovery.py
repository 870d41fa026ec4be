"""OPTIONS: discovery of versions, extensions and limits."""

from __future__ import annotations

import re

import pytest

from .rules import PRACTICE, SHOULD, rule
from .server import Capabilities, Server, parse_list

LIST_FIELDS = ["Tus-Version", "Tus-Extension", "Tus-Checksum-Algorithm"]

EXTENSIONS = {
    *("creation", "creation-with-upload", "creation-defer-length", "expiration", "termination"),
    *("checksum", "checksum-trailer", "concatenation", "concatenation-unfinished"),
}

REQUIRED_EXTENSIONS = {
    "creation-with-upload": "creation",
    "creation-defer-length": "creation",
    "concatenation": "creation",
    "checksum-trailer": "checksum",
    "concatenation-unfinished": "concatenation",
}


@rule("C-05")
def test_options_lists_the_version(server: Server) -> None:
    response = server.options()
    assert response.status in {200, 204}
    assert "1.0.0" in parse_list(response["Tus-Version"])


@rule("C-06")
@pytest.mark.parametrize("version", ["1.0.0", "9.9.9", "0.2.2", "abc", ""])
def test_options_is_answered_with_any_tus_resumable(server: Server, version: str) -> None:
    response = server.options({"Tus-Resumable": version})
    assert response.status in {200, 204}
    assert "1.0.0" in parse_list(response["Tus-Version"])


@rule("C-07")
@pytest.mark.parametrize("field", LIST_FIELDS)
def test_lists_have_no_empty_items(server: Server, field: str) -> None:
    text = server.options().get(field)
    if text is not None:
        assert all(item.strip() for item in text.split(",")), text


@rule("C-07", level=PRACTICE)
@pytest.mark.parametrize("field", LIST_FIELDS)
def test_lists_have_no_white_space(server: Server, field: str) -> None:
    assert not re.search(r"\s", server.options().get(field) or "")


@rule("C-07")
def test_the_extensions_are_those_of_the_specification(capabilities: Capabilities) -> None:
    """A server may add extensions under other names; none is known today."""
    assert set(capabilities.extensions) <= EXTENSIONS
    assert len(set(capabilities.extensions)) == len(capabilities.extensions)


@rule("C-08", "CW-01")
@pytest.mark.parametrize(
    ("extension", "base"), REQUIRED_EXTENSIONS.items(), ids=list(REQUIRED_EXTENSIONS)
)
def test_extensions_are_listed_with_the_extension_that_they_require(
    capabilities: Capabilities, extension: str, base: str
) -> None:
    assert extension not in capabilities.extensions or base in capabilities.extensions


@rule("C-08")
def test_algorithms_are_listed_only_with_the_checksum_extension(capabilities: Capabilities) -> None:
    assert bool(capabilities.algorithms) == ("checksum" in capabilities.extensions)


@rule("C-09")
def test_tus_max_size_is_a_whole_number(server: Server) -> None:
    text = server.options().get("Tus-Max-Size")
    assert text is None or re.fullmatch("[0-9]+", text, re.ASCII)


@rule("C-09", level=PRACTICE)
def test_tus_max_size_is_sent(server: Server) -> None:
    """Every storage has a limit."""
    assert "Tus-Max-Size" in server.options()


@rule("C-12", level=PRACTICE, needs="creation")
def test_options_of_an_upload_is_answered(server: Server) -> None:
    upload = server.create()
    with upload.unchanged():
        assert server.options(url=upload.url).status in {200, 204, 404}


@rule("C-12", level=PRACTICE)
def test_options_of_the_whole_server_is_answered(server: Server) -> None:
    with server.connect() as connection:
        response = connection.request("OPTIONS", "*", [*server.access.fields.items()])
    assert response.status in {200, 204} or 400 <= response.status < 500 or response.status == 501


@rule("C-24", "C-46", level=PRACTICE)
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "GET"])
def test_the_creation_url_is_not_an_upload(server: Server, method: str) -> None:
    response = server.send(method, fields={"Upload-Offset": "0"})
    assert 400 <= response.status < 500 or response.status == 501


@rule("C-09", level=SHOULD, needs="max-size")
def test_tus_max_size_is_not_zero(capabilities: Capabilities) -> None:
    assert capabilities.max_size
