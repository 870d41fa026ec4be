"""What leases need of the service that keeps their records. See `tus_wsgi.lockers.lease.locker`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTiming:
    """How long everything takes, in seconds.

    Attributes:
        lease: a holder that was silent for so long is gone.
        heartbeat: from one beat of a holder to the next. As long is a holder unaware, at most, that
            somebody wants its lock.
        margin: by so much a holder gives up earlier than others take over. It is for the time that
            a write takes from the check before it to its arrival.
        poll: from one look of a waiter at the record to the next.
        reserve: for so long a free lock is kept for whoever had asked for it.
    """

    lease: float = 6.0
    heartbeat: float = 1.5
    margin: float = 1.0
    poll: float = 0.3
    reserve: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRecord:
    """A lock, as its record says. Without any value: there is no record.

    Attributes:
        holder: the token of the request that has the lock; empty while it is free.
        fence: rises with each holder.
        beat: another one after each write of a holder.
        wanted: the seat that is next; empty for nobody.
        stood: seconds for which `beat` has stood, by whoever has watched it longest.
        etag: the service's own name for this state, where it has one.
    """

    holder: str = ""
    fence: int = 0
    beat: str = ""
    wanted: str = ""
    stood: float = 0.0
    etag: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """Somebody who wants a lock.

    Attributes:
        token: the request's own.
        seat: that of its process.
        beat: what is to be written.
        seen: the record as it was last; None when nobody has looked yet.
        has_expired: whether the beat of `seen` has stood for so long that nobody stands behind it.
    """

    token: str
    seat: str
    beat: str
    seen: LeaseRecord | None
    has_expired: bool

    def may_take(self, record: LeaseRecord) -> bool:
        """Whether the record is free for us, or was left by a holder that is gone."""
        if not record.holder and record.wanted in {"", self.seat}:
            return True
        return self.has_expired and self.seen is not None and self.seen.beat == record.beat


class OutcomeUnknown(Exception):
    """Nobody knows whether `operation` was carried out; the cause says why."""

    def __init__(self, operation: str) -> None:
        super().__init__(operation)
        self.operation = operation

    def __str__(self) -> str:
        return f"{self.operation}: {self.__cause__!r}"


class LockerUnsupported(ValueError):
    """`TUS_LOCKER` names a service that cannot be used for locks; the message says why."""


class LeaseRecords(Protocol):
    """Records by name. Each write is conditional, and seen by everybody who comes after it.

    An instance belongs to the process that made it, and may be used by all of its threads. Every
    method returns the record as it is afterwards, be it somebody else's.

    Raises:
        Unanswered: try again.
        LockerUnavailable: trying again would not help.
    """

    @property
    def keeps_fences(self) -> bool:
        """Whether fences rise for as long as an upload lives, and not only while it is locked."""

    def check(self) -> None:
        """Find out whether the service can be used for locks.

        Raises:
            LockerRefused: it cannot.
        """

    def take(self, name: str, claim: Claim) -> LeaseRecord:
        """Make `claim` the holder, with the next fence, if it `may_take` the record."""

    def renew(self, name: str, held: LeaseRecord, *, beat: str) -> LeaseRecord:
        """Write another beat, if the holder is still that of `held`."""

    def ask(self, name: str, seen: LeaseRecord, *, seat: str, stood: float) -> LeaseRecord:
        """Write who is next, and how long the beat of `seen` has stood, if it still does."""

    def release(self, name: str, held: LeaseRecord, *, beat: str) -> None:
        """Make the lock free, if the holder is still that of `held`.

        If somebody is next, the record says so, under a new beat.
        """
