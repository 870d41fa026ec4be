"""What may be done with an upload, whatever the protocol and whatever the store."""
