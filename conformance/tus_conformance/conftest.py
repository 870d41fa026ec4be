"""The suite's pytest hooks and fixtures: which tests run, how they end, and what they use."""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass, replace

import pytest

from . import report as reports
from .deviations import read_deviations
from .options import OPTIONS, Options
from .report import (
    DEVIATES,
    FAILED,
    NOT_APPLICABLE,
    NOT_RUN,
    PASSED,
    UNEXPECTED_PASS,
    Report,
    Result,
)
from .selection import mark_of, reason_to_skip, runs_at
from .server import Access, Capabilities, Server
from .wire import Connection

RESTART_TIMEOUT = 20.0
"""Seconds for a supervisor to restart a server that exited."""

KILL_TIMEOUT = 60.0
"""Seconds for new workers to respond after `--kill`."""


@dataclass(frozen=True, slots=True)
class Run:
    """The state that all tests of a run share.

    Attributes:
        options: the command line.
        server: the server under test.
        capabilities: what the server offers.
        serves_files: whether GET of an upload returns its content.
        report: collects the results.
    """

    options: Options
    server: Server
    capabilities: Capabilities
    serves_files: bool
    report: Report


RUN = pytest.StashKey[Run]()
RESULT = pytest.StashKey[Result]()


def pytest_configure(config: pytest.Config) -> None:
    """Refuse to run without the command, which has the options.

    Raises:
        pytest.UsageError: pytest was called directly.
    """
    if OPTIONS not in config.stash:
        raise pytest.UsageError("run this suite with its own command: tus-conformance URL")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests that do not apply, and mark the known deviations."""
    if config.option.collectonly:
        return
    run = config.stash[RUN] = _discover(config.stash[OPTIONS])
    deviations = read_deviations(run.options.deviations)
    deselected: list[pytest.Item] = []
    for item in items:
        mark = mark_of(item)
        name = f"{item.path.name}::{item.name}"
        result = Result(name, list(mark.ids), mark.level, NOT_RUN)
        if not runs_at(mark.level, run.options.level):
            deselected.append(item)
            continue
        run.report.results.append(result)
        reason = reason_to_skip(
            mark.needs,
            run.capabilities,
            run.options,
            can_read=run.server.access.can_read,
            serves_files=run.serves_files,
        )
        if reason is not None:
            result.outcome, result.reason = NOT_APPLICABLE, reason
            deselected.append(item)
            continue
        item.stash[RESULT] = result
        deviation = next((entry for entry in deviations if entry.covers(name)), None)
        if deviation is not None:
            strict = not deviation.sometimes
            item.add_marker(pytest.mark.xfail(reason=deviation.reason, strict=strict))
    if deselected:
        config.hook.pytest_deselected(items=deselected)
        gone = set(deselected)
        items[:] = [item for item in items if item not in gone]


def _discover(options: Options) -> Run:
    """Ask the server what it offers.

    Raises:
        pytest.UsageError: no tus server answered.
    """
    access = Access(fields=options.fields, timeout=options.timeout, download=options.download)
    server = Server(options.url, access)
    own_urls = Server(options.url, replace(access, download=None))
    try:
        capabilities = server.capabilities()
        serves_files = _serves_files(own_urls, capabilities)
    except (OSError, AssertionError) as error:
        raise pytest.UsageError(f"no tus server at {options.url}: {error}") from error
    can_read = serves_files or options.download is not None
    report = Report(options.name, asdict(capabilities), can_read)
    server = Server(options.url, replace(access, can_read=can_read))
    return Run(options, server, capabilities, serves_files, report)


def _serves_files(server: Server, capabilities: Capabilities) -> bool:
    """Return whether GET of a finished upload returns its content."""
    if "creation" not in capabilities.extensions:
        return False
    upload = server.upload(b"hello")
    response = server.send("GET", upload.url)
    return response.status == 200 and response.body == b"hello"


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Wait for the server, which a supervisor may be restarting after the previous test."""
    run = item.config.stash.get(RUN, None)
    deadline = time.monotonic() + RESTART_TIMEOUT
    while run is not None and not accepts_connections(run.server):
        assert time.monotonic() < deadline, f"the server did not restart in {RESTART_TIMEOUT} s"
        time.sleep(0.1)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Fail the test that makes the server exit, not the tests after it.

    After a test that abandons a connection, watch the server for `--settle` seconds.
    """
    abandoned = Connection.abandoned
    yield
    run = item.config.stash.get(RUN, None)
    if run is None:
        return
    seconds = run.options.settle if Connection.abandoned > abandoned else 0.0
    deadline = time.monotonic() + seconds
    assert accepts_connections(run.server), "the server exited"
    while time.monotonic() < deadline:
        time.sleep(0.02)
        assert accepts_connections(run.server), "the server exited"


def accepts_connections(server: Server) -> bool:
    """Return whether the server accepts connections."""
    try:
        server.connect().close()
    except ConnectionError:
        return False
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Record the outcome of a test."""
    report = yield
    result = item.stash.get(RESULT, None)
    if result is not None and (report.when == "call" or not report.passed):
        result.measured.update({name: str(value) for name, value in report.user_properties})
        if report.skipped and hasattr(report, "wasxfail"):
            result.outcome, result.reason = DEVIATES, report.wasxfail
        elif report.failed and report.longreprtext.startswith("[XPASS(strict)]"):
            result.outcome, result.reason = UNEXPECTED_PASS, report.longreprtext
        elif report.failed:
            result.outcome, result.reason = FAILED, _error_line(report)
        else:
            result.outcome = PASSED
    return report


