"""Find the ids of uploads in keys."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tus_wsgi.domain.model import ID_BITS, UploadId

# An id is the URL-safe Base64 of `ID_BITS` random bits: 6 bits per character, rounded up.
# Uploads of tusd have other ids, and tusd has to clean up after them.
ID_LENGTH = -(-ID_BITS // 6)
_UPLOAD_ID = re.compile(rf"[A-Za-z0-9_-]{{{ID_LENGTH}}}")
_WORD = re.compile(r"[A-Za-z0-9_-]+")
_LAST_CHARACTERS = "AQgw"


def id_of_key(key: str, prefix: str) -> UploadId | None:
    """Return the id of the upload with this key; None if the key has another form."""
    name = key.removeprefix(prefix)
    is_upload = key.startswith(prefix) and _UPLOAD_ID.fullmatch(name)
    return UploadId(name) if is_upload else None


def candidate_ids(name: str) -> Iterator[UploadId]:
    """Yield every text in a key that can be an upload's id, whole words first.

    The last character of an id encodes two bits only, so most other texts are no candidates.
    """
    words = _WORD.findall(name)
    whole = [word for word in words if len(word) == ID_LENGTH]
    longer = [word for word in words if len(word) > ID_LENGTH]
    parts = (
        word[start : start + ID_LENGTH]
        for word in longer
        for start in range(len(word) - ID_LENGTH + 1)
    )
    yield from (UploadId(id) for id in (*whole, *parts) if id[-1] in _LAST_CHARACTERS)


def names_in_key(name: str) -> set[str]:
    """Return every text in a key that can be an id, of this package or of tusd."""
    return {*_WORD.findall(name), *candidate_ids(name)}
