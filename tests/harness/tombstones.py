"""Sweep the tombstones of terminated uploads, as if every termination was long ago."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tus_wsgi.domain.model import TIB
from tus_wsgi.lockers.memory import MemoryLocker
from tus_wsgi.operations.listing import Listing
from tus_wsgi.operations.strict_bucket import StrictBucket
from tus_wsgi.operations.sweep import ActionKind, Sweep, SweepPolicy, SweepResult
from tus_wsgi.stores.s3 import S3Store
from tus_wsgi.stores.s3.termination import TOMBSTONE_LIFETIME

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from tus_wsgi.stores.s3.keys import Keys


def sweep_tombstones(
    store: S3Store, client: S3Client, bucket: str, keys: Keys
) -> list[SweepResult]:
    """Run a sweep after the lifetime of the tombstones; return its results, none of them FAILED.

    Args:
        store: a store of the uploads.
        client: a client that may list the bucket.
        bucket: the bucket's name.
        keys: the keys of the uploads' objects.
    """
    now = datetime.now(UTC) + 2 * TOMBSTONE_LIFETIME
    sweep = Sweep(
        store,
        MemoryLocker(timeout=5),
        StrictBucket(client, bucket),
        keys=keys,
        listing=Listing(client, bucket),
        policy=SweepPolicy(now=now, min_age=0, finisher=None, max_size=TIB, is_dry=False),
    )
    results = list(sweep.run())
    assert not [result for result in results if result.kind is ActionKind.FAILED]
    return results
