"""The black-box suite, on gunicorn with either class of workers and a real S3 server."""

from __future__ import annotations

import ast
import http.server
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.seaweedfs import SeaweedFS
from tests.conformance.report import as_markdown, read
from tests.conformance.rules import NOT_TESTED, RULES
from tests.harness.conformance import SUITE, judge, ours
from tests.harness.servers.deployment import Deployment

pytestmark = [pytest.mark.live, pytest.mark.conformance]


@pytest.fixture
def deployment(s3: SeaweedFS, tmp_path: Path) -> Iterator[Deployment]:
    deployment = Deployment(s3, tmp_path / "deployment")
    yield deployment
    deployment.close()


@pytest.mark.timeout(1500)
@pytest.mark.parametrize(
    ("worker", "level"), [("gevent", "practice"), ("gthread", "should")], ids=["gevent", "gthread"]
)
def test_every_rule_holds(worker: str, level: str, deployment: Deployment, tmp_path: Path) -> None:
    """All of protocol.md, section 1."""
    with ours(deployment, worker) as server:
        ran = judge(server, tmp_path, level=level)
    print(ran.stdout[-20_000:], ran.stderr)
    assert ran.returncode == 0
    summary = re.search(r"^must +(.*)$", ran.stdout, re.MULTILINE)
    assert summary is not None
    assert "failed" not in summary[1]


def test_the_suite_stands_on_its_own() -> None:
    """Whoever has another server needs Python and pytest, and nothing of this project."""
    allowed = {*sys.stdlib_module_names, "pytest"}
    files = list(SUITE.glob("*.py"))
    assert len(files) > 20
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            else:
                continue
            assert {name.partition(".")[0] for name in names} <= allowed, path.name


def test_without_a_url_the_suite_says_what_it_needs() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(SUITE)]
    ran = subprocess.run(command, text=True, capture_output=True, check=False)
    assert ran.returncode == 4
    assert "--tus-url" in ran.stderr
    assert "Traceback" not in ran.stderr


class OnlyOptions(http.server.BaseHTTPRequestHandler):
    """A server that knows the protocol's name, and offers nothing of it."""

    protocol_version = "HTTP/1.1"

    def do_OPTIONS(self) -> None:
        self.send_response(204)
        self.send_header("Tus-Version", "1.0.0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def only_options() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), OnlyOptions) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/files"
        server.shutdown()
        thread.join()


def test_a_report_tells_what_failed_what_was_known_and_what_did_not_apply(
    only_options: str, tmp_path: Path
) -> None:
    known = tmp_path / "known.toml"
    known.write_text(
        """
        [[deviation]]
        tests = ["test_discovery.py::test_the_largest_size_is_said"]
        reason = "it has no limit"
        [[deviation]]
        tests = ["test_discovery.py::test_options_names_the_version"]
        reason = "not true"
        """
    )
    file = tmp_path / "report.json"
    options = [f"--tus-url={only_options}", f"--tus-deviations={known}", f"--tus-report={file}"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(SUITE)]
    ran = subprocess.run([*command, *options], text=True, capture_output=True, check=False)
    assert ran.returncode == 1, ran.stderr
    report = read(file)
    found = {one.test.partition("::")[2]: one for one in report.results}
    assert found["test_the_largest_size_is_said"].outcome == "deviates"
    assert found["test_the_largest_size_is_said"].reason == "it has no limit"
    unexpected = "passed against its deviation"
    assert found["test_options_names_the_version"].outcome == unexpected
    assert found["test_the_place_of_creation_is_no_upload[PUT]"].outcome == "passed"
    assert found["test_options_is_answered_whatever_its_version[9.9.9]"].outcome == "passed"
    assert found["test_no_version_is_412[HEAD-absent]"].outcome == "not applicable"
    assert found["test_no_version_is_412[HEAD-absent]"].reason == "creation is not offered"
    text = as_markdown([report])
    assert "| C-05 | must | OPTIONS: 200 or 204 with Tus-Version | ✔ |" in text
    assert "| C-33 | must | another offset: 409, nothing changed | – |" in text
    assert "- C-09 (practice: 1): it has no limit" in text


def test_every_rule_has_a_test_or_a_reason() -> None:
    named: set[str] = set()
    for path in SUITE.glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "rule":
                constants = [one for arg in node.args for one in ast.walk(arg)]
                named |= {str(one.value) for one in constants if isinstance(one, ast.Constant)}
    assert named <= set(RULES)
    assert set(RULES) - named == set(NOT_TESTED)
