"""What applies to all tests: the order of folders, a clean environment, and no skips in CI."""

from __future__ import annotations

import functools
import os
from collections.abc import Generator, Iterator
from pathlib import Path

import botocore.session
import hypothesis
import pytest
from botocore.loaders import create_loader

TESTS = Path(__file__).parent

FOLDERS = (
    "domain",
    "settings",
    "protocol",
    "service",
    "spool",
    "observers",
    "wsgi",
    "app",
    "lockers",
    "stores",
    "operations",
    "project",
    "live",
    "locks",
    "compat",
    "faults",
)
"""The order in which folders run: quick tests first, so that mistakes show early."""

hypothesis.settings.register_profile("default", deadline=None, max_examples=60)
# In CI a failure must be reproducible.
hypothesis.settings.register_profile("ci", deadline=None, max_examples=300, derandomize=True)


def in_ci() -> bool:
    """Whether skipped tests are failures in this run."""
    return os.environ.get("CI") == "true"


def position_of(path: Path) -> int:
    """Return when the folder of a test file runs; unknown folders run last."""
    folder = path.relative_to(TESTS).parts[0]
    return FOLDERS.index(folder) if folder in FOLDERS else len(FOLDERS)


def pytest_configure() -> None:
    hypothesis.settings.load_profile("ci" if in_ci() else "default")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the folders. Within a folder the order stays random, since the sort is stable."""
    items.sort(key=lambda item: position_of(item.path))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if in_ci() and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {reason_of(report.longrepr)}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if in_ci() and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {reason_of(report.longrepr)}"
    return report


def reason_of(longrepr: object) -> str:
    """Return why a test was skipped: pytest stores (file, line, reason)."""
    return str(longrepr[-1]) if isinstance(longrepr, tuple) else str(longrepr)


@pytest.fixture(scope="session", autouse=True)
def clean_environment() -> Iterator[None]:
    """Remove the settings, credentials and profiles of this machine from the environment."""
    with pytest.MonkeyPatch.context() as patch:
        gunicorn_variables = {"WEB_CONCURRENCY", "GUNICORN_CMD_ARGS"}
        for name in list(os.environ):
            if name.startswith(("TUS_", "AWS_")) or name in gunicorn_variables:
                patch.delenv(name)
        patch.setenv("AWS_CONFIG_FILE", os.devnull)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        for name in ("NO_PROXY", "no_proxy"):
            patch.setenv(name, "127.0.0.1,localhost", prepend=",")
        yield


@pytest.fixture(scope="session", autouse=True)
def shared_service_descriptions() -> Iterator[None]:
    """Let all sessions of botocore share the descriptions of AWS services that they read.

    A client then costs 20 ms of CPU instead of 100, and the tests create about a thousand.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.session, "create_loader", functools.cache(create_loader))
        yield
