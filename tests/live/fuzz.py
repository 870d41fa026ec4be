"""Generate invalid requests from a seeded random number generator. They may change no upload.

Even a lenient server cannot accept them: each has a wrong offset, version or content type, names an
upload that does not exist, or is not HTTP.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Callable
from dataclasses import dataclass

HOST = "127.0.0.1"

NUMBERS = [
    *("", " ", "\t", "-1", "+5", "5.0", "1e3", "0x5", "5 5", "5,5", "0_1", "1;a=1", "NaN", "٥"),
    *("１", "²", "9223372036854775808", "18446744073709551616", "9" * 4001, "9" * 20, "-0", "--1"),
    *("5\x0b", "\xa05", "5\xa0", "true", "null", "1 ", "'1'", '"1"', "1\x00", "5\r", "0b1", "∞"),
]
"""Invalid numbers, and numbers that are not the offset of an upload in this test."""

TOO_LARGE = ["9007199254740993", "999999999999999", "1000000000000000", "9223372036854775807"]
"""Lengths above the store's maximum size."""

VERSIONS = [
    "0.2.2",
    "2.0.0",
    "1.0",
    "1.0.0.0",
    "1.0.0,1.0.0",
    "abc",
    "",
    "１.0.0",
    "1.0.0\xa0",
    "v1",
]

CONTENT_TYPES = [
    *("text/plain", "application/octet-stream", "application/partial-upload", "", "*/*", "/", ";"),
    *("application/offset+octet-stream,text/plain", "application", "multipart/form-data", "\xff/x"),
]

METHODS = [
    *("PUT", "TRACE", "CONNECT", "LINK", "patch", "PATCHX", "Head", "PROPFIND", "A" * 30, "P@TCH"),
    *("MKCOL", "M-SEARCH", "QUERY", "get", "DELETEE"),
]

BAD_METADATA = [
    *(",a @@@,", "a YQ==,,a Yg==", "a YQ==,a Yg==", "a @@@", "a YQ", "a _-8=", "a YQ== x"),
    *("a  YQ==", "a\tYQ==", "a YQ==, ,a", "a YWJj=", "a ====", "a \xff", "\x7f YQ=="),
]

PATHS = [
    *("/files/../x", "/files/..", "/files/%2e%2e", "/files/%00", "/files//", "/files/;params"),
    *("//", "/files/", "/files/" + "a" * 3000, "/files/%0a%0d", "/files/\xe9", "/files/%ff%fe"),
    *("/files/a/b/c", "/files/.", "/files/%2f", "/files/?", "/files/a%20b", "/files/a+b", "/x"),
    *("/files/a.info", "/files/a.part", "/files-x", "/FILES", "*", "", "files", "http://", "/%"),
    *("/files/%u0041", "/files/a\\b", "/files/a|b", "/files/'--", "/files/${x}", "/files/\x7f"),
]

CODINGS = [
    *("gzip, chunked", "identity", "chunked, chunked", "chunked\x0b", "xchunked", "chunked, gzip"),
    *("", "gzip", "CHUNKED", "chunked;q=1", '"chunked"', "\tchunked", "chunked,", ", chunked"),
]

LENGTHS = ["+5", "5,5", "-1", "5 5", "0x5", "", "5_0", "٥", "1e1", "9" * 30, "5;", "\xa05"]

CHUNKS = [
    *(
        b"5\r\nhello\r\n",
        b"zz\r\nhello\r\n0\r\n\r\n",
        b"-5\r\nhello",
        b"5;ext=1\r\nhello\r\n0\r\n\r\n",
    ),
    *(
        b"ffffffffffffffff\r\nx",
        b"0" * 5000 + b"5\r\nhello\r\n0\r\n\r\n",
        b"5\nhello\n0\n\n",
        b"5\r\n",
    ),
    *(
        b"0\r\n" + b"X: y\r\n" * 300 + b"\r\n",
        b"0\r\nContent-Length: 5\r\n\r\n",
        b"0x5\r\nhello",
        b"+5\r\nx",
    ),
    *(
        b"5\r\nhelloXX0\r\n\r\n",
        b"1_0\r\n0123456789abcdef\r\n0\r\n\r\n",
        b"\r\n\r\n",
        b"5 \r\nhello\r\n0\r\n\r\n",
    ),
]

