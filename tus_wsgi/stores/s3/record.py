"""The `.info` object: tusd's JSON and a few fields of ours, to and from values. No I/O.

| field              | of   | meaning                                                           |
|--------------------|------|-------------------------------------------------------------------|
| ID                 | tusd | the upload's id; an info that names another id is not ours         |
| Size               | tusd | length in bytes; 0 while deferred                                  |
| SizeIsDeferred     | tusd | whether the length is still unknown                                |
| Offset             | tusd | bytes stored when this was written; only a finished one is exact   |
| MetaData           | tusd | key to value, as text                                              |
| IsPartial, IsFinal, PartialUploads | tusd | concatenation                                      |
| Storage            | tusd | Type, Bucket, Key; and ours: MultipartUpload, the UploadId         |
| PartPlan           | ours | the fields of `tus_wsgi.domain.parts.PartPlan`, in their order     |
| State              | ours | receiving, finishing, finished                                     |
| RawMetadata        | ours | the Upload-Metadata field exactly as it was sent                   |
| RawConcat          | ours | the Upload-Concat field of a final upload exactly as it was sent   |
| Created, Expires   | ours | ISO 8601, UTC                                                      |
| IsOpen             | ours | it ends when the client says so, and not at its length             |

Reading is lenient: unknown fields are ignored and missing ones have a default, so tusd's infos read
as well as ours.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import astuple, dataclass, replace
from datetime import datetime

from tus_wsgi.domain.model import Final, Metadata, Partial, State, UploadId, UploadInfo
from tus_wsgi.domain.parts import PartPlan


@dataclass(frozen=True, slots=True)
class UploadRecord:
    """An upload as its info object describes it.

    Attributes:
        info: what is known of it.
        bucket: where the data object is, or will be.
        key: the data object's key.
        multipart: the UploadId of its multipart upload; None when there is none.
        plan: which bytes are which part; None for one of tusd's, whose parts have any size.
    """

    info: UploadInfo
    bucket: str
    key: str
    multipart: str | None
    plan: PartPlan | None

    @property
    def is_one_part(self) -> bool:
        """Whether the data object is written in one piece, without a multipart upload."""
        if self.multipart is not None or self.plan is None or self.info.is_open:
            return False
        return self.plan.is_one_part(self.info.length)

    def with_expected_state(self) -> UploadRecord:
        """The same upload; one of one part in the state in which whoever finds it looks for the
        object, so that nothing has to be written between the object and the application's hook.

        Not a final one, which whoever finds it has to look at its partials for.
        """
        is_final = isinstance(self.info.concat, Final)
        return self.with_state(State.FINISHING) if self.is_one_part and not is_final else self

    def with_state(self, state: State) -> UploadRecord:
        """The same upload in another state; a finished one is at its full length."""
        info = self.info
        offset = info.length if state is State.FINISHED and info.length is not None else info.offset
        return replace(self, info=replace(info, state=state, offset=offset))

    @property
    def storage(self) -> dict[str, str]:
        """Where the data object is, as the application is told."""
        return {"Type": "s3store", "Bucket": self.bucket, "Key": self.key}


def encode(record: UploadRecord) -> bytes:
    """The content of the info object: compact UTF-8 JSON, tusd's fields first and in its order."""
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
    if final is not None:
        fields["RawConcat"] = final.raw
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()


def decode(content: bytes) -> UploadRecord:
    """The record that an info object holds.

    Raises:
        ValueError: this is no info object, or one of a shape that nobody wrote.
    """
    fields = json.loads(content)
    if not isinstance(fields, dict) or not isinstance(fields.get("ID"), str):
        raise ValueError("not an upload's info object")  # noqa: TRY004 - one error for all shapes
    storage = fields.get("Storage") or {}
    plan = fields.get("PartPlan")
    info = UploadInfo(
        id=UploadId(fields["ID"]),
        length=None if fields.get("SizeIsDeferred") else int(fields.get("Size", 0)),
        offset=int(fields.get("Offset", 0)),
        metadata=_metadata(fields),
        state=State(fields.get("State", State.RECEIVING)),
        is_open=fields.get("IsOpen") is True,
        created=_instant(fields.get("Created")),
        expires=_instant(fields.get("Expires")),
        concat=_concat(fields),
    )
    return UploadRecord(
        info=info,
        bucket=str(storage.get("Bucket", "")),
        key=str(storage.get("Key", "")),
        # In tusd's ids the UploadId is what follows the last "+".
        multipart=storage.get("MultipartUpload") or _multipart_of_tusd(fields["ID"]),
        plan=None if plan is None else PartPlan(*map(int, plan)),
    )


def _metadata(fields: Mapping[str, object]) -> Metadata:
    """The metadata, from the raw field where there is one: only that has every byte."""
    raw = fields.get("RawMetadata")
    if isinstance(raw, str):
        return Metadata(tuple(_pair(item.strip(" ")) for item in raw.split(",")), raw)
    texts = fields.get("MetaData") or {}
    if not isinstance(texts, dict):
        raise ValueError("MetaData is no object")  # noqa: TRY004 - one error for all shapes
    return Metadata(tuple((str(key), str(value).encode()) for key, value in texts.items()))


def _pair(item: str) -> tuple[str, bytes]:
    """A key and its value, read as in `tus_wsgi.protocol.fields`, which has checked them.

    Not with `split`: the octets 0x85 and 0xA0 of a key are white space to Python.
    """
    key, _, value = item.partition(" ")
    with suppress(UnicodeError):  # otherwise it is as it was sent
        key = key.encode("latin-1").decode("utf-8")
    return key, base64.b64decode(value)


def _concat(fields: Mapping[str, object]) -> Partial | Final | None:
    if fields.get("IsFinal"):
        partials, raw = fields.get("PartialUploads") or (), fields.get("RawConcat")
        if not isinstance(partials, list | tuple):
            raise ValueError("PartialUploads is no list")
        ids = tuple(UploadId(str(id)) for id in partials)
        return Final(ids, raw if isinstance(raw, str) else None)
    return Partial() if fields.get("IsPartial") else None


def _multipart_of_tusd(id: str) -> str | None:
    _object_id, plus, multipart = id.rpartition("+")
    return multipart if plus else None


def _instant(text: object) -> datetime | None:
    return datetime.fromisoformat(text) if isinstance(text, str) else None
