"""Faults of random calls, and short outages in which every call fails."""

from __future__ import annotations

import random
import threading
import time

from tests.faults.chaos.report import Report
from tests.harness.proxies.faults import Call, Fault

S3_FAULTS = (
    *(Fault.INTERNAL_ERROR, Fault.SLOW_DOWN, Fault.FORBIDDEN, Fault.EMPTY_404, Fault.HTML_404),
    *(Fault.CONFLICT, Fault.ABORTED, Fault.CONDITION_FAILED, Fault.NOT_IMPLEMENTED),
    *(Fault.HTML_200, Fault.EMPTY_200, Fault.LOST_BODY),
    *(Fault.CUT_BEFORE, Fault.CUT_AFTER, Fault.CUT_WITHIN),
    *(Fault.GATEWAY_LATE_AFTER_2, Fault.GATEWAY_LATE_AFTER_7, Fault.GATEWAY_LATE_AFTER_9),
)

DYNAMODB_FAULTS = (
    *(Fault.CUT_BEFORE, Fault.CUT_AFTER, Fault.CUT_WITHIN),
    *(Fault.INTERNAL_ERROR, Fault.EMPTY_200, Fault.GATEWAY_LATE_AFTER_2),
)

OUTAGE_FAULTS = (Fault.FORBIDDEN, Fault.SLOW_DOWN, Fault.CUT_BEFORE, Fault.HTML_404)


class RandomFaults:
    """A `FaultPlan`: each call fails with a probability.

    Args:
        name: the name of the service, for the report.
        faults: the kinds of faults.
        probability: the probability that a call fails.
        rng: chooses the calls and their faults.
        report: counts the faults.
    """

    def __init__(
        self,
        name: str,
        faults: tuple[Fault, ...],
        *,
        probability: float,
        rng: random.Random,
        report: Report,
    ) -> None:
        self._name = name
        self._faults = faults
        self._probability = probability
        self._rng = rng
        self._report = report
        self._mutex = threading.Lock()
        self._outage: tuple[Fault, float] | None = None

    def start_outage(self, seconds: float) -> None:
        """Let every call fail in the same way for some seconds."""
        with self._mutex:
            self._outage = (self._rng.choice(OUTAGE_FAULTS), time.monotonic() + seconds)

    def __call__(self, _call: Call) -> Fault | None:
        with self._mutex:
            fault = self._choose()
        if fault is not None:
            self._report.count(f"{self._name} faults", fault.value)
        return fault

    def _choose(self) -> Fault | None:
        """Return the fault of the outage or a random one; None if the call shall succeed."""
        if self._outage is not None:
            fault, until = self._outage
            if time.monotonic() < until:
                return fault
            self._outage = None
        if self._rng.random() < self._probability:
            return self._rng.choice(self._faults)
        return None
