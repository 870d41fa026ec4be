"""Encode and decode the content of the `.info` object. No I/O.

It is tusd's JSON with new fields:

| field              | kind | meaning                                                           |
|--------------------|------|-------------------------------------------------------------------|
| ID                 | tusd | the upload's id; a record that names another id is ignored (D-12)  |
| Size               | tusd | length in bytes; 0 while deferred                                  |
| SizeIsDeferred     | tusd | whether the length is still unknown                                |
| Offset             | tusd | bytes stored at the time of writing; exact for finished uploads    |
| MetaData           | tusd | keys and values as text                                            |
| IsPartial, IsFinal, PartialUploads | tusd | concatenation                                      |
| Storage            | tusd | Type, Bucket, Key; added: MultipartUpload, the UploadId            |
| PartPlan           | new  | the fields of `tus_wsgi.domain.parts.PartPlan`, in their order     |
| State              | new  | receiving, finishing, finished, rejected; terminated in tombstones |
| RawMetadata        | new  | the Upload-Metadata header field, unchanged                        |
| RawConcat          | new  | the Upload-Concat header field of a final upload, unchanged        |
| Created, Expires   | new  | ISO 8601, UTC                                                      |
| IsOpen             | new  | whether the client ends the upload explicitly (IETF protocol)      |
| Owner              | new  | the identity that created the upload; missing if there was none    |
| Plan               | new  | decisions of the application, see `tus_wsgi.stores.s3.plan_json`   |
| NumberedTails      | new  | whether the tails are numbered; missing if not (`numbered_tails`)  |
| CompletingSince    | new  | since when a completion may be in progress (D-09); ISO 8601, UTC   |
| Answer, Rejection  | new  | the result of `on_finish`, see `tus_wsgi.stores.s3.answer_json`    |
| ConfirmedParts     | new  | the parts 1 to this number are stored; missing if unknown          |
| Terminating        | new  | why the upload is being removed, while `on_terminate` is due       |

Decoding ignores unknown fields and has defaults for missing ones, so it also reads tusd's objects.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import astuple, dataclass, fields, replace
from datetime import datetime
from typing import Any

from tus_wsgi.domain.model import (
    Final,
    Metadata,
    Partial,
    State,
    TerminationReason,
    UploadId,
    UploadInfo,
)
from tus_wsgi.domain.parts import PartPlan
from tus_wsgi.domain.plan import NO_PLAN
from tus_wsgi.stores.s3.answer_json import (
    decode_answer,
    decode_rejection,
    encode_answer,
    encode_rejection,
)
from tus_wsgi.stores.s3.plan_json import decode_plan, encode_plan

_MAX_NUMBER = 1 << 63
"""Exclusive upper limit of sizes and offsets."""

_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))

_PLAN_NUMBERS = len(fields(PartPlan))


@dataclass(frozen=True, slots=True)
class UploadRecord:
    """The content of an info object.

    Attributes:
        info: the upload's protocol-level facts.
        bucket: the bucket of the data object.
        key: the key of the data object.
        multipart: the UploadId of the multipart upload; None if there is none.
        plan: the size of each part (D-01); None for tusd's uploads, whose parts have any size.
        completing_since: since when the data object is awaited, because a CompleteMultipartUpload
            may be in progress (D-09); None if the outcome of no completion was unknown.
        confirmed_parts: the parts 1 to this number are stored, so no request has to list them. More
            parts may be stored.
        has_numbered_tails: whether the upload's tails are numbered, because the service ignores
            conditional writes (D-11).
    """

    info: UploadInfo
    bucket: str
    key: str
    multipart: str | None
    plan: PartPlan | None
    completing_since: datetime | None = None
    has_numbered_tails: bool = False
    confirmed_parts: int = 0

    @property
    def is_one_part(self) -> bool:
        """Whether a single PutObject writes the data object, without a multipart upload."""
        if self.multipart is not None or self.plan is None or self.info.is_open:
            return False
        return self.plan.is_one_part(self.info.length)

    @property
    def is_terminated(self) -> bool:
        """Whether this is the tombstone of a terminated upload."""
        return self.info.state is State.TERMINATED

    @property
    def may_have_object(self) -> bool:
        """Whether a completion of this upload, or a PutObject, may have made the data object.

        Both need the length. Before the PutObject of a one-part upload the record says `FINISHING`.
        """
        if self.info.length is None:
            return False
        return self.multipart is not None or self.info.state is not State.RECEIVING

    def as_tombstone(self) -> UploadRecord:
        """Return the record that replaces this one when the upload is terminated.

        It names what S3 may still write. Apart from the key, it contains nothing that the client
        or the application sent.
        """
        rejection = self.info.rejection
        # D-08: if the tombstone has no length, the object is never removed.
        is_object_kept = rejection is not None and rejection.keep
        length = None if is_object_kept else self.info.length
        info = UploadInfo(self.info.id, length, state=State.TERMINATED)
        multipart = None if self.info.is_finished else self.multipart
        return replace(
            self, info=info, multipart=multipart, completing_since=None, confirmed_parts=0
        )

    def with_expected_state(self) -> UploadRecord:
        """Return the record in state `FINISHING` if the upload has one part, else unchanged.

        In this state, the next request looks for the data object. So the record need not be written
        again after the data object and before the app's `on_finish`. Final uploads stay
        `RECEIVING`, the state in which the next request looks up their partial uploads.
        """
        is_final = isinstance(self.info.concat, Final)
        if self.is_one_part and not is_final:
            return self.with_state(State.FINISHING)
        return self

    def with_state(self, state: State) -> UploadRecord:
        """Return the record in this state. The offset of a finished upload becomes its length."""
        record = self
        if state is not self.info.state:
            record = replace(self, info=replace(self.info, state=state))
        if state not in (State.FINISHED, State.REJECTED):
            return record
        offset = self.info.offset if self.info.length is None else self.info.length
        return replace(record, info=replace(record.info, offset=offset), completing_since=None)

    @property
    def storage(self) -> dict[str, str]:
        """The location of the data object, as passed to the app's hooks."""
        return {"Type": "s3store", "Bucket": self.bucket, "Key": self.key}


