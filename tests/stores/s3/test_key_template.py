"""The keys of data objects that a template or an application chooses."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tus_wsgi.domain.model import Metadata, UploadId, UploadInfo
from tus_wsgi.domain.plan import Plan
from tus_wsgi.stores.s3.key_template import check_template, key_pattern, render_key
from tus_wsgi.stores.s3.keys import InvalidKey, Keys

ID = UploadId("Q1Hf2sVtT0m3bYwXyZ_-0A")


def upload(filename: str | None = None, owner: str | None = None) -> UploadInfo:
    pairs = () if filename is None else (("filename", filename.encode(errors="replace")),)
    created = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    return UploadInfo(ID, 5, metadata=Metadata(pairs), created=created, owner=owner)


@pytest.mark.parametrize(
    ("template", "key"),
    [
        ("{id}", ID),
        ("{year}/{month}/{day}/{id}", f"2026/01/02/{ID}"),
        ("users/{owner}/{id}/{filename}", f"users/ada/{ID}/report.pdf"),
        ("{id}-{filename}", f"{ID}-report.pdf"),
        ("a(b)!'*=@+,-_.{id}", f"a(b)!'*=@+,-_.{ID}"),
    ],
)
def test_placeholders_are_replaced(template: str, key: str) -> None:
    assert render_key(check_template(template), upload("report.pdf", "ada"), ID) == key


@pytest.mark.parametrize(
    "template",
    [
        "{id}",
        "{year}/{month}/{day}/{id}",
        "users/{owner}/{id}/{filename}",
        "{id}-{filename}",
        "{filename}.{id}/{id}",
        "a(b)!'*=@+,-_.{id}",
    ],
)
@pytest.mark.parametrize("filename", ["report.pdf", "Menü.pdf", None, "a.b-c_d"])
def test_the_id_in_a_key_is_found(template: str, filename: str | None) -> None:
    key = render_key(template, upload(filename, "ada"), ID)
    match = key_pattern(template).fullmatch(f"files/{key}", len("files/"))
    assert match is not None
    assert match["id"] == ID
    assert key_pattern(template).fullmatch(f"x/{key}") is None
    assert key_pattern(template).fullmatch(f"{key}/x") is None


@pytest.mark.parametrize(
    ("filename", "segment"),
    [
        (None, "file"),
        ("", "file"),
        ("..", "file"),
        ("a b/c\\d:e?.txt", "a_b_c_d_e_.txt"),
        ("Menü.pdf", "Menü.pdf"),
        ("Menu\u0308.pdf", "Menü.pdf"),
        ("日本.txt", "日本.txt"),
        ("a.info", "a.info_"),
        ("a.PART", "a.PART_"),
        ("x" * 200 + ".txt", "x" * 124 + ".txt"),
        ("ü" * 100 + "x.txt", "ü" * 61 + "x.txt"),
    ],
)
def test_a_file_name_becomes_a_safe_segment(filename: str | None, segment: str) -> None:
    assert render_key("{id}/{filename}", upload(filename), ID) == f"{ID}/{segment}"


@pytest.mark.parametrize(
    ("owner", "segment"),
    [(None, "_"), ("ada@example.com", "ada_example.com"), ("../..", ".._"), (".", "_")],
)
def test_an_owner_becomes_a_safe_segment(owner: str | None, segment: str) -> None:
    assert render_key("{owner}/{id}", upload(owner=owner), ID) == f"{segment}/{ID}"


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{filename}", "{id}"),
        ("", "{id}"),
        ("{id}/{name}", "{name}"),
        ("{id}/{}", "{}"),
        ("{id", "{id}"),
        ("/{id}", "segment"),
        ("{id}/", "segment"),
        ("a//{id}", "segment"),
        ("../{id}", "segment"),
        ("a b/{id}", "letters"),
        ("ü/{id}", "letters"),
        ("{id}{{", "letters"),
        ("x" * 900 + "{id}", "900 bytes"),
    ],
)
def test_an_invalid_template_is_refused(template: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        check_template(template)


@pytest.mark.property
@given(
    st.sampled_from(
        ["{id}/{filename}", "{owner}/{id}", "{id}.{filename}", "{owner}{filename}{id}"]
    ),
    st.text(),
    st.text(min_size=1) | st.sampled_from(["locks", "info", ".."]),
)
def test_every_key_of_a_template_is_one_that_an_application_could_choose(
    template: str, filename: str, owner: str
) -> None:
    """D-12: it contains the id, and is no info object, tail or lock."""
    keys = Keys("files", template=template)
    key = keys.new_data(upload(filename, owner))
    assert keys.is_own(key, ID)
    assert keys.is_data_key(key)
    planned = replace(upload(), plan=Plan(key=key.removeprefix("files/")))
    assert keys.new_data(planned) == key


# -- keys of a plan --------------------------------------------------------------------------------


def new_key(key: str, keys: Keys | None = None) -> str:
    return (keys or Keys("files", "meta")).new_data(replace(upload(), plan=Plan(key=key)))


def test_the_key_of_a_plan_is_below_the_object_prefix() -> None:
    assert new_key(f"users/ada/{ID}/Menü 1.pdf") == f"files/users/ada/{ID}/Menü 1.pdf"


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ("report.pdf", "contains the upload's id, got 'report.pdf'"),
        ("", "id"),
        (f"/{ID}", "segments"),
        (f"{ID}/", "segments"),
        (f"a//{ID}", "segments"),
        (f"../{ID}", "segments"),
        (f"a/./{ID}", "segments"),
        (f"{ID}.info", "'.info'"),
        (f"{ID}.part", "'.part'"),
        (f"{ID}.part.0.1", "'.part'"),
        (f"{ID}/a.part.segment.7", "'.part'"),
        (f"{ID}.info/a", "'.info'"),
        (f"{ID}\n", "control"),
        (f"{ID}\ud800", "control"),
        (f"{ID}/" + "x" * 996, "1024 bytes"),
        (f"{ID}/" + "ü" * 498, "1024 bytes"),
    ],
)
def test_a_key_that_an_upload_cannot_have_is_refused_without_naming_the_id(
    key: str, problem: str
) -> None:
    with pytest.raises(InvalidKey, match=problem) as caught:
        new_key(key)
    assert ID not in str(caught.value)


def test_a_key_under_the_prefix_of_locks_is_refused() -> None:
    for keys, key in (
        (Keys("files"), f"locks/{ID}"),
        (Keys("files", "meta", "files/l/"), f"l/{ID}"),
    ):
        with pytest.raises(InvalidKey, match="locks"):
            new_key(key, keys)
        assert new_key(f"other/{ID}", keys) == f"files/other/{ID}"


@pytest.mark.parametrize(
    ("key", "is_own"),
    [
        (f"files/{ID}", True),
        (f"files/ada/{ID}-a.txt", True),
        (f"other/{ID}", False),
        ("files/report.pdf", False),
    ],
)
def test_a_key_with_the_id_below_the_prefix_is_the_uploads_own(key: str, *, is_own: bool) -> None:
    """D-12."""
    assert Keys("files").is_own(key, ID) is is_own


def test_a_short_id_makes_only_its_default_key_its_own() -> None:
    """D-12: a short text may occur in another object's key by accident."""
    keys = Keys("files")
    assert keys.is_own("files/abc", UploadId("abc"))
    assert not keys.is_own("files/abc.pdf", UploadId("abc"))
