"""The HTTP side: serve WSGI requests with the dialects and the upload service."""
