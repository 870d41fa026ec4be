"""Resumable uploads (tus 1.0.0) into S3, as WSGI middleware.

    from tus_wsgi import TusMiddleware

    application = TusMiddleware.from_env(application)

serves uploads below `TUS_BASE_PATH` and passes all other requests on to the application.
"""

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
