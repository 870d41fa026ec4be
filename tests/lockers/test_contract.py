"""What every locker promises, whatever it is made of."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness.lockers import LOCKER_KINDS, new_locker_spec
from tests.lockers.locking import PATIENCE, A, B, Holder, eventually, ignore
from tus_wsgi.domain.errors import LockLost, UploadLocked
from tus_wsgi.domain.interfaces import Locker
from tus_wsgi.domain.model import UploadId
from tus_wsgi.lockers.lease.locker import LeaseLocker

MakeLocker = Callable[[float], Locker]


@pytest.fixture(params=LOCKER_KINDS)
def make_locker(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> MakeLocker:
    """Makes a locker of each kind, with a timeout in seconds."""
    spec = new_locker_spec(request.param, request, tmp_path)
    for name, value in spec.environ.items():
        monkeypatch.setenv(name, value)
    return spec.locker


@pytest.fixture
def locker(make_locker: MakeLocker) -> Locker:
    return make_locker(PATIENCE)


@pytest.fixture
def hasty(make_locker: MakeLocker) -> Locker:
    return make_locker(0.15)


def assert_free(locker: Locker, id: UploadId = A) -> None:
    """Nobody holds or waits for the lock, and nobody is remembered to have done so."""
    before = time.monotonic()
    with locker.lock(id, on_release_request=lambda: pytest.fail("somebody wants it")):
        assert time.monotonic() - before < 1.0


def test_a_lock_is_held_until_the_block_ends(locker: Locker) -> None:
    with locker.lock(A, on_release_request=ignore) as lock:
        lock.assert_held()
    with pytest.raises(LockLost):
        lock.assert_held()


def test_nobody_enters_while_another_holds(locker: Locker) -> None:
    with Holder(locker):
        second = Holder(locker).begin()
        assert not second.held.wait(0.2)
    assert second.held.wait(PATIENCE)
    second.let_go()


def test_the_same_thread_cannot_enter_twice(hasty: Locker) -> None:
    with hasty.lock(A, on_release_request=ignore), pytest.raises(UploadLocked):
        hasty.lock(A, on_release_request=ignore).__enter__()


def test_other_ids_are_not_disturbed(locker: Locker) -> None:
    with Holder(locker, A) as a, Holder(locker, B) as b:
        assert a.times_asked == b.times_asked == 0


def test_waiters_are_served_in_order(locker: Locker) -> None:
    served: list[int] = []

    def wait(number: int) -> None:
        with locker.lock(A, on_release_request=ignore):
            served.append(number)

    threads = [threading.Thread(target=wait, args=(number,)) for number in range(10)]
    with Holder(locker) as first:
        for thread in threads:
            thread.start()
            first.wait_until_asked()
    for thread in threads:
        thread.join(PATIENCE)
    assert served == list(range(10))


def test_an_exception_in_the_block_gives_the_lock_back(locker: Locker) -> None:
    with pytest.raises(KeyboardInterrupt), locker.lock(A, on_release_request=ignore) as lock:
        raise KeyboardInterrupt
    with pytest.raises(LockLost):
        lock.assert_held()
    assert_free(locker)


def test_a_newcomer_asks_the_holder_to_let_go(locker: Locker) -> None:
    with Holder(locker, polite=True) as first, Holder(locker):
        first.join()
        assert first.times_asked == 1


def test_a_newcomer_asks_whoever_holds_by_then(locker: Locker) -> None:
    with Holder(locker) as first:
        second = Holder(locker).begin()
        first.wait_until_asked()
    assert second.held.wait(PATIENCE)
    third = Holder(locker).begin()
    second.wait_until_asked()
    second.let_go()
    third.let_go()
    assert first.times_asked == 1


def test_who_waits_while_the_holder_changes_asks_again(locker: Locker) -> None:
    with Holder(locker) as first:
        second = Holder(locker).begin()
        first.wait_until_asked()
        third = Holder(locker).begin()
        first.wait_until_asked()
        assert second.times_asked == 0
    second.wait_until_asked()
    second.let_go()
    assert third.held.wait(PATIENCE)
    third.let_go()
    assert third.times_asked == 0


def test_an_uncontended_holder_is_never_asked(locker: Locker) -> None:
    with Holder(locker) as first:
        time.sleep(0.25)
    assert first.times_asked == 0


def test_nobody_is_asked_for_a_lock_that_was_given_back(locker: Locker) -> None:
    with Holder(locker) as first:
        pass
    with Holder(locker):
        second = Holder(locker).begin()
        time.sleep(0.25)
    second.let_go()
    assert first.times_asked == 0


def test_a_release_request_that_raises_harms_nobody_else(
    locker: Locker, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RuntimeError("a mistake of the holder")

    with locker.lock(A, on_release_request=fail):
        second = Holder(locker).begin()
        eventually(lambda: "a mistake of the holder" in caplog.text)
    assert second.held.wait(PATIENCE)
    second.let_go()


def test_a_stubborn_holder_makes_the_waiter_fail_in_time(hasty: Locker) -> None:
    with Holder(hasty):
        before = time.monotonic()
        with pytest.raises(UploadLocked):
            hasty.lock(A, on_release_request=ignore).__enter__()
        assert 0.15 <= time.monotonic() - before < 2.0


def test_a_waiter_that_fails_leaves_no_trace(hasty: Locker) -> None:
    with Holder(hasty) as first:
        with pytest.raises(UploadLocked):
            hasty.lock(A, on_release_request=ignore).__enter__()
        assert first.times_asked == 1
    assert_free(hasty)


def test_a_waiter_in_the_middle_that_fails_leaves_the_others_in_line(
    make_locker: MakeLocker,
) -> None:
    locker = make_locker(0.4)
    with Holder(locker) as first:
        early = Holder(locker).begin()
        first.wait_until_asked()
        time.sleep(0.25)
        late = Holder(locker).begin()
        first.wait_until_asked()
        eventually(lambda: early.error is not None)
    assert late.held.wait(PATIENCE)
    late.let_go()
    assert isinstance(early.error, UploadLocked)
    assert_free(locker)


def open_descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))


class Interrupted(BaseException):
    """What a signal handler raises, like `KeyboardInterrupt`."""


def test_an_interrupted_waiter_leaves_no_trace(locker: Locker) -> None:
    def interrupt(number: int, frame: object) -> None:
        raise Interrupted

    main = threading.main_thread().ident
    assert main is not None
    earlier = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with Holder(locker):
            timer = threading.Timer(0.1, signal.pthread_kill, args=(main, signal.SIGUSR1))
            timer.start()
            with pytest.raises(Interrupted):
                locker.lock(A, on_release_request=ignore).__enter__()
            timer.join()
    finally:
        signal.signal(signal.SIGUSR1, earlier)
    assert_free(locker)


def test_fifty_threads_on_twenty_ids_never_overlap(locker: Locker) -> None:
    rounds = 3 if isinstance(locker, LeaseLocker) else 10  # two calls over the network each
    ids = [UploadId(f"upload{number}") for number in range(20)]
    inside = dict.fromkeys(ids, 0)
    overlaps: list[UploadId] = []
    finished: list[int] = []

    def run(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(rounds):
            id = chance.choice(ids)
            with locker.lock(id, on_release_request=ignore):
                inside[id] += 1
                time.sleep(chance.random() * 0.001)
                if inside[id] != 1:
                    overlaps.append(id)
                inside[id] -= 1
        finished.append(seed)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert overlaps == []
    assert sorted(finished) == list(range(50))
    for id in ids:
        assert_free(locker, id)


def test_descriptors_do_not_pile_up(locker: Locker) -> None:
    with locker.lock(A, on_release_request=ignore):
        pass
    before = open_descriptors()
    for _ in range(20):
        with locker.lock(A, on_release_request=ignore):
            pass
    assert open_descriptors() <= before
