"""Pairs of faults: a call is late, lost or frozen, and a following call gets an unusual answer.

The first fault of a pair is

- late: the client of S3 sees a failure, and S3 executes the call some calls later;
- lost: S3 executes the call, and its response is lost;
- frozen: the server stops at the call for longer than its lease, a second server continues, and
  then the first one wakes up;
- a sweep: it runs while the call waits or after the request, with all rights or few;
- another fault of one call, in a few pairs.

The second fault hits a call that follows: in the same request, or in the requests with which the
client resumes. A late call arrives after a number of calls, not after a time. So no case waits for
anything but a lease.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from tests.faults.application import MODEL, ProcessMode
from tests.faults.case_runner import Case, CaseResult
from tests.faults.faulty_s3 import Rights
from tests.faults.scenarios import SCENARIOS
from tests.faults.traffic import Meanwhile
from tests.harness.proxies.faults import Call, Fault, FaultStep

LATE = (
    Fault.LATE_AFTER_2,
    Fault.LATE_AFTER_7,
    Fault.GATEWAY_LATE_AFTER_2,
    Fault.GATEWAY_LATE_AFTER_7,
    Fault.GATEWAY_LATE_AFTER_9,
)
FEW_LATE = (Fault.GATEWAY_LATE_AFTER_2, Fault.GATEWAY_LATE_AFTER_7)
LOST = (Fault.CUT_AFTER, Fault.LOST_BODY)
FROZEN = (Fault.FREEZE_BEFORE, Fault.FREEZE_AFTER)

ANSWERS = (
    Fault.FORBIDDEN,
    Fault.EMPTY_404,
    Fault.HTML_404,
    Fault.CONFLICT,
    Fault.ABORTED,
    Fault.CONDITION_FAILED,
    Fault.INTERNAL_ERROR,
    Fault.NOT_IMPLEMENTED,
    Fault.HTML_200,
    Fault.EMPTY_200,
)
"""The second faults."""

OTHERS = tuple(
    fault
    for fault in Fault
    if not (fault.is_silent or fault.kills_client or fault.holds_call)
    and fault is not Fault.ERROR_IN_200
)
"""Faults that can hit any call and cost no timeout."""

KINDS = {
    "late": LATE,
    "lost": LOST,
    "frozen": FROZEN,
    "swept": (Fault.MEANWHILE,),
}
"""The kinds of first faults, as the table of the results names them."""

_SAME_WITHOUT_BODY = {Fault.HTML_404, Fault.ABORTED, Fault.HTML_200}
"""Answers that differ from another one by their body only. A HeadObject gets no body."""

SHORT = (
    "empty file",
    "one part",
    "created with one part",
    "created with one part, no hook",
    "no hook, one part",
    "terminated, nothing sent",
)
"""The scenarios with the fewest calls. All their pairs are tried."""

REST = tuple(name for name in SCENARIOS if name not in SHORT)
"""The other scenarios. A sample of their pairs is tried."""

FOLLOWING_REQUESTS = 2
"""After the request of the first fault, the second fault may hit the calls of so many requests: the
client asks for the offset, and resumes."""

MAX_FOLLOWING = 16
"""The second fault hits one of so many calls after the first fault."""

FEW_REQUESTS, MANY_REQUESTS = 2, 20
"""Requests to the second server while the first one is frozen: one PATCH, or the whole upload."""

Run = Callable[[Iterable[Case]], Iterator[CaseResult]]
"""Runs cases; the results arrive in their order."""


def kind_of(case: Case) -> str:
    """Return the kind of the first fault: a key of `KINDS`, or `other`."""
    first = case.faults[0].fault
    return next((name for name, faults in KINDS.items() if first in faults), "other")


def all_pairs(scenario: str, run: Run) -> Iterator[Case]:
    """Yield every case of a scenario with one fault, and with one more after it.

    Args:
        scenario: its name.
        run: runs the cases with one fault, to see which calls follow it.
    """
    firsts = [first for plain in _plain_cases(scenario) for first in _firsts(plain, run)]
    for result in run(firsts):
        yield result.case
        for index, call in enumerate(_following(result)):
            for answer in ANSWERS:
                if call.operation == "HeadObject" and answer in _SAME_WITHOUT_BODY:
                    continue
                second = FaultStep(answer, skip=index)
                yield replace(result.case, faults=(*result.case.faults, second))


def _plain_cases(scenario: str) -> list[Case]:
    """Return the cases without faults: one with one server, and two with two servers."""
    two_servers = Case(scenario, mode=ProcessMode.TWO_SERVERS)
    return [
        Case(scenario),
        replace(two_servers, meanwhile=Meanwhile(FEW_REQUESTS)),
        replace(two_servers, meanwhile=Meanwhile(MANY_REQUESTS)),
    ]


def _firsts(plain: Case, run: Run) -> list[Case]:
    """Return the cases with one fault, at each call of a case without faults."""
    [result] = run([plain])
    assert not result.problems, str(result)
    can_freeze = plain.mode is ProcessMode.TWO_SERVERS
    faults = FROZEN if can_freeze else (*FEW_LATE, Fault.CUT_AFTER)
    return [
        replace(plain, faults=(FaultStep(fault, skip=index),))
        for index in range(len(result.calls))
        for fault in faults
    ]


def _following(result: CaseResult) -> Sequence[Call]:
    """Return the calls after the first fault that the second one may hit."""
    hit = next((call for call in result.calls if call.fault is not None), None)
    if hit is None:
        return ()
    following = result.calls[hit.number :]
    if hit.fault is not None and not hit.fault.freezes_client:
        last = hit.request + FOLLOWING_REQUESTS
        following = tuple(call for call in following if call.request <= last)
    return following[:MAX_FOLLOWING]


_CACHED_MODES = {ProcessMode.CACHED, ProcessMode.ALTERNATING, ProcessMode.TWO_SERVERS}
"""Modes in which a process caches the upload of the previous request, so it makes fewer calls."""


class CallCounts:
    """How many calls a scenario makes without faults.

    Args:
        run: runs cases.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._counts: dict[tuple[str, bool], int] = {}

    def load(self, scenarios: Iterable[str]) -> None:
        """Run these scenarios without faults and count their calls, unless they are known."""
        modes = (ProcessMode.UNCACHED, ProcessMode.TWO_SERVERS)
        cases = [Case(name, mode=mode) for name in scenarios for mode in modes]
        for result in self._run([case for case in cases if _count_key(case) not in self._counts]):
            assert not result.problems, str(result)
            self._counts[_count_key(result.case)] = len(result.calls)

    def count(self, case: Case) -> int:
        """Return the number of calls of a case without faults; `load` its scenario before."""
        return self._counts[_count_key(case)]


