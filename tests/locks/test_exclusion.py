"""Nobody is inside with another, whatever is killed, stopped, lost, late, or wrong about the time.

    LOCKS=full script/test tests/locks/test_exclusion.py

runs the long form: 8 processes of 50 greenlets for 30 seconds on 20 locks, with leases of 6 s.
"""

from __future__ import annotations

import json
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
from tests.harness.proxies.faults import Call, Fault, FaultProxy
from tests.locks.lock_stress import FLAWS, Plan
from tus_wsgi.lockers.lease.records import LeaseTiming

pytestmark = [pytest.mark.locks, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]

FULL = os.environ.get("LOCKS") == "full"

TIMES = LeaseTiming() if FULL else FAST_TIMING

FEW_BEATS = LeaseTiming(lease=3.0, heartbeat=2.0, margin=0.5, poll=0.15, reserve=0.5)
"""A holder is told late that its lock has passed on."""

PLAN = Plan(
    spec="",
    directory="",
    processes=8 if FULL else 4,
    greenlets=50 if FULL else 8,
    ids=20 if FULL else 5,
    seconds=30.0 if FULL else 14.0,
    timeout=TIMES.lease * 5 / 6,
    clocks_jump=True,
)

FAULTS = (Fault.CUT_BEFORE, Fault.CUT_AFTER, Fault.STALL_AFTER, Fault.LATE, Fault.ERROR)

FAULT_RATE = 0.01

PATIENCE = 60.0


@contextmanager
def swarm(plan: Plan) -> Iterator[subprocess.Popen[bytes]]:
    """A swarm that has begun: it imports for a while, and then its time runs."""
    script = "from gevent import monkey; monkey.patch_all(); "
    script += "from tests.locks.lock_stress import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", script, plan.to_json()], cwd=ROOT, start_new_session=True
    ) as process:
        try:
            wait_until(lambda: alive(plan), process)
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def alive(plan: Plan) -> list[int]:
    with suppress(FileNotFoundError):
        return [int(path.name) for path in Path(plan.directory, "alive").iterdir()]
    return []