def _error_line(report: pytest.TestReport) -> str:
    """Return the error itself: the first line that pytest marks with an E."""
    lines = [line[1:].strip() for line in report.longreprtext.splitlines() if line[:1] == "E"]
    return lines[0] if lines else report.longreprtext[:200]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the report files."""
    run = session.config.stash.get(RUN, None)
    if run is None:
        return
    run.report.results.sort(key=lambda result: result.test)
    for path in run.options.reports:
        reports.write_report(run.report, path)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the counts of each level."""
    run = config.stash.get(RUN, None)
    if run is not None:
        terminalreporter.section(f"tus 1.0.0: {run.options.name}")
        for line in reports.summary_lines(run.report):
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def run(pytestconfig: pytest.Config) -> Run:
    return pytestconfig.stash[RUN]


@pytest.fixture(scope="session")
def options(run: Run) -> Options:
    return run.options


@pytest.fixture(scope="session")
def capabilities(run: Run) -> Capabilities:
    return run.capabilities


@pytest.fixture(scope="session")
def server(run: Run) -> Server:
    """The server under test."""
    return run.server


@pytest.fixture(scope="session")
def second_server(run: Run) -> Server:
    """The same uploads, served by another worker or host."""
    assert run.options.second_url is not None
    return Server(run.options.second_url, run.server.access)


@pytest.fixture(scope="session")
def expiring_server(run: Run) -> Server:
    """A server whose unfinished uploads expire soon."""
    assert run.options.expiring_url is not None
    return Server(run.options.expiring_url, run.server.access)


@pytest.fixture
def kill_workers(run: Run) -> Callable[[], None]:
    """A function that kills the workers, and waits until new workers respond."""
    command = run.options.kill
    assert command is not None

    def kill_workers() -> None:
        subprocess.run(["/bin/sh", "-c", command], check=True)
        deadline = time.monotonic() + KILL_TIMEOUT
        while True:
            try:
                run.server.capabilities()
            except (OSError, AssertionError):
                assert time.monotonic() < deadline, (
                    f"no response {KILL_TIMEOUT} s after {shlex.quote(command)}"
                )
                time.sleep(0.1)
            else:
                return

    return kill_workers


@pytest.fixture
def measure(record_property: Callable[[str, object], None]) -> Callable[[str, str], None]:
    """A function that adds a measurement to the report: its name, and the value with its unit."""
    return record_property
