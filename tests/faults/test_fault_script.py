"""The order in which the faults of a script hit calls."""

from __future__ import annotations

import pytest

from tests.harness.proxies.faults import Call, Fault, FaultScript, FaultStep

pytestmark = pytest.mark.faults

CALLS = [
    Call(number, operation, key)
    for number, (operation, key) in enumerate(
        [
            ("PutObject", "a.info"),
            ("UploadPart", "a"),
            ("UploadPart", "a"),
            ("PutObject", "a.part"),
            ("PutObject", "a.info"),
        ],
        1,
    )
]

SCRIPTS: dict[str, tuple[list[FaultStep], dict[int, Fault]]] = {
    "no steps": ([], {}),
    "first call": ([FaultStep(Fault.CUT_AFTER)], {1: Fault.CUT_AFTER}),
    "third call": ([FaultStep(Fault.CUT_AFTER, skip=2)], {3: Fault.CUT_AFTER}),
    "two calls in a row": (
        [FaultStep(Fault.LATE_AFTER_2, skip=1), FaultStep(Fault.INTERNAL_ERROR)],
        {2: Fault.LATE_AFTER_2, 3: Fault.INTERNAL_ERROR},
    ),
    "a later step waits for its operation": (
        [
            FaultStep(Fault.CUT_AFTER, operation="UploadPart"),
            FaultStep(Fault.SLOW_DOWN, suffix=".info"),
        ],
        {2: Fault.CUT_AFTER, 5: Fault.SLOW_DOWN},
    ),
    "skipped calls match": (
        [FaultStep(Fault.CUT_AFTER, skip=1, operation="PutObject")],
        {4: Fault.CUT_AFTER},
    ),
    "a step without its call": (
        [FaultStep(Fault.CUT_AFTER, operation="GetObject"), FaultStep(Fault.SLOW_DOWN)],
        {},
    ),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_each_step_hits_the_first_matching_call_after_the_step_before(name: str) -> None:
    steps, expected = SCRIPTS[name]
    script = FaultScript(steps)
    faults = {call.number: script(call) for call in CALLS}
    assert {number: fault for number, fault in faults.items() if fault is not None} == expected
