"""`tus-wsgi check` against a real S3 server, with every misconfiguration that it can detect."""

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
from typing import Any
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner

from demo.seaweedfs import SeaweedFS
from tests.harness.policies import denying
from tests.harness.proxies.deviations import COPY_REFUSALS as REPLIES
from tests.harness.proxies.deviations import Deviation, answering, requiring_checksums
from tests.harness.proxies.fault_proxy import FaultProxy
from tests.operations.answers import Answer, error_document, respond_with
from tus_wsgi.cli import main
from tus_wsgi.stores.s3.client import make_client

PERMISSIONS = {
    "s3:AbortMultipartUpload",
    "s3:DeleteObject",
    "s3:GetObject",
    "s3:ListMultipartUploadParts",
    "s3:PutObject",
}

CHECKS = [
    "settings",
    "spool directory",
    "locker",
    "clock",
    "one-part upload",
    "reading",
    "conditional writes",
    "multipart upload",
    "copying parts",
    "listing parts",
    "aborting",
    "deleting",
]


@dataclass(frozen=True, slots=True)
class Report:
    """The output of the command.

    Attributes:
        code: the exit code.
        statuses: the status of each check.
        details: the details of each check.
    """

    code: int
    statuses: dict[str, str]
    details: dict[str, str]

    @property
    def failed(self) -> dict[str, str]:
        return {
            check: self.details[check]
            for check, status in self.statuses.items()
            if status == "FAILED"
        }


@dataclass(frozen=True, slots=True)
class Deployment:
    """The settings of a server, with a prefix of its own for each test."""

    server: SeaweedFS
    prefix: str
    environ: dict[str, str]

    def check(self, **changes: str) -> Report:
        """Run the command with these variables in addition."""
        ran = CliRunner().invoke(main, ["check", "--json"], env=self.environ | changes)
        assert ran.exception is None or isinstance(ran.exception, SystemExit)
        results = json.loads(ran.stdout)
        return Report(
            ran.exit_code,
            {result["check"]: result["status"] for result in results},
            {result["check"]: result["detail"] for result in results},
        )

    def list_keys(self) -> list[str]:
        page = self.server.client().list_objects_v2(Bucket=self.server.bucket, Prefix=self.prefix)
        return [entry["Key"] for entry in page.get("Contents", [])]

    def list_multiparts(self) -> list[str]:
        page = self.server.client().list_multipart_uploads(
            Bucket=self.server.bucket, Prefix=self.prefix
        )
        return [entry["Key"] for entry in page.get("Uploads", [])]


@pytest.fixture
def deployment(s3: SeaweedFS, tmp_path: Path) -> Deployment:
    prefix = f"check/{secrets.token_hex(6)}/"
    environ = s3.environ() | {
        "TUS_S3_OBJECT_PREFIX": prefix + "data",
        "TUS_S3_METADATA_OBJECT_PREFIX": prefix + "info",
        "TUS_LOCK_DIR": str(tmp_path / "locks"),
        "TUS_SPOOL_DIR": str(tmp_path),
        "AWS_MAX_ATTEMPTS": "1",
    }
    return Deployment(s3, prefix, environ)


def test_locks_of_one_host_fail_if_there_are_many_hosts(deployment: Deployment) -> None:
    report = deployment.check(TUS_HOSTS="many")
    assert report.failed == {
        "locker": "TUS_HOSTS is many, but TUS_LOCKER=file works on a single host only: set"
        " TUS_LOCKER=dynamodb or s3"
    }
    assert report.code == 1


def test_locks_of_one_host_are_a_warning_in_kubernetes(deployment: Deployment) -> None:
    """Each pod is a host of its own."""
    report = deployment.check(KUBERNETES_SERVICE_HOST="10.0.0.1")
    assert report.statuses["locker"] == "warning"
    assert report.details["locker"].startswith("each pod of Kubernetes is a host of its own")
    assert (report.failed, report.code) == ({}, 0)
    certain = deployment.check(KUBERNETES_SERVICE_HOST="10.0.0.1", TUS_HOSTS="one")
    assert certain.statuses["locker"] == "ok"


def test_five_permissions_are_enough_and_no_object_remains(deployment: Deployment) -> None:
    report = deployment.check()
    assert report.statuses == dict.fromkeys(CHECKS, "ok")
    assert report.code == 0
    assert {report.details[name] for name in CHECKS if name != "clock"} >= PERMISSIONS
    assert report.details["conditional writes"] == "honoured"
    assert deployment.list_keys() == deployment.list_multiparts() == []


def test_each_check_prints_one_line(deployment: Deployment) -> None:
    ran = CliRunner().invoke(main, ["check"], env=deployment.environ)
    assert ran.exit_code == 0
    lines = ran.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == [f"ok       {name}" for name in CHECKS]
    assert "ok       deleting: s3:DeleteObject" in lines


