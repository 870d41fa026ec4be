"""What all uploads of a store share."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

from tus_wsgi.parts import PartLimits
from tus_wsgi.spool import Spool
from tus_wsgi.stores.s3.bucket import Bucket
from tus_wsgi.stores.s3.keys import Keys
from tus_wsgi.stores.s3.tails import TailCache

AssertHeld = Callable[[], None]
"""Raises `LockLost` when the upload has become somebody else's: called before each write."""

OnStored = Callable[[int], None]
"""Told the offset that is stored for good, while a body comes."""


@dataclass(frozen=True, slots=True)
class Workshop:
    """The tools of an `S3Store`.

    Attributes:
        bucket: the door to S3.
        keys: which objects are whose.
        limits: what the service allows.
        spool: where parts wait.
        executor: uploads parts. Its size is the number of parts on their way at the same time.
        side: makes small calls beside another one of the same request.
        tails: the tails that need not be read back.
    """

    bucket: Bucket
    keys: Keys
    limits: PartLimits
    spool: Spool
    executor: Executor
    side: Executor
    tails: TailCache
