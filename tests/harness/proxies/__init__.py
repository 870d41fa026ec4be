"""Proxies that break connections, and proxies that fail S3 calls."""
