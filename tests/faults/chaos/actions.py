"""What happens to the servers and to S3 during a chaos run, at random."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.faults.chaos.faults import RandomFaults
from tests.faults.chaos.report import Report
from tests.faults.chaos.servers import ChaosServer
from tests.harness.servers.gunicorn import ROOT

PAUSES = (0.5, 5.0)
"""Seconds between two actions: the shortest and the longest pause."""

FREEZE_SECONDS = (2.0, 12.0)
"""Seconds for which a worker is stopped. A lease takes 6 s."""

OUTAGE_SECONDS = 2.0

SWEEP_SECONDS = 120.0
"""How long a sweep may take."""


class Actions(threading.Thread):
    """Disturb the servers until told to stop.

    Args:
        seed: the seed of the turn.
        servers: the servers.
        s3_faults: the faults of S3.
        sweep_environs: environments of sweeps, one of which each sweep has.
        report: counts the actions.

    Attributes:
        is_stopping: set to stop after the current action.
    """

    def __init__(
        self,
        seed: str,
        servers: Sequence[ChaosServer],
        s3_faults: RandomFaults,
        sweep_environs: Sequence[Mapping[str, str]],
        report: Report,
    ) -> None:
        super().__init__(name="actions", daemon=True)
        self.is_stopping = threading.Event()
        self._rng = random.Random(f"{seed}/actions")
        self._servers = servers
        self._s3_faults = s3_faults
        self._sweep_environs = sweep_environs
        self._report = report
        self._weighted: dict[str, tuple[int, Callable[[ChaosServer], None]]] = {
            "worker killed": (6, lambda server: server.kill_worker(self._rng)),
            "worker stopped (SIGSTOP)": (6, self._freeze),
            "workers replaced (HUP)": (2, lambda server: server.reload()),
            "server upgraded (USR2)": (1, lambda server: server.upgrade()),
            "server restarted (TERM)": (1, lambda server: server.restart()),
            "server killed with its workers": (1, lambda server: server.crash()),
            "outage of S3": (2, lambda _: self._s3_faults.start_outage(OUTAGE_SECONDS)),
            "sweep": (2, lambda _: self._sweep()),
        }

    def run(self) -> None:
        names = list(self._weighted)
        weights = [weight for weight, _ in self._weighted.values()]
        while not self.is_stopping.wait(self._rng.uniform(*PAUSES)):
            [name] = self._rng.choices(names, weights)
            server = self._rng.choice(self._servers)
            _, act = self._weighted[name]
            try:
                act(server)
                server.start()
            except Exception as error:  # noqa: BLE001 - the run continues, and reports it
                self._report.fail(f"{name}: {type(error).__name__}: {error}")
            self._report.count("actions", name)

    def _freeze(self, server: ChaosServer) -> None:
        server.freeze_worker(self._rng, self._rng.uniform(*FREEZE_SECONDS))

    def _sweep(self) -> None:
        """Run `tus-wsgi sweep`. Its exit code is 1 if it may not read something."""
        environ = self._rng.choice(self._sweep_environs)
        command = [str(Path(sys.executable).with_name("tus-wsgi")), "sweep"]
        try:
            ran = subprocess.run(
                command,
                cwd=ROOT,
                env=dict(environ),
                check=False,
                capture_output=True,
                text=True,
                timeout=SWEEP_SECONDS,
            )
        except subprocess.TimeoutExpired:
            self._report.count("actions", "sweep that took too long")
            return
        has_no_locks = ran.returncode == 2 and "TUS_LOCKER" in ran.stderr  # their check has failed
        if not (ran.returncode in {0, 1} or has_no_locks) or "Traceback" in ran.stderr:
            self._report.fail(f"the sweep failed: {ran.stdout[-500:]} {ran.stderr[-1500:]}")
        self._report.count("sweeps", f"exit code {ran.returncode}")
