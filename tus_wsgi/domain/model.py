"""The words of resumable uploads, as values: ids, metadata, and what is known of an upload.

Bytes are `int`; instants are `datetime` in UTC. Everything here is frozen.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NewType

from tus_wsgi.domain.errors import UploadNotFound

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
TIB = 1024 * GIB

UploadId = NewType("UploadId", str)
"""An upload's name: URL-safe, and unguessable where it is ours. Whoever knows it may write."""

ID_BITS = 128
"""Random bits in an id of ours: as many as a UUID has, and all of them random."""

# The part behind a "+" is an S3 UploadId: only tusd's ids have it. AWS makes UploadIds of
# letters, digits, "." , "_" and "-"; other services of letters, digits, "-" and "~".
_UPLOAD_ID = re.compile(r"[A-Za-z0-9_-]{1,200}(\+[A-Za-z0-9._~-]{1,800})?")


def parse_upload_id(text: str) -> UploadId:
    """The id that `text` is.

    Raises:
        UploadNotFound: `text` can be no upload's id, so no upload has it.
    """
    if _UPLOAD_ID.fullmatch(text) is None:
        raise UploadNotFound
    return UploadId(text)


def new_upload_id(token: Callable[[int], str]) -> UploadId:
    """A fresh id, from a `token` like `secrets.token_urlsafe`, which takes a number of bytes."""
    return parse_upload_id(token(ID_BITS // 8))


class Extension(StrEnum):
    """The tus extensions offered, by the names of the `Tus-Extension` field."""

    CREATION = "creation"
    CREATION_WITH_UPLOAD = "creation-with-upload"
    CREATION_DEFER_LENGTH = "creation-defer-length"
    EXPIRATION = "expiration"
    CHECKSUM = "checksum"
    CHECKSUM_TRAILER = "checksum-trailer"
    TERMINATION = "termination"
    CONCATENATION = "concatenation"
    CONCATENATION_UNFINISHED = "concatenation-unfinished"


class State(StrEnum):
    """How far an upload is. It only ever moves downwards in this list."""

    RECEIVING = "receiving"
    """Bytes are missing, or nobody has looked since the last of them arrived."""
    FINISHING = "finishing"
    """The object may be there, whole: look at it."""
    FINISHED = "finished"
    """The object is whole and the application has been told."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """What the client said of the file: pairs of a key and the bytes behind it.

    Attributes:
        pairs: in the client's order; keys are unique and not empty.
        raw: the `Upload-Metadata` field exactly as it was sent, so that it can be echoed exactly;
            None when there was no such field (an upload that tusd created, for one).
    """

    pairs: tuple[tuple[str, bytes], ...] = ()
    raw: str | None = None

    def text(self, key: str) -> str | None:
        """The value of `key` as text, or None. Bytes that are no UTF-8 become U+FFFD."""
        for name, value in self.pairs:
            if name == key:
                return value.decode("utf-8", "replace")
        return None


@dataclass(frozen=True, slots=True)
class Partial:
    """That an upload is there to be joined with others. The application is not told of it."""


@dataclass(frozen=True, slots=True)
class Final:
    """That an upload has no bytes of its own: its file is made of others'.

    Attributes:
        partials: the uploads that it is made of, in their order; one may come twice.
        raw: the `Upload-Concat` field exactly as it was sent, so that it can be echoed exactly;
            None for an upload that tusd created.
    """

    partials: tuple[UploadId, ...]
    raw: str | None = None


@dataclass(frozen=True, slots=True)
class UploadInfo:
    """What is known of one upload.

    Attributes:
        id: its name.
        length: bytes of the whole file; None while the client has not said (deferred).
        offset: bytes that are stored for good, counted from the first. It never decreases.
        metadata: what the client said of the file.
        state: how far it is.
        created: when; None for an upload that another server created.
        expires: when it lapses unless it is finished by then; None for never.
        is_open: more may follow even at its full length, until the client says that this was all.
            In tus an upload ends with its last byte; in the IETF's protocol it ends when told to.
        concat: its place in a concatenation; None for an upload like any other. The length of a
            final one is None while not all of its partials' are known, and its offset counts the
            bytes of those that are finished.
    """

    id: UploadId
    length: int | None
    offset: int = 0
    metadata: Metadata = Metadata()
    state: State = State.RECEIVING
    created: datetime | None = None
    expires: datetime | None = None
    is_open: bool = False
    concat: Partial | Final | None = None

    @property
    def is_full(self) -> bool:
        """Whether every byte has arrived and no more may follow. It may have to be finished yet."""
        return self.length is not None and self.offset == self.length and not self.is_open

    @property
    def is_finished(self) -> bool:
        """Whether the object is whole and the application has been told."""
        return self.state is State.FINISHED
