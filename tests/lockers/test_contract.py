"""The contract that every locker fulfils."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness.lockers import LOCKER_KINDS, new_locker_spec
from tests.harness.timing import MAX_WAIT, wait_until
from tests.lockers.locking import ID, OTHER_ID, Holder, ignore_request
from tus_wsgi.domain.errors import LockLost, UploadLocked
from tus_wsgi.domain.interfaces import Locker
from tus_wsgi.domain.model import UploadId
from tus_wsgi.lockers.lease.locker import LeaseLocker

NewLocker = Callable[[float], Locker]


@pytest.fixture(params=LOCKER_KINDS)
def new_locker(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> NewLocker:
    """A function that creates a locker with a timeout in seconds, for each kind of locker."""
    spec = new_locker_spec(request.param, request, tmp_path)
    for name, value in spec.environ.items():
        monkeypatch.setenv(name, value)
    return spec.locker


@pytest.fixture
def locker(new_locker: NewLocker) -> Locker:
    return new_locker(MAX_WAIT)


@pytest.fixture
def short_timeout_locker(new_locker: NewLocker) -> Locker:
    return new_locker(0.15)


def assert_free(locker: Locker, id: UploadId = ID) -> None:
    """Assert that the lock has no holder, no waiter and no reservation for a waiter."""
    before = time.monotonic()
    with locker.lock(id, on_release_request=lambda: pytest.fail("another request waits")):
        assert time.monotonic() - before < 1.0


def test_a_lock_is_held_until_the_block_ends(locker: Locker) -> None:
    with locker.lock(ID, on_release_request=ignore_request) as lock:
        lock.assert_held()
    with pytest.raises(LockLost):
        lock.assert_held()


def test_a_held_lock_excludes_other_requests(locker: Locker) -> None:
    with Holder(locker):
        second = Holder(locker).start()
        assert not second.acquired.wait(0.2)
    assert second.acquired.wait(MAX_WAIT)
    second.release()


def test_locks_are_not_reentrant(short_timeout_locker: Locker) -> None:
    locker = short_timeout_locker
    with locker.lock(ID, on_release_request=ignore_request), pytest.raises(UploadLocked):
        locker.lock(ID, on_release_request=ignore_request).__enter__()


def test_locks_of_different_uploads_are_independent(locker: Locker) -> None:
    with Holder(locker, ID) as first, Holder(locker, OTHER_ID) as second:
        assert first.request_count == second.request_count == 0


def test_waiters_acquire_the_lock_in_order(locker: Locker) -> None:
    order: list[int] = []

    def wait(number: int) -> None:
        with locker.lock(ID, on_release_request=ignore_request):
            order.append(number)

    threads = [threading.Thread(target=wait, args=(number,)) for number in range(10)]
    with Holder(locker) as first:
        for thread in threads:
            thread.start()
            first.wait_for_request()
    for thread in threads:
        thread.join(MAX_WAIT)
    assert order == list(range(10))


def test_an_exception_in_the_block_releases_the_lock(locker: Locker) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        locker.lock(ID, on_release_request=ignore_request) as lock,
    ):
        raise KeyboardInterrupt
    with pytest.raises(LockLost):
        lock.assert_held()
    assert_free(locker)


def test_a_waiter_asks_the_holder_to_release(locker: Locker) -> None:
    with Holder(locker, releases_on_request=True) as first, Holder(locker):
        first.join()
        assert first.request_count == 1


def test_a_later_waiter_asks_the_holder_of_that_time(locker: Locker) -> None:
    with Holder(locker) as first:
        second = Holder(locker).start()
        first.wait_for_request()
    assert second.acquired.wait(MAX_WAIT)
    third = Holder(locker).start()
    second.wait_for_request()
    second.release()
    third.release()
    assert first.request_count == 1


def test_a_waiter_also_asks_the_next_holder(locker: Locker) -> None:
    with Holder(locker) as first:
        second = Holder(locker).start()
        first.wait_for_request()
        third = Holder(locker).start()
        first.wait_for_request()
        assert second.request_count == 0
    second.wait_for_request()
    second.release()
    assert third.acquired.wait(MAX_WAIT)
    third.release()
    assert third.request_count == 0


def test_a_holder_without_waiters_gets_no_release_request(locker: Locker) -> None:
    with Holder(locker) as first:
        time.sleep(0.25)
    assert first.request_count == 0


def test_no_release_request_follows_a_release(locker: Locker) -> None:
    with Holder(locker) as first:
        pass
    with Holder(locker):
        second = Holder(locker).start()
        time.sleep(0.25)
    second.release()
    assert first.request_count == 0


def test_a_callback_that_raises_does_not_affect_the_waiter(
    locker: Locker, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RuntimeError("a bug of the holder")

    with locker.lock(ID, on_release_request=fail):
        second = Holder(locker).start()
        wait_until(lambda: "a bug of the holder" in caplog.text)
    assert second.acquired.wait(MAX_WAIT)
    second.release()


def test_a_waiter_times_out_if_the_holder_ignores_its_requests(
    short_timeout_locker: Locker,
) -> None:
    with Holder(short_timeout_locker):
        before = time.monotonic()
        with pytest.raises(UploadLocked):
            short_timeout_locker.lock(ID, on_release_request=ignore_request).__enter__()
        assert 0.15 <= time.monotonic() - before < 2.0


def test_a_waiter_that_times_out_leaves_nothing_behind(short_timeout_locker: Locker) -> None:
    with Holder(short_timeout_locker) as first:
        with pytest.raises(UploadLocked):
            short_timeout_locker.lock(ID, on_release_request=ignore_request).__enter__()
        assert first.request_count == 1
    assert_free(short_timeout_locker)


def test_a_waiter_that_times_out_does_not_disturb_the_queue(new_locker: NewLocker) -> None:
    locker = new_locker(0.4)
    with Holder(locker) as first:
        early = Holder(locker).start()
        first.wait_for_request()
        time.sleep(0.25)
        late = Holder(locker).start()
        first.wait_for_request()
        wait_until(lambda: early.error is not None)
    assert late.acquired.wait(MAX_WAIT)
    late.release()
    assert isinstance(early.error, UploadLocked)
    assert_free(locker)


def open_descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))


class Interrupted(BaseException):
    """The exception of a signal handler, like `KeyboardInterrupt`."""


def test_an_interrupted_waiter_leaves_nothing_behind(locker: Locker) -> None:
    def interrupt(number: int, frame: object) -> None:
        raise Interrupted

    main = threading.main_thread().ident
    assert main is not None
    previous = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with Holder(locker):
            timer = threading.Timer(0.1, signal.pthread_kill, args=(main, signal.SIGUSR1))
            timer.start()
            with pytest.raises(Interrupted):
                locker.lock(ID, on_release_request=ignore_request).__enter__()
            timer.join()
    finally:
        signal.signal(signal.SIGUSR1, previous)
    assert_free(locker)


def test_holds_of_fifty_threads_on_twenty_uploads_never_overlap(locker: Locker) -> None:
    rounds = 3 if isinstance(locker, LeaseLocker) else 10  # a lease takes two network calls
    ids = [UploadId(f"upload{number}") for number in range(20)]
    holders = dict.fromkeys(ids, 0)
    overlaps: list[UploadId] = []
    finished: list[int] = []

    def run(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(rounds):
            id = rng.choice(ids)
            with locker.lock(id, on_release_request=ignore_request):
                holders[id] += 1
                time.sleep(rng.random() * 0.001)
                if holders[id] != 1:
                    overlaps.append(id)
                holders[id] -= 1
        finished.append(seed)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(MAX_WAIT)
    assert overlaps == []
    assert sorted(finished) == list(range(50))
    for id in ids:
        assert_free(locker, id)


def test_repeated_locks_leak_no_descriptors(locker: Locker) -> None:
    with locker.lock(ID, on_release_request=ignore_request):
        pass
    before = open_descriptors()
    for _ in range(20):
        with locker.lock(ID, on_release_request=ignore_request):
            pass
    assert open_descriptors() <= before
