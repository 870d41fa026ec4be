"""Choose the entries of a listing that a sweep has to examine.

A sweep reads neither the record nor the object of an upload that is finished according to the
listing alone, so its cost grows with the uploads that are not. The size of the info object says
what the record says (`tus_wsgi.stores.s3.record_size`):

- `FINISHED`: nothing is due;
- `ANNOUNCED`, and an object with the default key: nothing is due, unless the sweep knows an
  `on_finish` hook, which may have to be called.

If there is a tail beside the info object, or an open multipart upload with the id in its key, the
record is read nevertheless. An earlier version may have written a record that has the size of a
finished one by accident; so this cannot hide stored bytes.

A wrong choice removes nothing (D-08): an entry that is not chosen is left alone, until `reads_all`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

from tus_wsgi.domain.errors import StoreUnavailable
from tus_wsgi.operations.key_ids import names_in_key
from tus_wsgi.operations.listing import ListedObject, Listing
from tus_wsgi.stores.s3.keys import Keys
from tus_wsgi.stores.s3.record_size import ListedState, listed_state

_INFO = ".info"


class Candidates:
    """The info objects and tails that a sweep examines, in the order of the listing.

    It keeps a page of the listing in memory, and the names in the keys of open multipart uploads.

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

    def __iter__(self) -> Iterator[ListedObject]:
        """Yield the entries.

        Raises:
            StoreUnavailable: S3 did not answer, or the credentials do not allow listing.
        """
        # A tail is listed after its info object, so the decision to skip one waits for that.
        skipped: ListedObject | None = None
        for listed in self._listed():
            key, is_info = listed.key, listed.key.endswith(_INFO)
            is_tail = not is_info and self._is_tail(key)
            if skipped is not None:
                is_beside = key.startswith(skipped.key.removesuffix("info"))
                if is_beside and is_tail:
                    yield skipped
                elif not is_beside:
                    self._on_skipped()
                if is_tail or not is_beside:
                    skipped = None
            if is_info and skipped is None and self._may_skip(listed):
                skipped = listed
            elif is_info or is_tail:
                yield listed
            else:
                self._preceding.add(key)
        if skipped is not None:
            self._on_skipped()

    def _listed(self) -> Iterator[ListedObject]:
        """Yield all entries, and note whether they are in order."""
        last = ""
        if not self._reads_all:
            self._names_with_parts = self._list_names_with_parts()
        for listed in self._listing.objects(self._keys.info_prefix):
            self._is_sorted = self._is_sorted and last < listed.key
            last = listed.key
            yield listed

    def _is_tail(self, key: str) -> bool:
        return ".part" in key and self._keys.object_id_of_tail(key) is not None

    def _may_skip(self, listed: ListedObject) -> bool:
        state = listed_state(listed.size)
        if state is None or self._names_with_parts is None:
            return False
        name = listed.key.removeprefix(self._keys.info_prefix).removesuffix(_INFO)
        if name in self._names_with_parts:
            return False
        if state is ListedState.FINISHED:
            return True
        return not self._may_have_hook and self._is_sorted and self._has_object(name)

    def _has_object(self, name: str) -> bool:
        """Return whether an object with the default key is listed. The names must be in order."""
        key = self._keys.data_prefix + name
        if self._keys.data_prefix == self._keys.info_prefix:
            return self._preceding.has(key)
        return self._data_keys.has(key)

    def _list_data_keys(self) -> Iterator[str]:
        with suppress(StoreUnavailable):  # without them, more records are read
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
    """The keys of a sorted listing with which later keys may begin.

    In a sorted listing, only keys that begin with `id` are between `id` and `id.info`.
    """

    def __init__(self) -> None:
        self._keys: list[str] = []

    def add(self, key: str) -> None:
        """Add a key, and drop those with which no later key begins."""
        while self._keys and not key.startswith(self._keys[-1]):
            self._keys.pop()
        self._keys.append(key)

    def has(self, key: str) -> bool:
        """Return whether the key is listed, if a later key begins with it."""
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
