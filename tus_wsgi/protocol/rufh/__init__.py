"""The IETF protocol, draft-ietf-httpbis-resumable-upload."""
