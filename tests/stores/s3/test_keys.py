"""The keys of an upload's objects."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tus_wsgi.domain.model import UploadId
from tus_wsgi.stores.s3.keys import Keys

ID = UploadId("abc")


@pytest.mark.parametrize(
    ("keys", "data", "info"),
    [
        (Keys(), "abc", "abc"),
        (Keys("up"), "up/abc", "up/abc"),
        (Keys("up/"), "up/abc", "up/abc"),
        (Keys("a/b"), "a/b/abc", "a/b/abc"),
        (Keys("/"), "/abc", "/abc"),
        (Keys("up//"), "up//abc", "up//abc"),
        (Keys("up", "meta"), "up/abc", "meta/abc"),
        (Keys("up/", "meta/"), "up/abc", "meta/abc"),
        (Keys("", "meta"), "abc", "meta/abc"),
        (Keys("up", ""), "up/abc", "up/abc"),
    ],
)
def test_prefixes_get_a_slash_and_the_metadata_prefix_defaults_to_the_object_prefix(
    keys: Keys, data: str, info: str
) -> None:
    """tusd does the same, and changes nothing else in a prefix."""
    assert keys.data(ID) == data
    assert keys.info(ID) == info + ".info"
    assert keys.tail(ID) == info + ".part"


def test_the_object_id_of_a_tusd_id_names_its_objects() -> None:
    keys = Keys("up", "meta")
    id = UploadId("objectId+UploadId._~")
    assert [keys.data(id), keys.info(id), keys.tail(id)] == [
        "up/objectId",
        "meta/objectId.info",
        "meta/objectId.part",
    ]


@pytest.mark.property
@given(
    st.from_regex(r"[A-Za-z0-9_-]{1,30}", fullmatch=True),
    st.from_regex(r"[A-Za-z0-9_-]{1,30}", fullmatch=True),
    st.sampled_from([Keys(), Keys("p"), Keys("p", "m"), Keys("", "m")]),
)
def test_no_two_objects_share_a_key_and_no_key_is_a_folder_of_another(
    one: str, other: str, keys: Keys
) -> None:
    """File-backed services cannot hold both `a` and `a/b`.

    An id that equals the metadata prefix collides with it. New ids are random, so this is ignored.
    """
    assume(keys.metadata_prefix not in {one, other})
    ids = {UploadId(one), UploadId(other)}
    names = [name for id in ids for name in (keys.data(id), keys.info(id), keys.tail(id))]
    assert len(set(names)) == 3 * len(ids)
    assert not any(a.startswith(b + "/") for a in names for b in names)


@pytest.mark.parametrize(
    ("key", "id"),
    [
        ("m/a.part", "a"),
        ("m/a.part.0.1", "a"),
        ("m/a.part.10485760.12", "a"),
        ("m/a.part.segment.7", "a"),
        ("m/a.b.part", "a.b"),
        ("m/a.part.1", None),
        ("m/a.part.x.1", None),
        ("m/a.part.segment", None),
        ("m/a.part.0.1.info", None),
        ("m/a.info", None),
        ("m/a", None),
    ],
)
def test_the_keys_of_tails_contain_the_object_id(key: str, id: str | None) -> None:
    assert Keys("p", "m").object_id_of_tail(key) == id