GARBAGE = [
    *(
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x00" * 64,
    ),
    *(
        b"\r\n" * 10,
        b"GET\r\n\r\n",
        b"GET /files\r\n\r\n",
        b"SSH-2.0-x\r\n",
        b"{}",
        b"\r\r\r\r",
        b" GET / HTTP/1.1",
    ),
]


@dataclass(frozen=True, slots=True)
class InvalidRequest:
    """A request as bytes.

    Attributes:
        kind: the name of the function that generated it.
        data: the bytes to send before the connection is half-closed.
    """

    kind: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Targets:
    """Existing uploads that the requests must not change.

    Attributes:
        paths: the paths of the uploads.
        offset: the offset of each upload. No generated offset equals it.
    """

    paths: list[str]
    offset: int


def invalid_requests(count: int, targets: Targets, rng: random.Random) -> list[InvalidRequest]:
    """Return `count` requests in random order, with the same number of each kind."""
    generators = list(_GENERATORS.items())
    requests = []
    for number in range(count):
        kind, generate = generators[number % len(generators)]
        requests.append(InvalidRequest(kind, generate(targets, rng)))
    rng.shuffle(requests)
    return requests


def _request(
    method: str, path: str, fields: list[tuple[str, str]], body: bytes = b"", version: str = "1.1"
) -> bytes:
    lines = [f"{method} {path} HTTP/{version}", f"Host: {HOST}"]
    lines += [f"{name}: {value}" for name, value in fields]
    return _encode("\r\n".join([*lines, "", ""])) + body


def _encode(text: str) -> bytes:
    """Encode characters up to U+00FF as one byte each, others as UTF-8."""
    return b"".join(c.encode("latin-1" if c <= "\xff" else "utf-8") for c in text)


def _wrong_offset(targets: Targets, rng: random.Random) -> int:
    return targets.offset + rng.choice([-1, 1, 1000, -targets.offset, 2**40, 2**63 - 1 - 2**20])


def _patch_fields(offset: object, **changes: str) -> list[tuple[str, str]]:
    """Return the fields of a PATCH; in the names of `changes`, underscores stand for hyphens."""
    named = {name.replace("_", "-"): value for name, value in changes.items()}
    base = {
        "Tus-Resumable": "1.0.0",
        "Content-Type": "application/offset+octet-stream",
        "Upload-Offset": str(offset),
        "Content-Length": "5",
    }
    return list({**base, **named}.items())


def _chunked_fields(offset: int, coding: str) -> list[tuple[str, str]]:
    fields = dict(_patch_fields(offset)) | {"Transfer-Encoding": coding}
    del fields["Content-Length"]
    return [*fields.items()]


def _numbers(targets: Targets, rng: random.Random) -> bytes:
    """C-34: the offset is not a number."""
    path = rng.choice(targets.paths)
    return _request("PATCH", path, _patch_fields(rng.choice(NUMBERS)), b"hello")


def _creation_lengths(targets: Targets, rng: random.Random) -> bytes:
    """CR-03 to CR-05: the length of a creation is invalid."""
    value = rng.choice([n for n in NUMBERS if n.strip(" \t") != "1"] + TOO_LARGE)
    fields = [("Tus-Resumable", "1.0.0"), ("Upload-Length", value)]
    if rng.random() < 0.2:
        fields.append(("Upload-Defer-Length", rng.choice(["1", "0", "x"])))
    return _request("POST", "/files", fields)


def _deferred(targets: Targets, rng: random.Random) -> bytes:
    """DL-02, CR-04: Upload-Defer-Length is not 1."""
    value = rng.choice(["0", "2", "01", "true", "", "1,1", "-1", "1.0", "٣"])
    return _request("POST", "/files", [("Tus-Resumable", "1.0.0"), ("Upload-Defer-Length", value)])


