"""gunicorn's settings for the demo; the command line adds the address and the workers.

gunicorn reads this before gevent has patched anything, so it imports nothing of this package.
"""

from typing import Protocol


class Worker(Protocol):
    """What gunicorn hands to its hooks, as far as it matters here."""

    alive: bool


worker_class = "gevent"
# Seconds without a report after which a worker is killed. Gevent's report while requests wait.
timeout = 60
# Newer gunicorns open a socket in the home directory, to be steered by. The demo needs none.
control_socket_disable = True


def post_worker_init(worker: Worker) -> None:
    """Store what came of the running uploads when the demo stops."""
    from tus_wsgi import start_drain_watcher  # noqa: PLC0415 - see above

    start_drain_watcher(lambda: worker.alive)
