"""Clients: raw HTTP/1.1, tus requests, uploads of whole files, and the service without HTTP."""
