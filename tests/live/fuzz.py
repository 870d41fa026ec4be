"""Requests that no client should send, made by a seeded generator. None of them is a valid change.

Each is built so that it cannot be one, whatever a lenient server makes of its oddities: it names a
wrong offset, version or type, or an upload that does not exist, or its head is no HTTP.
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
"""What is no number of bytes, or is one that no upload here has as its offset."""

TOO_LARGE = ["9007199254740993", "999999999999999", "1000000000000000", "9223372036854775807"]
"""Lengths over what the store can hold."""

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

TYPES = [
    *("text/plain", "application/octet-stream", "application/partial-upload", "", "*/*", "/", ";"),
    *("application/offset+octet-stream,text/plain", "application", "multipart/form-data", "\xff/x"),
]

METHODS = [
    *("PUT", "TRACE", "CONNECT", "LINK", "patch", "PATCHX", "Head", "PROPFIND", "A" * 30, "P@TCH"),
    *("MKCOL", "M-SEARCH", "QUERY", "get", "DELETEE"),
]

BAD_METADATA = [
    *(",", "a YQ==,,b Yg==", "a YQ==,", "a YQ==,a Yg==", "a @@@", "a YQ", "a _-8=", "a YQ== x"),
    *("a  YQ==", "a\tYQ==", "a YQ==, ,b", "a YWJj=", "a ====", "a \xff", "\x7f YQ=="),
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
class Probe:
    """A request as bytes.

    Attributes:
        kind: what is odd about it.
        data: what is sent before the connection is half closed.
    """

    kind: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Targets:
    """Uploads that are there, and stay as they are.

    Attributes:
        paths: of all of them.
        offset: bytes that each of them has; none of the generated offsets.
    """

    paths: list[str]
    offset: int


def probes(count: int, targets: Targets, dice: random.Random) -> list[Probe]:
    """So many of them, in equal shares of each kind."""
    makers = list(_MAKERS.items())
    made = []
    for number in range(count):
        kind, make = makers[number % len(makers)]
        made.append(Probe(kind, make(targets, dice)))
    dice.shuffle(made)
    return made


def _request(
    method: str, path: str, fields: list[tuple[str, str]], body: bytes = b"", version: str = "1.1"
) -> bytes:
    lines = [f"{method} {path} HTTP/{version}", f"Host: {HOST}"]
    lines += [f"{name}: {value}" for name, value in fields]
    return _octets("\r\n".join([*lines, "", ""])) + body


def _octets(text: str) -> bytes:
    """Characters up to U+00FF become one byte each; others are sent as UTF-8."""
    return b"".join(c.encode("latin-1" if c <= "\xff" else "utf-8") for c in text)


def _wrong_offset(targets: Targets, dice: random.Random) -> int:
    return targets.offset + dice.choice([-1, 1, 1000, -targets.offset, 2**40, 2**63 - 1 - 2**20])


def _patch_fields(offset: object, **more: str) -> list[tuple[str, str]]:
    named = [(name.replace("_", "-"), value) for name, value in more.items()]
    base = {
        "Tus-Resumable": "1.0.0",
        "Content-Type": "application/offset+octet-stream",
        "Upload-Offset": str(offset),
        "Content-Length": "5",
    }
    return [*((base | dict(named)).items())]


def _chunked_fields(offset: int, coding: str) -> list[tuple[str, str]]:
    fields = dict(_patch_fields(offset)) | {"Transfer-Encoding": coding}
    del fields["Content-Length"]
    return [*fields.items()]


def _numbers(targets: Targets, dice: random.Random) -> bytes:
    """C-34"""
    path = dice.choice(targets.paths)
    return _request("PATCH", path, _patch_fields(dice.choice(NUMBERS)), b"hello")


def _lengths_of_creations(targets: Targets, dice: random.Random) -> bytes:
    """CR-03 to CR-05"""
    value = dice.choice([n for n in NUMBERS if n.strip(" \t") != "1"] + TOO_LARGE)
    fields = [("Tus-Resumable", "1.0.0"), ("Upload-Length", value)]
    if dice.random() < 0.2:
        fields.append(("Upload-Defer-Length", dice.choice(["1", "0", "x"])))
    return _request("POST", "/files", fields)


def _deferred(targets: Targets, dice: random.Random) -> bytes:
    """DL-02, CR-04"""
    value = dice.choice(["0", "2", "01", "true", "", "1,1", "-1", "1.0", "٣"])
    return _request("POST", "/files", [("Tus-Resumable", "1.0.0"), ("Upload-Defer-Length", value)])


def _versions(targets: Targets, dice: random.Random) -> bytes:
    """C-02"""
    method = dice.choice(["POST", "PATCH", "DELETE", "HEAD"])
    path = "/files" if method == "POST" else dice.choice(targets.paths)
    fields = dict(_patch_fields(targets.offset, Upload_Length="5")) | {
        "Tus-Resumable": dice.choice(VERSIONS)
    }
    # A DELETE of no version is how the IETF's protocol cancels an upload.
    if method != "DELETE" and dice.random() < 0.2:
        del fields["Tus-Resumable"]
    return _request(method, path, list(fields.items()), b"hello")


def _types(targets: Targets, dice: random.Random) -> bytes:
    """C-31"""
    fields = _patch_fields(targets.offset, Content_Type=dice.choice(TYPES))
    return _request("PATCH", dice.choice(targets.paths), fields, b"hello")


def _methods(targets: Targets, dice: random.Random) -> bytes:
    """C-46, C-11"""
    path = dice.choice([*targets.paths, "/files"])
    if dice.random() < 0.5:
        return _request(dice.choice(METHODS), path, _patch_fields(targets.offset), b"hello")
    override = dice.choice([*METHODS, "PATCH,PATCH", "OPTIONS", "TRACE", "\xff", "PATCH "])
    fields = _patch_fields(_wrong_offset(targets, dice), X_HTTP_Method_Override=override)
    return _request("POST", path, fields, b"hello")


def _metadata(targets: Targets, dice: random.Random) -> bytes:
    """CM-05 to CM-07, and random bytes behind something that is wrong already"""
    value = dice.choice(BAD_METADATA)
    if dice.random() < 0.4:
        noise = dice.randbytes(dice.randrange(1, 300)).translate(None, b"\r\n\0")
        value = "a @@@," + noise.decode("latin-1")
    fields = [("Tus-Resumable", "1.0.0"), ("Upload-Length", "5"), ("Upload-Metadata", value)]
    return _request("POST", "/files", fields)


def _paths(targets: Targets, dice: random.Random) -> bytes:
    path = dice.choice(PATHS)
    known = dice.choice(targets.paths)
    if dice.random() < 0.5:
        path = dice.choice(
            [
                *(f"{known}.info", f"{known}.part", f"{known}/", f"{known};x", f"{known}%00"),
                *(f"{known}%0a", f"{known}/../x", f"/{known}/", f"{known[:-1]}", f"{known}A"),
                *(f"/x{known}", known.upper() + "A", f"{known}%20", f"/files/..{known}"),
            ]
        )
    method = dice.choice(["PATCH", "DELETE", "HEAD", "GET", "OPTIONS"])
    # An empty body or a wrong offset: a path that is an upload's after all is not changed by it,
    # and a DELETE goes only where none can be.
    return _request(method, path, _patch_fields(_wrong_offset(targets, dice)), b"hello")


def _framing(targets: Targets, dice: random.Random) -> bytes:
    path, offset = dice.choice(targets.paths), _wrong_offset(targets, dice)
    match dice.randrange(6):
        case 0:
            fields = [*_patch_fields(offset), ("Transfer-Encoding", "chunked")]
            return _request("PATCH", path, fields, b"5\r\nhello\r\n0\r\n\r\n")
        case 1:
            fields = [*_patch_fields(offset), ("Content-Length", dice.choice(["5", "6", "0"]))]
            return _request("PATCH", path, fields, b"hello")
        case 2:
            fields = _patch_fields(offset, Content_Length=dice.choice(LENGTHS))
            return _request("PATCH", path, fields, b"hello")
        case 3:
            fields = _chunked_fields(offset, dice.choice(CODINGS))
            return _request("PATCH", path, fields, dice.choice(CHUNKS))
        case 4:
            version = dice.choice(["1.0", "0.9", "1.2", "2.0", "9.9", "1", "x", "1.1 "])
            fields = [*_patch_fields(offset), ("Transfer-Encoding", "chunked")]
            return _request("PATCH", path, fields, dice.choice(CHUNKS), version=version)
        case _:
            # Shorter or longer than it says.
            fields = _patch_fields(
                offset, Content_Length=str(dice.choice([0, 1, 6, 10**6, 10**12]))
            )
            return _request("PATCH", path, fields, b"hello" * dice.randrange(1, 50))


def _chunks_at_the_right_offset(targets: Targets, dice: random.Random) -> bytes:
    """The framing is broken before the first byte of data."""
    fields = _chunked_fields(targets.offset, "chunked")
    broken = [
        b"zz\r\nhello\r\n0\r\n\r\n",
        b"-5\r\nhello",
        b"+5\r\nx",
        b"0x5\r\nhello",
        b"\xff\xfe\r\n",
    ]
    return _request("PATCH", dice.choice(targets.paths), fields, dice.choice(broken))


def _too_long(targets: Targets, dice: random.Random) -> bytes:
    """C-38, DL-09: more than is missing, and more than an upload without a length may hold"""
    size = dice.choice([10**13, 10**18, 2**63 - 1])
    fields = _patch_fields(targets.offset, Content_Length=str(size))
    return _request("PATCH", dice.choice(targets.paths), fields, b"hello")


def _smuggled(targets: Targets, dice: random.Random) -> bytes:
    """A request inside a body that is refused"""
    victim = dice.choice(targets.paths)
    inner = _request("DELETE", victim, [("Tus-Resumable", "1.0.0")])
    fields = _patch_fields(_wrong_offset(targets, dice), Content_Length=str(len(inner) + 3))
    return _request("PATCH", dice.choice(targets.paths), fields, b"xxx" + inner)


def _fields_that_are_none(targets: Targets, dice: random.Random) -> bytes:
    """Every byte that a field may not have, and some that it may"""
    name = dice.choice(
        ["Upload-Offset", "Upload-Length", "Upload-Metadata", "Tus-Resumable", "Content-Type", "X"]
    ).encode()
    odd = (
        dice.choice(
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
    fields = _patch_fields(_wrong_offset(targets, dice))
    head = _request("PATCH", dice.choice(targets.paths), fields)[:-2]
    return head + odd + b"\r\n\r\nhello"


def _sizes_of_fields(targets: Targets, dice: random.Random) -> bytes:
    """CM-10: around gunicorn's limits"""
    size = dice.choice([4000, 8189, 8190, 8191, 9000, 100_000])
    fields = _patch_fields(_wrong_offset(targets, dice))
    if dice.random() < 0.3:
        fields += [(f"X-{number}", "y") for number in range(dice.choice([90, 101, 500]))]
    else:
        fields.append((dice.choice(["Upload-Metadata", "X-Long"]), "a" * size))
    return _request("PATCH", dice.choice(targets.paths), fields, b"hello")