@pytest.mark.parametrize(
    ("action", "failing", "skipped"),
    [
        (
            "s3:PutObject",
            {"one-part upload", "multipart upload"},
            {"reading", "conditional writes", "copying parts"},
        ),
        ("s3:GetObject", {"reading"}, {"conditional writes", "copying parts"}),
        ("s3:ListMultipartUploadParts", {"listing parts"}, set()),
        ("s3:AbortMultipartUpload", {"aborting", "cleaning up"}, set()),
        ("s3:DeleteObject", {"deleting", "cleaning up"}, set()),
    ],
)
def test_a_missing_permission_is_named_and_the_other_checks_run(
    deployment: Deployment, action: str, failing: set[str], skipped: set[str]
) -> None:
    with denying(deployment.server, action, deployment.prefix):
        report = deployment.check()
    assert report.code == 1
    if action == "s3:PutObject":
        # Without it SeaweedFS denies the other calls of a multipart upload as well.
        failing |= {"listing parts", "aborting"} & set(report.failed)
    assert set(report.failed) == failing
    assert {name for name, status in report.statuses.items() if status == "skipped"} == skipped
    detail = next(iter(report.failed.values()))
    assert detail.startswith(f"{action} is not allowed: allow it on arn:aws:s3:::")
    leftovers = deployment.list_keys() + deployment.list_multiparts()
    if "cleaning up" in failing:
        assert leftovers
        assert all(key in report.details["cleaning up"] for key in leftovers)
    else:
        assert leftovers == []


COPY_REFUSALS = {
    "does not implement this": answering("UploadPartCopy", REPLIES["501"]),
    "s3:GetObject is not allowed": answering("UploadPartCopy", REPLIES["403"]),
    "refused the request (UploadPartCopy: InvalidArgument": answering(
        "UploadPartCopy", REPLIES["checksum missing"]
    ),
    "answered UploadPartCopy without 'ETag'": answering("UploadPartCopy", REPLIES["empty"]),
    "refused the request (CompleteMultipartUpload: InvalidPart": requiring_checksums(),
}


@pytest.mark.parametrize(
    ("explanation", "deviation"), COPY_REFUSALS.items(), ids=COPY_REFUSALS.keys()
)
def test_it_is_no_failure_if_parts_cannot_be_copied(
    deployment: Deployment, explanation: str, deviation: Deviation
) -> None:
    """The server then sends the bytes."""
    with FaultProxy(urlsplit(deployment.server.endpoint).port or 0) as proxy:
        proxy.deviation = deviation
        report = deployment.check(TUS_S3_ENDPOINT=proxy.endpoint)
    assert report.failed == {}
    assert report.details["copying parts"].startswith("not possible: the server sends the bytes")
    assert explanation in report.details["copying parts"]
    assert deployment.list_keys() == deployment.list_multiparts() == []


@pytest.mark.parametrize("prefix", ["data", "info"])
def test_a_permission_must_cover_both_prefixes(deployment: Deployment, prefix: str) -> None:
    with denying(deployment.server, "s3:GetObject", f"{deployment.prefix}{prefix}/"):
        assert "reading" in deployment.check().failed


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


MISCONFIGURATIONS: list[tuple[str, Callable[[SeaweedFS], dict[str, str]], str]] = [
    ("bucket", lambda _: {"TUS_S3_BUCKET": "nowhere"}, "nothing is allowed in the bucket"),
    ("bucket name", lambda _: {"TUS_S3_BUCKET": "!"}, "check TUS_S3_BUCKET"),
    ("secret key", lambda _: {"AWS_SECRET_ACCESS_KEY": "x"}, "check AWS_SECRET_ACCESS_KEY"),
    ("access key", lambda _: {"AWS_ACCESS_KEY_ID": "unknown"}, "check AWS_ACCESS_KEY_ID"),
    ("half of the credentials", lambda _: {"AWS_SECRET_ACCESS_KEY": ""}, "credentials"),
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
        "does not speak TLS: use http",
    ),
]


@pytest.mark.parametrize(
    ("changes_for", "explanation"),
    [row[1:] for row in MISCONFIGURATIONS],
    ids=[row[0] for row in MISCONFIGURATIONS],
)
def test_a_misconfiguration_that_affects_every_call_is_reported_once(
    deployment: Deployment,
    changes_for: Callable[[SeaweedFS], dict[str, str]],
    explanation: str,
) -> None:
    changes = changes_for(deployment.server)
    report = deployment.check(**changes)
    assert report.code == 1
    (detail,) = report.failed.values()
    assert explanation in detail
    name = "AWS_SECRET_ACCESS_KEY"
    printed = json.dumps(report.details)
    for secret in (deployment.environ[name], changes.get(name, "")):
        if len(secret) >= 5:  # a shorter text may occur by accident
            assert secret not in printed
    assert deployment.list_keys() == deployment.list_multiparts() == []


def error(code: str, message: str = "", more: str = "") -> str:
    return f"<Error><Code>{code}</Code><Message>{message}</Message>{more}</Error>"


@contextmanager
def fixed_response(status: int, body: str, **fields: str) -> Iterator[str]:
    """Start a server that gives every request the same response, and yield its URL."""

    class Handler(BaseHTTPRequestHandler):
        def respond(self) -> None:
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
        setattr(Handler, f"do_{method}", Handler.respond)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


