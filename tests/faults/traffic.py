"""The client's requests, and what other processes do while a call waits or between requests."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import cycle

from tests.faults.faulty_s3 import Rights
from tests.harness.clients.http import OnInterim, Response, ignore
from tests.harness.clients.transport import Transport
from tests.harness.proxies.fault_proxy import FaultInjector
from tests.harness.proxies.faults import Call

SERVERS_AFTER_FREEZE = (1, 1, 0)
"""Which server gets each request after the first server was frozen. The sequence repeats."""


@dataclass(frozen=True, slots=True)
class Meanwhile:
    """What other processes do while a call waits.

    Attributes:
        requests: how many requests the client sends at most to the second server, while the first
            one is frozen.
        rights: the rights of a sweep that runs while a call waits; None for no sweep.
        sweeps_between: whether the sweep runs after the request instead, when the lock is free.
    """

    requests: int = 0
    rights: Rights | None = None
    sweeps_between: bool = False

    def __str__(self) -> str:
        requests = f"{self.requests} requests elsewhere" if self.requests else ""
        moment = " after the request" if self.sweeps_between else ""
        sweep = f"a sweep with {self.rights.value}{moment}" if self.rights else ""
        return " and ".join(filter(None, [requests, sweep]))


NOTHING_MEANWHILE = Meanwhile()


class BudgetSpent(Exception):
    """The client has sent all requests that it sends while the first server is frozen."""


class Traffic:
    """The transport of a case's client, and what else happens meanwhile.

    Args:
        proxy: numbers the requests.
        meanwhile: what happens while a call waits.
        send_to: returns the transport to the first or the second server.
        freeze: freezes the first server until its context is left.
        sweep: sweeps with these rights, and returns what is wrong.

    Attributes:
        continue_upload: what the client does at the second server while the first one is frozen.
        note_late_response: called with each response that arrives after the client has gone to the
            other server. The bytes that such a response confirms must be stored, too.
        problems: what went wrong beside the client's own requests.
    """

    def __init__(
        self,
        proxy: FaultInjector,
        meanwhile: Meanwhile,
        *,
        send_to: Callable[[int], Transport],
        freeze: Callable[[], AbstractContextManager[None]],
        sweep: Callable[[Rights], list[str]],
    ) -> None:
        self._proxy = proxy
        self._meanwhile = meanwhile
        self._send_to = send_to
        self._freeze = freeze
        self._run_sweep = sweep
        self._abandoned: set[int] = set()
        self._budget: int | None = None
        self._is_sweep_due = False
        self._later_servers = cycle(SERVERS_AFTER_FREEZE)
        self.continue_upload: Callable[[], None] = lambda: None
        self.note_late_response: Callable[[Response], None] = lambda _: None
        self.problems: list[str] = []

    def send(
        self,
        method: str,
        url: str,
        fields: Mapping[str, str],
        body: bytes = b"",
        content_length: int | None = None,
        *,
        on_interim: OnInterim = ignore,
    ) -> Response:
        """Send a request to the server whose turn it is. See `Transport`."""
        self._spend_budget()
        self._proxy.request += 1
        number = self._proxy.request
        send = self._send_to(self._choose_server())

        def on_interim_of_this(response: Response) -> None:
            if number not in self._abandoned:
                on_interim(response)

        response = send(method, url, fields, body, content_length, on_interim=on_interim_of_this)
        if number in self._abandoned:
            if method != "POST":  # after a POST, the client has created another upload
                self.note_late_response(response)
            raise ConnectionError("the client has gone to the other server")
        self._sweep_if_due()
        return response

    def on_held_call(self, call: Call) -> None:
        """Do what `meanwhile` says while this call waits: continue elsewhere, or sweep."""
        try:
            if call.fault is not None and call.fault.freezes_client:
                self._abandoned.add(call.request)
                self._continue_elsewhere()
            elif self._meanwhile.sweeps_between:
                self._is_sweep_due = True
            else:
                self.sweep()
        except Exception:  # noqa: BLE001 - any exception is a problem of this case
            self.problems.append(f"meanwhile: {traceback.format_exc()}")

    def _continue_elsewhere(self) -> None:
        """Freeze the first server; let the client continue at the second one, then sweep."""
        self._budget = self._meanwhile.requests
        with self._freeze():
            try:
                self.continue_upload()
            except BudgetSpent:
                pass
            finally:
                self._budget = None
            self.sweep()

    def _spend_budget(self) -> None:
        """Count a request, if there is a limit to requests now.

        Raises:
            BudgetSpent: the client has sent all of them.
        """
        if self._budget is None:
            return
        if self._budget == 0:
            raise BudgetSpent
        self._budget -= 1

    def _choose_server(self) -> int:
        """Return the server of the next request: 0 is the first one, 1 the second one."""
        if self._budget is not None:
            return 1
        return next(self._later_servers) if self._abandoned else 0

    def _sweep_if_due(self) -> None:
        if self._is_sweep_due:
            self._is_sweep_due = False
            self.sweep()

    @property
    def has_sweeps(self) -> bool:
        """Whether the case has a sweep."""
        return self._meanwhile.rights is not None

    def sweep(self) -> None:
        """Sweep, if the case has a sweep."""
        if self._meanwhile.rights is not None:
            self.problems += self._run_sweep(self._meanwhile.rights)
