"""The app that gunicorn serves in the fault tests: the middleware, with notes for the tests.

Environment variables name its files: `BODIES` and, with hooks, `FINISHED` and `TERMINATED` get its
notes. With `HOOKS=all`, the hooks decide as a scenario demands; the file `SCENARIO` has its name.

Interim responses are not throttled, since each one is an acknowledgement to verify.
"""

from __future__ import annotations

import contextlib
import functools
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from tests.faults.app_decisions import decide_finish, decide_terminate, plan
from tests.faults.scenarios import SCENARIOS, Scenario
from tests.faults.wrapped_app import not_found
from tus_wsgi import Answer, FinishedUpload, GoneUpload, NewUpload, TusMiddleware, UploadPlan
from tus_wsgi.domain.hook_set import HookOptions
from tus_wsgi.lockers.lease.records import LockerUnsupported
from tus_wsgi.wsgi import interim
from tus_wsgi.wsgi.input import source_of

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment


START_ATTEMPTS = 100
START_INTERVAL = 0.2
"""How often a worker checks its locks, and the seconds between two checks. A fault of the check
looks like a wrong setting, with which no server starts."""

interim.EVERY_SECONDS = 0.0
interim.EVERY_BYTES = 0


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Serve a request, and note how its body is read.

    gunicorn preloads this module, so that a new worker starts at once.
    """
    length = int(environ.get("CONTENT_LENGTH") or 0)
    if length:
        _note("BODIES", type(source_of(environ, length)).__name__)
    return _middleware()(environ, start_response)


@functools.cache
def _middleware() -> TusMiddleware:
    """Return the middleware of this worker, which its first request creates.

    Raises:
        AssertionError: each check of the locks failed.
    """
    hooks: dict[str, HookOptions] = {
        "none": {},
        "on_finish": {"on_finish": _on_finish},
        "all": {"on_create": _on_create, "on_finish": _on_finish, "on_terminate": _on_terminate},
    }
    for _ in range(START_ATTEMPTS):
        with contextlib.suppress(LockerUnsupported):
            return TusMiddleware.from_env(not_found, **hooks[os.environ["HOOKS"]])
        time.sleep(START_INTERVAL)
    raise AssertionError("the locks cannot be used")


def _on_create(upload: NewUpload) -> UploadPlan | None:
    return plan(upload) if _scenario().has_plan else None


def _on_finish(upload: FinishedUpload) -> Answer | None:
    calls = _note("FINISHED", upload.id)
    if os.environ["HOOKS"] == "all":
        return decide_finish(_scenario(), upload, calls)
    return None


def _on_terminate(gone: GoneUpload) -> None:
    calls = _note("TERMINATED", gone.id)
    decide_terminate(_scenario(), calls)


def _scenario() -> Scenario:
    return SCENARIOS[Path(os.environ["SCENARIO"]).read_text(encoding="utf-8")]


def _note(variable: str, line: str) -> int:
    """Append a line to the file that an environment variable names.

    Returns:
        The number of such lines in the file, with the new one.
    """
    path = Path(os.environ[variable])
    with path.open("a", encoding="ascii") as file:
        file.write(f"{line}\n")
    return path.read_text(encoding="ascii").split("\n").count(line)
