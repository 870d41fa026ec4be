"""Checks of the repository's own files: workflows, hooks, templates and constraints."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
YAML_FILES = [ROOT / ".pre-commit-config.yaml", *sorted((ROOT / ".github").rglob("*.yml"))]

PINNED = re.compile(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}")


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def load(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return loaded


def steps(workflow: Path) -> Iterator[dict[str, Any]]:
    for job in load(workflow)["jobs"].values():
        yield from job["steps"]


@pytest.mark.parametrize("path", YAML_FILES, ids=names(YAML_FILES))
def test_yaml_files_can_be_parsed(path: Path) -> None:
    assert isinstance(load(path), dict)


def test_there_are_workflows_for_tests_and_releases() -> None:
    assert [path.name for path in WORKFLOWS] == ["publish.yml", "test.yml"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=names(WORKFLOWS))
def test_actions_are_pinned_to_a_commit(path: Path) -> None:
    """A tag can be moved to other code after a review."""
    actions = [step["uses"] for step in steps(path) if "uses" in step]
    assert actions
    assert [action for action in actions if not PINNED.fullmatch(action)] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=names(WORKFLOWS))
def test_workflows_have_the_least_permissions(path: Path) -> None:
    workflow = load(path)
    assert workflow["permissions"] in ({}, {"contents": "read"})
    granted = [job.get("permissions", {}) for job in workflow["jobs"].values()]
    writes = {key for scope in granted for key, value in scope.items() if value != "read"}
    assert writes <= {"id-token"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=names(WORKFLOWS))
def test_workflows_name_existing_files(path: Path) -> None:
    words = [word for step in steps(path) for word in shlex.split(step.get("run", ""))]
    for step in steps(path):
        options = step.get("with", {})
        if "cache-dependency-path" in options:
            words.append(options["cache-dependency-path"])
    files = [
        word for word in words if re.fullmatch(r"\.?\w+(/[\w.-]+)+|\w+\.txt|conformance", word)
    ]
    assert files
    assert [file for file in files if not (ROOT / file).exists()] == []


def test_the_hooks_use_the_tests_version_of_ruff() -> None:
    """Otherwise the hook and the test would disagree."""
    hooks = {repo["repo"].rpartition("/")[2]: repo["rev"] for repo in load(YAML_FILES[0])["repos"]}
    assert hooks["ruff-pre-commit"] == f"v{constraints()['ruff']}"


def constraints() -> dict[str, str]:
    """Return the pinned version of every package in constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {name.lower().replace("_", "-"): version for name, version in pins}


def test_the_constraints_pin_every_dependency_in_an_allowed_version() -> None:
    text = (ROOT / "setup.py").read_text(encoding="utf-8")
    pins = constraints()
    found = {requirement.name for requirement in requirements(text)}
    assert {"boto3", "gunicorn", "mypy", "pytest"} <= found
    for requirement in requirements(text):
        version = pins[requirement.name.lower()]
        assert requirement.specifier.contains(version), f"{requirement}: {version}"


def requirements(text: str) -> Iterator[Requirement]:
    """Yield the requirements in setup.py: every string with a minimum version."""
    for quoted in re.findall(r'"([A-Za-z][\w.\[\],-]*>=[\w.,<>=]+)"', text):
        yield Requirement(quoted)


def test_the_suite_and_the_library_support_the_same_versions_of_python() -> None:
    project = tomllib.loads((ROOT / "conformance" / "pyproject.toml").read_text(encoding="utf-8"))
    tested = load(ROOT / ".github" / "workflows" / "test.yml")["jobs"]["python"]["strategy"]
    versions = [
        classifier.rpartition(" ")[2]
        for classifier in project["project"]["classifiers"]
        if re.search(r":: 3\.\d+$", classifier)
    ]
    assert versions == tested["matrix"]["python"]
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    assert re.findall(r'"Programming Language :: Python :: (3\.\d+)"', setup) == versions
