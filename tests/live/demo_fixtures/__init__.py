"""Fixtures for the demo's tests: the demo itself, a browser, and an unreliable network."""
