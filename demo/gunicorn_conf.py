"""gunicorn's settings for the demo. The command line adds the address and the workers.

gunicorn reads this file before gevent patches the standard library, so it imports nothing from
`demo` or `tus_wsgi`.
"""

from typing import Protocol


class Worker(Protocol):
    """The part of gunicorn's worker that the hook uses."""

    alive: bool


worker_class = "gevent"
# Kill a worker that has not reported for 60 seconds. gevent workers report while requests wait.
timeout = 60
# Newer versions of gunicorn open a control socket in the home directory. The demo needs none.
control_socket_disable = True


def post_worker_init(worker: Worker) -> None:
    """When the demo stops, store the bytes that the running uploads have received."""
    from tus_wsgi import start_drain_watcher  # noqa: PLC0415 - see the module's docstring

    start_drain_watcher(lambda: worker.alive)
