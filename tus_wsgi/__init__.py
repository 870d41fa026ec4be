"""Resumable uploads (tus 1.0.0) into S3, as WSGI middleware.

    from tus_wsgi import TusMiddleware

    application = TusMiddleware.from_env(application)

serves uploads below `TUS_BASE_PATH` and passes everything else on to the application.
"""

from tus_wsgi.app import TusMiddleware, create_app
from tus_wsgi.domain.hooks import FinishedUpload
from tus_wsgi.settings.settings import Settings, SettingsError
from tus_wsgi.wsgi.connection import last_response
from tus_wsgi.wsgi.draining import drain_when_stopping
from tus_wsgi.wsgi.malloc import return_freed_memory

__all__ = [
    "FinishedUpload",
    "Settings",
    "SettingsError",
    "TusMiddleware",
    "create_app",
    "drain_when_stopping",
    "last_response",
    "return_freed_memory",
]
