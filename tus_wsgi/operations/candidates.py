"""Choose the entries of a listing that a sweep has to examine.

A sweep reads neither the record nor the object of an upload that is finished according to the
listing alone, so its cost grows with the uploads that are not. The size of the info object says
what the record says (`tus_wsgi.stores.s3.record_size`):

- `FINISHED`: nothing is due;
- `ANNOUNCED`, and an object with the default key or with a key of the template: nothing is due,
  unless the sweep knows an `on_finish` hook, which may have to be called. If an application has
  chosen another key, the record is read.

If there is a tail beside the info object, or an open multipart upload with the id in its key, the
record is read nevertheless. An earlier version may have written a record that has the size of a
finished one by accident; so this cannot hide stored bytes. A service that lists keys in another
order may list the tail elsewhere: then only a sweep with `reads_all` finds such a record.

A wrong choice removes nothing (D-08): an entry that is not chosen is left alone, until a sweep with
`reads_all`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from enum import Enum, auto

from tus_wsgi.domain.errors import StoreUnavailable
from tus_wsgi.operations.key_ids import names_in_key
from tus_wsgi.operations.listing import ListedObject, Listing
from tus_wsgi.stores.s3.key_template import key_pattern
from tus_wsgi.stores.s3.keys import Keys
from tus_wsgi.stores.s3.record_size import ListedState, listed_state

MAX_SOUGHT = 100_000
"""Records whose objects are looked for in one more listing of all objects, in about 50 MB."""

_INFO = ".info"


class _Choice(Enum):
    """What to do with an entry."""

    EXAMINE = auto()
    SKIP = auto()
    SEEK = auto()
    """Skip the record if there is an object at a key of the template."""


class Candidates:
    """The info objects and tails that a sweep examines, in the order of the listing.

    It keeps in memory a page of the listing, the names in the keys of open multipart uploads, and
    up to `MAX_SOUGHT` entries.

    Args:
        keys: the prefixes.
        listing: the listing of the bucket.
        may_have_hook: whether the sweep knows a hook that may be due for a complete object.
        reads_all: whether to examine every info object.
        on_skipped: called for each info object that need not be examined.
    """

    def __init__(
        self,
        keys: Keys,
        listing: Listing,
        *,
        may_have_hook: bool,
        reads_all: bool,
        on_skipped: Callable[[], None],
    ) -> None:
        self._keys = keys
        self._listing = listing
        self._may_have_hook = may_have_hook
        self._reads_all = reads_all
        self._on_skipped = on_skipped
        self._names_with_parts: set[str] | None = None
        self._is_sorted = True
        self._preceding = _PrecedingKeys()
        self._data_keys = _SortedKeys(self._list_data_keys())
        self._template = None if keys.has_default_template else key_pattern(keys.template)

    def __iter__(self) -> Iterator[ListedObject]:
        """Yield the entries.

        Raises:
            StoreUnavailable: S3 did not answer, or the credentials do not allow listing.
        """
        sought: dict[str, ListedObject] = {}
        for listed, choice in self._choices():
            if choice is _Choice.EXAMINE:
                yield listed
            elif choice is _Choice.SKIP:
                self._on_skipped()
            else:
                sought[self._name(listed)] = listed
                if len(sought) == MAX_SOUGHT:
                    yield from self._without_object(sought)
                    sought = {}
        yield from self._without_object(sought)

    def _choices(self) -> Iterator[tuple[ListedObject, _Choice]]:
        """Yield each info object and each tail, and what to do with it.

        A tail is listed after its info object, so a record waits until no tail of it can follow.
        """
        waiting: tuple[ListedObject, _Choice] | None = None
        for listed in self._listed():
            key, is_info = listed.key, listed.key.endswith(_INFO)
            is_tail = not is_info and self._is_tail(key)
            if waiting is not None:
                is_beside = key.startswith(waiting[0].key.removesuffix("info"))
                if is_beside and is_tail:
                    yield waiting[0], _Choice.EXAMINE
                elif not is_beside:
                    yield waiting
                if is_tail or not is_beside:
                    waiting = None
            choice = self._choose(listed) if is_info and waiting is None else _Choice.EXAMINE
            if choice is not _Choice.EXAMINE:
                waiting = listed, choice
            elif is_info or is_tail:
                yield listed, choice
            else:
                self._preceding.add(key)
        if waiting is not None:
            yield waiting

    def _listed(self) -> Iterator[ListedObject]:
        """Yield all entries, and note whether they are in order."""
        last = ""
        if not self._reads_all:
            self._names_with_parts = self._list_names_with_parts()
        for listed in self._listing.objects(self._keys.info_prefix):
            self._is_sorted = self._is_sorted and last < listed.key
            last = listed.key
            yield listed

    def _name(self, info: ListedObject) -> str:
        """Return the id in the key of an info object, as keys contain it."""
        return info.key.removeprefix(self._keys.info_prefix).removesuffix(_INFO)

    def _is_tail(self, key: str) -> bool:
        return ".part" in key and self._keys.object_id_of_tail(key) is not None

    def _choose(self, info: ListedObject) -> _Choice:
        state, name = listed_state(info.size), self._name(info)
        if state is None or self._names_with_parts is None or name in self._names_with_parts:
            return _Choice.EXAMINE
        if state is ListedState.FINISHED:
            return _Choice.SKIP
        if self._may_have_hook or not self._is_sorted:
            return _Choice.EXAMINE
        if self._has_object(name):
            return _Choice.SKIP
        return _Choice.EXAMINE if self._template is None else _Choice.SEEK

    def _has_object(self, name: str) -> bool:
        """Return whether an object with the default key is listed. The names must be in order."""
        key = self._keys.data_prefix + name
        if self._keys.data_prefix == self._keys.info_prefix:
            return self._preceding.has(key)
        return self._data_keys.has(key)

    def _without_object(self, sought: dict[str, ListedObject]) -> Iterator[ListedObject]:
        """Yield the info objects for whose ids no object is listed at a key of the template."""
        prefix, template = self._keys.data_prefix, self._template
        if not sought or template is None:
            return
        # If the listing fails, the info objects whose object it has not found are examined.
        with suppress(StoreUnavailable):
            for listed in self._listing.objects(prefix, is_deep=True):
                match = template.fullmatch(listed.key, len(prefix))
                if match and sought.pop(match["id"], None) is not None:
                    self._on_skipped()
        yield from sought.values()

    def _list_data_keys(self) -> Iterator[str]:
        with suppress(StoreUnavailable):  # if the listing fails, more records are read
            for listed in self._listing.objects(self._keys.data_prefix):
                yield listed.key

    def _list_names_with_parts(self) -> set[str] | None:
        """Return the names in the keys of open multipart uploads; None if they are unknown."""
        names: set[str] = set()
        prefix = self._keys.data_prefix
        try:
            for listed in self._listing.multiparts(prefix):
                names |= names_in_key(listed.key.removeprefix(prefix))
        except StoreUnavailable:
            return None
        return names


class _PrecedingKeys:
    """The keys of a sorted listing that may be prefixes of later keys.

    In a sorted listing, only keys that begin with `id` are between `id` and `id.info`.
    """

    def __init__(self) -> None:
        self._keys: list[str] = []

    def add(self, key: str) -> None:
        """Add the next key, and drop the keys that cannot be prefixes of later keys."""
        while self._keys and not key.startswith(self._keys[-1]):
            self._keys.pop()
        self._keys.append(key)

    def has(self, key: str) -> bool:
        """Return whether the key is listed. The current key of the listing must begin with it."""
        return key in self._keys


class _SortedKeys:
    """Keys in order, in which other keys are looked up in the same order.

    Args:
        keys: the keys. If they are not in order, some are not found.
    """

    def __init__(self, keys: Iterator[str]) -> None:
        self._keys = keys
        self._current: str | None = ""

    def has(self, key: str) -> bool:
        """Return whether the key is among the keys."""
        while self._current is not None and self._current < key:
            self._current = next(self._keys, None)
        return self._current == key
