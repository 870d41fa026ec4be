"""The content of the info object: tusd's JSON with additional fields."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tus_wsgi.domain.answer import Answer, Rejected
from tus_wsgi.domain.model import MIB, Final, Metadata, Partial, State, UploadId, UploadInfo
from tus_wsgi.domain.parts import PartLimits, PartPlan, plan_for
from tus_wsgi.domain.plan import NO_PLAN, ObjectOptions, Plan
from tus_wsgi.stores.s3.record import UploadRecord, decode, encode

ID = UploadId("Q1Hf2sVtT0m3bYwXyZ_-09")
CREATED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

GOLDEN = UploadRecord(
    info=UploadInfo(
        ID,
        500,
        metadata=Metadata(
            (("filename", "menü\r\nhi".encode()), ("binary", b"\xff"), ("flag", b"")),
            "filename bWVuw7wNCmhp, binary /w==,flag",
        ),
        created=CREATED,
    ),
    bucket="bucket",
    key="uploads/" + ID,
    multipart="VXBsb2Fk",
    plan=PartPlan(16 * MIB),
)

GOLDEN_TEXT = (
    '{"ID":"Q1Hf2sVtT0m3bYwXyZ_-09","Size":500,"SizeIsDeferred":false,"Offset":0,'
    '"MetaData":{"filename":"menü\\r\\nhi","binary":"\ufffd","flag":""},'
    '"IsPartial":false,"IsFinal":false,"PartialUploads":null,'
    '"Storage":{"Bucket":"bucket","Key":"uploads/Q1Hf2sVtT0m3bYwXyZ_-09","Type":"s3store",'
    '"MultipartUpload":"VXBsb2Fk"},'
    '"PartPlan":[16777216,0,0,0,0],"State":"receiving",'
    '"RawMetadata":"filename bWVuw7wNCmhp, binary /w==,flag",'
    '"IsOpen":false,"Created":"2026-01-02T03:04:05+00:00","Expires":null}'
)


@pytest.mark.parametrize("length", [None, 10, 11])
def test_the_number_of_confirmed_parts_is_recorded(length: int | None) -> None:
    info = replace(GOLDEN.info, length=length)
    record = replace(GOLDEN, info=info, plan=PartPlan(5), confirmed_parts=2)
    assert b'"ConfirmedParts":2' in encode(record)
    assert decode(encode(record)) == record
    assert record.as_tombstone().confirmed_parts == 0


def test_a_record_is_compact_json_with_tusds_fields_first() -> None:
    assert encode(GOLDEN).decode() == GOLDEN_TEXT
    assert list(json.loads(encode(GOLDEN)))[:9] == [
        "ID",
        "Size",
        "SizeIsDeferred",
        "Offset",
        "MetaData",
        "IsPartial",
        "IsFinal",
        "PartialUploads",
        "Storage",
    ]


def test_a_record_of_an_earlier_version_is_decoded() -> None:
    """Uploads outlive versions: every later format must decode this one too."""
    assert decode(GOLDEN_TEXT.encode()) == GOLDEN


def test_a_record_without_metadata_has_an_empty_object_as_in_tusd() -> None:
    fields = json.loads(encode(UploadRecord(UploadInfo(ID, None), "b", "k", None, PartPlan(1))))
    assert fields["MetaData"] == {}
    assert fields["RawMetadata"] is None
    assert (fields["Size"], fields["SizeIsDeferred"]) == (0, True)
    assert "MultipartUpload" not in fields["Storage"]


def test_the_owner_is_recorded_apart_from_the_metadata() -> None:
    owned = replace(GOLDEN, info=replace(GOLDEN.info, owner="ad\xe4 \U0001f600"))
    fields = json.loads(encode(owned))
    assert fields["Owner"] == "ad\xe4 \U0001f600"
    assert fields["MetaData"].keys() == {"filename", "binary", "flag"}
    assert decode(encode(owned)) == owned


@pytest.mark.parametrize("owner", ["", 7, ["ada"], True, {}])
def test_an_invalid_owner_is_an_error_and_not_an_upload_that_is_open_to_all(owner: object) -> None:
    text = json.dumps({**json.loads(GOLDEN_TEXT), "Owner": owner})
    with pytest.raises(ValueError, match="Owner"):
        decode(text.encode())


def test_the_plan_is_recorded_in_the_spelling_of_s3() -> None:
    plan = Plan(
        private={"order": "7"},
        max_size=5,
        lifetime=60,
        object=ObjectOptions(cache_control="no-store", kms_key_id="k", tags={"a": "b"}),
    )
    planned = replace(GOLDEN, info=replace(GOLDEN.info, plan=plan))
    assert json.loads(encode(planned))["Plan"] == {
        "Private": {"order": "7"},
        "MaxSize": 5,
        "Lifetime": 60,
        "Object": {"CacheControl": "no-store", "KmsKeyId": "k", "Tags": {"a": "b"}},
    }
    assert decode(encode(planned)) == planned


# -- encoding and decoding -------------------------------------------------------------------------

KEY_OCTETS = bytes(set(range(0x21, 0x100)) - {0x2C, 0x7F})
keys = st.lists(st.sampled_from(KEY_OCTETS), min_size=1, max_size=12).map(bytes)
values = st.binary(max_size=40)
instants = st.datetimes(
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))])
).filter(lambda instant: instant.year >= 1970)


@st.composite
def some_metadata(draw: st.DrawFn) -> Metadata:
    """Metadata as `protocol.fields` returns it: keys of any octets, values of any bytes."""
    pairs: dict[str, bytes] = {}
    written: list[str] = []
    for octets in draw(st.lists(keys, max_size=5)):
        text = octets.decode("latin-1")
        try:
            key = octets.decode()
        except UnicodeDecodeError:
            key = text
        if key in pairs:
            continue
        pairs[key] = draw(values)
        value = b64encode(pairs[key]).decode()
        item = f"{text} {value}" if value or draw(st.booleans()) else text
        written.append(draw(st.sampled_from(["", " "])) + item)
    return Metadata(tuple(pairs.items()), ",".join(written)) if pairs else Metadata()


utf8 = st.text(st.characters(codec="utf-8"), max_size=20)
plans = st.just(NO_PLAN) | st.builds(
    Plan,
    private=st.dictionaries(utf8, utf8, max_size=3),
    max_size=st.none() | st.integers(0, 2**50),
    lifetime=st.none() | st.integers(0, 10**6) | st.floats(0, 10**6),
    object=st.builds(
        ObjectOptions,
        content_disposition=st.sampled_from([None, "inline"]),
        user_metadata=st.sampled_from([None, {}, {"a": "b"}]),
        tags=st.sampled_from([None, {}, {"a": ""}]),
        encryption=st.sampled_from([None, "aws:kms"]),
        kms_key_id=st.sampled_from([None, "key"]),
        bucket_key=st.sampled_from([None, True, False]),
    ),
)


answers = st.none() | st.builds(
    Answer,
    fields=st.dictionaries(st.sampled_from(["X-A", "Server-Timing"]), st.text("ab \xe4")),
    body=st.binary(max_size=40),
    content_type=st.sampled_from(["application/json", "text/plain; charset=utf-8"]),
)


rejections = st.builds(
    lambda status, keep: Rejected(status, "no", fields={"X-A": "b"}, keep=keep).rejection,
    st.integers(400, 499),
    st.booleans(),
)


@st.composite
def records(draw: st.DrawFn) -> UploadRecord:
    state = draw(st.sampled_from(State))
    length = draw(st.one_of(st.none(), st.integers(0, PartLimits().max_length)))
    plan = draw(
        st.one_of(
            st.just(plan_for(length, PartLimits())),
            st.builds(PartPlan, st.integers(1, 2**50), *[st.integers(0, 2**50)] * 4),
            st.none(),
        )
    )
    return UploadRecord(
        info=UploadInfo(
            id=ID,
            length=length,
            offset=draw(st.integers(0, length or 0)),
            metadata=draw(some_metadata()),
            state=state,
            rejection=draw(rejections) if state is State.REJECTED else None,
            created=draw(st.one_of(st.none(), instants)),
            expires=draw(st.one_of(st.none(), instants)),
            concat=draw(st.sampled_from([None, Partial(), Final((ID, ID), "final;a b")])),
            owner=draw(st.one_of(st.none(), st.text(st.characters(codec="utf-8"), min_size=1))),
            plan=draw(plans),
            answer=draw(answers),
        ),
        bucket=draw(st.text("abc-", min_size=3, max_size=20)),
        key=draw(st.text(min_size=1, max_size=20)),
        multipart=draw(st.one_of(st.none(), st.text("aB1._~-", min_size=1, max_size=20))),
        plan=plan,
    )


@pytest.mark.property
@given(records())
def test_decoding_returns_the_encoded_record(record: UploadRecord) -> None:
    """D-01: including every byte of the metadata and the part plan."""
    content = encode(record)
    assert decode(content) == record
    assert encode(decode(content)) == content
    assert b"\n" not in content


@pytest.mark.parametrize(
    ("octets", "key"),
    [
        ("à".encode(), "à"),
        ("日本".encode(), "日本"),
        (b"x\xa0y", "x\xa0y"),
        (b"\x85", "\x85"),
        (b"\xff\xfe", "\xff\xfe"),
        (b"a=b;c", "a=b;c"),
    ],
)
def test_keys_that_are_not_ascii_are_decoded(octets: bytes, key: str) -> None:
    """Python treats some of their octets as whitespace."""
    raw = octets.decode("latin-1") + " dmFsdWU="
    record = UploadRecord(
        UploadInfo(ID, 1, metadata=Metadata(((key, b"value"),), raw)), "b", "k", None, None
    )
    assert decode(encode(record)) == record


def test_the_offset_of_a_finished_record_is_its_length() -> None:
    finished = GOLDEN.with_state(State.FINISHED)
    assert (finished.info.state, finished.info.offset) == (State.FINISHED, 500)
    assert GOLDEN.with_state(State.FINISHING).info.offset == 0
    assert decode(encode(finished)) == finished


def test_storage_is_the_location_of_the_object_only() -> None:
    assert GOLDEN.storage == {"Type": "s3store", "Bucket": "bucket", "Key": "uploads/" + ID}


# -- records of tusd -------------------------------------------------------------------------------

OF_TUSD = (
    '{"ID":"uploadId+multipartId","Size":500,"SizeIsDeferred":false,"Offset":0,'
    '"MetaData":{"bar":"menü\\r\\nhi","filetype":"application/pdf","foo":"hello"},'
    '"IsPartial":false,"IsFinal":false,"PartialUploads":null,'
    '"Storage":{"Bucket":"bucket","Key":"uploadId","Type":"s3store"}}'
)


def test_a_record_of_tusd_is_decoded() -> None:
    assert decode(OF_TUSD.encode()) == UploadRecord(
        info=UploadInfo(
            UploadId("uploadId+multipartId"),
            500,
            metadata=Metadata(
                (
                    ("bar", "menü\r\nhi".encode()),
                    ("filetype", b"application/pdf"),
                    ("foo", b"hello"),
                )
            ),
        ),
        bucket="bucket",
        key="uploadId",
        multipart="multipartId",
        plan=None,
    )


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ('{"ID":"a+b"}', 0),
        ('{"ID":"a+b","Size":7}', 7),
        ('{"ID":"a+b","Size":7,"MetaData":null,"Storage":null}', 7),
        ('{"ID":"a+b","Size":0,"SizeIsDeferred":true,"Offset":12}', None),
        ('{"ID":"a+b","Size":7,"IsFinal":true,"PartialUploads":["x+y"],"New":[1]}', 7),
    ],
)
def test_missing_empty_and_unknown_fields_are_accepted(text: str, length: int | None) -> None:
    record = decode(text.encode())
    assert record.info.length == length
    assert record.info.metadata == Metadata()
    assert (record.bucket, record.key, record.multipart) == ("", "", "b")


def test_concatenation_is_encoded_as_in_tusd() -> None:
    """CO-01, CO-03: and the header field is stored, which tusd does not do."""
    info = UploadInfo(ID, 7, concat=Final((UploadId("a"), UploadId("b+c")), "final;/files/a b+c"))
    fields = json.loads(encode(UploadRecord(info, "b", "k", None, PartPlan(1))))
    assert (fields["IsPartial"], fields["IsFinal"]) == (False, True)
    assert fields["PartialUploads"] == ["a", "b+c"]
    partial = UploadInfo(ID, 7, concat=Partial())
    fields = json.loads(encode(UploadRecord(partial, "b", "k", None, PartPlan(1))))
    assert (fields["IsPartial"], fields["IsFinal"]) == (True, False)
    of_tusd = '{"ID":"a+b","Size":7,"IsFinal":true,"PartialUploads":["x+y","z"]}'
    assert decode(of_tusd.encode()).info.concat == Final((UploadId("x+y"), UploadId("z")))
    assert decode(b'{"ID":"a+b","IsPartial":true}').info.concat == Partial()
    with pytest.raises(ValueError, match="PartialUploads"):
        decode(b'{"ID":"a+b","IsFinal":true,"PartialUploads":"x"}')


def test_tusds_html_escapes_are_decoded() -> None:
    text = '{"ID":"a+b","MetaData":{"name":"\\u003ca\\u003e \\u0026 \\u2028"}}'
    assert decode(text.encode()).info.metadata.text("name") == "<a> & \u2028"


def test_the_upload_id_follows_the_last_plus_of_a_tusd_id() -> None:
    assert decode(b'{"ID":"a+b+c"}').multipart == "c"
    assert decode(b'{"ID":"abc"}').multipart is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"{}",
        b'{"ID":null}',
        b'{"ID":7}',
        b"\xff\xfe",
        b'{"ID":"a","Size":"many"}',
        b'{"ID":"a","State":"asleep"}',
        b'{"ID":"a","MetaData":[1]}',
        b'{"ID":"a","PartPlan":["x"]}',
        b'{"ID":"a","Created":"yesterday"}',
        b'{"ID":"a","Created":"2026-01-02T03:04:05"}',
        b'{"ID":"a","Expires":"2026-01-02T03:04:05"}',
        b'{"ID":"a","Expires":5}',
        b'{"ID":"a","Size":Infinity}',
        b'{"ID":"a","Size":1e400}',
        b'{"ID":"a","Size":-1}',
        b'{"ID":"a","Size":9223372036854775808}',
        b'{"ID":"a","Size":true}',
        b'{"ID":"a","Offset":NaN}',
        b'{"ID":"a","Storage":"s3store"}',
        b'{"ID":"a","Storage":{"Key":5}}',
        b'{"ID":"a","PartPlan":[0]}',
        b'{"ID":"a","ConfirmedParts":1}',
        b'{"ID":"a","Size":9,"PartPlan":[5,0,0,0,0],"ConfirmedParts":2}',
        b'{"ID":"a","Size":90,"PartPlan":[5,0,0,3,15],"ConfirmedParts":2}',
        b'{"ID":"a","Size":90,"PartPlan":[5,0,0,0,0],"ConfirmedParts":-1}',
        b'{"ID":"a","Size":90,"PartPlan":[5,0,0,0,0],"ConfirmedParts":1.0}',
        b'{"ID":"a","PartPlan":[5,0,0,0,0,0]}',
        b'{"ID":"a","State":"rejected"}',
        b'{"ID":"a","Rejection":{"Status":422,"Sentence":"no","Fields":{}}}',
        b'{"ID":"a","State":"rejected","Rejection":{"Status":500,"Sentence":"no","Fields":{}}}',
        b'{"ID":"a","State":"rejected","Rejection":{"Status":422,"Fields":{}}}',
        b'{"ID":"a","Answer":[]}',
        b'{"ID":"a","Answer":{}}',
        b'{"ID":"a","Answer":{"Fields":{},"Body":"no base64","ContentType":"a/b"}}',
        b'{"ID":"a","Answer":{"Fields":{"A":"b\\r\\nc"},"Body":"","ContentType":"a/b"}}',
        b'{"ID":"a","Answer":{"Fields":{},"Body":"","ContentType":"a/b\\n"}}',
        b'{"ID":"a","Plan":[]}',
        b'{"ID":"a","Plan":{"Private":{"a":5}}}',
        b'{"ID":"a","Plan":{"MaxSize":-1}}',
        b'{"ID":"a","Plan":{"MaxSize":"5"}}',
        b'{"ID":"a","Plan":{"MaxSize":true}}',
        b'{"ID":"a","Plan":{"Lifetime":1e400}}',
        b'{"ID":"a","Plan":{"Object":{"Tags":[]}}}',
        b'{"ID":"a","Plan":{"Object":{"CacheControl":"a\\nb"}}}',
        b'{"ID":"a","Plan":{"Object":{"BucketKey":"yes"}}}',
        b'{"ID":' + b"[" * 100_000,
        b'{"ID":"a","New":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_invalid_content_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError):
        decode(content)
