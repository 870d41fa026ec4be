"""Holds never overlap, whatever processes die or stop, calls are lost or late, and clocks jump.

    LOCKS=full script/test tests/locks/test_exclusion.py

runs the long form: 8 processes of 50 greenlets for 30 seconds on 20 locks, with leases of 6 s.
"""

from __future__ import annotations

import functools
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.harness.lockers import FAST_TIMING, LEASE_KINDS, LockerSpec, new_locker_spec
from tests.harness.proxies.fault_proxy import FaultProxy
from tests.harness.proxies.faults import Call, Fault
from tests.locks.critical_section import CriticalSections
from tests.locks.lock_stress import FLAWS, StressPlan
from tus_wsgi.domain.model import UploadId
from tus_wsgi.lockers.lease.records import LeaseTiming

pytestmark = [pytest.mark.locks, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]

FULL = os.environ.get("LOCKS") == "full"

TIMING = LeaseTiming() if FULL else FAST_TIMING

RARE_HEARTBEATS = LeaseTiming(lease=3.0, heartbeat=2.0, margin=0.5, poll=0.15, reserve=0.5)
"""A holder learns late that its lock has passed on."""

MIN_SECONDS = 30.0 if FULL else 0.0

MIN_STOPPED = 3

MIN_KILLED = 2

MIN_PROGRESS = 5
"""Acquisitions between two disturbances, so that the locks also pass on normally."""

PLAN = StressPlan(
    spec="",
    directory="",
    processes=8 if FULL else 4,
    greenlets=50 if FULL else 8,
    ids=20 if FULL else 5,
    timeout=TIMING.lease * 5 / 6,
    clocks_jump=True,
)

FAULTS = (
    Fault.CUT_BEFORE,
    Fault.CUT_AFTER,
    Fault.STALL_AFTER,
    Fault.LATE_AFTER_2,
    Fault.INTERNAL_ERROR,
)

FAULT_RATE = 0.01

MAX_WAIT = 120.0


