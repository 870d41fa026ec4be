"""A server with several worker processes, which ends some of them, and prints its metrics.

Run with the directory for temporary files as the argument.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from pathlib import Path

from tus_wsgi.observers import workers


def main() -> None:
    """End three workers, print the metrics and the files, and check what a successor gets."""
    tempfile.tempdir = sys.argv[1]
    workers.create_directory(os.environ)
    directory = Path(os.environ[workers.DIRECTORY])
    for count in range(1, 4):
        _run_worker(count)
    # This process is the last worker. It runs while the three others have ended.
    from tus_wsgi.observers.prometheus import page_observer

    observer = page_observer()
    # A worker that starts has an empty file for a moment.
    empty = directory / "counter_1.db"
    empty.touch()
    threading.Timer(0.1, empty.unlink).start()
    sys.stdout.write(observer.page().decode())
    sys.stdout.write(f"# files: {' '.join(sorted(path.name for path in directory.iterdir()))}\n")
    successor: dict[str, str] = {}
    workers.keep_for_successor(successor)
    assert successor == {workers.DIRECTORY: str(directory)}
    workers.create_directory(successor)
    assert successor == {workers.DIRECTORY: str(directory)}
    workers.remove_directory()
    assert not directory.exists()


def _run_worker(count: int) -> None:
    """Count as a worker does, and end without closing anything, as after SIGKILL."""
    pid = os.fork()
    if pid == 0:
        from tus_wsgi.domain.events import BodyOpened, LockAcquired, UploadCreated
        from tus_wsgi.domain.model import UploadId
        from tus_wsgi.observers.prometheus import page_observer

        observer = page_observer()
        for _ in range(count):
            observer(UploadCreated(UploadId("id"), 1))
            observer(LockAcquired(UploadId("id"), 0.3))
            observer(BodyOpened())
        os._exit(0)
    os.waitpid(pid, 0)
    workers.add_ended_worker(pid)


if __name__ == "__main__":
    main()
