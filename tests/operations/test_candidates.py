"""Which entries of a listing a sweep examines."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from tus_wsgi.domain.errors import StoreUnavailable
from tus_wsgi.operations.candidates import Candidates
from tus_wsgi.operations.key_ids import candidate_ids
from tus_wsgi.operations.listing import ListedMultipart, ListedObject, Listing
from tus_wsgi.stores.s3.keys import Keys
from tus_wsgi.stores.s3.record_size import ListedState

NOW = datetime(2026, 11, 29, tzinfo=UTC)
FINISHED = int(ListedState.FINISHED)
ANNOUNCED = int(ListedState.ANNOUNCED)
READ = 700
"""A size that says nothing."""


@dataclass
class FakeListing:
    """A listing of objects by their keys and sizes, in the order in which they are given."""

    sizes: dict[str, int]
    multipart_keys: tuple[str, ...] = ()
    unlisted: tuple[str, ...] = ()
    prefixes: list[str] = field(default_factory=list)

    def objects(self, prefix: str, *, is_deep: bool = False) -> Iterator[ListedObject]:
        self.prefixes.append(prefix)
        if prefix in self.unlisted:
            raise StoreUnavailable("ListObjectsV2")
        for key, size in self.sizes.items():
            if key.startswith(prefix) and (is_deep or "/" not in key.removeprefix(prefix)):
                yield ListedObject(key, size, NOW)

    def multiparts(self, prefix: str) -> Iterator[ListedMultipart]:
        if "multiparts" in self.unlisted:
            raise StoreUnavailable("ListMultipartUploads")
        yield from (ListedMultipart(key, "upload", NOW) for key in self.multipart_keys)


def examined(
    sizes: dict[str, int],
    *,
    keys: Keys | None = None,
    multiparts: Iterable[str] = (),
    unlisted: tuple[str, ...] = (),
    may_have_hook: bool = False,
    reads_all: bool = False,
) -> list[str]:
    """Return the keys that a sweep examines; each info object that it skips is counted once."""
    listing = FakeListing(sizes, tuple(multiparts), unlisted)
    skipped: list[None] = []
    candidates = Candidates(
        keys or Keys(),
        cast("Listing", cast("Any", listing)),
        may_have_hook=may_have_hook,
        reads_all=reads_all,
        on_skipped=lambda: skipped.append(None),
    )
    chosen = [listed.key for listed in candidates]
    infos = [key for key in sizes if key.endswith(".info")]
    assert len(skipped) == len(infos) - sum(key.endswith(".info") for key in chosen)
    return chosen


def test_a_finished_record_is_not_read_with_or_without_its_object() -> None:
    """The application may have moved the object away."""
    assert examined({"a": 5, "a.info": FINISHED, "b.info": FINISHED + 1024}) == []


def test_a_record_whose_size_says_nothing_is_read() -> None:
    assert examined({"a": 5, "a.info": READ, "b.info": READ}) == ["a.info", "b.info"]


def test_an_announced_object_that_is_listed_is_finished() -> None:
    assert examined({"a": 5, "a.info": ANNOUNCED, "b.info": ANNOUNCED}) == ["b.info"]


def test_an_announced_object_is_found_before_objects_with_longer_names() -> None:
    """An app may store a thumbnail beside the file."""
    objects = {"a": 5, "a-small": 5, "a-small-bw": 5, "a.info": ANNOUNCED, "a.jpg": 5}
    assert examined(objects) == []


def test_an_object_with_a_longer_name_is_not_the_announced_one() -> None:
    assert examined({"a-small": 5, "a.info": ANNOUNCED}) == ["a.info"]


def test_a_hook_may_be_due_for_an_announced_object() -> None:
    """D-06: the process may have been killed before it called the hook."""
    objects = {"a": 5, "a.info": ANNOUNCED, "b": 5, "b.info": FINISHED}
    assert examined(objects, may_have_hook=True) == ["a.info"]


@pytest.mark.parametrize("state", [FINISHED, ANNOUNCED])
@pytest.mark.parametrize("tail", ["a.part", "a.part.segment.3", "a.part.100.2"])
def test_a_record_with_a_tail_beside_it_is_read(state: int, tail: str) -> None:
    """D-08: its bytes must be removed when it expires."""
    objects = {"a": 5, "a.info": state, "a.jpg": 5, tail: 5, "b": 5, "b.info": state}
    assert examined(objects) == ["a.info", tail]


def test_the_tail_of_another_upload_is_no_reason_to_read_a_record() -> None:
    objects = {"a": 5, "a.info": FINISHED, "a2.part": 5, "b.info": FINISHED, "c.part": 0}
    assert examined(objects) == ["a2.part", "c.part"]


@pytest.mark.parametrize("key", ["{}", "users/ada/{}/a.txt", "report-{}.pdf"])
def test_a_record_whose_id_is_in_the_key_of_an_open_multipart_upload_is_read(key: str) -> None:
    id = f"{secrets.token_urlsafe(15)}aA"
    assert id in list(candidate_ids(id))
    objects = {f"{id}.info": FINISHED, "z.info": FINISHED}
    assert examined(objects, multiparts=[key.format(id)]) == [f"{id}.info"]


def test_a_record_of_tusd_with_an_open_multipart_upload_is_read() -> None:
    name = secrets.token_hex(16)
    assert examined({f"{name}.info": FINISHED}, multiparts=[name]) == [f"{name}.info"]


def test_without_the_list_of_multipart_uploads_every_record_is_read() -> None:
    """D-07: an unknown list is not an empty one."""
    objects = {"a": 5, "a.info": FINISHED, "b": 5, "b.info": ANNOUNCED}
    assert examined(objects, unlisted=("multiparts",)) == ["a.info", "b.info"]


def test_everything_is_read_on_request() -> None:
    objects = {"a": 5, "a.info": FINISHED, "b": 5, "b.info": ANNOUNCED}
    assert examined(objects, reads_all=True) == ["a.info", "b.info"]


SEPARATE = Keys("data/", "meta/")


def test_announced_objects_are_looked_up_below_another_prefix() -> None:
    objects = {"data/a": 5, "data/c": 5, "data/e": 5, "meta/a": 5} | {
        f"meta/{name}.info": ANNOUNCED for name in "abcd"
    }
    assert examined(objects, keys=SEPARATE) == ["meta/b.info", "meta/d.info"]


def test_objects_below_another_prefix_are_listed_only_if_an_object_is_announced() -> None:
    listing = FakeListing({"data/a": 5, "meta/a.info": FINISHED})
    typed = cast("Listing", cast("Any", listing))
    candidates = Candidates(
        SEPARATE, typed, may_have_hook=False, reads_all=False, on_skipped=lambda: None
    )
    assert list(candidates) == []
    assert listing.prefixes == ["meta/"]


def test_without_the_list_of_objects_announced_records_are_read() -> None:
    """D-07: the credentials may only allow to list the metadata."""
    objects = {"data/a": 5, "meta/a.info": ANNOUNCED, "meta/b.info": FINISHED}
    assert examined(objects, keys=SEPARATE, unlisted=("data/",)) == ["meta/a.info"]


def test_announced_records_are_read_if_the_service_does_not_sort_keys() -> None:
    """A tail may be listed anywhere."""
    objects = {"b": 5, "b.info": ANNOUNCED, "a": 5, "a.info": ANNOUNCED, "c.info": FINISHED}
    assert examined(objects) == ["a.info"]


# -- keys of a template ----------------------------------------------------------------------------

TEMPLATE = Keys("files/", template="{owner}/{id}/{filename}")
DONE, MISSING, LATER = (f"{name * 21}A" for name in "abc")


def test_announced_objects_are_looked_up_at_the_keys_of_the_template() -> None:
    objects = {f"files/{id}.info": ANNOUNCED for id in (DONE, MISSING, LATER)}
    objects |= {f"files/ada/{DONE}/a.txt": 5, f"files/_/{LATER}/file": 5, "files/readme": 5}
    assert examined(objects, keys=TEMPLATE) == [f"files/{MISSING}.info"]
    assert examined(objects, keys=TEMPLATE, may_have_hook=True) == sorted(
        f"files/{id}.info" for id in (DONE, MISSING, LATER)
    )


@pytest.mark.parametrize("key", ["thumbs/{}.jpg", "{}/a.txt", "ada/{}", "ada/x/{}/a.txt"])
def test_an_object_at_another_key_proves_nothing(key: str) -> None:
    """D-12: an app may store derived files under a key with the id."""
    objects = {f"files/{DONE}.info": ANNOUNCED, f"files/{key.format(DONE)}": 5}
    assert examined(objects, keys=TEMPLATE) == [f"files/{DONE}.info"]


def test_uploads_from_before_the_template_have_default_keys() -> None:
    assert examined({f"files/{DONE}": 5, f"files/{DONE}.info": ANNOUNCED}, keys=TEMPLATE) == []


def test_a_tail_counts_for_keys_of_a_template_too() -> None:
    """D-08: its bytes must be removed when it expires."""
    objects = {f"files/ada/{DONE}/a": 5, f"files/{DONE}.info": ANNOUNCED, f"files/{DONE}.part": 5}
    assert examined(objects, keys=TEMPLATE) == [f"files/{DONE}.info", f"files/{DONE}.part"]


def test_few_records_are_kept_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tus_wsgi.operations.candidates.MAX_SOUGHT", 2)
    ids = [f"{index:021}A" for index in range(5)]
    objects = {f"files/{id}.info": ANNOUNCED for id in ids}
    objects |= {f"files/ada/{id}/a.txt": 5 for id in ids[1:]}
    assert examined(objects, keys=TEMPLATE) == [f"files/{ids[0]}.info"]