RESPONSES = [
    (403, error("RequestTimeTooSkewed"), "the clock of this machine is wrong"),
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
    (403, "<html>Forbidden</html>", "is not an S3 service"),
    (200, "<html>Welcome</html>", "is not an S3 service"),
    (404, error("NoSuchBucket"), "there is no bucket 'uploads' at http"),
    (502, "<html>Bad Gateway</html>", "the service failed"),
]


@pytest.mark.parametrize(
    ("status", "body", "explanation"), RESPONSES, ids=[row[1] for row in RESPONSES]
)
def test_error_responses_of_other_services_are_explained(
    deployment: Deployment, status: int, body: str, explanation: str
) -> None:
    with fixed_response(status, body, Content_Type="application/xml") as endpoint:
        report = deployment.check(TUS_S3_ENDPOINT=endpoint)
    assert report.code == 1
    assert explanation in report.failed["one-part upload"]


def test_boto3_uses_the_region_that_the_advice_sets(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """boto3 does not read AWS_REGION, unlike other SDKs."""
    body = error("AuthorizationHeaderMalformed", "expecting", "<Region>eu-west-1</Region>")
    with fixed_response(400, body, Content_Type="application/xml") as endpoint:
        detail = deployment.check(TUS_S3_ENDPOINT=endpoint).failed["one-part upload"]
    ((name, region),) = re.findall(r"set (\w+)=(\S+)", detail)
    monkeypatch.setenv(name, region)
    assert make_client(endpoint=None, parallel_parts=1).meta.region_name == region == "eu-west-1"


@pytest.mark.parametrize(("offset", "direction"), [(3600, "behind"), (-3600, "ahead of")])
def test_clock_skew_is_reported_before_s3_refuses_requests(
    deployment: Deployment, offset: int, direction: str
) -> None:
    date = formatdate(time() + offset, usegmt=True)
    with fixed_response(403, error("AccessDenied"), Date=date) as endpoint:
        report = deployment.check(TUS_S3_ENDPOINT=endpoint)
    assert f"{direction} the service's: synchronize it" in report.failed["clock"]


def test_each_mistake_in_the_settings_prints_one_line(deployment: Deployment) -> None:
    ran = CliRunner().invoke(main, ["check"], env=deployment.environ | {"TUS_A": "1", "TUS_B": "1"})
    assert ran.exit_code == 1
    assert [line[:25] for line in ran.stdout.splitlines()] == [
        "FAILED   settings: TUS_A:",
        "FAILED   settings: TUS_B:",
    ]


def test_unusable_directories_are_named(deployment: Deployment, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    report = deployment.check(TUS_SPOOL_DIR=str(tmp_path / "missing"), TUS_LOCK_DIR=str(file))
    assert set(report.failed) == {"spool directory", "locker"}
    assert "missing" in report.failed["spool directory"]
    assert "TUS_SPOOL_DIR" in report.failed["spool directory"]
    assert str(file) in report.failed["locker"]


Respond = Callable[[Any], Any]
"""Returns the response to a request instead of S3, or None to send the request."""


@contextmanager
def responding(monkeypatch: pytest.MonkeyPatch, respond: Respond) -> Iterator[None]:
    """Let `respond` answer the S3 calls of the command. If it returns None, S3 answers."""

    def on_send(request: Any, **_: Any) -> Any:
        return respond(request)

    def make_responding_client(**options: Any) -> Any:
        client = make_client(**options)
        client.meta.events.register_first("before-send.s3", on_send)
        return client

    with monkeypatch.context() as patch:
        patch.setattr("tus_wsgi.operations.check.make_client", make_responding_client)
        yield


def begins_object(request: Any) -> bool:
    """Whether the request is a PutObject or a CreateMultipartUpload."""
    if request.method == "PUT":
        return "uploadId=" not in request.url
    return request.method == "POST" and bool(request.url.endswith("?uploads"))


def test_a_policy_that_requires_encryption_is_answered_with_the_setting(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:

    def respond(request: Any) -> Any:
        if not begins_object(request) or "X-Amz-Server-Side-Encryption" in request.headers:
            return None
        return respond_with(request, Answer(403, error_document("AccessDenied")))

    with responding(monkeypatch, respond):
        report = deployment.check()
        assert "set TUS_S3_SSE" in report.failed["one-part upload"]
        assert "set TUS_S3_SSE" in report.failed["multipart upload"]
        report = deployment.check(TUS_S3_SSE="AES256")
    assert report.statuses == dict.fromkeys(CHECKS, "ok")
    assert deployment.list_keys() == deployment.list_multiparts() == []


def test_the_options_of_uploaded_objects_are_tried(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The options need permissions of their own, such as `s3:PutObjectTagging`."""
    written: list[tuple[bool, bool]] = []

    def respond(request: Any) -> None:
        if begins_object(request):
            is_data = f"/{deployment.prefix}data/" in request.url
            written.append((is_data, "x-amz-tagging" in request.headers))

    with responding(monkeypatch, respond):
        assert deployment.check(TUS_S3_TAGS="team=media").code == 0
    assert set(written) == {(True, True), (False, False)}
