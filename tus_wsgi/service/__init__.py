"""The operations on uploads, independent of the protocol and of the store."""
