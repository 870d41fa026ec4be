"""Servers that the tests start, and the fixtures that share them."""