def _versions(targets: Targets, rng: random.Random) -> bytes:
    """C-02: the version is missing or not supported."""
    method = rng.choice(["POST", "PATCH", "DELETE", "HEAD"])
    path = "/files" if method == "POST" else rng.choice(targets.paths)
    fields = dict(_patch_fields(targets.offset, Upload_Length="5")) | {
        "Tus-Resumable": rng.choice(VERSIONS)
    }
    # In the IETF protocol, a DELETE without a version cancels an upload.
    if method != "DELETE" and rng.random() < 0.2:
        del fields["Tus-Resumable"]
    return _request(method, path, list(fields.items()), b"hello")


def _content_types(targets: Targets, rng: random.Random) -> bytes:
    """C-31: another content type."""
    fields = _patch_fields(targets.offset, Content_Type=rng.choice(CONTENT_TYPES))
    return _request("PATCH", rng.choice(targets.paths), fields, b"hello")


def _methods(targets: Targets, rng: random.Random) -> bytes:
    """C-46, C-11: unknown methods and overrides."""
    path = rng.choice([*targets.paths, "/files"])
    if rng.random() < 0.5:
        return _request(rng.choice(METHODS), path, _patch_fields(targets.offset), b"hello")
    override = rng.choice([*METHODS, "PATCH,PATCH", "OPTIONS", "TRACE", "\xff", "PATCH "])
    fields = _patch_fields(_wrong_offset(targets, rng), X_HTTP_Method_Override=override)
    return _request("POST", path, fields, b"hello")


def _metadata(targets: Targets, rng: random.Random) -> bytes:
    """CM-05 to CM-07: invalid metadata, or invalid metadata followed by random bytes."""
    value = rng.choice(BAD_METADATA)
    if rng.random() < 0.4:
        noise = rng.randbytes(rng.randrange(1, 300)).translate(None, b"\r\n\0")
        value = "a @@@," + noise.decode("latin-1")
    fields = [("Tus-Resumable", "1.0.0"), ("Upload-Length", "5"), ("Upload-Metadata", value)]
    return _request("POST", "/files", fields)


def _paths(targets: Targets, rng: random.Random) -> bytes:
    """Paths that are no upload, although they resemble one."""
    path = rng.choice(PATHS)
    known = rng.choice(targets.paths)
    if rng.random() < 0.5:
        path = rng.choice(
            [
                *(f"{known}.info", f"{known}.part", f"{known}/", f"{known};x", f"{known}%00"),
                *(f"{known}%0a", f"{known}/../x", f"/{known}/", f"{known[:-1]}", f"{known}A"),
                *(f"/x{known}", known.upper() + "A", f"{known}%20", f"/files/..{known}"),
            ]
        )
    method = rng.choice(["PATCH", "DELETE", "HEAD", "GET", "OPTIONS"])
    # The offset is wrong, so that an upload does not change if a server normalizes the path to its
    # URL.
    return _request(method, path, _patch_fields(_wrong_offset(targets, rng)), b"hello")


def _framing(targets: Targets, rng: random.Random) -> bytes:
    """A wrong offset, and a body whose length is invalid, contradictory or wrong."""
    path, offset = rng.choice(targets.paths), _wrong_offset(targets, rng)
    match rng.randrange(6):
        case 0:
            fields = [*_patch_fields(offset), ("Transfer-Encoding", "chunked")]
            return _request("PATCH", path, fields, b"5\r\nhello\r\n0\r\n\r\n")
        case 1:
            fields = [*_patch_fields(offset), ("Content-Length", rng.choice(["5", "6", "0"]))]
            return _request("PATCH", path, fields, b"hello")
        case 2:
            fields = _patch_fields(offset, Content_Length=rng.choice(LENGTHS))
            return _request("PATCH", path, fields, b"hello")
        case 3:
            fields = _chunked_fields(offset, rng.choice(CODINGS))
            return _request("PATCH", path, fields, rng.choice(CHUNKS))
        case 4:
            version = rng.choice(["1.0", "0.9", "1.2", "2.0", "9.9", "1", "x", "1.1 "])
            fields = [*_patch_fields(offset), ("Transfer-Encoding", "chunked")]
            return _request("PATCH", path, fields, rng.choice(CHUNKS), version=version)
        case _:
            # The body is shorter or longer than its Content-Length.
            fields = _patch_fields(offset, Content_Length=str(rng.choice([0, 1, 6, 10**6, 10**12])))
            return _request("PATCH", path, fields, b"hello" * rng.randrange(1, 50))


