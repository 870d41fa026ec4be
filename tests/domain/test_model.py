"""Upload ids, metadata, states and extensions."""

from __future__ import annotations

import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tus_wsgi.domain.errors import UploadNotFound
from tus_wsgi.domain.model import (
    ID_BITS,
    Extension,
    Metadata,
    State,
    UploadId,
    UploadInfo,
    new_upload_id,
    parse_upload_id,
)

TUSD_ID = "24e533e02ec3bc40c387f1a0e460e216+VXBsb2FkIElE.a_b-c~d"


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "Q1Hf2sVtT0m3bYwXyZ_-09",
        "-_",
        "x" * 200,
        TUSD_ID,
        "x" * 200 + "+" + "y" * 800,
    ],
)
def test_ids_of_this_server_and_of_tusd_are_valid(text: str) -> None:
    assert parse_upload_id(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        " a",
        "a\n",
        "a\x00",
        "a/b",
        "../a",
        "a.info",
        "a.part",
        "a%2e",
        "é",
        "\u0661",
        "x" * 201,
        "+a",
        "a+",
        "a+b+c",
        "a+b/c",
        "a+é",
        "a+" + "y" * 801,
    ],
)
def test_an_invalid_id_is_not_found(text: str) -> None:
    """C-24: no request accesses an object that does not belong to an upload."""
    with pytest.raises(UploadNotFound):
        parse_upload_id(text)


@pytest.mark.property
@given(st.text(max_size=50))
def test_a_valid_id_needs_no_quoting_and_is_not_the_key_of_another_object(text: str) -> None:
    try:
        id = parse_upload_id(text)
    except UploadNotFound:
        return
    assert id == text
    assert id.isascii()
    assert not set(id) & set("/%?#\\ \r\n\x00")
    assert not id.partition("+")[0].endswith((".info", ".part"))


def test_a_new_id_is_valid_and_has_enough_random_bits() -> None:
    ids = {new_upload_id(secrets.token_urlsafe) for _ in range(1000)}
    assert len(ids) == 1000
    assert all(parse_upload_id(id) == id and "+" not in id for id in ids)
    assert min(map(len, ids)) * 6 >= ID_BITS


def test_a_new_id_consumes_16_random_bytes() -> None:
    sizes: list[int] = []

    def token(size: int) -> str:
        sizes.append(size)
        return "abc"

    assert new_upload_id(token) == "abc"
    assert sizes == [16]


def test_metadata_is_returned_as_text() -> None:
    metadata = Metadata((("filename", "Menü".encode()), ("empty", b""), ("binary", b"\xff\x00")))
    assert metadata.text("filename") == "Menü"
    assert metadata.text("empty") == ""
    assert metadata.text("binary") == "\ufffd\x00"
    assert metadata.text("missing") is None
    assert metadata.text("Filename") is None


@pytest.mark.parametrize(
    ("length", "offset", "is_full"),
    [(None, 0, False), (None, 5, False), (5, 4, False), (5, 5, True), (0, 0, True)],
)
def test_an_upload_is_full_once_every_byte_is_stored(
    *, length: int | None, offset: int, is_full: bool
) -> None:
    info = UploadInfo(UploadId("a"), length, offset)
    assert info.is_full is is_full
    assert not info.is_finished


def test_only_one_state_means_finished() -> None:
    finished = [
        state for state in State if UploadInfo(UploadId("a"), 1, 1, state=state).is_finished
    ]
    assert finished == [State.FINISHED]


def test_the_extensions_have_the_names_of_the_specification() -> None:
    """C-07, C-08: an extension comes after the extensions that it builds on."""
    assert ",".join(Extension) == (
        "creation,creation-with-upload,creation-defer-length,expiration,checksum,checksum-trailer,termination,concatenation,concatenation-unfinished"
    )
