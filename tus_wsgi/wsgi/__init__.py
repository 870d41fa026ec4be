"""The HTTP side: serve WSGI requests with a protocol's dialects and the upload service."""