def _twice(targets: Targets, dice: random.Random) -> bytes:
    """Two lines of a field that has one value"""
    fields = _patch_fields(targets.offset)
    name = dice.choice(["Upload-Offset", "Tus-Resumable", "Content-Type", "Content-Length"])
    fields.append((name, dict(fields)[name]))
    if name in {"Content-Type", "Content-Length"}:  # a lenient server may take these for one
        fields = [(n, "1" if n == "Upload-Offset" else value) for n, value in fields]
    return _request("PATCH", dice.choice(targets.paths), fields, b"hello")


def _not_offered(targets: Targets, dice: random.Random) -> bytes:
    """Concatenation and checksums, in any form"""
    noise = base64.b64encode(dice.randbytes(7)).decode()
    if dice.random() < 0.5:
        concat = dice.choice(["final;", "final;/a  /b", "Final;/a", "partial;x", "PARTIAL", "foo"])
        fields = [("Tus-Resumable", "1.0.0"), ("Upload-Concat", concat)]
        return _request("POST", "/files", fields)
    checksum = dice.choice(
        ["sha1", "sha1 ", "sha1 !!!", f"sha999 {noise}", f"sha1 {noise}", "", ","]
    )
    fields = _patch_fields(_wrong_offset(targets, dice), Upload_Checksum=checksum)
    return _request("PATCH", dice.choice(targets.paths), fields, b"hello")


