"""No other user can replace the lock directory, or open its files."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from tus_wsgi.lockers.file.directory import InvalidLockDirectory, open_directory
from tus_wsgi.lockers.file.holders import HolderFile
from tus_wsgi.lockers.file.locker import FileLocker
from tus_wsgi.lockers.file.ofd import OfdLocks

ADVICE = r"^TUS_LOCK_DIR: .*"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    directory = tmp_path / "parent" / "locks"
    directory.mkdir(mode=0o700, parents=True)
    return directory


@pytest.mark.parametrize("mode", [0o777, 0o707, 0o703])
def test_a_parent_that_every_user_can_write_to_is_rejected(directory: Path, mode: int) -> None:
    directory.parent.chmod(mode)
    with pytest.raises(InvalidLockDirectory, match=rf"{ADVICE}mode {mode:o}: .* chmod o-w"):
        FileLocker(directory, timeout=1)


def test_a_distant_parent_that_every_user_can_write_to_is_rejected(directory: Path) -> None:
    directory.parent.parent.chmod(0o777)
    with pytest.raises(InvalidLockDirectory, match=ADVICE):
        FileLocker(directory, timeout=1)


def test_a_link_in_a_directory_that_every_user_can_write_to_is_rejected(
    directory: Path, tmp_path: Path
) -> None:
    links = tmp_path / "links"
    links.mkdir()
    (links / "link").symlink_to(directory.parent)
    links.chmod(0o777)
    with pytest.raises(InvalidLockDirectory, match=ADVICE):
        FileLocker(links / "link" / "locks", timeout=1)


@pytest.mark.parametrize("mode", [0o1777, 0o755, 0o700, 0o1775])
def test_a_parent_in_which_only_owners_can_rename_is_accepted(directory: Path, mode: int) -> None:
    directory.parent.chmod(mode)
    FileLocker(directory, timeout=1)


def test_a_parent_that_a_group_can_write_to_is_reported(
    directory: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    directory.parent.chmod(0o775)
    real = Path.stat

    def stat(path: Path, **more: bool) -> os.stat_result:
        status = real(path, **more)
        if path != directory.parent:
            return status
        return os.stat_result((*status[:5], 12345, *status[6:]))

    monkeypatch.setattr(Path, "stat", stat)
    with caplog.at_level(logging.WARNING):
        os.close(open_directory(directory))
    assert "the group 12345 can replace" in caplog.text


@pytest.mark.parametrize("name", ["uploads-3.lock", "uploads.marks"])
@pytest.mark.parametrize("kind", ["mode", "link", "hard link", "pipe", "directory"])
def test_a_file_that_others_can_open_is_rejected(directory: Path, name: str, kind: str) -> None:
    file, other = directory / name, directory.parent / "other"
    other.touch(mode=0o600)
    match kind:
        case "mode":
            file.touch(mode=0o600)
            file.chmod(0o640)
        case "link":
            file.symlink_to(other)
        case "hard link":
            file.hardlink_to(other)
        case "pipe":
            os.mkfifo(file, 0o600)
        case _:
            file.mkdir()
    with pytest.raises(InvalidLockDirectory, match=rf"{ADVICE}{name}"):
        FileLocker(directory, timeout=1)


@pytest.mark.parametrize("open_files", [OfdLocks, HolderFile])
def test_a_file_of_another_user_is_rejected(
    directory: Path, open_files: type[OfdLocks | HolderFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    FileLocker(directory, timeout=1)
    monkeypatch.setattr("tus_wsgi.lockers.file.directory._check_directory", lambda *_: None)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(InvalidLockDirectory, match=rf"{ADVICE}belongs to user {os.getuid()}"):
        open_files(directory)


def test_the_files_are_created_for_their_owner_only(directory: Path) -> None:
    FileLocker(directory, timeout=1)
    files = list(directory.iterdir())
    assert len(files) == 17
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