def encode(record: UploadRecord) -> bytes:
    """Return the content of the info object: compact UTF-8 JSON, tusd's fields first."""
    info = record.info
    final = info.concat if isinstance(info.concat, Final) else None
    storage = {"Bucket": record.bucket, "Key": record.key, "Type": "s3store"}
    if record.multipart is not None:
        storage["MultipartUpload"] = record.multipart
    fields: dict[str, object] = {
        "ID": info.id,
        "Size": info.length or 0,
        "SizeIsDeferred": info.length is None,
        "Offset": info.offset,
        "MetaData": {key: value.decode("utf-8", "replace") for key, value in info.metadata.pairs},
        "IsPartial": isinstance(info.concat, Partial),
        "IsFinal": final is not None,
        "PartialUploads": None if final is None else final.partials,
        "Storage": storage,
        "PartPlan": None if record.plan is None else astuple(record.plan),
        "State": info.state.value,
        "RawMetadata": info.metadata.raw,
        "IsOpen": info.is_open,
        "Created": None if info.created is None else info.created.isoformat(),
        "Expires": None if info.expires is None else info.expires.isoformat(),
    }
    fields |= _encode_optional(record)
    return _JSON.encode(fields).encode()


def _encode_optional(record: UploadRecord) -> dict[str, object]:
    """Return the fields that only some records have."""
    info = record.info
    fields: dict[str, object] = {}
    if isinstance(info.concat, Final):
        fields["RawConcat"] = info.concat.raw
    if info.owner is not None:
        fields["Owner"] = info.owner
    if info.plan is not NO_PLAN:
        fields |= encode_plan(info.plan)
    if info.answer is not None:
        fields["Answer"] = encode_answer(info.answer)
    if info.terminating is not None:
        fields["Terminating"] = info.terminating.value
    if info.rejection is not None:
        fields["Rejection"] = encode_rejection(info.rejection)
    if record.completing_since is not None:
        fields["CompletingSince"] = record.completing_since.isoformat()
    if record.has_numbered_tails:
        fields["NumberedTails"] = True
    if record.confirmed_parts:
        fields["ConfirmedParts"] = record.confirmed_parts
    return fields


def decode(content: bytes) -> UploadRecord:
    """Parse the content of an info object.

    Raises:
        ValueError: the content is not a valid info object.
    """
    fields = _load_fields(content)
    storage = fields.get("Storage") or {}
    if not isinstance(storage, dict):
        raise ValueError("Storage is not an object")  # noqa: TRY004 - one error for all shapes
    state = State(fields.get("State", State.RECEIVING))
    info = UploadInfo(
        id=UploadId(fields["ID"]),
        length=None if fields.get("SizeIsDeferred") else _number(fields, "Size"),
        offset=_number(fields, "Offset"),
        metadata=_metadata(fields),
        state=state,
        is_open=fields.get("IsOpen") is True,
        created=_instant(fields, "Created"),
        expires=_instant(fields, "Expires"),
        concat=_concat(fields),
        owner=_owner(fields),
        plan=decode_plan(fields.get("Plan")),
        answer=decode_answer(fields.get("Answer")),
        rejection=decode_rejection(fields.get("Rejection"), state),
        terminating=_terminating(fields),
    )
    return UploadRecord(
        info=info,
        bucket=_text(storage, "Bucket"),
        key=_text(storage, "Key"),
        # In tusd's ids, the UploadId follows the last "+".
        multipart=_text(storage, "MultipartUpload") or _multipart_of_tusd(fields["ID"]),
        plan=_plan(fields.get("PartPlan")),
        completing_since=_instant(fields, "CompletingSince"),
        has_numbered_tails=fields.get("NumberedTails") is True,
        confirmed_parts=_confirmed_parts(fields, info),
    )