def _count_key(case: Case) -> tuple[str, bool]:
    """Return the scenario, and whether its processes cache uploads: these decide the calls."""
    return case.scenario, case.mode in _CACHED_MODES


class PairSampler:
    """Draws pairs of all scenarios. The same seed draws the same pairs.

    Args:
        seed: any number.
        scenarios: the names of the scenarios.
        counts: how many calls they make.
        lock_kinds: the kinds of real locks of two servers.
    """

    def __init__(
        self,
        seed: int,
        scenarios: Sequence[str],
        counts: CallCounts,
        lock_kinds: Sequence[str] = (),
    ) -> None:
        self._random = random.Random(seed)
        self._scenarios = scenarios
        self._counts = counts
        self._lock_kinds = lock_kinds

    def draw(self, size: int) -> list[Case]:
        """Return `size` pairs."""
        self._counts.load(self._scenarios)
        return [self._draw_one() for _ in range(size)]

    def _draw_one(self) -> Case:
        """Return a case with two faults: the first at a random call, the second at a later one."""
        rng = self._random
        first = FaultStep(Fault.CUT_AFTER)
        second = FaultStep(rng.choice(ANSWERS), skip=rng.randrange(MAX_FOLLOWING - 6))
        [draw] = rng.choices(
            [self._draw_failure, self._draw_freeze, self._draw_sweep, self._draw_other],
            [8, 4, 3, 2],
        )
        case = draw(Case(rng.choice(self._scenarios), (first, second)))
        first, second = case.faults
        placed = replace(first, skip=rng.randrange(self._counts.count(case)))
        return replace(case, faults=(placed, second))

    def _draw_failure(self, case: Case) -> Case:
        """Let the first call be late or lost."""
        rng = self._random
        fault = rng.choice([*LATE, *LOST])
        has_retries = rng.random() < 0.3
        first, second = case.faults
        if has_retries and rng.random() < 0.6:
            second = replace(second, skip=0)  # boto3's second attempt of the same call
        mode = rng.choice(
            [
                ProcessMode.UNCACHED,
                ProcessMode.CACHED,
                ProcessMode.RESTARTED,
                ProcessMode.ALTERNATING,
                ProcessMode.TWO_SERVERS,
            ]
        )
        faults = (replace(first, fault=fault), second)
        return replace(case, faults=faults, retries=has_retries, mode=mode)

    def _draw_freeze(self, case: Case) -> Case:
        """Freeze the first server; let a sweep run then in some cases."""
        rng = self._random
        first, second = case.faults
        kinds = [*[MODEL] * 10, *self._lock_kinds]
        rights = rng.choice([None, None, None, *Rights])
        locks = rng.choice(kinds)
        # A frozen process keeps its kernel locks, so all requests elsewhere are refused.
        requests = 2 if locks == "file" else rng.choice([1, 2, 2, 3, 4, MANY_REQUESTS])
        return replace(
            case,
            faults=(replace(first, fault=rng.choice(FROZEN)), second),
            mode=ProcessMode.TWO_SERVERS,
            locks=locks,
            meanwhile=Meanwhile(requests, rights),
        )

    def _draw_sweep(self, case: Case) -> Case:
        """Let a sweep run while the first call waits, or after its request."""
        rng = self._random
        first, second = case.faults
        sweeps_between = rng.random() < 0.5
        return replace(
            case,
            faults=(replace(first, fault=Fault.MEANWHILE), second),
            mode=ProcessMode.TWO_SERVERS,
            meanwhile=Meanwhile(rights=rng.choice([*Rights]), sweeps_between=sweeps_between),
        )

    def _draw_other(self, case: Case) -> Case:
        """Let two calls fail in any way; often the second one follows at once."""
        rng = self._random
        first, second = case.faults
        skip = rng.choice([0, 0, second.skip])
        faults = (
            replace(first, fault=rng.choice(OTHERS)),
            FaultStep(rng.choice(OTHERS), skip=skip),
        )
        return replace(case, faults=faults)
