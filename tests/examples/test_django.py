"""The Django example: quota, types by content, rows, and the admin."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_users_upload_and_delete_and_the_admin_deletes(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.examples.django_scenario", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True)
