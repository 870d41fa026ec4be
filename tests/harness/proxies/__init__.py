"""Proxies that break connections."""
