"""Remove the partial uploads of a final upload that a sweep has finished."""

from __future__ import annotations

from collections.abc import Iterable

from tus_wsgi.domain.errors import StoreUnavailable, Unavailable, UploadLocked, UploadNotFound
from tus_wsgi.domain.interfaces import Locker, Store
from tus_wsgi.domain.model import Partial, UploadId


class PartialRemover:
    """Removes partial uploads, each under its lock (D-10).

    Args:
        store: makes its S3 calls through a strict bucket, like everything that a sweep removes.
        locker: the locker of the servers.
    """

    def __init__(self, store: Store, locker: Locker) -> None:
        self._store = store
        self._locker = locker

    def __call__(self, ids: Iterable[UploadId]) -> None:
        """Remove the uploads with these ids, if they are partial uploads.

        Raises:
            StoreUnavailable: some are left, because S3 did not answer or a request holds a lock.
        """
        failure: Exception | None = None
        for id in dict.fromkeys(ids):
            try:
                self._remove(id)
            except UploadNotFound:
                continue
            except (Unavailable, UploadLocked) as error:
                failure = error
        if failure is not None:
            raise StoreUnavailable("removing partial uploads") from failure

    def _remove(self, id: UploadId) -> None:
        with self._locker.lock(id, on_release_request=lambda: None) as lock:
            upload = self._store.open(id)
            # D-12: the record of the final upload only names ids.
            if isinstance(upload.info.concat, Partial):
                upload.terminate(lock.assert_held)
