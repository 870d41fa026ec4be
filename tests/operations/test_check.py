"""`tus-wsgi check`, against a real server that is set up wrongly in every way that it knows."""

from __future__ import annotations

import json
import re
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import time

import pytest
from click.testing import CliRunner

from demo.seaweedfs import SeaweedFS
from tests.harness.policies import denying
from tus_wsgi.cli import main
from tus_wsgi.stores.s3.client import make_client

ACTIONS = {
    "s3:AbortMultipartUpload",
    "s3:DeleteObject",
    "s3:GetObject",
    "s3:ListMultipartUploadParts",
    "s3:PutObject",
}

ALL = [
    "settings",
    "spool directory",
    "locker",
    "clock",
    "one-part upload",
    "reading",
    "conditional writes",
    "multipart upload",
    "listing parts",
    "aborting",
    "deleting",
]


@dataclass(frozen=True, slots=True)
class Report:
    """What the command said.

    Attributes:
        code: its exit code.
        verdicts: by check.
        details: by check.
    """

    code: int
    verdicts: dict[str, str]
    details: dict[str, str]

    @property
    def failed(self) -> dict[str, str]:
        return {
            name: self.details[name] for name, said in self.verdicts.items() if said == "FAILED"
        }


@dataclass(frozen=True, slots=True)
class Corner:
    """Where one test's checks write."""

    server: SeaweedFS
    prefix: str
    environ: dict[str, str]

    def check(self, **changes: str) -> Report:
        ran = CliRunner().invoke(main, ["check", "--json"], env=self.environ | changes)
        assert ran.exception is None or isinstance(ran.exception, SystemExit)
        found = json.loads(ran.stdout)
        return Report(
            ran.exit_code,
            {one["check"]: one["verdict"] for one in found},
            {one["check"]: one["detail"] for one in found},
        )

    def keys(self) -> list[str]:
        page = self.server.client().list_objects_v2(Bucket=self.server.bucket, Prefix=self.prefix)
        return [one["Key"] for one in page.get("Contents", [])]

    def multiparts(self) -> list[str]:
        page = self.server.client().list_multipart_uploads(
            Bucket=self.server.bucket, Prefix=self.prefix
        )
        return [one["Key"] for one in page.get("Uploads", [])]


@pytest.fixture
def corner(s3: SeaweedFS, tmp_path: Path) -> Corner:
    prefix = f"check/{secrets.token_hex(6)}/"
    environ = s3.environ() | {
        "TUS_S3_OBJECT_PREFIX": prefix + "data",
        "TUS_S3_METADATA_OBJECT_PREFIX": prefix + "info",
        "TUS_LOCK_DIR": str(tmp_path / "locks"),
        "TUS_SPOOL_DIR": str(tmp_path),
        "AWS_MAX_ATTEMPTS": "1",
    }
    return Corner(s3, prefix, environ)


def test_the_five_permissions_are_enough_and_nothing_is_left(corner: Corner) -> None:
    report = corner.check()
    assert report.verdicts == dict.fromkeys(ALL, "ok")
    assert report.code == 0
    assert {report.details[name] for name in ALL if name != "clock"} >= ACTIONS
    assert report.details["conditional writes"] == "honoured"
    assert corner.keys() == corner.multiparts() == []


def test_a_line_is_printed_for_each_check(corner: Corner) -> None:
    ran = CliRunner().invoke(main, ["check"], env=corner.environ)
    assert ran.exit_code == 0
    lines = ran.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == [f"ok       {name}" for name in ALL]
    assert "ok       deleting: s3:DeleteObject" in lines


@pytest.mark.parametrize(
    ("action", "failing", "skipped"),
    [
        (
            "s3:PutObject",
            {"one-part upload", "multipart upload"},
            {"reading", "conditional writes"},
        ),
        ("s3:GetObject", {"reading"}, {"conditional writes"}),
        ("s3:ListMultipartUploadParts", {"listing parts"}, set()),
        ("s3:AbortMultipartUpload", {"aborting", "cleaning up"}, set()),
        ("s3:DeleteObject", {"deleting", "cleaning up"}, set()),
    ],
)
def test_a_missing_permission_is_named_and_the_others_are_tried(
    corner: Corner, action: str, failing: set[str], skipped: set[str]
) -> None:
    with denying(corner.server, action, corner.prefix):
        report = corner.check()
    assert report.code == 1
    if action == "s3:PutObject":
        # Without it SeaweedFS denies the other calls of a multipart upload as well.
        failing |= {"listing parts", "aborting"} & set(report.failed)
    assert set(report.failed) == failing
    assert {name for name, said in report.verdicts.items() if said == "skipped"} == skipped
    named = [
        said.partition(" is not allowed: allow it on arn:aws:s3:::")
        for said in report.failed.values()
    ]
    assert named[0][:2] == (action, " is not allowed: allow it on arn:aws:s3:::")
    left = corner.keys() + corner.multiparts()
    if "cleaning up" in failing:
        assert left
        assert all(key in report.details["cleaning up"] for key in left)
    else:
        assert left == []


@pytest.mark.parametrize("place", ["data", "info"])
def test_a_permission_for_one_of_the_prefixes_is_not_enough(corner: Corner, place: str) -> None:
    with denying(corner.server, "s3:GetObject", f"{corner.prefix}{place}/"):
        assert "reading" in corner.check().failed


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


