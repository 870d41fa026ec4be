"""Resumable uploads (tus 1.0.0) into S3, as WSGI middleware.

    from tus_wsgi import TusMiddleware

    application = TusMiddleware.from_env(application)

serves uploads below `TUS_BASE_PATH` and passes all other requests on to the application.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tus_wsgi.app import TusMiddleware, create_app
    from tus_wsgi.domain.answer import Answer, Rejected
    from tus_wsgi.domain.creation import NewUpload, UploadPlan
    from tus_wsgi.domain.errors import Denied
    from tus_wsgi.domain.hooks import Access, Action, FinishedUpload, Request, UploadFacts
    from tus_wsgi.domain.model import TerminationReason
    from tus_wsgi.domain.plan import ObjectOptions
    from tus_wsgi.domain.progress import Progress, Stop
    from tus_wsgi.domain.termination import GoneUpload
    from tus_wsgi.settings import Settings, SettingsError
    from tus_wsgi.wsgi.app_uploads import CreatedUpload
    from tus_wsgi.wsgi.connection import close_after_response
    from tus_wsgi.wsgi.draining import start_drain_watcher
    from tus_wsgi.wsgi.malloc import tune_malloc

__version__ = "0.1.0.dev0"

__all__ = [
    "Access",
    "Action",
    "Answer",
    "CreatedUpload",
    "Denied",
    "FinishedUpload",
    "GoneUpload",
    "NewUpload",
    "ObjectOptions",
    "Progress",
    "Rejected",
    "Request",
    "Settings",
    "SettingsError",
    "Stop",
    "TerminationReason",
    "TusMiddleware",
    "UploadFacts",
    "UploadPlan",
    "__version__",
    "close_after_response",
    "create_app",
    "start_drain_watcher",
    "tune_malloc",
]

_MODULES = {
    "Access": "tus_wsgi.domain.hooks",
    "Action": "tus_wsgi.domain.hooks",
    "Answer": "tus_wsgi.domain.answer",
    "CreatedUpload": "tus_wsgi.wsgi.app_uploads",
    "Denied": "tus_wsgi.domain.errors",
    "FinishedUpload": "tus_wsgi.domain.hooks",
    "GoneUpload": "tus_wsgi.domain.termination",
    "NewUpload": "tus_wsgi.domain.creation",
    "ObjectOptions": "tus_wsgi.domain.plan",
    "Progress": "tus_wsgi.domain.progress",
    "Rejected": "tus_wsgi.domain.answer",
    "Request": "tus_wsgi.domain.hooks",
    "Settings": "tus_wsgi.settings",
    "SettingsError": "tus_wsgi.settings",
    "Stop": "tus_wsgi.domain.progress",
    "TerminationReason": "tus_wsgi.domain.model",
    "TusMiddleware": "tus_wsgi.app",
    "UploadFacts": "tus_wsgi.domain.hooks",
    "UploadPlan": "tus_wsgi.domain.creation",
    "close_after_response": "tus_wsgi.wsgi.connection",
    "create_app": "tus_wsgi.app",
    "start_drain_watcher": "tus_wsgi.wsgi.draining",
    "tune_malloc": "tus_wsgi.wsgi.malloc",
}
"""The module of each public name. A module is imported when its name is first used. An import of
this package, for example for gunicorn's configuration, thus does not import boto3, and with it
`ssl`, before gevent has patched the standard library."""

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import a public name."""
        module = _MODULES.get(name)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(module), name)

    def __dir__() -> list[str]:
        """Return the public names."""
        return [*globals(), *_MODULES]
