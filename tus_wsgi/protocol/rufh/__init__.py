"""Resumable uploads for HTTP, the IETF's draft-ietf-httpbis-resumable-upload."""