WRONG: list[tuple[str, Callable[[SeaweedFS], dict[str, str]], str]] = [
    ("bucket", lambda _: {"TUS_S3_BUCKET": "nowhere"}, "nothing is allowed in the bucket"),
    ("no bucket's name", lambda _: {"TUS_S3_BUCKET": "!"}, "check TUS_S3_BUCKET"),
    ("secret", lambda _: {"AWS_SECRET_ACCESS_KEY": "x"}, "check AWS_SECRET_ACCESS_KEY"),
    ("key", lambda _: {"AWS_ACCESS_KEY_ID": "nobody"}, "check AWS_ACCESS_KEY_ID"),
    ("half", lambda _: {"AWS_SECRET_ACCESS_KEY": ""}, "credentials"),
    (
        "no credentials",
        lambda _: {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""},
        "there are no credentials",
    ),
    (
        "endpoint",
        lambda _: {"TUS_S3_ENDPOINT": f"http://127.0.0.1:{free_port()}"},
        "cannot be reached: check TUS_S3_ENDPOINT",
    ),
    ("host", lambda _: {"TUS_S3_ENDPOINT": "http://nowhere.invalid"}, "cannot be reached"),
    (
        "TLS",
        lambda server: {"TUS_S3_ENDPOINT": server.endpoint.replace("http:", "https:")},
        "the TLS connection failed",
    ),
]


@pytest.mark.parametrize(
    ("make", "words"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG]
)
def test_what_is_in_the_way_of_everything_is_said_once_and_in_words(
    corner: Corner, make: Callable[[SeaweedFS], dict[str, str]], words: str
) -> None:
    changes = make(corner.server)
    report = corner.check(**changes)
    assert report.code == 1
    (said,) = report.failed.values()
    assert words in said
    for secret in (corner.environ["AWS_SECRET_ACCESS_KEY"], changes.get("AWS_SECRET_ACCESS_KEY")):
        assert not secret or len(secret) < 5 or secret not in json.dumps(report.details)
    assert corner.keys() == corner.multiparts() == []


def error(code: str, message: str = "", more: str = "") -> str:
    return f"<Error><Code>{code}</Code><Message>{message}</Message>{more}</Error>"


@contextmanager
def canned(status: int, body: str, **fields: str) -> Iterator[str]:
    """The address of a server that says the same to everybody."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response_only(status)
            for name, text in {"Date": formatdate(usegmt=True), **fields}.items():
                self.send_header(name.replace("_", "-"), text)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    for method in ("DELETE", "GET", "HEAD", "POST", "PUT"):
        setattr(Handler, f"do_{method}", Handler.answer)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


ANSWERS = [
    (403, error("RequestTimeTooSkewed"), "this machine's clock is wrong"),
    (
        400,
        error("AuthorizationHeaderMalformed", "expecting", "<Region>eu-west-1</Region>"),
        "the bucket is in another region: set AWS_DEFAULT_REGION=eu-west-1",
    ),
    (400, error("ExpiredToken"), "the temporary credentials have expired"),
    (400, error("InvalidToken"), "AWS_SESSION_TOKEN"),
    (503, error("SlowDown"), "try again later (PutObject: SlowDown"),
    (
        403,
        error("AccessDenied", "not authorized to perform: kms:GenerateDataKey"),
        "kms:GenerateDataKey",
    ),
    (418, error("Teapot", "short and stout"), "short and stout"),
    (403, "<html>Forbidden</html>", "speaks no S3"),
    (200, "<html>Welcome</html>", "speaks no S3"),
    (404, error("NoSuchBucket"), "there is no bucket 'uploads' at http"),
    (502, "<html>Bad Gateway</html>", "the service is in trouble"),
]


@pytest.mark.parametrize(("status", "body", "words"), ANSWERS, ids=[row[1] for row in ANSWERS])
def test_answers_that_no_local_server_gives_are_explained(
    corner: Corner, status: int, body: str, words: str
) -> None:
    with canned(status, body, Content_Type="application/xml") as endpoint:
        report = corner.check(TUS_S3_ENDPOINT=endpoint)
    assert report.code == 1
    assert words in report.failed["one-part upload"]


def test_the_region_that_is_named_is_set_by_the_variable_that_is_named(
    corner: Corner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """boto3 does not read AWS_REGION, which other SDKs do."""
    body = error("AuthorizationHeaderMalformed", "expecting", "<Region>eu-west-1</Region>")
    with canned(400, body, Content_Type="application/xml") as endpoint:
        said = corner.check(TUS_S3_ENDPOINT=endpoint).failed["one-part upload"]
    ((name, region),) = re.findall(r"set (\w+)=(\S+)", said)
    monkeypatch.setenv(name, region)
    assert make_client(endpoint=None, parallel_parts=1).meta.region_name == region == "eu-west-1"


@pytest.mark.parametrize(("offset", "said"), [(3600, "behind"), (-3600, "ahead of")])
def test_a_clock_that_is_off_is_told_before_s3_refuses_it(
    corner: Corner, offset: int, said: str
) -> None:
    date = formatdate(time() + offset, usegmt=True)
    with canned(403, error("AccessDenied"), Date=date) as endpoint:
        report = corner.check(TUS_S3_ENDPOINT=endpoint)
    assert f"{said} the service's: set it" in report.failed["clock"]


def test_every_mistake_in_the_settings_is_a_line(corner: Corner) -> None:
    ran = CliRunner().invoke(main, ["check"], env=corner.environ | {"TUS_A": "1", "TUS_B": "1"})
    assert ran.exit_code == 1
    assert [line[:25] for line in ran.stdout.splitlines()] == [
        "FAILED   settings: TUS_A:",
        "FAILED   settings: TUS_B:",
    ]


def test_directories_that_cannot_be_used_are_named(corner: Corner, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    report = corner.check(TUS_SPOOL_DIR=str(tmp_path / "missing"), TUS_LOCK_DIR=str(file))
    assert set(report.failed) == {"spool directory", "locker"}
    assert "missing" in report.failed["spool directory"]
    assert "TUS_SPOOL_DIR" in report.failed["spool directory"]
    assert str(file) in report.failed["locker"]
