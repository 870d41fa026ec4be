"""Observers of events, one per module."""