@contextmanager
def stress_run(plan: StressPlan) -> Iterator[subprocess.Popen[bytes]]:
    """Start a stress run, wait for its processes, and kill them when the block ends."""
    script = "from gevent import monkey; monkey.patch_all(); "
    script += "from tests.locks.lock_stress import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", script, plan.to_json()], cwd=ROOT, start_new_session=True
    ) as process:
        try:
            wait_until(plan.pids, process)
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def wait_until(condition: Callable[[], object], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + MAX_WAIT
    while not condition():
        assert process.poll() is None, f"the stress run has ended with {process.returncode}"
        assert time.monotonic() < deadline, f"the condition was not met in {MAX_WAIT} s"
        time.sleep(0.02)


def send_signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def has_acquired(plan: StressPlan, count: int) -> bool:
    return plan.counts()["acquired"] >= count


def disturb(
    plan: StressPlan,
    process: subprocess.Popen[bytes],
    rng: random.Random,
    is_complete: Callable[[], bool],
) -> Counter[str]:
    """Kill and stop processes at random until the run is complete, and then end it.

    The run is complete after enough disturbances, `MIN_SECONDS`, and when `is_complete` returns
    True. So a slow machine takes more time, but the same events happen.

    Returns:
        the number of processes that were killed and that were stopped.
    """
    done: Counter[str] = Counter()
    timers: list[threading.Timer] = []
    started = time.monotonic()

    def must_continue() -> bool:
        is_too_short = time.monotonic() - started < MIN_SECONDS
        has_too_few = done["killed"] < MIN_KILLED or done["stopped"] < MIN_STOPPED
        return is_too_short or has_too_few or not is_complete()

    while must_continue():
        assert time.monotonic() - started < MIN_SECONDS + 2 * MAX_WAIT, (done, plan.counts())
        target = plan.counts()["acquired"] + MIN_PROGRESS
        time.sleep(rng.uniform(0.3, 0.8) * TIMING.lease)
        wait_until(functools.partial(has_acquired, plan, target), process)
        pid = rng.choice(plan.pids())
        if done["stopped"] > 2 * done["killed"]:
            done["killed"] += 1
            send_signal(pid, signal.SIGKILL)
        else:
            done["stopped"] += 1
            send_signal(pid, signal.SIGSTOP)
            pause = TIMING.lease * rng.uniform(0.9, 1.8)
            timers.append(threading.Timer(pause, send_signal, args=(pid, signal.SIGCONT)))
            timers[-1].start()
    plan.stop()
    for timer in timers:
        timer.join()
    assert process.wait(MAX_WAIT) == 0
    return done


def assert_all_free(spec: LockerSpec, plan: StressPlan) -> None:
    """Assert that the locks of killed processes expire, and that all others are free."""
    locker = spec.locker(3 * TIMING.lease)
    for number in range(plan.ids):
        with locker.lock(UploadId(f"upload{number}"), on_release_request=lambda: None):
            pass


@pytest.fixture
def rng() -> random.Random:
    """Random numbers whose seed is printed if the test fails; LOCKS_SEED sets it."""
    seed = int(os.environ.get("LOCKS_SEED", random.randrange(10**6)))
    print(f"LOCKS_SEED={seed}")
    return random.Random(seed)


def test_holds_of_greenlets_in_one_process_never_overlap(tmp_path: Path) -> None:
    spec = LockerSpec(kind="memory").to_json()
    plan = replace(PLAN, spec=spec, directory=str(tmp_path), processes=1)
    with stress_run(plan) as process:
        wait_until(functools.partial(has_acquired, plan, 250), process)
        plan.stop()
        assert process.wait(MAX_WAIT) == 0
    assert plan.overlaps() == ""


def test_holds_of_processes_on_one_host_never_overlap(tmp_path: Path, rng: random.Random) -> None:
    spec = LockerSpec(kind="file", location=str(tmp_path / "locks"))
    plan = replace(PLAN, spec=spec.to_json(), directory=str(tmp_path))
    with stress_run(plan) as process:
        disturb(plan, process, rng, functools.partial(has_acquired, plan, 100))
    assert plan.overlaps() == ""
    assert_all_free(spec, plan)


@pytest.mark.parametrize("kind", LEASE_KINDS)
def test_holds_of_processes_on_several_hosts_never_overlap(
    kind: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    rng: random.Random,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The network loses calls and responses, and delivers some calls late."""
    spec = new_locker_spec(kind, request, tmp_path, timing=TIMING)
    variable = "AWS_ENDPOINT_URL_DYNAMODB"
    endpoint = spec.environ[variable] if kind == "dynamodb" else spec.endpoint

    def choose_fault(call: Call) -> Fault | None:
        return rng.choice(FAULTS) if rng.random() < FAULT_RATE else None

    with FaultProxy(urlsplit(endpoint).port or 0) as proxy:
        proxied_spec = replace(
            spec,
            endpoint=proxy.endpoint,
            environ={**spec.environ, variable: proxy.endpoint},
        )
        plan = replace(PLAN, spec=proxied_spec.to_json(), directory=str(tmp_path))

        def fault_count() -> int:
            return sum(call.fault is not None for call in proxy.calls)

        def is_complete() -> bool:
            counts = plan.counts()
            return counts["acquired"] > 20 and counts["LockTakenOver"] > 0 and fault_count() > 0

        with stress_run(plan) as process:
            wait_until(functools.partial(has_acquired, plan, 1), process)
            proxy.start(choose_fault)
            done = disturb(plan, process, rng, is_complete)
        print(kind, plan.counts(), done, f"{fault_count()} of {len(proxy.calls)} calls failed")
    assert plan.overlaps() == ""
    for name, value in spec.environ.items():
        monkeypatch.setenv(name, value)
    assert_all_free(spec, plan)


@pytest.mark.parametrize("flaw", FLAWS)
def test_a_stress_run_detects_broken_lockers(
    flaw: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Otherwise the other tests could pass because they detect nothing."""
    kind = "file" if "kernel" in flaw else "s3"
    spec = new_locker_spec(kind, request, tmp_path, timing=RARE_HEARTBEATS)
    plan = replace(
        PLAN,
        spec=spec.to_json(),
        directory=str(tmp_path),
        flaw=flaw,
        processes=3,
        greenlets=1,  # with more, a lock would mostly stay within one process
        ids=1,
        timeout=MAX_WAIT,
    )
    with stress_run(plan) as process:
        stopping = threading.Thread(target=stop_holders, args=(plan, process))
        stopping.start()
        started = time.monotonic()
        try:
            wait_until(lambda: "Overlap" in plan.overlaps(), process)
            print(f"{flaw}: found after {time.monotonic() - started:.1f} s")
        finally:
            process.terminate()
            stopping.join()


def stop_holders(plan: StressPlan, process: subprocess.Popen[bytes]) -> None:
    """Repeatedly stop a process that is inside until another one has taken its lock over."""
    sections = CriticalSections(Path(plan.directory, "sections"), stopped_holders_keep_locks=False)
    while process.poll() is None:
        hold, pid = sections.inside("upload0")
        time.sleep(0.2)
        if not pid or sections.inside("upload0") != (hold, pid):
            continue
        send_signal(pid, signal.SIGSTOP)
        deadline = time.monotonic() + 4 * RARE_HEARTBEATS.lease
        while sections.inside("upload0") == (hold, pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        send_signal(pid, signal.SIGCONT)
