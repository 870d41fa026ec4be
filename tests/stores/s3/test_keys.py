"""Which objects of the bucket belong to an upload."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tus_wsgi.domain.model import UploadId
from tus_wsgi.stores.s3.keys import Keys

ID = UploadId("abc")


@pytest.mark.parametrize(
    ("prefixes", "data", "side"),
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
def test_a_prefix_ends_with_a_slash_and_the_second_replaces_the_first(
    prefixes: Keys, data: str, side: str
) -> None:
    """As in tusd, which changes nothing else of a prefix."""
    assert prefixes.data(ID) == data
    assert prefixes.info(ID) == side + ".info"
    assert prefixes.tail(ID) == side + ".part"


def test_tusd_s_objects_have_the_first_half_of_its_ids() -> None:
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
