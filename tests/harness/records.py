"""Lease records in memory: what the two services are held to, in as few words as possible."""

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

    def take(self, name: str, claim: Claim) -> LeaseRecord:
        now = self._now(name)
        if claim.may_take(now):
            return self._write(
                name, LeaseRecord(holder=claim.token, beat=claim.beat, fence=now.fence + 1)
            )
        return now

    def renew(self, name: str, held: LeaseRecord, *, beat: str) -> LeaseRecord:
        now = self._now(name)
        return self._write(name, replace(now, beat=beat, stood=0.0)) if _is(now, held) else now

    def ask(self, name: str, seen: LeaseRecord, *, seat: str, stood: float) -> LeaseRecord:
        now = self._now(name)
        if now.beat != seen.beat:
            return now
        return self._write(name, replace(now, wanted=seat, stood=stood))

    def release(self, name: str, held: LeaseRecord, *, beat: str) -> None:
        now = self._now(name)
        if _is(now, held):
            self._write(name, replace(now, holder="", beat=beat, stood=0.0))

    def _now(self, name: str) -> LeaseRecord:
        return self.records.get(name, LeaseRecord())

    def _write(self, name: str, record: LeaseRecord) -> LeaseRecord:
        self.records[name] = record
        return record


def _is(now: LeaseRecord, held: LeaseRecord) -> bool:
    return now.holder == held.holder
