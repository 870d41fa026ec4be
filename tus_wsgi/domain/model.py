"""The value types of an upload: its id, its metadata and its info.

Sizes and offsets are in bytes; times are `datetime` in UTC. All classes are frozen.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NewType

from tus_wsgi.domain.answer import Answer, Rejection
from tus_wsgi.domain.errors import UploadNotFound
from tus_wsgi.domain.plan import NO_PLAN, Plan

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
TIB = 1024 * GIB

UploadId = NewType("UploadId", str)
"""A URL-safe upload id. New ids are unguessable: knowing an id gives access to the upload."""

ID_BITS = 128
"""Random bits of a new id. A UUID has 128 bits too, but 122 of them are random."""

# Only the ids of tusd have a "+". It is followed by an S3 UploadId, which consists of letters,
# digits, ".", "_" and "-" on AWS, and of letters, digits, "-" and "~" on other services.
_UPLOAD_ID = re.compile(r"[A-Za-z0-9_-]{1,200}(\+[A-Za-z0-9._~-]{1,800})?")


def parse_upload_id(text: str) -> UploadId:
    """Return `text` as an upload id.

    Raises:
        UploadNotFound: `text` is not a valid id, so no upload has it.
    """
    if _UPLOAD_ID.fullmatch(text) is None:
        raise UploadNotFound
    return UploadId(text)


def new_upload_id(token: Callable[[int], str]) -> UploadId:
    """Return a new upload id.

    Args:
        token: returns a random URL-safe text of that many bytes, like `secrets.token_urlsafe`.
    """
    return parse_upload_id(token(ID_BITS // 8))


class Extension(StrEnum):
    """The tus extensions, by their names in the `Tus-Extension` field."""

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
    """The state of an upload. It changes only to a state that is listed further down."""

    RECEIVING = "receiving"
    """Bytes are missing, or all have arrived but the record has not been updated yet."""
    FINISHING = "finishing"
    """The object may be complete. Only the store can tell."""
    FINISHED = "finished"
    """The object is complete, and the application's `on_finish` hook has returned."""
    REJECTED = "rejected"
    """The application's `on_finish` hook has rejected the complete file for good."""
    TERMINATED = "terminated"
    """The upload was removed. A store may keep its record for a while as a tombstone, which no
    request can see."""


class TerminationReason(StrEnum):
    """Why an upload was removed."""

    CLIENT = "client"
    """The client removed it, or has sent more than its length in the IETF protocol."""
    APP = "app"
    """The application called `terminate_upload`."""
    EXPIRED = "expired"
    """The upload had expired. `tus-wsgi sweep` removed it."""
    STOPPED = "stopped"
    """The application's `on_progress` hook stopped it."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """The metadata that the client sent with an upload.

    Attributes:
        pairs: keys and values in the client's order. Keys are unique and not empty.
        raw: the `Upload-Metadata` field exactly as it was sent, so that responses can echo it; None
            if there was no such field, or if tusd created the upload.
    """

    pairs: tuple[tuple[str, bytes], ...] = ()
    raw: str | None = None

    def text(self, key: str) -> str | None:
        """Return the value of `key` as text, or None. Bytes that are not UTF-8 become U+FFFD."""
        for name, value in self.pairs:
            if name == key:
                return value.decode("utf-8", "replace")
        return None


@dataclass(frozen=True, slots=True)
class Partial:
    """Marks an upload as a partial upload of a concatenation. `on_finish` is not called for it."""


@dataclass(frozen=True, slots=True)
class Final:
    """Marks an upload as the final upload of a concatenation. It accepts no bytes.

    Attributes:
        partials: the partial uploads that are concatenated, in order. An upload may occur twice.
        raw: the `Upload-Concat` field exactly as it was sent, so that responses can echo it; None
            if tusd created the upload.
    """

    partials: tuple[UploadId, ...]
    raw: str | None = None


@dataclass(frozen=True, slots=True)
class UploadInfo:
    """The properties of an upload.

    Attributes:
        id: the upload's id.
        length: the length of the whole file; None while the client has not declared it (deferred).
        offset: the number of bytes that are stored without a gap, from the first byte on. It never
            decreases (D-03).
        metadata: the metadata that the client sent.
        state: the upload's state.
        created: the time of the creation; None if another server created the upload.
        expires: the time when the upload expires unless it is full by then; None for never.
        is_open: whether the client has yet to declare the upload complete, even if all bytes are
            stored. In tus, an upload is complete with its last byte; in the IETF protocol, with
            this declaration.
        concat: the role in a concatenation; None for an ordinary upload. The length of a final
            upload is None until the lengths of all its partial uploads are known, and its offset
            counts the bytes of the finished ones.
        owner: the identity that created the upload, from the application's `authorize` hook; None
            if there was none. Never part of the metadata, a response or a log.
        plan: the decisions of the application about this upload.
        answer: the answer of the application's `on_finish` hook; None if there is none (yet).
        rejection: the decision of the hook that it will never accept the file; None otherwise.
        terminating: why the upload is being removed, while `on_terminate` has not returned yet;
            None otherwise.
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
    owner: str | None = None
    plan: Plan = NO_PLAN
    answer: Answer | None = None
    rejection: Rejection | None = None
    terminating: TerminationReason | None = None

    @property
    def is_full(self) -> bool:
        """Whether every byte is stored and no more may follow. A full upload may be unfinished."""
        return self.length is not None and self.offset == self.length and not self.is_open

    @property
    def is_finished(self) -> bool:
        """Whether the object is complete, and the application's `on_finish` hook has returned."""
        return self.state is State.FINISHED
