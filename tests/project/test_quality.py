"""Checks of the code: import layers, lint, format, types, function length and public names."""

from __future__ import annotations

import ast
import dataclasses
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tus_wsgi
from tus_wsgi.settings import Settings

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "tus_wsgi").rglob("*.py"))
NAMES = [str(path.relative_to(ROOT)) for path in MODULES]

MAX_FUNCTION_LINES = 40


def run_python(*arguments: str) -> None:
    """Run Python in the project's directory; fail with its output if it exits with an error."""
    ran = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | {"NO_COLOR": "1", "COLUMNS": "100"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if ran.returncode:
        pytest.fail(f"{' '.join(arguments)} exited with {ran.returncode}:\n{ran.stdout}")


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_imports_only_point_down_the_layers() -> None:
    run_python(
        "-c", "from importlinter.cli import lint_imports_command as lint; lint()", "--no-cache"
    )


def test_ruff_finds_no_error() -> None:
    run_python("-m", "ruff", "check", "--no-fix", ".")


def test_every_file_is_formatted() -> None:
    run_python("-m", "ruff", "format", "--check", ".")


@pytest.mark.timeout(300)
def test_mypy_finds_no_error() -> None:
    run_python("-m", "mypy")


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_functions_fit_a_screen(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    lengths = {node.name: (node.end_lineno or 0) - node.lineno + 1 for node in functions(tree)}
    assert {name: lines for name, lines in lengths.items() if lines > MAX_FUNCTION_LINES} == {}


def test_every_setting_is_used() -> None:
    """A setting without effect would be a false promise."""
    sources = [path for path in MODULES if path.name != "settings.py"]
    assert sources
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    # The settings of the part plan are read together, through a property.
    expanded = re.sub(r"\bsettings\.part_limits\b", " ".join(PART_LIMITS), text)
    unused = {
        field.name
        for field in dataclasses.fields(Settings)
        if not re.search(rf"\bsettings\.{field.name}\b", expanded)
    }
    assert unused == set()


PART_LIMITS = [
    "settings.s3_part_size",
    "settings.s3_min_part_size",
    "settings.s3_max_part_size",
    "settings.s3_max_multipart_parts",
    "settings.s3_max_object_size",
]


def test_the_public_names_do_not_change_by_accident() -> None:
    """A name that is added here is kept until the next major version."""
    assert sorted(tus_wsgi.__all__) == [
        "Access",
        "Action",
        "Answer",
        "CreatedUpload",
        "Denied",
        "FinishedUpload",
        "GoneUpload",
        "NewUpload",
        "ObjectOptions",
        "Progress",
        "Rejected",
        "Request",
        "Settings",
        "SettingsError",
        "Stop",
        "TerminationReason",
        "TusMiddleware",
        "UploadFacts",
        "UploadPlan",
        "__version__",
        "close_after_response",
        "create_app",
        "start_drain_watcher",
        "tune_malloc",
    ]


def test_importing_the_package_has_no_side_effects() -> None:
    """It starts no thread, S3 client or server, because gevent patches before this import."""
    code = (
        "import gc, sys, threading, tus_wsgi, botocore.client as c;"
        "bad = {'gevent', 'gunicorn', 'click'} & set(sys.modules);"
        "assert not bad, bad; assert threading.active_count() == 1;"
        "assert not [o for o in gc.get_objects() if isinstance(o, c.BaseClient)]"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, check=True)
