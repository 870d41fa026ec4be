"""Joins the suite to pytest: options, the choice of tests, fixtures, and the report."""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pytest

from . import report as reports
from .deviations import read_deviations
from .options import Options, add_options, read_options
from .report import ABSENT, DEVIATES, FAILED, NOT_RUN, PASSED, UNEXPECTED, Report, Result
from .selection import applies_at, proof_of, reason_against
from .server import Access, Offer, Server
from .wire import Connection

HERE = Path(__file__).parent

RESTART_SECONDS = 20.0
"""Whatever starts a server again that has ended has so long."""


@dataclass(frozen=True, slots=True)
class Run:
    """What all tests of a run share.

    Attributes:
        options: the command line.
        server: the one under test.
        offer: what it says that it can do.
        gets: whether GET of an upload gives its content.
        report: what comes out.
    """

    options: Options
    server: Server
    offer: Offer
    gets: bool
    report: Report


RUN = pytest.StashKey[Run]()
RESULT = pytest.StashKey[Result]()


def pytest_addoption(parser: pytest.Parser) -> None:
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "rule: see rules.py")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Stay out of the runs of a project that this folder lies in: they name no server."""
    is_guest = config.inipath != HERE / "pytest.ini"
    return True if is_guest and not config.option.tus_url else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what does not apply, and expect what is known to fail."""
    ours = [item for item in items if item.path.is_relative_to(HERE)]
    if config.option.collectonly or not ours:
        return
    run = config.stash[RUN] = _discover(read_options(config))
    deviations = read_deviations(run.options.deviations)
    left_out: list[pytest.Item] = []
    for item in ours:
        proof = proof_of(item)
        name = f"{item.path.name}::{item.name}"
        result = Result(name, list(proof.ids), proof.level, NOT_RUN)
        if not applies_at(proof.level, run.options.level):
            left_out.append(item)
            continue
        run.report.results.append(result)
        reads = run.server.access.reads
        reason = reason_against(proof.needs, run.offer, run.options, reads=reads, gets=run.gets)
        if reason is not None:
            result.outcome, result.reason = ABSENT, reason
            left_out.append(item)
            continue
        item.stash[RESULT] = result
        known = next((one for one in deviations if one.covers(name)), None)
        if known is not None:
            item.add_marker(pytest.mark.xfail(reason=known.reason, strict=not known.sometimes))
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        gone = set(left_out)
        items[:] = [item for item in items if item not in gone]


def _discover(options: Options) -> Run:
    """Ask the server what it can do.

    Raises:
        pytest.UsageError: there is no server of tus.
    """
    access = Access(fields=options.fields, timeout=options.timeout, download=options.download)
    server = Server(options.url, access)
    try:
        offer = server.offer()
        gets = _gives_content(Server(options.url, replace(access, download=None)), offer)
    except (OSError, AssertionError) as error:
        raise pytest.UsageError(f"{options.url} is no server of tus: {error}") from error
    reads = gets or options.download is not None
    report = Report(options.name, asdict(offer), reads)
    return Run(options, Server(options.url, replace(access, reads=reads)), offer, gets, report)


def _gives_content(server: Server, offer: Offer) -> bool:
    if "creation" not in offer.extensions:
        return False
    upload = server.upload(b"hello")
    response = server.send("GET", upload.url)
    return response.status == 200 and response.body == b"hello"


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Wait for a server that the test before has ended, and that somebody starts again."""
    run = item.config.stash.get(RUN, None)
    deadline = time.monotonic() + RESTART_SECONDS
    while run is not None and not is_up(run.server):
        assert time.monotonic() < deadline, "the server does not come back"
        time.sleep(0.1)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Blame a test that ends the server, and not those that come behind it."""
    abandoned = Connection.abandoned
    yield
    run = item.config.stash.get(RUN, None)
    if run is None:
        return
    seconds = run.options.settle if Connection.abandoned > abandoned else 0.0
    deadline = time.monotonic() + seconds
    assert is_up(run.server), "the server has ended"
    while time.monotonic() < deadline:
        time.sleep(0.02)
        assert is_up(run.server), "the server has ended"


def is_up(server: Server) -> bool:
    """Whether it accepts connections."""
    try:
        server.connect().close()
    except ConnectionError:
        return False
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note what became of a test."""
    report = yield
    result = item.stash.get(RESULT, None)
    if result is not None and (report.when == "call" or not report.passed):
        result.measured.update({name: str(value) for name, value in report.user_properties})
        if report.skipped and hasattr(report, "wasxfail"):
            result.outcome, result.reason = DEVIATES, report.wasxfail
        elif report.failed and report.longreprtext.startswith("[XPASS(strict)]"):
            result.outcome, result.reason = UNEXPECTED, report.longreprtext
        elif report.failed:
            result.outcome, result.reason = FAILED, _first_line(report)
        else:
            result.outcome = PASSED
    return report


def _first_line(report: pytest.TestReport) -> str:
    """The error itself: what stands on the first line that pytest marks with an E."""
    lines = [line[1:].strip() for line in report.longreprtext.splitlines() if line[:1] == "E"]
    return lines[0] if lines else report.longreprtext[:200]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the reports."""
    run = session.config.stash.get(RUN, None)
    if run is None:
        return
    run.report.results.sort(key=lambda one: one.test)
    for path in run.options.reports:
        reports.write(run.report, path)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say it in short."""
    run = config.stash.get(RUN, None)
    if run is not None:
        terminalreporter.section(f"tus 1.0.0: {run.options.name}")
        for line in reports.summary_of(run.report):
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def run(pytestconfig: pytest.Config) -> Run:
    return pytestconfig.stash[RUN]


@pytest.fixture(scope="session")
def options(run: Run) -> Options:
    return run.options


@pytest.fixture(scope="session")
def offer(run: Run) -> Offer:
    return run.offer


@pytest.fixture(scope="session")
def server(run: Run) -> Server:
    """The server under test."""
    return run.server


@pytest.fixture(scope="session")
def second(run: Run) -> Server:
    """The same uploads, by another worker or host."""
    assert run.options.second_url is not None
    return Server(run.options.second_url, run.server.access)


@pytest.fixture(scope="session")
def expiring(run: Run) -> Server:
    """A server whose unfinished uploads do not live long."""
    assert run.options.expiring_url is not None
    return Server(run.options.expiring_url, run.server.access)


@pytest.fixture
def kill(run: Run) -> Callable[[], None]:
    """Kills the workers, and waits until new ones answer."""
    command = run.options.kill
    assert command is not None

    def kill() -> None:
        subprocess.run(["/bin/sh", "-c", command], check=True)
        deadline = time.monotonic() + 60
        while True:
            try:
                run.server.offer()
            except (OSError, AssertionError):
                assert time.monotonic() < deadline, (
                    f"it never came back after {shlex.quote(command)}"
                )
                time.sleep(0.1)
            else:
                return

    return kill


@pytest.fixture
def measure(record_property: Callable[[str, object], None]) -> Callable[[str, str], None]:
    """Notes a number with its unit in the report."""
    return record_property