def _chunks_at_the_current_offset(targets: Targets, rng: random.Random) -> bytes:
    """The framing is invalid before the first byte of data."""
    fields = _chunked_fields(targets.offset, "chunked")
    chunks = [
        b"zz\r\nhello\r\n0\r\n\r\n",
        b"-5\r\nhello",
        b"+5\r\nx",
        b"0x5\r\nhello",
        b"\xff\xfe\r\n",
    ]
    return _request("PATCH", rng.choice(targets.paths), fields, rng.choice(chunks))


def _too_long(targets: Targets, rng: random.Random) -> bytes:
    """C-38, DL-09: the body exceeds the remaining bytes, or the maximum of a deferred length."""
    size = rng.choice([10**13, 10**18, 2**63 - 1])
    fields = _patch_fields(targets.offset, Content_Length=str(size))
    return _request("PATCH", rng.choice(targets.paths), fields, b"hello")


def _smuggled(targets: Targets, rng: random.Random) -> bytes:
    """A request inside the body of a rejected request."""
    victim = rng.choice(targets.paths)
    inner = _request("DELETE", victim, [("Tus-Resumable", "1.0.0")])
    fields = _patch_fields(_wrong_offset(targets, rng), Content_Length=str(len(inner) + 3))
    return _request("PATCH", rng.choice(targets.paths), fields, b"xxx" + inner)


def _invalid_field_lines(targets: Targets, rng: random.Random) -> bytes:
    """Field lines with bytes that are not allowed, and some that are."""
    name = rng.choice(
        ["Upload-Offset", "Upload-Length", "Upload-Metadata", "Tus-Resumable", "Content-Type", "X"]
    ).encode()
    line = (
        rng.choice(
            [
                *(
                    b"%b : 5",
                    b" %b: 5",
                    b"%b",
                    b"%b: \x00",
                    b"%b: a\rb",
                    b"%b: a\nb",
                    b"%b: a\r\n b",
                ),
                *(b"%b\x00: 5", b"%b\xff: 5", b"(%b): 5", b"%b:\xff\xfe", b"%b: \x7f", b"\t%b: 5"),
            ]
        )
        % name
    )
    fields = _patch_fields(_wrong_offset(targets, rng))
    head = _request("PATCH", rng.choice(targets.paths), fields)[:-2]
    return head + line + b"\r\n\r\nhello"


def _field_sizes(targets: Targets, rng: random.Random) -> bytes:
    """CM-10: sizes and numbers of fields around gunicorn's limits."""
    size = rng.choice([4000, 8189, 8190, 8191, 9000, 100_000])
    fields = _patch_fields(_wrong_offset(targets, rng))
    if rng.random() < 0.3:
        fields += [(f"X-{number}", "y") for number in range(rng.choice([90, 101, 500]))]
    else:
        fields.append((rng.choice(["Upload-Metadata", "X-Long"]), "a" * size))
    return _request("PATCH", rng.choice(targets.paths), fields, b"hello")


def _duplicate_fields(targets: Targets, rng: random.Random) -> bytes:
    """Two lines of a field that may have one value only."""
    fields = _patch_fields(targets.offset)
    name = rng.choice(["Upload-Offset", "Tus-Resumable", "Content-Type", "Content-Length"])
    fields.append((name, dict(fields)[name]))
    if name in {"Content-Type", "Content-Length"}:  # a lenient server may merge these
        fields = [(n, "1" if n == "Upload-Offset" else value) for n, value in fields]
    return _request("PATCH", rng.choice(targets.paths), fields, b"hello")


def _concatenation_and_checksums(targets: Targets, rng: random.Random) -> bytes:
    """Invalid Upload-Concat, and any Upload-Checksum with a wrong offset."""
    noise = base64.b64encode(rng.randbytes(7)).decode()
    if rng.random() < 0.5:
        concat = rng.choice(["final;", "final;/a  /b", "Final;/a", "partial;x", "PARTIAL", "foo"])
        fields = [("Tus-Resumable", "1.0.0"), ("Upload-Concat", concat)]
        return _request("POST", "/files", fields)
    checksum = rng.choice(
        ["sha1", "sha1 ", "sha1 !!!", f"sha999 {noise}", f"sha1 {noise}", "", ","]
    )
    fields = _patch_fields(_wrong_offset(targets, rng), Upload_Checksum=checksum)
    return _request("PATCH", rng.choice(targets.paths), fields, b"hello")


