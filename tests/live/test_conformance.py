"""The conformance suite on gunicorn with gevent and gthread workers and a real S3 server."""

from __future__ import annotations

import ast
import http.server
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.seaweedfs import SeaweedFS
from tests.harness.conformance import DISTRIBUTION, SUITE, judge_server, own_target, run_suite
from tests.harness.servers.deployment import Deployment
from tus_conformance.deviations import BUNDLED, Deviation, read_deviations
from tus_conformance.report import as_markdown, read_report
from tus_conformance.rules import NOT_TESTED, RULES

pytestmark = [pytest.mark.live, pytest.mark.conformance]


@pytest.fixture
def deployment(s3: SeaweedFS, tmp_path: Path) -> Iterator[Deployment]:
    deployment = Deployment(s3, tmp_path / "deployment")
    yield deployment
    deployment.close()


TRANSPORT = "framing or interruption or concurrency or early or trailer or with_upload or progress"
"""The tests whose result can depend on the worker class, as pytest's -k expects them. All other
rules are kept by code that the worker classes share."""


@pytest.mark.timeout(1500)
def test_every_rule_holds_on_gevent(deployment: Deployment, tmp_path: Path) -> None:
    """Run the suite with every optional feature: killed workers, expiry and a second server."""
    assert_conforms(deployment, tmp_path, "gevent", "--level", "practice")


@pytest.mark.timeout(1500)
def test_every_rule_about_connections_holds_on_gthread(
    deployment: Deployment, tmp_path: Path
) -> None:
    assert_conforms(deployment, tmp_path, "gthread", "--level", "should", "-k", TRANSPORT)


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_every_rule_holds_on_gthread(deployment: Deployment, tmp_path: Path) -> None:
    assert_conforms(deployment, tmp_path, "gthread", "--level", "should")


def assert_conforms(deployment: Deployment, tmp_path: Path, worker: str, *arguments: str) -> None:
    """Run the suite with these arguments: no test may fail, or pass against its deviation."""
    with own_target(deployment, worker) as server:
        completed = judge_server(server, tmp_path, *arguments)
    print(completed.stdout[-20_000:], completed.stderr)
    assert completed.returncode == 0
    summary = re.search(r"^must +(.*)$", completed.stdout, re.MULTILINE)
    assert summary is not None
    assert "failed" not in summary[1]


def test_the_suite_imports_nothing_of_this_project() -> None:
    """It needs only pytest, so that it can be installed without this project."""
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


def test_the_command_without_a_url_prints_its_usage() -> None:
    ran = run_suite()
    assert ran.returncode == 2
    assert ran.stderr.startswith("usage: tus-conformance")
    assert "the following arguments are required: URL" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_pytest_without_the_command_names_the_command() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(SUITE)]
    ran = subprocess.run(command, text=True, capture_output=True, check=False)
    assert ran.returncode == 4
    assert "tus-conformance URL" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--field", "Authorization"], "expected 'Name: value', got 'Authorization'"),
        (["--report", "report.txt"], "expected a .json or .md file, got 'report.txt'"),
        (["--level", "may"], "invalid choice: 'may'"),
    ],
)
def test_the_command_names_an_invalid_option(arguments: list[str], message: str) -> None:
    ran = run_suite("http://127.0.0.1:1/files", *arguments)
    assert ran.returncode == 2
    assert message in ran.stderr


def test_the_wheel_contains_the_tests_and_their_data(tmp_path: Path) -> None:
    source = tmp_path / "conformance"
    shutil.copytree(DISTRIBUTION, source, ignore=shutil.ignore_patterns("build", "*.egg-info"))
    build = "from setuptools.build_meta import build_wheel; print(build_wheel('.'))"
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", build],
        cwd=source,
        text=True,
        capture_output=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    with zipfile.ZipFile(source / ran.stdout.split()[-1]) as wheel:
        names = {name.removeprefix("tus_conformance/") for name in wheel.namelist()}
    files = [path for path in SUITE.rglob("*") if "__pycache__" not in path.parts]
    assert {str(path.relative_to(SUITE)) for path in files if path.is_file()} <= names


class OnlyOptions(http.server.BaseHTTPRequestHandler):
    """A server that answers OPTIONS and offers no extension."""

    protocol_version = "HTTP/1.1"

    def do_OPTIONS(self) -> None:
        self.send_response(204)
        self.send_header("Tus-Version", "1.0.0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@pytest.fixture
def only_options() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), OnlyOptions) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/files"
        server.shutdown()
        thread.join()


def test_a_report_contains_failures_deviations_and_skipped_rules(
    only_options: str, tmp_path: Path
) -> None:
    known = tmp_path / "known.toml"
    known.write_text(
        """
        [[deviation]]
        tests = ["test_discovery.py::test_tus_max_size_is_sent"]
        reason = "it has no limit"
        [[deviation]]
        tests = ["test_discovery.py::test_options_lists_the_version"]
        reason = "not true"
        """
    )
    file = tmp_path / "report.json"
    ran = run_suite(only_options, "--deviations", str(known), "--report", str(file))
    assert ran.returncode == 1, ran.stderr
    report = read_report(file)
    results = {result.test.partition("::")[2]: result for result in report.results}
    assert results["test_tus_max_size_is_sent"].outcome == "deviates"
    assert results["test_tus_max_size_is_sent"].reason == "it has no limit"
    unexpected = "passed against its deviation"
    assert results["test_options_lists_the_version"].outcome == unexpected
    assert results["test_the_creation_url_is_not_an_upload[PUT]"].outcome == "passed"
    assert results["test_options_is_answered_with_any_tus_resumable[9.9.9]"].outcome == "passed"
    assert results["test_a_missing_version_is_412[HEAD-absent]"].outcome == "not applicable"
    assert results["test_a_missing_version_is_412[HEAD-absent]"].reason == "creation is not offered"
    text = as_markdown([report])
    assert "| C-05 | must | OPTIONS: 200 or 204 with Tus-Version | ✔ |" in text
    assert "| C-33 | must | another offset: 409, nothing changed | – |" in text
    assert "- C-09 (practice: 1): it has no limit" in text


def test_every_rule_has_a_test_or_a_reason() -> None:
    named: set[str] = set()
    for path in SUITE.glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "rule":
                nodes = [child for argument in node.args for child in ast.walk(argument)]
                named |= {str(child.value) for child in nodes if isinstance(child, ast.Constant)}
    assert named <= set(RULES)
    assert set(RULES) - named == set(NOT_TESTED)


def test_every_deviation_names_an_existing_test(tmp_path: Path) -> None:
    """A renamed test would otherwise leave an entry without effect."""
    ran = run_suite("http://127.0.0.1:1/files", "--", "--collect-only", "-q")
    assert ran.returncode == 0, ran.stderr
    names = re.findall(r"^(?:\S*/)?(test_\w+\.py::.+)$", ran.stdout, re.MULTILINE)
    assert len(names) > 1000
    for file in BUNDLED:
        for deviation in read_deviations(file):
            for pattern in deviation.tests:
                alone = Deviation((pattern,), deviation.reason)
                assert any(map(alone.covers, names)), f"{file}: {pattern}"