def wait_until(condition: Callable[[], object], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, f"the swarm has ended with {process.returncode}"
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


def send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def disturb(plan: Plan, process: subprocess.Popen[bytes], seed: int) -> Counter[str]:
    """Kill some and stop some, until the swarm ends; how often each was done."""
    chance = random.Random(seed)
    done: Counter[str] = Counter()
    wake: list[threading.Timer] = []
    last = time.monotonic() + plan.seconds * 0.7
    while process.poll() is None:
        time.sleep(chance.uniform(0.3, 0.8) * TIMES.lease)
        pids = alive(plan)
        if not pids or time.monotonic() > last:
            continue
        pid = chance.choice(pids)
        if done["stopped"] > 2 * done["killed"]:
            done["killed"] += 1
            send(pid, signal.SIGKILL)
        else:
            done["stopped"] += 1
            send(pid, signal.SIGSTOP)
            timer = threading.Timer(
                TIMES.lease * chance.uniform(0.9, 1.8), send, args=(pid, signal.SIGCONT)
            )
            timer.start()
            wake.append(timer)
    for timer in wake:
        timer.join()
    return done


def outcome(plan: Plan) -> Counter[str]:
    counts: Counter[str] = Counter()
    for path in Path(plan.directory, "told").iterdir():
        counts.update(json.loads(path.read_text()))
    return counts


def overlaps(plan: Plan) -> str:
    with suppress(FileNotFoundError):
        return Path(plan.directory, "overlaps").read_text()
    return ""


def assert_no_overlap(plan: Plan) -> None:
    assert overlaps(plan) == ""


def assert_all_free(spec: LockerSpec, plan: Plan) -> None:
    """What the killed have left can be had after a lease, and what was given back at once."""
    locker = spec.locker(3 * TIMES.lease)
    for number in range(plan.ids):
        with locker.lock(f"upload{number}", on_release_request=lambda: None):  # type: ignore[arg-type]
            pass


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    seed = int(os.environ.get("LOCKS_SEED", random.randrange(10**6)))
    print(f"LOCKS_SEED={seed}")
    return seed


def test_greenlets_of_one_process_never_overlap(tmp_path: Path) -> None:
    spec = LockerSpec(kind="memory").to_json()
    plan = replace(PLAN, spec=spec, directory=str(tmp_path), processes=1, seconds=5.0)
    with swarm(plan) as process:
        assert process.wait(PATIENCE) == 0
    assert_no_overlap(plan)
    assert outcome(plan)["acquired"] > 100


def test_processes_of_one_host_never_overlap(tmp_path: Path, seed: int) -> None:
    spec = LockerSpec(kind="file", location=str(tmp_path / "locks"))
    plan = replace(PLAN, spec=spec.to_json(), directory=str(tmp_path))
    with swarm(plan) as process:
        done = disturb(plan, process, seed)
    assert_no_overlap(plan)
    assert process.returncode == 0
    assert outcome(plan)["acquired"] > 100
    assert done["killed"]
    assert done["stopped"]
    assert_all_free(spec, plan)


@pytest.mark.parametrize("kind", LEASE_KINDS)
def test_processes_of_many_hosts_never_overlap(
    kind: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    seed: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Through a network that loses calls and answers, and delivers some of them late."""
    spec = new_locker_spec(kind, request, tmp_path, timing=TIMES)
    variable = "AWS_ENDPOINT_URL_DYNAMODB"
    endpoint = spec.environ[variable] if kind == "dynamodb" else spec.endpoint
    chance = random.Random(seed)

    def fault(call: Call) -> Fault | None:
        return chance.choice(FAULTS) if chance.random() < FAULT_RATE else None

    with FaultProxy(urlsplit(endpoint).port or 0) as proxy:
        through = replace(
            spec,
            endpoint=proxy.endpoint,
            environ={**spec.environ, variable: proxy.endpoint},
        )
        plan = replace(PLAN, spec=through.to_json(), directory=str(tmp_path))
        with swarm(plan) as process:
            time.sleep(1)
            proxy.begin(fault)
            done = disturb(plan, process, seed)
        faults = [call for call in proxy.calls if call.fault is not None]
    assert_no_overlap(plan)
    counts = outcome(plan)
    print(kind, dict(counts), dict(done), f"{len(faults)} of {len(proxy.calls)} calls failed")
    assert process.returncode == 0
    assert counts["acquired"] > 20
    assert counts["LockTakenOver"]
    assert done["killed"]
    assert done["stopped"]
    assert faults
    for name, value in spec.environ.items():
        monkeypatch.setenv(name, value)
    assert_all_free(spec, plan)


@pytest.mark.parametrize("flaw", FLAWS)
def test_a_swarm_finds_lockers_that_are_broken(
    flaw: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Without this, all of the above might pass because nobody looks."""
    spec = new_locker_spec(
        "file" if "kernel" in flaw else "s3", request, tmp_path, timing=FEW_BEATS
    )
    plan = replace(
        PLAN,
        spec=spec.to_json(),
        directory=str(tmp_path),
        flaw=flaw,
        processes=3,
        greenlets=1,  # or it would mostly be one process that passes a lock on
        ids=1,
        seconds=2 * PATIENCE,
        timeout=PATIENCE,
    )
    with swarm(plan) as process:
        stopping = threading.Thread(target=stop_all_but_one, args=(plan, process))
        stopping.start()
        began = time.monotonic()
        try:
            wait_until(lambda: "Overlap" in overlaps(plan), process)
            print(f"{flaw}: found after {time.monotonic() - began:.1f} s")
        finally:
            process.terminate()
            stopping.join()


def stop_all_but_one(plan: Plan, process: subprocess.Popen[bytes]) -> None:
    """Now and then, for longer than a lease, so that the one takes over what it wants."""
    while process.poll() is None:
        with suppress(subprocess.TimeoutExpired):
            process.wait(FEW_BEATS.lease)
        stopped = sorted(alive(plan))[1:]
        for pid in stopped:
            send(pid, signal.SIGSTOP)
        with suppress(subprocess.TimeoutExpired):
            process.wait(2 * FEW_BEATS.lease)
        for pid in stopped:
            send(pid, signal.SIGCONT)
