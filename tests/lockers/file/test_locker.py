"""The file locker across processes: plain ones, and ones that gevent has patched."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.harness.lockers import ADVISORY_LOCKS, LockerSpec
from tests.harness.timing import MANY_TRIES, assert_takes_less
from tests.lockers.locking import (
    PATIENCE,
    A,
    B,
    ForkServer,
    Holder,
    Peer,
    Talk,
    eventually,
    ignore,
)
from tus_wsgi.domain.errors import UploadLocked
from tus_wsgi.lockers.file import locker as file
from tus_wsgi.lockers.file.locker import FileLocker, lock_id_of, waiter_id_of
from tus_wsgi.lockers.file.ofd import ID_LIMIT, InvalidLockDirectory

MakePeer = Callable[..., Peer]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "locks"


@pytest.fixture(scope="module")
def threads() -> Iterator[ForkServer]:
    with closing(ForkServer(gevent=False)) as nursery:
        yield nursery


@pytest.fixture(scope="module")
def greenlets() -> Iterator[ForkServer]:
    with closing(ForkServer(gevent=True)) as nursery:
        yield nursery


@pytest.fixture(params=["file", "file-gevent", "flock"])
def make_peer(
    request: pytest.FixtureRequest, directory: Path, threads: ForkServer, greenlets: ForkServer
) -> Iterator[MakePeer]:
    """Starts processes that share the lock directory."""
    kind, _, gevent = request.param.partition("-")
    nursery = greenlets if gevent else threads
    with ExitStack() as stack:
        yield lambda timeout=PATIENCE: stack.enter_context(
            closing(nursery.peer(LockerSpec(kind=kind, location=str(directory)), timeout=timeout))
        )


@pytest.fixture(params=ADVISORY_LOCKS)
def thread_and_greenlet(
    request: pytest.FixtureRequest, directory: Path, threads: ForkServer, greenlets: ForkServer
) -> Iterator[tuple[Talk, Talk]]:
    """Two processes, the second one patched for gevent."""
    spec = LockerSpec(kind=request.param, location=str(directory))
    one, two = threads.peer(spec), greenlets.peer(spec)
    with closing(one), closing(two):
        yield one.talk, two.talk


def watchers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "tus-lock-watcher"]


def test_processes_exclude_each_other(make_peer: MakePeer) -> None:
    one, two = make_peer().talk, make_peer().talk
    one.say("lock", "a")
    one.hear("locked", "a")
    two.say("lock", "a")
    one.hear("asked", "a")
    two.say("lock", "b")
    two.hear("locked", "b")
    one.say("release", "a")
    released = one.hear("released", "a")
    assert two.hear("locked", "a") > released


def test_a_release_request_crosses_processes_in_half_a_second(make_peer: MakePeer) -> None:
    one, two = make_peer().talk, make_peer().talk
    ids = map(str, itertools.count())

    def pass_on() -> float:
        id = next(ids)
        one.say("polite", id)
        one.hear("locked", id)
        before = time.monotonic()
        two.say("lock", id)
        one.hear("asked", id)
        one.hear("released", id)
        return two.hear("locked", id) - before

    assert_takes_less(0.5, pass_on, tries=MANY_TRIES)


def test_who_waits_while_another_process_takes_over_asks_again(make_peer: MakePeer) -> None:
    one, two, three = make_peer().talk, make_peer().talk, make_peer().talk
    one.say("lock", "a")
    one.hear("locked", "a")
    two.say("polite", "a")
    one.hear("asked", "a")
    three.say("polite", "a")
    one.say("release", "a")
    one.hear("released", "a")
    two.hear("locked", "a")
    two.hear("asked", "a")
    two.hear("released", "a")
    three.hear("locked", "a")


def test_a_request_that_persists_is_repeated_slowly(make_peer: MakePeer) -> None:
    one, two = make_peer().talk, make_peer().talk
    one.say("lock", "a")
    one.hear("locked", "a")
    two.say("lock", "a")
    asked = [one.hear("asked", "a") for _ in range(4)]
    pauses = [later - earlier for earlier, later in itertools.pairwise(asked)]
    assert max(pauses) > 0.5 * file.REPEAT_INTERVAL, "each look is a request"


def test_killing_the_holder_frees_its_locks_at_once(make_peer: MakePeer) -> None:
    two = make_peer().talk
    ids = map(str, itertools.count())

    def pass_on() -> float:
        one, id = make_peer(), next(ids)
        one.talk.say("lock", id)
        one.talk.hear("locked", id)
        two.say("lock", id)
        one.talk.hear("asked", id)
        before = time.monotonic()
        one.kill()
        return two.hear("locked", id) - before

    assert_takes_less(0.2, pass_on, tries=MANY_TRIES)


def test_killing_a_waiter_lets_others_wait(make_peer: MakePeer) -> None:
    one, two, three = make_peer().talk, make_peer(), make_peer().talk
    one.say("lock", "a")
    one.hear("locked", "a")
    two.talk.say("lock", "a")
    one.hear("asked", "a")
    two.kill()
    three.say("lock", "a")
    one.hear("asked", "a")
    one.say("release", "a")
    one.hear("released", "a")
    three.hear("locked", "a")


def test_waiting_for_another_process_ends_in_time(make_peer: MakePeer) -> None:
    """The time spent in the queue of the own process counts."""
    one, two = make_peer().talk, make_peer(timeout=1.0).talk
    one.say("lock", "a")
    one.hear("locked", "a")

    def be_refused_twice() -> float:
        before = time.monotonic()
        two.say("lock", "a")
        two.say("lock", "a")
        assert two.hear("refused", "a") - before >= 1.0
        return two.hear("refused", "a") - before

    assert_takes_less(1.8, be_refused_twice, tries=MANY_TRIES)
    one.hear("asked", "a")
    one.say("release", "a")
    one.hear("released", "a")
    two.say("lock", "a")
    two.hear("locked", "a")


def test_a_child_of_a_fork_has_locks_of_its_own(make_peer: MakePeer) -> None:
    parent = make_peer()
    parent.talk.say("lock", "a")
    parent.talk.hear("locked", "a")
    child = parent.fork()
    child.say("lock", "a")
    parent.talk.hear("asked", "a")
    parent.talk.say("release", "a")
    parent.talk.hear("released", "a")
    child.hear("locked", "a")
    parent.talk.say("lock", "a")
    child.hear("asked", "a")


def test_a_child_of_a_fork_does_not_keep_the_locks_of_a_dead_parent(make_peer: MakePeer) -> None:
    parent, other = make_peer(), make_peer().talk
    parent.talk.say("lock", "a")
    parent.talk.hear("locked", "a")
    parent.fork()
    other.say("lock", "a")
    parent.talk.hear("asked", "a")
    parent.kill()
    other.hear("locked", "a")


def test_a_busy_process_does_not_starve_another(make_peer: MakePeer) -> None:
    one, two = make_peer().talk, make_peer().talk
    one.say("busy", "a")

    def have_turns() -> float:
        before = time.monotonic()
        for _ in range(10):
            two.say("lock", "a")
            two.hear("locked", "a")
            two.say("release", "a")
            two.hear("released", "a")
        return time.monotonic() - before

    assert_takes_less(1.0, have_turns, tries=MANY_TRIES)


def test_processes_under_stress_never_overlap(make_peer: MakePeer) -> None:
    peers = [make_peer().talk for _ in range(3)]
    for peer in peers:
        peer.say("stress", "8")
    assert [peer.hear("overlaps") for peer in peers] == [0, 0, 0]


def test_waiting_blocks_nobody_else_in_the_process(thread_and_greenlet: tuple[Talk, Talk]) -> None:
    """With gevent, one blocking call would stop all requests of a worker."""
    one, two = thread_and_greenlet
    one.say("lock", "a")
    one.hear("locked", "a")
    two.say("lock", "b")
    two.hear("locked", "b")
    two.say("lock", "a")
    one.hear("asked", "a")

    def lag() -> float:
        two.say("lag", "1")
        return two.hear("lag")

    assert_takes_less(0.5, lag, tries=MANY_TRIES)


def test_killing_a_greenlet_that_waits_leaves_no_trace(
    thread_and_greenlet: tuple[Talk, Talk],
) -> None:
    one, two = thread_and_greenlet
    one.say("lock", "a")
    one.hear("locked", "a")
    two.say("lock", "a")
    one.hear("asked", "a")
    two.say("cancel", "a")
    two.hear("cancelled", "a")
    one.say("release", "a")
    one.hear("released", "a")
    one.say("lock", "a")
    one.hear("locked", "a")
    two.say("lock", "a")
    one.hear("asked", "a")


def test_the_watcher_lives_while_locks_are_held(directory: Path) -> None:
    locker = FileLocker(directory, timeout=1.0)
    eventually(lambda: not watchers())
    for _ in range(2):
        with Holder(locker, A), Holder(locker, B):
            time.sleep(2 * file.POLL_INTERVAL)
            assert len(watchers()) == 1
        eventually(lambda: not watchers())


def test_ids_that_share_a_place_exclude_each_other(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel would let two threads of one process in."""
    monkeypatch.setattr(file, "lock_id_of", lambda _: 8)
    locker = FileLocker(directory, timeout=0.1)
    with Holder(locker, A), pytest.raises(UploadLocked):
        locker.lock(B, on_release_request=ignore).__enter__()


def test_places_and_seats_do_not_meet() -> None:
    for id in (A, B):
        assert 0 <= lock_id_of(id) < ID_LIMIT // 2 <= waiter_id_of(lock_id_of(id)) < ID_LIMIT
    assert lock_id_of(A) != lock_id_of(B)


def test_nothing_is_opened_before_a_lock_is_needed(directory: Path) -> None:
    descriptors = Path("/dev/fd")
    before = len(list(descriptors.iterdir()))
    locker = FileLocker(directory, timeout=1.0)
    assert len(list(descriptors.iterdir())) == before
    with locker.lock(A, on_release_request=ignore):
        assert len(list(descriptors.iterdir())) > before


def test_an_unsafe_directory_is_refused_at_start(directory: Path) -> None:
    directory.mkdir()
    directory.chmod(0o777)
    with pytest.raises(InvalidLockDirectory, match="TUS_LOCK_DIR"):
        FileLocker(directory, timeout=1.0)
