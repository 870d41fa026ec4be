"""Memory and disk for request bodies on their way to the store."""