def _drafts(targets: Targets, rng: random.Random) -> bytes:
    """The IETF protocol, with invalid values and a wrong offset."""
    fields = dict(_patch_fields(_wrong_offset(targets, rng)))
    del fields["Tus-Resumable"]
    fields["Content-Type"] = "application/partial-upload"
    values = [
        "?0",
        "?1",
        "?2",
        "1",
        "true",
        "",
        "?1;a",
        "?1, ?0",
        "(?1)",
        "\xff",
        "?",
        "9" * 20,
        "-1",
    ]
    names = [
        "Upload-Draft-Interop-Version",
        "Upload-Complete",
        "Upload-Incomplete",
        "Upload-Offset",
    ]
    for name in rng.sample(names, rng.randrange(1, 4)):
        fields[name] = rng.choice(values)
    if "Upload-Draft-Interop-Version" in fields and rng.random() < 0.8:
        fields["Upload-Draft-Interop-Version"] = rng.choice(["3", "5", "6", "8", "9"])
    return _request("PATCH", rng.choice(targets.paths), list(fields.items()), b"hello")


def _conditions_and_ranges(targets: Targets, rng: random.Random) -> bytes:
    """Invalid conditions and ranges of methods that change nothing."""
    value = rng.choice(
        [
            *("bytes=", "bytes=-", "bytes=a-b", "bytes=5-1", "bytes=0-0,2-3", "x=1-2", "bytes=-0"),
            *("bytes=" + "9" * 400 + "-", "bytes=0-" + "9" * 4000, "*", '"', 'W/"', '"a', "\xff"),
            *("Wed, 99 Jun 2014 16:00:00 GMT", "0", "-1", "Thu, 01 Jan 999999 00:00:00 GMT", ","),
            *("https://x", "null", "http://\xff", "x" * 5000),
        ]
    )
    name = rng.choice(
        [
            *("Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "Origin"),
            *("If-Unmodified-Since", "Host", "X-Forwarded-Host", "Access-Control-Request-Method"),
        ]
    )
    fields = [("Tus-Resumable", "1.0.0"), ("Range", "bytes=0-3"), (name, value)]
    method = rng.choice(["GET", "HEAD", "OPTIONS"])
    return _request(method, rng.choice([*targets.paths, "/files"]), fields)


def _garbage(targets: Targets, rng: random.Random) -> bytes:
    if rng.random() < 0.5:
        return rng.choice(GARBAGE)
    return rng.randbytes(rng.randrange(1, 3000))


def _mutated(targets: Targets, rng: random.Random) -> bytes:
    """An invalid request with some bytes changed, removed or repeated."""
    # The offset is so wrong that a few changed digits do not make it right.
    data = bytearray(_request("PATCH", rng.choice(targets.paths), _patch_fields(2**62), b"hello"))
    for _ in range(rng.randrange(1, 6)):
        # Keep the method, so that the request does not become a DELETE.
        position = rng.randrange(5, len(data))
        match rng.randrange(3):
            case 0:
                data[position] = rng.randrange(256)
            case 1:
                del data[position]
            case _:
                data[position:position] = data[position : position + rng.randrange(1, 20)]
    return bytes(data)


_GENERATORS: dict[str, Callable[[Targets, random.Random], bytes]] = {
    generate.__name__.strip("_"): generate
    for generate in (
        *(_numbers, _creation_lengths, _deferred, _versions, _content_types, _methods, _metadata),
        *(_paths, _framing, _chunks_at_the_current_offset, _too_long, _smuggled, _duplicate_fields),
        *(
            _invalid_field_lines,
            _field_sizes,
            _concatenation_and_checksums,
            _drafts,
            _conditions_and_ranges,
            _garbage,
            _mutated,
        ),
    )
}
