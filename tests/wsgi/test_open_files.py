"""The limit of open files is raised to what is needed, within the hard limit."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tus_wsgi.wsgi.open_files import needed_files

PROGRAM = """
import json, resource, sys
from tus_wsgi.wsgi.open_files import raise_file_limit
soft, hard, count = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
result = raise_file_limit(count)
print(json.dumps([result, *resource.getrlimit(resource.RLIMIT_NOFILE)]))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "count", "expected"),
    [(64, 256, 200, 200), (64, 256, 300, 256), (200, 256, 100, 200), (64, 256, 256, 256)],
    ids=["raised", "to the hard limit", "unchanged", "exactly the hard limit"],
)
def test_the_soft_limit_is_raised(soft: int, hard: int, count: int, expected: int) -> None:
    command = [sys.executable, "-c", PROGRAM, str(soft), str(hard), str(count)]
    completed = subprocess.run(command, check=True, capture_output=True, text=True)
    assert json.loads(completed.stdout) == [expected, expected, hard]


def test_each_connection_may_need_two_files() -> None:
    assert needed_files(1000) - needed_files(0) == 2000