def _drafts(targets: Targets, dice: random.Random) -> bytes:
    """The IETF's protocol, with odd values and a wrong offset"""
    fields = dict(_patch_fields(_wrong_offset(targets, dice)))
    del fields["Tus-Resumable"]
    fields["Content-Type"] = "application/partial-upload"
    odd = ["?0", "?1", "?2", "1", "true", "", "?1;a", "?1, ?0", "(?1)", "\xff", "?", "9" * 20, "-1"]
    names = [
        "Upload-Draft-Interop-Version",
        "Upload-Complete",
        "Upload-Incomplete",
        "Upload-Offset",
    ]
    for name in dice.sample(names, dice.randrange(1, 4)):
        fields[name] = dice.choice(odd)
    if "Upload-Draft-Interop-Version" in fields and dice.random() < 0.8:
        fields["Upload-Draft-Interop-Version"] = dice.choice(["3", "5", "6", "8", "9"])
    return _request("PATCH", dice.choice(targets.paths), list(fields.items()), b"hello")


def _readers(targets: Targets, dice: random.Random) -> bytes:
    """Odd conditions and ranges: they change nothing whatever comes of them"""
    value = dice.choice(
        [
            *("bytes=", "bytes=-", "bytes=a-b", "bytes=5-1", "bytes=0-0,2-3", "x=1-2", "bytes=-0"),
            *("bytes=" + "9" * 400 + "-", "bytes=0-" + "9" * 4000, "*", '"', 'W/"', '"a', "\xff"),
            *("Wed, 99 Jun 2014 16:00:00 GMT", "0", "-1", "Thu, 01 Jan 999999 00:00:00 GMT", ","),
            *("https://x", "null", "http://\xff", "x" * 5000),
        ]
    )
    name = dice.choice(
        [
            *("Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "Origin"),
            *("If-Unmodified-Since", "Host", "X-Forwarded-Host", "Access-Control-Request-Method"),
        ]
    )
    fields = [("Tus-Resumable", "1.0.0"), ("Range", "bytes=0-3"), (name, value)]
    method = dice.choice(["GET", "HEAD", "OPTIONS"])
    return _request(method, dice.choice([*targets.paths, "/files"]), fields)


def _garbage(targets: Targets, dice: random.Random) -> bytes:
    if dice.random() < 0.5:
        return dice.choice(GARBAGE)
    return dice.randbytes(dice.randrange(1, 3000))


def _damaged(targets: Targets, dice: random.Random) -> bytes:
    """A refusable request of which some bytes were changed, dropped or doubled"""
    data = bytearray(_request("PATCH", dice.choice(targets.paths), _patch_fields(2**62), b"hello"))
    for _ in range(dice.randrange(1, 6)):
        # Not the method and the offset: a DELETE or a fitting offset must not come out of it.
        at = dice.randrange(5, len(data))
        match dice.randrange(3):
            case 0:
                data[at] = dice.randrange(256)
            case 1:
                del data[at]
            case _:
                data[at:at] = data[at : at + dice.randrange(1, 20)]
    return bytes(data)


_MAKERS: dict[str, Callable[[Targets, random.Random], bytes]] = {
    make.__name__.strip("_"): make
    for make in (
        *(_numbers, _lengths_of_creations, _deferred, _versions, _types, _methods, _metadata),
        *(_paths, _framing, _chunks_at_the_right_offset, _too_long, _smuggled, _twice),
        *(
            _fields_that_are_none,
            _sizes_of_fields,
            _not_offered,
            _drafts,
            _readers,
            _garbage,
            _damaged,
        ),
    )
}
