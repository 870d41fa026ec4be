"""Clients: raw HTTP/1.1, tus 1.0.0, and the upload service without HTTP."""
