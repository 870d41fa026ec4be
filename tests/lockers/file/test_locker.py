"""The file locker across processes, with threads and with gevent's greenlets."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.harness.lockers import ADVISORY_LOCKS, LockerSpec
from tests.harness.timing import MANY_TRIES, MAX_WAIT, assert_takes_less, wait_until
from tests.lockers.locking import (
    ID,
    OTHER_ID,
    Connection,
    ForkServer,
    Holder,
    LockerProcess,
    ignore_request,
)
from tus_wsgi.domain.errors import UploadLocked
from tus_wsgi.lockers.file import locker as module
from tus_wsgi.lockers.file.directory import InvalidLockDirectory
from tus_wsgi.lockers.file.locker import FileLocker, lock_id_of, waiter_id_of
from tus_wsgi.lockers.file.ofd import ID_LIMIT

StartProcess = Callable[..., LockerProcess]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "locks"


@pytest.fixture(scope="module")
def threads() -> Iterator[ForkServer]:
    with closing(ForkServer(gevent=False)) as fork_server:
        yield fork_server


@pytest.fixture(scope="module")
def greenlets() -> Iterator[ForkServer]:
    with closing(ForkServer(gevent=True)) as fork_server:
        yield fork_server


@pytest.fixture(params=["file", "file-gevent", "flock"])
def start_process(
    request: pytest.FixtureRequest, directory: Path, threads: ForkServer, greenlets: ForkServer
) -> Iterator[StartProcess]:
    """A function that starts a process with a locker. All processes share the lock directory."""
    kind, _, gevent = request.param.partition("-")
    fork_server = greenlets if gevent else threads
    spec = LockerSpec(kind=kind, location=str(directory))
    with ExitStack() as stack:
        yield lambda timeout=MAX_WAIT: stack.enter_context(
            closing(fork_server.start(spec, timeout=timeout))
        )


@pytest.fixture(params=ADVISORY_LOCKS)
def thread_and_greenlet(
    request: pytest.FixtureRequest, directory: Path, threads: ForkServer, greenlets: ForkServer
) -> Iterator[tuple[Connection, Connection]]:
    """Two processes: the first with threads, the second with greenlets."""
    spec = LockerSpec(kind=request.param, location=str(directory))
    with closing(threads.start(spec)) as first, closing(greenlets.start(spec)) as second:
        yield first.connection, second.connection


def watcher_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "tus-lock-watcher"]


def test_processes_exclude_each_other(start_process: StartProcess) -> None:
    first, second = start_process().connection, start_process().connection
    first.send("lock", "a")
    first.expect("locked", "a")
    second.send("lock", "a")
    first.expect("requested", "a")
    second.send("lock", "b")
    second.expect("locked", "b")
    first.send("release", "a")
    released_at = first.expect("released", "a")
    assert second.expect("locked", "a") > released_at


def test_a_release_request_reaches_another_process_in_half_a_second(
    start_process: StartProcess,
) -> None:
    first, second = start_process().connection, start_process().connection
    ids = map(str, itertools.count())

    def measure_handover() -> float:
        id = next(ids)
        first.send("lock_cooperative", id)
        first.expect("locked", id)
        before = time.monotonic()
        second.send("lock", id)
        first.expect("requested", id)
        first.expect("released", id)
        return second.expect("locked", id) - before

    assert_takes_less(0.5, measure_handover, tries=MANY_TRIES)


def test_a_waiter_also_asks_the_next_holder(start_process: StartProcess) -> None:
    first, second, third = (start_process().connection for _ in range(3))
    first.send("lock", "a")
    first.expect("locked", "a")
    second.send("lock_cooperative", "a")
    first.expect("requested", "a")
    third.send("lock_cooperative", "a")
    first.send("release", "a")
    first.expect("released", "a")
    second.expect("locked", "a")
    second.expect("requested", "a")
    second.expect("released", "a")
    third.expect("locked", "a")


def test_release_requests_are_repeated_slowly(start_process: StartProcess) -> None:
    first, second = start_process().connection, start_process().connection
    first.send("lock", "a")
    first.expect("locked", "a")
    second.send("lock", "a")
    requested_at = [first.expect("requested", "a") for _ in range(3)]
    pauses = [later - earlier for earlier, later in itertools.pairwise(requested_at)]
    assert max(pauses) > 0.5 * module.REPEAT_INTERVAL, "each poll is a request"


def test_a_killed_holder_releases_its_locks_at_once(start_process: StartProcess) -> None:
    second = start_process().connection
    ids = map(str, itertools.count())

    def measure_handover() -> float:
        first, id = start_process(), next(ids)
        first.connection.send("lock", id)
        first.connection.expect("locked", id)
        second.send("lock", id)
        first.connection.expect("requested", id)
        before = time.monotonic()
        first.kill()
        return second.expect("locked", id) - before

    assert_takes_less(0.2, measure_handover, tries=MANY_TRIES)


def test_a_killed_waiter_does_not_block_other_waiters(start_process: StartProcess) -> None:
    first, second, third = start_process().connection, start_process(), start_process().connection
    first.send("lock", "a")
    first.expect("locked", "a")
    second.connection.send("lock", "a")
    first.expect("requested", "a")
    second.kill()
    third.send("lock", "a")
    first.expect("requested", "a")
    first.send("release", "a")
    first.expect("released", "a")
    third.expect("locked", "a")


def test_the_timeout_includes_the_wait_in_the_queue_of_the_process(
    start_process: StartProcess,
) -> None:
    first, second = start_process().connection, start_process(timeout=1.0).connection
    first.send("lock", "a")
    first.expect("locked", "a")

    def measure_two_timeouts() -> float:
        before = time.monotonic()
        second.send("lock", "a")
        second.send("lock", "a")
        assert second.expect("timed_out", "a") - before >= 1.0
        return second.expect("timed_out", "a") - before

    assert_takes_less(1.8, measure_two_timeouts, tries=MANY_TRIES)
    first.expect("requested", "a")
    first.send("release", "a")
    first.expect("released", "a")
    second.send("lock", "a")
    second.expect("locked", "a")


def test_the_child_of_a_fork_has_locks_of_its_own(start_process: StartProcess) -> None:
    parent = start_process()
    parent.connection.send("lock", "a")
    parent.connection.expect("locked", "a")
    child = parent.fork()
    child.send("lock", "a")
    parent.connection.expect("requested", "a")
    parent.connection.send("release", "a")
    parent.connection.expect("released", "a")
    child.expect("locked", "a")
    parent.connection.send("lock", "a")
    child.expect("requested", "a")


def test_the_child_of_a_fork_does_not_keep_the_locks_of_a_dead_parent(
    start_process: StartProcess,
) -> None:
    parent, other = start_process(), start_process().connection
    parent.connection.send("lock", "a")
    parent.connection.expect("locked", "a")
    parent.fork()
    other.send("lock", "a")
    parent.connection.expect("requested", "a")
    parent.kill()
    other.expect("locked", "a")


def test_a_busy_process_does_not_starve_another(start_process: StartProcess) -> None:
    first, second = start_process().connection, start_process().connection
    first.send("contend", "a")

    def measure_ten_holds() -> float:
        before = time.monotonic()
        for _ in range(10):
            second.send("lock", "a")
            second.expect("locked", "a")
            second.send("release", "a")
            second.expect("released", "a")
        return time.monotonic() - before

    assert_takes_less(1.0, measure_ten_holds, tries=MANY_TRIES)


def test_holds_never_overlap_under_stress(start_process: StartProcess) -> None:
    processes = [start_process().connection for _ in range(3)]
    for process in processes:
        process.send("stress", "8")
    assert [process.expect("overlaps") for process in processes] == [0, 0, 0]


def test_a_waiter_does_not_block_other_greenlets(
    thread_and_greenlet: tuple[Connection, Connection],
) -> None:
    """With gevent, a blocking call would stop all requests of a worker."""
    thread, greenlet = thread_and_greenlet
    thread.send("lock", "a")
    thread.expect("locked", "a")
    greenlet.send("lock", "b")
    greenlet.expect("locked", "b")
    greenlet.send("lock", "a")
    thread.expect("requested", "a")

    def measure_pause() -> float:
        greenlet.send("measure_pause", "1")
        return greenlet.expect("pause")

    assert_takes_less(0.5, measure_pause, tries=MANY_TRIES)


def test_a_killed_greenlet_leaves_no_waiter_behind(
    thread_and_greenlet: tuple[Connection, Connection],
) -> None:
    thread, greenlet = thread_and_greenlet
    thread.send("lock", "a")
    thread.expect("locked", "a")
    greenlet.send("lock", "a")
    thread.expect("requested", "a")
    greenlet.send("cancel", "a")
    greenlet.expect("cancelled", "a")
    thread.send("release", "a")
    thread.expect("released", "a")
    thread.send("lock", "a")
    thread.expect("locked", "a")
    greenlet.send("lock", "a")
    thread.expect("requested", "a")


def test_the_watcher_runs_only_while_locks_are_held(directory: Path) -> None:
    locker = FileLocker(directory, timeout=1.0)
    wait_until(lambda: not watcher_threads())
    for _ in range(2):
        with Holder(locker, ID), Holder(locker, OTHER_ID):
            time.sleep(2 * module.POLL_INTERVAL)
            assert len(watcher_threads()) == 1
        wait_until(lambda: not watcher_threads())


def test_uploads_with_the_same_lock_id_exclude_each_other(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel would let two threads of one process hold the lock."""
    monkeypatch.setattr(module, "lock_id_of", lambda _: 8)
    locker = FileLocker(directory, timeout=0.1)
    with Holder(locker, ID), pytest.raises(UploadLocked):
        locker.lock(OTHER_ID, on_release_request=ignore_request).__enter__()


def test_lock_ids_and_waiter_ids_are_disjoint() -> None:
    for id in (ID, OTHER_ID):
        assert 0 <= lock_id_of(id) < ID_LIMIT // 2 <= waiter_id_of(lock_id_of(id)) < ID_LIMIT
    assert lock_id_of(ID) != lock_id_of(OTHER_ID)


def test_no_file_is_open_before_the_first_lock(directory: Path) -> None:
    descriptors = Path("/dev/fd")
    before = len(list(descriptors.iterdir()))
    locker = FileLocker(directory, timeout=1.0)
    assert len(list(descriptors.iterdir())) == before
    with locker.lock(ID, on_release_request=ignore_request):
        assert len(list(descriptors.iterdir())) > before


def test_an_unsafe_directory_is_rejected_at_the_start(directory: Path) -> None:
    directory.mkdir()
    directory.chmod(0o777)
    with pytest.raises(InvalidLockDirectory, match="TUS_LOCK_DIR"):
        FileLocker(directory, timeout=1.0)
