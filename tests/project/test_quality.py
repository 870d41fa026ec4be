"""The rules of the house: floors, types, style, sizes, and that the documentation is true."""

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
from tus_wsgi.settings.table import markdown, table

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "tus_wsgi").rglob("*.py"))
NAMES = [str(path.relative_to(ROOT)) for path in MODULES]

LONGEST_FUNCTION = 40


def run(*command: str) -> None:
    """Run Python with these arguments in the project; what it says is shown if it fails."""
    ran = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=os.environ | {"NO_COLOR": "1", "COLUMNS": "100"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if ran.returncode:
        pytest.fail(f"{' '.join(command)} exited with {ran.returncode}:\n{ran.stdout}")


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_imports_only_go_down_and_the_wings_never_meet() -> None:
    run("-c", "from importlinter.cli import lint_imports_command as lint; lint()", "--no-cache")


def test_the_linter_is_content() -> None:
    run("-m", "ruff", "check", "--no-fix", ".")


def test_everything_is_formatted() -> None:
    run("-m", "ruff", "format", "--check", ".")


@pytest.mark.timeout(300)
def test_the_types_are_right() -> None:
    run("-m", "mypy")


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_a_function_fits_a_screen(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    lengths = {node.name: (node.end_lineno or 0) - node.lineno + 1 for node in functions(tree)}
    assert {name: length for name, length in lengths.items() if length > LONGEST_FUNCTION} == {}


def test_the_readme_has_the_settings_as_they_are() -> None:
    """Mend it with `tus-wsgi settings --markdown`."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"<!-- settings:begin -->\n(.*)<!-- settings:end -->", readme, re.DOTALL)
    assert block is not None
    assert block[1] == markdown(table())


def test_every_setting_does_something() -> None:
    """A field that nobody reads would be a promise that nobody keeps."""
    sources = [path for path in MODULES if path.name != "settings.py"]
    assert sources
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    # These four reach the part plan together.
    whole = re.sub(r"\bsettings\.part_limits\b", " ".join(PART_LIMITS), text)
    unread = {
        field.name
        for field in dataclasses.fields(Settings)
        if not re.search(rf"\bsettings\.{field.name}\b", whole)
    }
    assert unread == set()


PART_LIMITS = [
    "settings.s3_part_size",
    "settings.s3_min_part_size",
    "settings.s3_max_part_size",
    "settings.s3_max_multipart_parts",
    "settings.s3_max_object_size",
]


def test_the_public_names_are_these() -> None:
    """A name that is added here is kept until the next major version."""
    assert sorted(tus_wsgi.__all__) == [
        "FinishedUpload",
        "Settings",
        "SettingsError",
        "TusMiddleware",
        "__version__",
        "close_after_response",
        "create_app",
        "start_drain_watcher",
        "tune_malloc",
    ]


def test_importing_the_package_starts_nothing() -> None:
    """No thread, no client of S3, and no server: gevent patches first and imports us afterwards."""
    code = (
        "import gc, sys, threading, tus_wsgi, botocore.client as c;"
        "bad = {'gevent', 'gunicorn', 'click'} & set(sys.modules);"
        "assert not bad, bad; assert threading.active_count() == 1;"
        "assert not [o for o in gc.get_objects() if isinstance(o, c.BaseClient)]"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, check=True)
