"""Run `tests/conftest.py` in a small project and check what it changes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

CONFTEST = Path(__file__).parents[1] / "conftest.py"

PASSES = "def test_passes(): pass\n"
SKIPS = "import pytest\n\ndef test_skips(): pytest.skip('no browser')\n"
SKIPS_ALL = "import pytest\n\npytest.skip('no npm', allow_module_level=True)\n"


def run(project: Path, files: dict[str, str], **environ: str) -> tuple[int, str]:
    """Run pytest on `files` with this project's conftest; return its exit code and output."""
    for name, text in files.items():
        path = project / "tests" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (project / "tests" / "conftest.py").write_bytes(CONFTEST.read_bytes())
    (project / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib\n")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-ra", "-p", "no:cacheprovider"],
        cwd=project,
        env={key: text for key, text in os.environ.items() if key != "CI"} | environ,
        text=True,
        capture_output=True,
        check=False,
    )
    return ran.returncode, ran.stdout


def test_a_skipped_test_fails_only_in_ci(tmp_path: Path) -> None:
    files = {"domain/test_a.py": SKIPS, "domain/test_b.py": PASSES}
    assert run(tmp_path, files)[0] == 0
    code, printed = run(tmp_path, files, CI="true")
    assert code == 1
    assert "skipped in CI: Skipped: no browser" in printed
    assert re.search(r"1 failed, 1 passed in \S+ =+\n$", printed)


def test_a_skipped_module_fails_in_ci(tmp_path: Path) -> None:
    code, printed = run(tmp_path, {"domain/test_a.py": SKIPS_ALL}, CI="true")
    assert code != 0
    assert "skipped in CI: Skipped: no npm" in printed


def test_an_expected_failure_is_not_a_skip(tmp_path: Path) -> None:
    text = "import pytest\n\n@pytest.mark.xfail\ndef test_known(): assert False\n"
    assert run(tmp_path, {"domain/test_a.py": text}, CI="true")[0] == 0


def test_fast_folders_run_first_in_any_random_order(tmp_path: Path) -> None:
    folders = ["domain", "protocol", "wsgi", "stores", "project", "live", "locks", "faults"]
    files = {f"{folder}/test_{file}.py": PASSES for folder in folders for file in "abc"}
    _, printed = run(tmp_path, files)
    order = re.findall(r"^tests/(\S+?)/test_\S+\.py::\S+ PASSED", printed, re.MULTILINE)
    assert order == [folder for folder in folders for _ in range(3)]


def test_variables_of_the_environment_do_not_reach_tests(tmp_path: Path) -> None:
    text = (
        "import os\n\n"
        "def test_clean():\n"
        "    names = set(os.environ)\n"
        "    assert not names & {'TUS_S3_BUCKET', 'AWS_PROFILE', 'AWS_ACCESS_KEY_ID'}\n"
        "    assert '127.0.0.1' in os.environ['NO_PROXY']\n"
    )
    code, printed = run(
        tmp_path,
        {"domain/test_a.py": text},
        TUS_S3_BUCKET="x",
        AWS_PROFILE="x",
        AWS_ACCESS_KEY_ID="x",
        NO_PROXY="example.com",
    )
    assert code == 0, printed
