"""Metrics of several worker processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.observers.test_prometheus import samples
from tus_wsgi.observers import workers

ROOT = Path(__file__).parents[2]


def test_counts_of_ended_workers_are_kept_in_one_file(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "tests.observers.metrics_workers", str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {workers.METRICS_PATH: "/metrics"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    found = samples(ran.stdout.encode())
    assert found["tus_uploads_created_total"] == 6
    assert found['tus_lock_wait_seconds_bucket{le="0.25"}'] == 0
    assert found['tus_lock_wait_seconds_bucket{le="0.5"}'] == 6
    assert found["tus_lock_wait_seconds_count"] == 6
    assert found["tus_bodies_open"] == 0, "a body of a process that has ended is not open"
    files = ran.stdout.rpartition("# files: ")[2].split()
    ended = [name for name in files if "ended" in name]
    assert ended == ["counter_ended.db", "histogram_ended.db"]
    assert len(files) == 6, "the lock, the ended workers, and the three files of this process"


@pytest.mark.parametrize(
    "environ",
    [{}, {workers.METRICS_PATH: "/metrics", workers.DIRECTORY: "/run/mine"}],
    ids=["no metrics", "a directory of the user"],
)
def test_no_directory_is_created_without_need(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = dict(environ)
    workers.create_directory(environ)
    assert environ == before
    assert list(tmp_path.iterdir()) == []


def test_workers_of_another_user_may_write_their_metrics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    environ = {workers.METRICS_PATH: "/metrics"}
    workers.create_directory(environ)
    directory = Path(environ[workers.DIRECTORY])
    assert directory.stat().st_mode & 0o777 == 0o700
    owners: list[object] = []
    monkeypatch.setattr(os, "chown", lambda *owner: owners.append(owner))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    workers.change_owner(33, 44)
    assert owners == [], "the directory is not that of this process"
    monkeypatch.setenv(workers.DIRECTORY, str(directory))
    workers.change_owner(33, 44)
    assert owners == [(directory, 33, 44)]


def test_a_directory_of_the_user_is_neither_removed_nor_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(workers.DIRECTORY, str(tmp_path))
    (tmp_path / "counter_1.db").touch()
    workers.add_ended_worker(1)
    workers.remove_directory()
    successor: dict[str, str] = {}
    workers.keep_for_successor(successor)
    assert (tmp_path / "counter_1.db").exists()
    assert successor == {}
