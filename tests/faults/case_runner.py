"""One case of the fault ring: a scenario with faults, and the verdict on what became of it.

A case has an object prefix of its own, so that everything under it is its doing. The application is
the real one, in this process; S3 is a real server behind the faulty proxy.
"""

from __future__ import annotations

import secrets
import traceback
from dataclasses import dataclass

from tests.faults.application import Application, Process, Setup
from tests.faults.faulty_s3 import MORE_PATIENCE, PATIENCE, Lane
from tests.faults.leftovers import Leftovers
from tests.faults.scenarios import SCENARIOS, Scenario, Uploader
from tests.harness.clients.transport import in_process
from tests.harness.clients.uploader import BrokenPromise
from tests.harness.proxies.faults import Fault


@dataclass(frozen=True, slots=True)
class Case:
    """A scenario and what goes wrong in it.

    Attributes:
        scenario: its name.
        faults: by the number of the call.
        retries: whether boto3 tries failed calls again by itself.
        process: what a request finds of the one before.
        hides_absence: whether S3 says of what is not there that it is forbidden.
    """

    scenario: str
    faults: tuple[tuple[int, Fault], ...] = ()
    retries: bool = False
    process: Process = Process.FORGETS
    hides_absence: bool = False

    def __str__(self) -> str:
        faults = ", ".join(f"{fault.value} at call {number}" for number, fault in self.faults)
        return f"{self.scenario}: {faults or 'no fault'}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a case.

    Attributes:
        case: which.
        operations: what was asked of S3, in its order.
        hit: the calls that were made to fail.
        problems: what is wrong; empty for a case that is well.
        story: what client and server said, in their order.
    """

    case: Case
    operations: tuple[str, ...]
    hit: tuple[str, ...]
    problems: tuple[str, ...]
    story: tuple[str, ...]

    def __str__(self) -> str:
        return "\n    ".join([f"{self.case} ({', '.join(self.hit)})", *self.problems, *self.story])


def run_case(lane: Lane, case: Case) -> Outcome:
    """Run it and judge it."""
    is_slow = any(fault.is_slow for _, fault in case.faults)
    verdict = _run(lane, case, lane.impatience if is_slow else PATIENCE)
    if is_slow and verdict.problems:
        verdict = _run(lane, case, MORE_PATIENCE)
    return verdict


def _run(lane: Lane, case: Case, timeout: float) -> Outcome:
    scenario = SCENARIOS[case.scenario]
    prefix = f"{secrets.token_hex(6)}/"
    faults = dict(case.faults)
    lane.proxy.begin(lambda call: faults.get(call.number))
    lane.proxy.hides_absence = case.hides_absence
    setup = Setup(scenario, case.process, case.retries, timeout)
    with Application(lane, prefix, setup) as app:
        client = scenario.client(in_process(app), lane.part_size)
        try:
            problems = _carry_out(app, client, scenario, prefix)
        except Exception:  # noqa: BLE001 - whatever it is, it is this case's
            problems = [traceback.format_exc()]
    lane.proxy.settle()
    calls = lane.proxy.calls
    return Outcome(
        case=case,
        operations=tuple(call.operation for call in calls),
        hit=tuple(f"{call} {call.fault.value}" for call in calls if call.fault),
        problems=tuple(problems),
        story=(*client.said, " ".join(f"{call}{'!' * bool(call.fault)};" for call in calls)),
    )


def _carry_out(app: Application, client: Uploader, scenario: Scenario, prefix: str) -> list[str]:
    """Do it, and look at what there is then; the prefix is given back if all is well."""
    lane = app.lane
    try:
        _play(app, client, scenario)
    except BrokenPromise as broken:
        return [str(broken)]
    failures = app.sweep() if scenario.lapses else []
    calls = lane.proxy.calls
    lane.proxy.settle()
    lane.proxy.hides_absence = False
    problems = [*failures, *app.problems] or _ask_again(app, client, scenario)
    if scenario.lapses:
        # What came late after the first sweep is the next one's.
        problems += app.sweep()
    left = Leftovers(lane.inspector, lane.service.bucket, prefix, client, calls)
    if scenario.lapses:
        problems += left.anything()
    elif not problems:
        problems += left.problems(is_removed=scenario.upto is not None)
        problems += _judge_hook(app, scenario, client)
    if not problems:
        left.clear()
    return problems


def _play(app: Application, client: Uploader, scenario: Scenario) -> None:
    client.upload(scenario.goal(app.lane.part_size))
    if scenario.lapses:
        app.let_lapse()
    elif scenario.upto is not None:
        client.terminate()
    if scenario.upto is not None:
        client.ask_for_trace()


def _ask_again(app: Application, client: Uploader, scenario: Scenario) -> list[str]:
    """Another process, that has none of this in memory and none of the faults, says the same."""
    app.restart()
    try:
        if scenario.upto is None:
            client.ask()
        else:
            client.ask_for_trace()
    except BrokenPromise as broken:
        return [f"in the end: {broken}"]
    return []


def _judge_hook(app: Application, scenario: Scenario, client: Uploader) -> list[str]:
    """`on_finish` ran at least once for an upload that is finished."""
    is_finished = scenario.upto in {None, scenario.length}
    if scenario.with_hook and is_finished and client.id not in {one.id for one in app.finished}:
        return ["on_finish never ran"]
    return []