def _load_fields(content: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(content, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("the JSON is nested too deeply") from error
    if not isinstance(fields, dict) or not isinstance(fields.get("ID"), str):
        raise ValueError("not an upload's info object")  # noqa: TRY004 - one error for all shapes
    return fields


def _metadata(fields: Mapping[str, object]) -> Metadata:
    """Return the metadata, from the raw field if present: `MetaData` may lose bytes."""
    raw = fields.get("RawMetadata")
    if isinstance(raw, str):
        return Metadata(tuple(_pair(item.strip(" ")) for item in raw.split(",")), raw)
    texts = fields.get("MetaData") or {}
    if not isinstance(texts, dict):
        raise ValueError("MetaData is not an object")  # noqa: TRY004 - one error for all shapes
    return Metadata(tuple((str(key), str(value).encode()) for key, value in texts.items()))


def _pair(item: str) -> tuple[str, bytes]:
    """Parse a validated key and its value, as `tus_wsgi.protocol.fields` does.

    `str.split` would be wrong: Python treats the octets 0x85 and 0xA0 of a key as whitespace.
    """
    key, _, value = item.partition(" ")
    with suppress(UnicodeError):  # keep keys that are not UTF-8 as Latin-1
        key = key.encode("latin-1").decode("utf-8")
    return key, base64.b64decode(value)


def _concat(fields: Mapping[str, object]) -> Partial | Final | None:
    if fields.get("IsFinal"):
        partials, raw = fields.get("PartialUploads") or (), fields.get("RawConcat")
        if not isinstance(partials, list | tuple):
            raise ValueError("PartialUploads is not a list")
        ids = tuple(UploadId(str(id)) for id in partials)
        return Final(ids, raw if isinstance(raw, str) else None)
    return Partial() if fields.get("IsPartial") else None


def _multipart_of_tusd(id: str) -> str | None:
    _object_id, plus, multipart = id.rpartition("+")
    return multipart if plus else None


def _refuse_constant(name: str) -> None:
    """Refuse NaN and Infinity, which are not JSON."""
    raise ValueError(f"{name} is not a number of bytes")


def _number(fields: Mapping[str, object], name: str) -> int:
    """Return a number of bytes; 0 if the field is missing."""
    value = fields.get(name, 0)
    if type(value) is not int or not 0 <= value < _MAX_NUMBER:
        raise ValueError(f"{name} is not a number of bytes")
    return value


def _text(fields: Mapping[str, object], name: str) -> str:
    value = fields.get(name) or ""
    if not isinstance(value, str):
        raise ValueError(f"{name} is not text")  # noqa: TRY004 - one error for all shapes
    return value


def _terminating(fields: Mapping[str, object]) -> TerminationReason | None:
    reason = _text(fields, "Terminating")
    return TerminationReason(reason) if reason else None


def _owner(fields: Mapping[str, object]) -> str | None:
    """Return the owner; None if there is none. Then every identity has access.

    Raises:
        ValueError: the owner is invalid, so it must not count as missing.
    """
    owner = fields.get("Owner")
    if owner is None:
        return None
    if not owner or not isinstance(owner, str):
        raise ValueError("Owner is not text")
    return owner


def _plan(numbers: object) -> PartPlan | None:
    if numbers is None:
        return None
    if not isinstance(numbers, list) or not 1 <= len(numbers) <= _PLAN_NUMBERS:
        raise ValueError("PartPlan is not a list of at most five numbers")
    if any(type(number) is not int or not 0 <= number < _MAX_NUMBER for number in numbers):
        raise ValueError("PartPlan has a number out of range")
    if not numbers[0]:
        raise ValueError("PartPlan has parts of no bytes")
    return PartPlan(*numbers)


def _confirmed_parts(fields: Mapping[str, object], info: UploadInfo) -> int:
    """Return the number of stored parts; 0 if it is missing.

    Raises:
        ValueError: the number cannot be right, so the offset would be wrong.
    """
    count = _number(fields, "ConfirmedParts")
    plan = _plan(fields.get("PartPlan"))
    if not count:
        return 0
    if plan is None or count < plan.parts_before:
        raise ValueError("ConfirmedParts has fewer parts than came before the plan")
    if info.length is not None and plan.start(count + 1) > info.length:
        raise ValueError("ConfirmedParts has more bytes than the upload")
    return count


def _instant(fields: Mapping[str, object], name: str) -> datetime | None:
    """Return a time; None if the field is missing."""
    text = fields.get(name)
    if text is None:
        return None
    instant = datetime.fromisoformat(text) if isinstance(text, str) else None
    if instant is None or instant.tzinfo is None:
        raise ValueError(f"{name} is not a time with a zone")
    return instant
