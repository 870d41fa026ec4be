"""The interface of a service that stores leases. See `tus_wsgi.lockers.lease.locker`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTiming:
    """The intervals of the lease protocol, in seconds. All processes must use the same.

    Attributes:
        lease: a holder without a heartbeat for this long is considered dead.
        heartbeat: between two heartbeats of a holder. A holder learns of a waiter with its next
            heartbeat.
        margin: a holder stops this much earlier than other processes may take over. It covers the
            time from the check before a write to the write's arrival.
        poll: between two reads of the record by a waiter.
        reserve: a released lock is reserved this long for the waiter that requested it.
    """

    lease: float = 6.0
    heartbeat: float = 1.5
    margin: float = 1.0
    poll: float = 0.3
    reserve: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRecord:
    """The state of a lock in the service. Default values stand for a record that does not exist.

    Attributes:
        holder: the token of the request that holds the lock; empty while it is free.
        fence: increases with each holder.
        heartbeat_id: changes with each write of a holder.
        next_waiter: the `Claim.waiter_id` that the lock is reserved for; empty for none.
        unchanged_for: seconds for which `heartbeat_id` has not changed, as reported by the waiter
            that has observed it for the longest time.
        etag: the service's own identifier of this state, if it has one.
    """

    holder: str = ""
    fence: int = 0
    heartbeat_id: str = ""
    next_waiter: str = ""
    unchanged_for: float = 0.0
    etag: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """A request for a lock.

    Attributes:
        token: identifies the request.
        waiter_id: identifies its process.
        heartbeat_id: written to the record if the claim succeeds.
        seen: the record as it was last observed; None before the first observation.
        has_expired: whether the lease or the reservation of `seen` has expired.
    """

    token: str
    waiter_id: str
    heartbeat_id: str
    seen: LeaseRecord | None
    has_expired: bool

    def may_acquire(self, record: LeaseRecord) -> bool:
        """Return whether the record is free for this claim, or is still the expired `seen`."""
        if not record.holder and record.next_waiter in {"", self.waiter_id}:
            return True
        is_unchanged = self.seen is not None and self.seen.heartbeat_id == record.heartbeat_id
        return self.has_expired and is_unchanged


class OutcomeUnknown(Exception):
    """It is unknown whether `operation` was carried out; the cause says why."""

    def __init__(self, operation: str) -> None:
        super().__init__(operation)
        self.operation = operation

    def __str__(self) -> str:
        return f"{self.operation}: {self.__cause__!r}"


class LockerUnsupported(ValueError):
    """`TUS_LOCKER` names a service that cannot be used for locks; the message says why."""


class LeaseRecords(Protocol):
    """Lease records by name. Each write is conditional, and visible to every later call.

    An instance belongs to the process that created it, and all threads of that process may use it.
    Methods that return a record return its state after the call, even if the call changed nothing.

    Raises:
        OutcomeUnknown: the call may or may not have been carried out. It may be retried.
        LockerUnavailable: a retry would not help.
    """

    @property
    def keeps_fences(self) -> bool:
        """Whether a fence outlives the release of its lock. If not, fences start again at 1."""

    def check(self) -> None:
        """Check that the service can be used for locks.

        Raises:
            LockerUnsupported: the service cannot be used.
        """

    def try_acquire(self, name: str, claim: Claim) -> LeaseRecord:
        """Make `claim` the holder, with the next fence, if it `may_acquire` the record."""

    def renew(self, name: str, held: LeaseRecord, *, heartbeat_id: str) -> LeaseRecord:
        """Write a heartbeat, if the holder is still that of `held`."""

    def request_release(
        self, name: str, seen: LeaseRecord, *, waiter_id: str, unchanged_for: float
    ) -> LeaseRecord:
        """Ask the holder to release the lock: store `waiter_id` as the next waiter.

        Args:
            name: the lock's name.
            seen: the record that the waiter has observed. If the heartbeat has changed since,
                nothing is stored.
            waiter_id: identifies the waiter.
            unchanged_for: seconds for which the waiter has observed no new heartbeat. Other waiters
                continue to count from there.

        Returns:
            The record that the service has now.
        """

    def release(
        self, name: str, held: LeaseRecord, *, heartbeat_id: str, is_needed: bool = True
    ) -> None:
        """Make the lock free, if the holder is still that of `held`.

        If there is a next waiter, the record keeps it, under a new `heartbeat_id`.

        Args:
            name: the lock's name.
            held: the record of the holder.
            heartbeat_id: the new heartbeat.
            is_needed: whether the fence must outlive the release. If not, the record is removed.
        """
