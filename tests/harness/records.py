"""Lease records in memory: the model that the contract tests compare both services with."""

from __future__ import annotations

from dataclasses import replace

from tus_wsgi.lockers.lease.records import Claim, LeaseRecord


class MemoryRecords:
    """`LeaseRecords` for one thread at a time."""

    def __init__(self) -> None:
        self.records: dict[str, LeaseRecord] = {}

    @property
    def keeps_fences(self) -> bool:
        return True

    def check(self) -> None:
        pass

    def try_acquire(self, name: str, claim: Claim) -> LeaseRecord:
        current = self._read(name)
        if not claim.may_acquire(current):
            return current
        record = LeaseRecord(
            holder=claim.token, heartbeat_id=claim.heartbeat_id, fence=current.fence + 1
        )
        return self._write(name, record)

    def renew(self, name: str, held: LeaseRecord, *, heartbeat_id: str) -> LeaseRecord:
        current = self._read(name)
        if current.holder != held.holder:
            return current
        return self._write(name, replace(current, heartbeat_id=heartbeat_id, unchanged_for=0.0))

    def request_release(
        self, name: str, seen: LeaseRecord, *, waiter_id: str, unchanged_for: float
    ) -> LeaseRecord:
        current = self._read(name)
        if current.heartbeat_id != seen.heartbeat_id:
            return current
        return self._write(
            name, replace(current, next_waiter=waiter_id, unchanged_for=unchanged_for)
        )

    def release(
        self, name: str, held: LeaseRecord, *, heartbeat_id: str, is_needed: bool = True
    ) -> None:
        current = self._read(name)
        if current.holder == held.holder and not is_needed:
            del self.records[name]
        elif current.holder == held.holder:
            free = replace(current, holder="", heartbeat_id=heartbeat_id, unchanged_for=0.0)
            self._write(name, free)

    def _read(self, name: str) -> LeaseRecord:
        return self.records.get(name, LeaseRecord())

    def _write(self, name: str, record: LeaseRecord) -> LeaseRecord:
        self.records[name] = record
        return record
